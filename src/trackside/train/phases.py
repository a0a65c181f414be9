"""The phases by name: each runs, leaves its state behind, and a failure is written down before it is raised."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trackside.documents.codec import dump
from trackside.documents.result import Result
from trackside.documents.run import Run
from trackside.errors import ConfigError, ToolError, TracksideError
from trackside.train import state
from trackside.train.job import TrainJob, TrainPorts
from trackside.train.pull import pull
from trackside.train.push import push
from trackside.train.record import record
from trackside.train.reproduce import reproduce
from trackside.train.scrub import masked, secrets_of

RUN_FILE = "run.json"


def run_phase(phase: str, job: TrainJob, ports: TrainPorts, *, out: Path) -> Result:
    """Run `pull`, `reproduce`, `push` or `record`; the last one writes `run.json` into `out`.

    Raises:
        TracksideError: as the phase does, after the failure was recorded.
        ConfigError: there is no such phase.
    """
    phases: dict[str, Callable[[TrainJob, TrainPorts], Result]] = {
        "pull": _pull,
        "reproduce": _reproduce,
        "push": _push,
        "record": lambda job, ports: _record(job, ports, out),
    }
    if phase not in phases:
        raise ConfigError(f"no such phase: {phase[:50]!r}", remedy="one of " + ", ".join(phases))
    state.claim(job.state, job.identity)
    if phase == "record":
        return phases[phase](job, ports)
    state.clear(job.state, state.Failure)
    try:
        return phases[phase](job, ports)
    except TracksideError as error:
        hidden = secrets_of(ports.processes.env, job.remote_env)
        log = error.log if isinstance(error, ToolError) and phase != "reproduce" else ""
        state.save(
            job.state,
            state.Failure(
                phase=phase,
                reason_code=error.reason_code,
                message=masked(": ".join(part for part in (error.message, error.why) if part), hidden)[:2000],
                log=masked(log, hidden)[-4000:],
            ),
        )
        raise


def _pull(job: TrainJob, ports: TrainPorts) -> Result:
    made = pull(job, ports)
    return Result(
        command="train pull",
        decision="done",
        reason_code="data_pulled",
        message="; ".join([f"{len(made.restored)} stages restored", *made.notes]),
        values={"restored": made.restored, "notes": made.notes},
    )


def _reproduce(job: TrainJob, ports: TrainPorts) -> Result:
    made = reproduce(job, ports)
    executed = sum(one.outcome == "executed" for one in made.stages)
    return Result(
        command="train reproduce",
        decision="done",
        reason_code=made.reason_code,
        message=f"{executed} of {len(made.stages)} stages executed",
        values={"executed": executed, "stages": len(made.stages)},
    )


def _push(job: TrainJob, ports: TrainPorts) -> Result:
    made = push(job, ports)
    return Result(
        command="train push",
        decision="done",
        reason_code="outputs_pushed",
        message="; ".join([f"{len(made.objects)} objects in the remote", *made.notes]),
        values={"objects": len(made.objects)},
    )


def _record(job: TrainJob, ports: TrainPorts, out: Path) -> Result:
    run: Run = record(job, ports)
    state.write(out / RUN_FILE, dump(run))
    return Result(
        command="train record",
        decision="done" if run.status == "succeeded" else "failed",
        reason_code=run.reason_code,
        message=f"run {run.id}: {run.status}",
        ids={"run": run.id},
        values={
            "status": run.status,
            "executed": sum(one.outcome == "executed" for one in run.stages),
        },
    )
