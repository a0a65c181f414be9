"""The push phase: this run's outputs go to the data remote, each checked against its digest first."""

from __future__ import annotations

from trackside.errors import DataError, ToolError
from trackside.train import lock, state
from trackside.train.dvc import Object, intact, remotes, there, transfer
from trackside.train.job import TrainJob, TrainPorts
from trackside.train.signals import cancellable


def push(job: TrainJob, ports: TrainPorts) -> state.Pushed:
    """Store the outputs of stages that ran; of the checkout, only digests in its lock file meet the credentials.

    Raises:
        DataError: reproduce did not succeed, or content in the cache is not what its digest says (`output_changed`).
        ToolError: the remote failed (`remote_failed`) or lacks an object afterwards (`push_incomplete`).
        Cancelled: by a signal.
    """
    found, done = state.read(job.state, state.Inputs), state.read(job.state, state.Reproduced)
    if found is None or done is None or done.status != "succeeded":
        raise DataError("there is nothing to push: the run did not succeed", link="train.md")
    with cancellable():
        made = _push(job, ports, found, done)
        state.save(job.state, made)
        return made


def _push(job: TrainJob, ports: TrainPorts, found: state.Inputs, done: state.Reproduced) -> state.Pushed:
    digest = found.inputs.digest
    if job.dvc_config is None:
        return state.Pushed(input_digest=digest, notes=["outputs stay on this machine"])
    where = remotes(job.dvc_config, job.workspace)
    if not where.default:
        return state.Pushed(input_digest=digest, notes=["the default branch's .dvc/config names no default remote"])
    objects = outputs(job, found, done)
    missing = sorted(obj.digest for obj in objects if not there(obj, where.cache))
    present = {obj for obj in objects if there(obj, where.cache)}
    wrong = sorted(obj.digest for obj in present if not intact(obj, where.cache))
    if wrong:
        raise DataError(
            "DVC's cache holds other content than its digests say: " + ", ".join(wrong[:10]),
            why="a stage changed files of the cache, or an output after it was stored",
            remedy="let stages write to their own outputs only",
            link="train.md",
            reason_code="output_changed",
        )
    env = {**ports.processes.env, **job.remote_env}
    for _ in range(2):  # the second pass finds nothing to do, or says that objects are still missing
        said = transfer("push", present, where, state=job.state, env=env, processes=ports.processes)
    if "Everything is up to date" not in said and present:
        raise ToolError(
            "the data remote did not take all outputs", log=said[-4000:], link="train.md", reason_code="push_incomplete"
        )
    notes = [f"not in DVC's cache, so not pushed: {', '.join(missing[:10])}"] if missing else []
    return state.Pushed(input_digest=digest, objects=sorted(obj.digest for obj in present), notes=notes)


def outputs(job: TrainJob, found: state.Inputs, done: state.Reproduced) -> set[Object]:
    """Objects of the stages that this run executed."""
    stages = {stage.name: stage for stage in found.inputs.stages}
    ran = [one.name for one in done.stages if one.outcome in ("executed", "cached")]
    entries = lock.entries(lock.read_texts(job.workspace, ran), ran)
    made = (obj for name, entry in entries.items() for obj in lock.outputs(entry, stages[name].wdir).values())
    return {obj for obj in made if obj is not None}
