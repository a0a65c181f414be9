"""The champion on the challenger's data: the baseline's model file, judged by the stages that judge the new one.

They run in a copy of the commit that holds the champion's file in place of the new one, and what else they read as
the challenger's stages left it; confined like those, and without write access to the checkout or DVC's cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace

from trackside.documents.run import Artifact, Direction, Metric, Run
from trackside.errors import DataError, ToolError, TracksideError
from trackside.plan.graph import Outs
from trackside.plan.objects import GitTree, ancestors
from trackside.plan.pipeline import PipelineInputs, ResolvedStage
from trackside.report.values import metrics_of
from trackside.train import files, state
from trackside.train.artifacts import MAX_METRICS_FILE
from trackside.train.compare import MAX_BYTES as MAX_PREDICTIONS
from trackside.train.dvc import Object, argv, members, remotes
from trackside.train.job import TrainJob, TrainPorts
from trackside.train.runner import Confined, Tail, TimedOutRun
from trackside.train.signals import Cancelled
from trackside.train.workspace import contained

PREDICTIONS = "champion-predictions"
"""In the state folder."""


def model_of(run: Run | None, path: str) -> Artifact | None:
    """The model file of a run, where DVC knows it."""
    found = (one for one in run.artifacts if one.path == path and one.role == "model") if run else iter(())
    return next((one for one in found if one.dvc_digest.startswith("md5:")), None)


def downstream(stages: Sequence[ResolvedStage], path: str) -> list[ResolvedStage]:
    """The stages that read a file, and those that read what these make, in the order in which they run."""
    made: list[ResolvedStage] = []
    for stage in stages:
        reads = any(dep in (".", path) or path in ancestors(dep) or dep in ancestors(path) for dep in stage.deps)
        makes = any(out == path or path in ancestors(out) or out in ancestors(path) for out in stage.outs)
        if not makes and (reads or any(one.name in stage.upstream for one in made)):
            made.append(stage)
    return made


def evaluate(
    job: TrainJob, ports: TrainPorts, inputs: PipelineInputs, pulled: state.Pulled, confined: Confined
) -> state.Champion:
    """Judge the champion; a failure of that is a note, never one of the run. What is done already is not done again.

    Raises:
        Cancelled: by a signal.
    """
    before = state.read(job.state, state.Champion)
    if before is not None and before.input_digest == inputs.digest:
        return before
    run = job.baseline.id if job.baseline else ""
    work = _Evaluation(job, ports, inputs, pulled, confined)
    try:
        made = work.run()
    except Cancelled:
        raise
    except TimedOutRun:
        made = state.Champion(input_digest=inputs.digest, run=run, note="its time was up")
    except (TracksideError, OSError) as error:
        made = state.Champion(input_digest=inputs.digest, run=run, note=_told(error))
    finally:
        shutil.rmtree(work.root, ignore_errors=True)
    if made.note:
        ports.say(f"champion: not evaluated: {made.note}")
    state.save(job.state, made)
    return made


def _told(error: Exception) -> str:
    if not isinstance(error, TracksideError):
        return f"{type(error).__name__}: {error}"[:300]
    return error.message + (f" ({error.why})" if error.why else "")


class _Evaluation:
    def __init__(
        self, job: TrainJob, ports: TrainPorts, inputs: PipelineInputs, pulled: state.Pulled, confined: Confined
    ) -> None:
        self.job, self.ports, self.inputs, self.pulled = job, ports, inputs, pulled
        self.root = job.state / "champion"  # where no stage of the challenger could write
        self.cache = remotes(job.dvc_config or "", job.workspace).cache
        write = confined.write
        if write is not None:
            write = [self.root, *(path for path in write if path not in (job.workspace, self.cache))]
        self.confined = replace(
            confined, workspace=self.root, write=write, tail=Tail(secrets=confined.tail.secrets), sampler=None
        )
        self.stages = downstream(inputs.stages, job.model.path)
        self.outs = Outs({one.name: (*one.outs, *one.metrics, *one.plots) for one in self.stages})

    def run(self) -> state.Champion:
        model = model_of(self.job.baseline, self.job.model.path)
        if model is None or not self.pulled.champion_file:
            raise DataError("its model file is not in the data remote")
        if not self.stages:
            raise DataError(f"no stage of the pipeline reads {self.job.model.path}")
        self._lay_out(model)
        for stage in self.stages:
            self._stage(stage)
        predictions = self._predictions()
        return state.Champion(
            input_digest=self.inputs.digest,
            run=self.job.baseline.id if self.job.baseline else "",
            predictions=predictions,
            metrics=self._metrics(),
        )

    def _lay_out(self, model: Artifact) -> None:
        """The commit, the champion's file, and what the stages read beside it."""
        shutil.rmtree(self.root, ignore_errors=True)
        tree = GitTree.open(self.job.workspace, self.job.source.commit, self.ports.processes)
        wanted = [path for path in tree.paths() if path.partition("/")[0] != ".dvc" and self._plain(tree, path)]
        for path, data in tree.read(wanted).items():
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if tree.entries[path].mode == "120000":
                target.symlink_to(os.fsdecode(data))
            else:
                target.write_bytes(data)
                target.chmod(0o755 if tree.entries[path].mode == "100755" else 0o644)
        state.write(self.root / ".dvc" / "config", b"[core]\n    no_scm = true\n    analytics = false\n")
        for dep in dict.fromkeys(dep for stage in self.stages for dep in stage.deps):
            if not self.outs.makers([dep]) and dep != self.job.model.path and not (self.root / dep).exists():
                self._copy(dep)
        self._champion(model)

    @staticmethod
    def _plain(tree: GitTree, path: str) -> bool:
        """No submodule, and nothing below a link."""
        links = (folder for folder in ancestors(path) if folder != path and folder in tree.entries)
        return tree.entries[path].mode != "160000" and not any(links)

    def _copy(self, path: str) -> None:
        """A copy of its own: what runs in it may not reach the original through a link."""
        real, target = files.inside(path, self.job.workspace, [self.cache]), contained(self.root, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if real.is_dir():
            shutil.copytree(real, target, symlinks=True)
        else:
            shutil.copyfile(real, target)

    def _champion(self, model: Artifact) -> None:
        obj = Object(digest=self.pulled.champion_file)
        target = contained(self.root, self.job.model.path)
        if target.is_dir():
            shutil.rmtree(target)
        target.unlink(missing_ok=True)
        for name, one in (members(obj, self.cache) or {}).items():
            place = target / name if name else target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(one.path(self.cache), place)
        found, _ = files.digest(self.job.model.path, self.root)
        if found != model.digest:
            raise DataError("its model file is not the one that its run recorded", reason_code="digest_mismatch")

    def _stage(self, stage: ResolvedStage) -> None:
        name, commands = stage.name, self.ports.commands
        options = ["--single-item", "--force", "--no-commit", "--no-run-cache"]
        with commands.group(f"champion: {name}"), commands.untrusted():
            status = self.confined.run(argv("repro", *options, name), label=f"champion: {name}")
        if status != 0:
            last = self.confined.tail.text().strip().rpartition("\n")[2][:300]
            raise ToolError(f"stage {name} failed with it", why=last, reason_code="stage_failed")

    def _made_here(self, path: str) -> bool:
        return bool(self.outs.makers([path]))

    def _predictions(self) -> str:
        """`sha256:…` of the predictions, which are kept in the state folder; empty where these stages make none."""
        wanted = self.job.model.predictions
        if wanted is None or not self._made_here(wanted.file):
            return ""
        data = files.read(wanted.file, self.root, limit=MAX_PREDICTIONS)
        state.write(self.job.state / PREDICTIONS, data)
        return "sha256:" + hashlib.sha256(data).hexdigest()

    def _metrics(self) -> list[Metric]:
        """The policy's metrics, from files that these stages made."""
        rules = self.job.model.metrics

        def direction(name: str, path: str) -> Direction:
            return next((one.direction for one in rules if (one.name, one.file) == (name, path)), "none")

        made: list[Metric] = []
        for path in dict.fromkeys(one.file for one in rules if self._made_here(one.file)):
            data = files.read(path, self.root, limit=MAX_METRICS_FILE)
            judged = {one.name for one in rules if one.file == path}
            made += [one for one in metrics_of(path, data, direction) if one.name in judged]
        return made


def predictions_of(job: TrainJob, champion: state.Champion) -> bytes:
    """The champion's predictions on this run's data. Raises DataError where they are not those that were made."""
    try:
        data = (job.state / PREDICTIONS).read_bytes()
    except OSError as error:
        raise DataError("the champion's predictions are gone") from error
    if "sha256:" + hashlib.sha256(data).hexdigest() != champion.predictions:
        raise DataError("the champion's predictions are damaged")
    return data
