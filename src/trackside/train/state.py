"""What a phase hands to the next one: small JSON files that are replaced whole, so that a kill never leaves half."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TypeVar

import msgspec

from trackside.documents.run import Dependency, Environment, Hardware, Metric, StageRun, Status, Usage
from trackside.plan.pipeline import PipelineInputs

T = TypeVar("T")


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """After pull: objects there by digest, stages whose outputs were put back, notes for the reader."""

    input_digest: str
    objects: list[str] = []
    restored: list[str] = []
    restored_from: str = ""
    baseline_file: str = ""
    champion_file: str = ""
    notes: list[str] = []


class Reproduced(msgspec.Struct, frozen=True, kw_only=True):
    """During and after reproduce. `status` is None while it runs: found later, it was killed."""

    input_digest: str
    started_at: str
    finished_at: str = ""
    status: Status | None = None
    reason_code: str = "trained"
    stages: list[StageRun] = []
    environment: Environment | None = None
    hardware: Hardware = Hardware()
    usage: Usage = Usage()
    log_tail: str = ""
    restored_from: str = ""


class Champion(msgspec.Struct, frozen=True, kw_only=True):
    """The baseline's model judged on this run's data: `predictions` is a digest, `note` why it was not judged."""

    input_digest: str
    run: str
    predictions: str = ""
    metrics: list[Metric] = []
    note: str = ""


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """After push: how many objects the remote holds of this run, as digests."""

    input_digest: str
    objects: list[str] = []
    notes: list[str] = []


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Whose state this is, and the word that the checkout it belongs to holds."""

    job: str
    token: str


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """What the plan resolved, as plain data."""

    inputs: PipelineInputs
    dependencies: list[Dependency] = []


def save(folder: Path, value: msgspec.Struct) -> None:
    """Write `<type>.json`, on disk before it gets its name."""
    write(folder / f"{type(value).__name__.lower()}.json", msgspec.json.format(msgspec.json.encode(value), indent=1))


def read(folder: Path, kind: type[T]) -> T | None:
    """The value of that type, or None where there is none that can be read."""
    try:
        return msgspec.json.decode((folder / f"{kind.__name__.lower()}.json").read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None


def write(path: Path, data: bytes) -> None:
    """Replace a file whole. A symbolic link in its place is replaced, not followed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def scratch(folder: Path, name: str) -> Path:
    """A folder below the state folder, made where missing."""
    made: Path = folder / name
    made.mkdir(parents=True, exist_ok=True)
    return made


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why the last phase that failed did."""

    phase: str
    reason_code: str
    message: str
    log: str = ""


def clear(folder: Path, kind: type[msgspec.Struct]) -> None:
    (folder / f"{kind.__name__.lower()}.json").unlink(missing_ok=True)


def claim(folder: Path, job: str) -> str:
    """Make the folder this job's: what another job left there is removed. Returns the job's token."""
    found = read(folder, Claim)
    if found is None or found.job != job:
        forget(folder)
        found = Claim(job=job, token=secrets.token_hex(16))
        save(folder, found)
    return found.token


def forget(folder: Path) -> None:
    """Remove what phases left."""
    for kind in (Inputs, Pulled, Reproduced, Champion, Pushed, Failure):
        clear(folder, kind)
