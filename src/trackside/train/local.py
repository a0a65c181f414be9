"""Training on one's own machine: the same phases on the own branch as it is, without GitHub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from trackside.config.model import Config
from trackside.documents.codec import dump
from trackside.documents.run import Run, Source, Trigger
from trackside.errors import ConfigError, TracksideError
from trackside.plan.objects import git_env
from trackside.system.process import Processes
from trackside.train import state
from trackside.train.job import TrainJob, TrainPorts
from trackside.train.phases import run_phase
from trackside.train.record import record
from trackside.train.workspace import head_of

FOLDER = ".trackside"


def train_local(
    root: Path,
    config: Config,
    name: str,
    ports: TrainPorts,
    *,
    overrides: dict[str, object] | None = None,
    baseline: Run | None = None,
    out: Path | None = None,
) -> tuple[Run, Path]:
    """Reproduce a model's stages in the work tree and write the run down, also when it fails.

    Uncommitted changes count as inputs and mark the run's source as dirty. Stages see the whole environment, DVC uses
    its own configuration, and nothing is pushed. An experiment's parameters are put into the params files and stay.

    Args:
        root: the repository's top folder.
        out: where the run document goes; default `.trackside/runs/<model>/<run id>.json`, which git ignores.

    Returns:
        The run and its file.

    Raises:
        ConfigError: no such model, no commit yet, or a wrong pipeline.
        ToolError, Cancelled: as reproduce; the document is written first, its path is in `remedy`.
    """
    model = config.model(name)
    if model is None:
        raise ConfigError(f"{config.file} has no model {name!r}", reason_code="model_unknown")
    own = root / FOLDER
    own.mkdir(exist_ok=True)
    if not (own / ".gitignore").exists():
        state.write(own / ".gitignore", b"*\n")
    commit, dirty = _snapshot(root, own, ports.processes)
    job = TrainJob(
        model=model,
        train=config.train,
        source=Source(repository="", commit=commit, branch=_branch(root, ports.processes), dirty=dirty),
        trigger=Trigger(event="local"),
        workspace=root,
        state=own / "state" / name,
        envs=own / "envs",
        overrides=overrides or {},
        baseline=baseline,
        confidence=config.report.confidence,
    )
    state.forget(job.state)
    failure: TracksideError | None = None
    try:
        for phase in ("pull", "reproduce", "push"):
            run_phase(phase, job, ports, out=job.state)
    except TracksideError as error:
        failure = error
    if failure is not None and state.read(job.state, state.Inputs) is None:
        raise failure
    run = record(replace(job, source=_named(job.source, root, ports.processes)), ports)
    path = out or own / "runs" / name / f"{run.id}.json"
    state.write(path, dump(run))
    if failure is not None:
        failure.remedy = "; ".join(part for part in (failure.remedy, f"the record is {path}") if part)
        raise failure
    return run, path


def _snapshot(root: Path, own: Path, processes: Processes) -> tuple[str, bool]:
    """A commit with the work tree as it is: HEAD, or when something differs a loose one that no branch holds."""
    head = head_of(root, processes)
    index = own / "index"
    index.unlink(missing_ok=True)
    env = {**git_env(processes.env), "GIT_INDEX_FILE": str(index.resolve())}
    identity = {f"GIT_{who}_{what}": "trackside" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def git(*words: str) -> str:
        return processes.run(["git", "-C", root, *words], env={**env, **identity}).text.strip()

    git("read-tree", head)
    git("add", "--all")
    tree = git("write-tree")
    index.unlink(missing_ok=True)
    if tree == git("rev-parse", f"{head}^{{tree}}"):
        return head, False
    return git("commit-tree", tree, "-p", head, "-m", "work tree"), True


def _branch(root: Path, processes: Processes) -> str:
    done = processes.run(["git", "-C", root, "branch", "--show-current"], env=git_env(processes.env), check=False)
    return done.text.strip()


def _named(source: Source, root: Path, processes: Processes) -> Source:
    """The record names HEAD, which others can find; `dirty` tells that there was more."""
    import msgspec

    return msgspec.structs.replace(source, commit=head_of(root, processes)) if source.dirty else source
