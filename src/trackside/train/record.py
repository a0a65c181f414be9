"""The record phase: whatever happened before becomes one run document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

import trackside
from trackside.documents.codec import MAX_BYTES, dump
from trackside.documents.run import Comparison, Environment, Restore, Run, StageRun, Status, Usage, run_id
from trackside.errors import DataError
from trackside.plan.pipeline import PipelineInputs
from trackside.system.clock import rfc3339
from trackside.train import files, state
from trackside.train.artifacts import Made, Outputs
from trackside.train.champion import predictions_of
from trackside.train.compare import MAX_BYTES as MAX_PREDICTIONS
from trackside.train.compare import compare, read_limited
from trackside.train.dvc import Object, intact, remotes
from trackside.train.environment import environment
from trackside.train.hardware import Gpus, hardware
from trackside.train.job import TrainJob, TrainPorts
from trackside.train.runner import TAIL_CHARACTERS
from trackside.train.scrub import masked, secrets_of

_SEEDS = ("seed", "random_state", "random_seed")


def record(job: TrainJob, ports: TrainPorts) -> Run:
    """The run document from what the phases left; with nothing left, of a run that was cut off before it began."""
    found = state.read(job.state, state.Inputs)
    done = state.read(job.state, state.Reproduced)
    failure = state.read(job.state, state.Failure)
    inputs = found.inputs if found else None
    digest = inputs.digest if inputs else job.input_digest
    if done is not None and done.input_digest != digest:
        done = None
    status, reason = outcome(job, done, failure)
    made = _made(job, inputs) if inputs and done and status != "cancelled" else Made()
    comparison = _comparison(job, made) if status == "succeeded" else None
    software, machine = _described(job, ports, done)
    now = rfc3339(ports.clock.now())
    started = done.started_at if done else now
    identity = str(job.trigger.workflow_run_id) if job.trigger.workflow_run_id is not None else started
    run = Run(
        id=run_id(job.model.name, digest, identity),
        model=job.model.name,
        status=status,
        reason_code=reason,
        input_digest=digest,
        source=job.source,
        trigger=job.trigger,
        started_at=started,
        finished_at=done.finished_at if done else now,
        experiment=bool(job.overrides),
        params=dict(inputs.params) if inputs else {},
        overrides=dict(job.overrides),
        seeds=_seeds(job, inputs.params if inputs else {}),
        stages=_stages(inputs, done),
        dependencies=list(inputs.dependencies) if inputs else [],
        environment=software,
        hardware=machine,
        usage=done.usage if done else Usage(),
        metrics=made.metrics,
        artifacts=made.artifacts,
        restore=made.restore if status == "succeeded" else Restore(),
        comparison=comparison,
        restored_from=done.restored_from if done else "",
        log_tail=_log(job, ports, done, failure, made),
        trackside=trackside.__version__,
    )
    return fitting(run)


def outcome(job: TrainJob, done: state.Reproduced | None, failure: state.Failure | None) -> tuple[Status, str]:
    """How it ended. A phase that left neither result nor failure was killed."""
    if done is not None and done.status not in (None, "succeeded"):
        return done.status, done.reason_code
    if failure is not None:
        return ("cancelled" if failure.reason_code == "cancelled" else "failed"), failure.reason_code
    if done is None or done.status is None:
        return "cancelled", "cancelled"
    pushed = state.read(job.state, state.Pushed)
    if pushed is None or pushed.input_digest != done.input_digest:
        return "cancelled", "cancelled"
    return "succeeded", done.reason_code


def _made(job: TrainJob, inputs: PipelineInputs) -> Made:
    earlier = [run for run in (job.recorded, job.baseline) if run is not None]
    cache = remotes(job.dvc_config or "", job.workspace).cache
    return Outputs(
        model=job.model, stages=inputs.stages, workspace=job.workspace, allowed=[cache], earlier=earlier
    ).collect()


def _comparison(job: TrainJob, made: Made) -> Comparison | None:
    """None without predictions or a baseline; what prevents it is in `note`.

    Where the baseline's model was judged on this run's data, its predictions are those, and its metrics too.
    """
    if job.baseline is None:
        return None
    judged = state.read(job.state, state.Champion) if job.champion else None
    if judged is not None and judged.note:
        lost = f"the champion could not be judged on this run's data, so its own run's figures stand: {judged.note}"
        made.notes.append(lost)
        found = _compared(job, made, job.baseline, None)
        return found and msgspec.structs.replace(found, note="; ".join(part for part in (lost, found.note) if part))
    found = _compared(job, made, job.baseline, judged)
    if judged is None or not (judged.metrics or judged.predictions):
        return found
    found = found or Comparison(baseline_run=job.baseline.id, rows=0)
    return msgspec.structs.replace(found, champion=judged.metrics)


def _compared(job: TrainJob, made: Made, baseline: Run, judged: state.Champion | None) -> Comparison | None:
    wanted = job.model.predictions
    if wanted is None:
        return None
    try:
        cache = remotes(job.dvc_config or "", job.workspace).cache
        return compare(
            files.read(wanted.file, job.workspace, limit=MAX_PREDICTIONS, allowed=[cache]),
            predictions_of(job, judged) if judged is not None and judged.predictions else _recorded(job, cache),
            wanted,
            metrics=[policy.name for policy in job.model.metrics],
            level=job.confidence,
            baseline_run=baseline.id,
        )
    except DataError as error:
        made.notes.append(f"no comparison: {error.message}")
        return Comparison(
            baseline_run=baseline.id, rows=0, note=error.message + (f" ({error.why})" if error.why else "")
        )


def _recorded(job: TrainJob, cache: Path) -> bytes:
    """The predictions that the baseline's own run made. Raises DataError."""
    pulled = state.read(job.state, state.Pulled)
    if pulled is None or not pulled.baseline_file:
        raise DataError("the baseline's predictions are not to be had")
    obj = Object(digest=pulled.baseline_file)
    if not obj.path(cache).is_file() or not intact(obj, cache):
        raise DataError("the baseline's predictions are damaged")
    return read_limited(obj.path(cache))


