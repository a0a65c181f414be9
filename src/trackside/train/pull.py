"""The pull phase: what recorded runs answer is put back, and the data that the other stages need is fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from trackside.documents.run import Dependency, Run
from trackside.errors import DataError, ToolError
from trackside.plan.graph import Outs
from trackside.plan.objects import ancestors
from trackside.plan.pipeline import PipelineInputs, ResolvedStage
from trackside.train import lock, state
from trackside.train.champion import model_of
from trackside.train.dvc import Object, Remotes, argv, quiet, remotes, there, transfer
from trackside.train.job import TrainJob, TrainPorts
from trackside.train.scrub import scrubbed
from trackside.train.signals import cancellable
from trackside.train.workspace import Pointer, contained, guard, pointers, resolved, use_policy

SKIPPED = "didn't change, skipping"


def pull(job: TrainJob, ports: TrainPorts) -> state.Pulled:
    """Make the checkout ready to reproduce. Safe to repeat at any time.

    Raises:
        Refused, ConfigError: see `resolved`.
        ToolError: the remote failed (`remote_failed`) or lacks data (`data_missing`).
        Cancelled: by a signal.
    """
    with cancellable():
        if job.dvc_config is not None:
            own_checkout(job)
        tree, inputs = resolved(job, ports.processes)
        state.save(job.state, state.Inputs(inputs=inputs, dependencies=list(inputs.dependencies)))
        if job.dvc_config is None:
            made = state.Pulled(input_digest=inputs.digest, baseline_file=_local_baseline(job))
        else:
            notes = use_policy(job.workspace, job.dvc_config)
            task = _Pull(job, ports, inputs, pointers(tree, list(inputs.dependencies)), notes)
            made = task.run()
        state.save(job.state, made)
        return made


def own_checkout(job: TrainJob) -> None:
    """Forget what was done in another checkout: only a lock file that this job's stages wrote is believed.

    The mark is a word that no commit can hold, in a folder that a new checkout empties.
    """
    guard(job.workspace)
    token = state.claim(job.state, job.identity)
    mark = job.workspace / ".dvc" / "tmp" / "trackside"
    if not mark.is_file() or mark.is_symlink() or mark.read_text(errors="replace") != token:
        state.forget(job.state)
        state.write(mark, token.encode())


def _local_baseline(job: TrainJob) -> str:
    """The baseline's predictions where this machine still has them."""
    wanted = job.model.predictions
    found = (
        next((a for a in job.baseline.artifacts if wanted and a.path == wanted.file), None) if job.baseline else None
    )
    try:
        obj = Object(digest=found.dvc_digest) if found else None
    except DataError:
        return ""
    return obj.digest if obj and there(obj, remotes("", job.workspace).cache) else ""


@dataclass(frozen=True)
class _Kept:
    """Stages that need not run: their lock entries, and the run each comes from (empty: this one or a frozen stage)."""

    entries: Mapping[str, lock.Entry]
    runs: Mapping[str, Run]


