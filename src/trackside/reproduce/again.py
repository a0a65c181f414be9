"""Trains a restored checkout by train's own phases; every stage runs, with neither secrets nor the network's say."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from trackside.documents.codec import load
from trackside.documents.run import Run, Source, Trigger
from trackside.errors import DataError, ToolError, TracksideError
from trackside.reproduce.code import Code
from trackside.reproduce.explain import ABSENT, NAMED, differences
from trackside.system.process import Processes
from trackside.train import state
from trackside.train.environment import probe
from trackside.train.home import homes
from trackside.train.job import TrainJob, TrainPorts
from trackside.train.phases import RUN_FILE, run_phase

LINK = "reproduce.md"
LONGEST = 30 * 86400.0
"""Seconds: nobody's job waits for this, so that the policy's limit, meant for its own runner, does not count."""
NOT_RESTORED = ("environment_failed", "data_missing", "remote_failed")


@dataclass(frozen=True, kw_only=True)
class Again:
    """How to train: `envs` keeps environments by their lock; `install` makes them, else the present Python counts."""

    envs: Path
    install: bool
    ports: TrainPorts

    def train(self, recorded: Run, code: Code, folder: Path, *, dvc_config: str) -> Run:
        """Train the checkout `folder/checkout`; the record of it stays in `folder`.

        Raises:
            DataError: packages or data cannot be restored.
            ToolError: a stage failed; what differs from the recorded environment is said.
            Cancelled: by a signal.
        """
        processes = self.ports.processes
        if self.install and code.train.requirements:
            processes = Processes(with_python(recorded.environment.python, processes, folder / "python"))
        job = TrainJob(
            model=code.model,
            train=code.train,
            source=Source(repository=recorded.source.repository, commit=code.commit, branch=recorded.source.branch),
            trigger=Trigger(event="reproduce"),
            workspace=folder / "checkout",
            state=folder / "state",
            envs=self.envs,
            dvc_config=dvc_config,
            input_digest=recorded.input_digest,
            overrides=recorded.overrides,
            timeout_seconds=LONGEST,
            install=self.install,
            hide=homes(processes.env),
        )
        ports = replace(self.ports, processes=processes)
        try:
            for phase in ("pull", "reproduce", "push", "record"):
                run_phase(phase, job, ports, out=folder)
        except ToolError as error:
            raise _told(error, recorded, job) from error
        return load(Run, (folder / RUN_FILE).read_bytes(), name=RUN_FILE)


def _told(error: ToolError, recorded: Run, job: TrainJob) -> TracksideError:
    """The same failure with what a person can do about it here."""
    if error.reason_code == "data_missing":  # all but imports was there before the training began
        return DataError(
            f"imported data is gone: {error.message}",
            why="neither a data remote nor the place that it was imported from has it",
            remedy="`dvc push` from a machine whose cache has it, or bring back what it was imported from",
            link=LINK,
            reason_code=error.reason_code,
        )
    if error.reason_code in NOT_RESTORED:
        return DataError(
            error.message,
            why=error.why or _last(error.log),
            remedy=error.remedy,
            link=LINK,
            reason_code=error.reason_code,
        )
    done = state.read(job.state, state.Reproduced)
    if error.reason_code == "stage_failed" and done is not None and done.environment is not None:
        found = [one for one in differences(recorded, done.environment, done.hardware) if one.matters]
        found.sort(key=lambda one: one.here != ABSENT)  # what a stage cannot import comes first
        named = "; ".join(f"{one.input}: recorded {one.recorded}, here {one.here}" for one in found[:NAMED])
        error.why = "; ".join(part for part in (_last(error.log), named) if part)
        error.remedy = "look into it with --keep DIR, then `dvc repro` there"
    return error


def _last(log: str) -> str:
    return log.strip().rpartition("\n")[2][-300:]


def with_python(recorded: str, processes: Processes, folder: Path) -> Mapping[str, str]:
    """The environment with the recorded version of Python first on PATH, where this machine has it.

    Args:
        recorded: such as `3.12.6`; the first two numbers must be the same.
        folder: gets links called `python` and `python3`.
    """
    env = processes.env
    wanted = re.match(r"(\d+\.\d+)(\.|$)", recorded)
    here, _ = probe(env, processes, folder.parent)
    if wanted is None or here.startswith(f"{wanted[1]}."):
        return env
    found = shutil.which(f"python{wanted[1]}", path=env.get("PATH", "")) or _managed(wanted[1], processes)
    if not found:
        return env
    folder.mkdir(exist_ok=True)
    for name in ("python", "python3"):
        (folder / name).symlink_to(found)
    return {**env, "PATH": f"{folder}:{env.get('PATH', '')}"}


def _managed(version: str, processes: Processes) -> str:
    """A Python that uv keeps; none is downloaded."""
    uv = shutil.which("uv", path=processes.env.get("PATH", ""))
    if not uv:
        return ""
    words = [uv, "python", "find", "--no-config", "--no-python-downloads", "--system", version]
    done = processes.run(words, check=False, timeout=60)
    return done.text.strip() if done.returncode == 0 else ""