def _described(job: TrainJob, ports: TrainPorts, done: state.Reproduced | None) -> tuple[Environment, Any]:
    if done is not None and done.environment is not None:
        return done.environment, done.hardware
    env = {"PATH": ports.processes.env.get("PATH", "")}
    made, cudnn = environment(
        env, ports.processes, cwd=job.state, lock_file=job.train.requirements, dependencies=[], tools={}
    )
    gpus = Gpus(ports.nvml(), ports.processes.env.get("CUDA_VISIBLE_DEVICES", ""))
    machine = hardware(gpus, runner=ports.processes.env.get("RUNNER_NAME", ""), cudnn=cudnn)
    gpus.close()
    return made, machine


def _stages(inputs: PipelineInputs | None, done: state.Reproduced | None) -> list[StageRun]:
    if done is not None:
        return done.stages
    stages = inputs.stages if inputs else ()
    return [StageRun(name=one.name, command=" && ".join(one.cmd)[:4000], outcome="not_run") for one in stages]


def _seeds(job: TrainJob, params: Mapping[str, Any]) -> dict[str, int]:
    """The parameters that the policy names as seeds, else those that are called like one."""
    names = job.model.seeds or [name for name in params if name.rpartition(".")[2].rpartition(":")[2] in _SEEDS]
    return {
        name: params[name] for name in names if isinstance(params.get(name), int) and not isinstance(params[name], bool)
    }


def _log(
    job: TrainJob, ports: TrainPorts, done: state.Reproduced | None, failure: state.Failure | None, made: Made
) -> str:
    """Last lines of the log; then what failed and what was left out."""
    lines = [done.log_tail] if done and done.log_tail else []
    if failure is not None:
        lines += [failure.log, f"trackside: {failure.phase}: {failure.message}"]
    pushed = state.read(job.state, state.Pushed)
    lines += [f"trackside: {note}" for note in [*(pushed.notes if pushed else []), *made.notes]]
    text = masked("\n".join(line for line in lines if line), secrets_of(ports.processes.env, job.remote_env))
    return text[-TAIL_CHARACTERS:]


def fitting(run: Run, limit: int = MAX_BYTES) -> Run:
    """The run within the limit that publishing reads; the largest and least needed parts go first, and it says so."""

    def without(part: str) -> Callable[[Run], Run]:
        def cut(one: Run) -> Run:
            empty: Any = {
                "restore": Restore(dvc_lock=one.restore.dvc_lock),
                "lock": Restore(),
                "metrics": one.metrics[:1000],
                "artifacts": one.artifacts[:100],
                "dependencies": one.dependencies[:500],
                "params": dict(list(one.params.items())[:500]),
                "stages": one.stages[:200],
                "log_tail": one.log_tail[-4000:],
                "installed": msgspec.structs.replace(one.environment, installed=[]),
            }[part]
            name = {"lock": "restore", "installed": "environment"}.get(part, part)
            note = f"\ntrackside: {part} shortened: the run document was above {limit:,} bytes"
            fields = {name: empty} if name == "log_tail" else {name: empty, "log_tail": one.log_tail + note}
            return msgspec.structs.replace(one, **fields)

        return cut

    for part in (
        "restore",
        "log_tail",
        "lock",
        "metrics",
        "installed",
        "artifacts",
        "dependencies",
        "params",
        "stages",
    ):
        if len(dump(run)) <= limit:
            return run
        run = without(part)(run)
    if len(dump(run)) > limit:
        raise DataError("the run cannot be described within the limit", reason_code="document_too_large")
    return run