class _Pull:
    """One pull; `stages` come in the order in which they run."""

    def __init__(
        self, job: TrainJob, ports: TrainPorts, inputs: PipelineInputs, found: Sequence[Pointer], notes: list[str]
    ) -> None:
        self.job, self.ports, self.inputs, self.pointers, self.notes = job, ports, inputs, found, notes
        self.stages = {stage.name: stage for stage in inputs.stages}
        self.outs = Outs({s.name: (*s.outs, *s.metrics, *s.plots) for s in inputs.stages})
        self.remotes: Remotes = remotes(job.dvc_config or "", job.workspace)
        self.env = {**ports.processes.env, **job.remote_env}
        self.clean = quiet(scrubbed(ports.processes.env), job.state)

    def run(self) -> state.Pulled:
        kept = self.settle()
        executing = [stage for name, stage in self.stages.items() if name not in kept.entries]
        self.fetch_data(executing)
        self.checkout(kept, executing)
        sources = {run.id for run in kept.runs.values()}
        return state.Pulled(
            input_digest=self.inputs.digest,
            objects=sorted(obj.digest for obj in self.objects(kept.entries) if there(obj, self.remotes.cache)),
            restored=[name for name in self.stages if name in kept.runs],
            restored_from=sources.pop() if len(sources) == 1 and not executing else "",
            baseline_file=self.baseline_predictions(),
            champion_file=self.champion_model(),
            notes=self.notes,
        )

    def settle(self) -> _Kept:
        """What is kept, once the outputs that other stages read are here: a stage whose outputs are gone runs again."""
        banned: set[str] = set()
        while True:
            kept = self.candidates(banned)
            lock.put(self.job.workspace, self.stages, kept.entries)
            self.put_texts(kept)
            kept = self.confirmed(kept)
            executing = [stage for name, stage in self.stages.items() if name not in kept.entries]
            needed = self.read_by(executing, kept)
            wanted = {obj for objs in needed.values() for obj in objs} | self.wanted_anyway(kept)
            self.fetch(wanted)
            lost = {name for name, objs in needed.items() if not all(there(obj, self.remotes.cache) for obj in objs)}
            if not lost:
                return kept
            self.notes.append(f"outputs of {', '.join(sorted(lost))} are no longer in the remote")
            banned |= lost

    def candidates(self, banned: set[str]) -> _Kept:
        """Stages that this job did already, that are frozen, or that a recorded run answers."""
        mine = lock.entries(lock.read_texts(self.job.workspace, self.stages), self.stages)
        before = state.read(self.job.state, state.Reproduced)
        mine_too = before is not None and before.input_digest == self.inputs.digest
        done = (
            {one.name for one in before.stages if one.outcome in ("executed", "cached")} if before and mine_too else ()
        )
        entries = {
            name: mine[name]
            for name, stage in self.stages.items()
            if name in mine and name not in banned and (name in done or stage.frozen is not None)
        }
        runs: dict[str, Run] = {}
        for run in (self.job.recorded, self.job.baseline):
            if run is None or run.status != "succeeded" or run.experiment:
                continue
            found = lock.entries(lock.texts_of(run.restore), self.stages)
            same = _unchanged(self.inputs.dependencies, run.dependencies)
            for name in lock.answered(self.inputs.stages, found, same, self.outs):
                if name not in entries and name not in banned:
                    entries[name], runs[name] = found[name], run
        good: set[str] = set()
        for name, stage in self.stages.items():
            if name in entries and all(other in good for other in stage.upstream):
                good.add(name)
        return _Kept({n: e for n, e in entries.items() if n in good}, {n: r for n, r in runs.items() if n in good})

    def confirmed(self, kept: _Kept) -> _Kept:
        """DVC has the last word: what it would run is not kept. Nothing is executed here."""
        if not kept.runs:
            return kept
        words = argv("repro", "--dry", "--allow-missing", "--single-item", *kept.runs)
        done = self.ports.processes.run(words, cwd=self.job.workspace, env=self.clean, timeout=600, check=False)
        fine = {name for name in kept.runs if f"Stage '{name}' {SKIPPED}" in done.text}
        if fine == set(kept.runs):
            return kept
        entries = {name: entry for name, entry in kept.entries.items() if name not in kept.runs or name in fine}
        lock.put(self.job.workspace, self.stages, entries)
        return _Kept(entries, {name: run for name, run in kept.runs.items() if name in fine})

    def put_texts(self, kept: _Kept) -> None:
        """Outputs that the record holds as text: metrics and plots, which a stage may keep out of DVC's store."""
        for name, run in kept.runs.items():
            stage = self.stages[name]
            for path in (*stage.outs, *stage.metrics, *stage.plots):
                if path in run.restore.files:
                    state.write(contained(self.job.workspace, path), run.restore.files[path].encode())

    def objects(self, entries: Mapping[str, lock.Entry]) -> set[Object]:
        found = (obj for name, e in entries.items() for obj in lock.outputs(e, self.stages[name].wdir).values())
        return {obj for obj in found if obj is not None}

    def read_by(self, executing: Iterable[ResolvedStage], kept: _Kept) -> dict[str, set[Object]]:
        """Objects of kept stages that stages still to run read, by the stage that made them."""
        needed: dict[str, set[Object]] = {}
        deps = [dep for stage in executing for dep in stage.deps]
        for name, entry in kept.entries.items():
            texts = kept.runs[name].restore.files if name in kept.runs else {}
            for path, obj in lock.outputs(entry, self.stages[name].wdir).items():
                if obj is not None and path not in texts and any(_touches(path, dep) for dep in deps):
                    needed.setdefault(name, set()).add(obj)
        return needed

    def wanted_anyway(self, kept: _Kept) -> set[Object]:
        """Small or shown outputs of restored stages: predictions, metrics and plots."""
        made = set()
        shown = {self.job.model.predictions.file} if self.job.model.predictions else set()
        for name, run in kept.runs.items():
            stage = self.stages[name]
            for path, obj in lock.outputs(kept.entries[name], stage.wdir).items():
                wanted = path in shown or path in (*stage.metrics, *stage.plots)
                if obj is not None and wanted and path not in run.restore.files:
                    made.add(obj)
        return made

    def fetch(self, objects: Iterable[Object]) -> None:
        missing = {obj for obj in objects if not there(obj, self.remotes.cache)}
        transfer("fetch", missing, self.remotes, state=self.job.state, env=self.env, processes=self.ports.processes)

    def fetch_data(self, executing: Sequence[ResolvedStage]) -> None:
        """Data that stages still to run read. Imports are fetched from their source, without credentials."""
        deps = [dep for stage in executing for dep in stage.deps]
        needed = [one for one in self.pointers if any(_touches(one.path, dep) for dep in deps)]
        self.fetch(one.obj for one in needed if one.obj is not None)
        for one in needed:
            if one.imported and (one.obj is None or not there(one.obj, self.remotes.cache)):
                words = argv("fetch", one.file)
                self.ports.processes.run(words, cwd=self.job.workspace, env=self.clean, timeout=3600, check=False)
        gone = [one.path for one in needed if one.obj is not None and not there(one.obj, self.remotes.cache)]
        if gone:
            raise ToolError(
                "the data remote lacks " + ", ".join(gone[:10]),
                why="" if self.remotes.default else "the default branch's .dvc/config names no default remote",
                remedy="run `dvc push` where the data is, then re-run this job",
                link="train.md",
                reason_code="data_missing",
            )

    def checkout(self, kept: _Kept, executing: Sequence[ResolvedStage]) -> None:
        """Put what was fetched in its place."""
        deps = [dep for stage in executing for dep in stage.deps]
        paths = [one.path for one in self.pointers if any(_touches(one.path, dep) for dep in deps)]
        for name, entry in kept.entries.items():
            for path, obj in lock.outputs(entry, self.stages[name].wdir).items():
                if obj is not None and there(obj, self.remotes.cache):
                    paths.append(path)
        if paths:
            words = argv("checkout", "--force", "--", *paths)
            self.ports.processes.run(words, cwd=self.job.workspace, env=self.clean, timeout=3600)

    def baseline_predictions(self) -> str:
        """The baseline's predictions in the state folder, as its digest; empty when there are none to be had."""
        wanted, run = self.job.model.predictions, self.job.baseline
        found = next((a for a in run.artifacts if wanted and a.path == wanted.file), None) if run else None
        if found is None or not found.dvc_digest.startswith("md5:") or found.dvc_digest.endswith(".dir"):
            return ""
        try:
            obj = Object(digest=found.dvc_digest)
            self.fetch([obj])
        except (DataError, ToolError) as error:
            self.notes.append(f"the baseline's predictions were not fetched: {error.message}")
            return ""
        if not there(obj, self.remotes.cache):
            self.notes.append("the baseline's predictions are no longer in the remote")
            return ""
        return obj.digest

    def champion_model(self) -> str:
        """The baseline's model file, or folder, in the cache, as its digest; empty when it is not to be had."""
        found = model_of(self.job.baseline, self.job.model.path) if self.job.champion else None
        if found is None:
            return ""
        try:
            obj = Object(digest=found.dvc_digest)
            self.fetch([obj])
        except (DataError, ToolError) as error:
            self.notes.append(f"the champion's model was not fetched: {error.message}")
            return ""
        return obj.digest if there(obj, self.remotes.cache) else ""


def _touches(path: str, dep: str) -> bool:
    """Whether a path is a dependency, holds it, or lies in it."""
    return dep == "." or path in ancestors(dep) or dep in ancestors(path)


def _unchanged(now: Sequence[Dependency], then: Sequence[Dependency]) -> Callable[[str], bool]:
    """Whether all that a dependency stands for has the same digest in both."""
    here = {(one.path, one.kind, one.digest) for one in now}
    there_ = {(one.path, one.kind, one.digest) for one in then}

    def same(dep: str) -> bool:
        mine = {one for one in here if one[1] != "lock" and _touches(one[0], dep)}
        return bool(mine) and mine == {one for one in there_ if one[1] != "lock" and _touches(one[0], dep)}

    locks = {one for one in here if one[1] == "lock"}
    return same if locks == {one for one in there_ if one[1] == "lock"} else lambda _dep: False
