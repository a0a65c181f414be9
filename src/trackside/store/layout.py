"""Where things lie on the data branch, and which files a run adds to it: pure."""

from __future__ import annotations

import re
from typing import Any, Literal

from trackside.documents.codec import Document, dump
from trackside.documents.run import Run
from trackside.errors import DataError
from trackside.forge.operations import CommitFiles

DATA_BRANCH = "trackside-data"

FETCH_DATA = f"git fetch origin {DATA_BRANCH}:refs/remotes/origin/{DATA_BRANCH}"
"""Brings the data branch into a clone of a single branch too, where the branch's name alone would set no ref."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_RUN_PATH = re.compile(r"runs/([^/]+)/([^/]+)\.json")
_IMAGE_PATH = re.compile(r"images/([^/]+)/([^/]+)\.json")


class Pointer(Document, frozen=True, kw_only=True):
    """Which run answers these inputs of a model."""

    schema: Literal["trackside.pointer/1"] = "trackside.pointer/1"
    run: str
    model: str
    input_digest: str


def run_path(model: str, run_id: str) -> str:
    """Path of a run record; empty for names that no run can have."""
    return f"runs/{model}/{run_id}.json" if _NAME.fullmatch(model) and _NAME.fullmatch(run_id) else ""


def pointer_path(model: str, digest: str) -> str:
    """Path of the pointer for an input digest (`sha256:<64 hex>`); empty for what is none."""
    found = _DIGEST.fullmatch(digest)
    return f"inputs/{model}/{found[1]}.json" if found and _NAME.fullmatch(model) else ""


def run_of_path(path: str) -> tuple[str, str] | None:
    """Model and run id of a run record's path; None for any other file."""
    found = _RUN_PATH.fullmatch(path)
    return (found[1], found[2]) if found and run_path(found[1], found[2]) == path else None


def image_path(model: str, version: str) -> str:
    """Path of the record of a version's image."""
    return f"images/{model}/{version}.json"


def image_of_path(path: str) -> tuple[str, str] | None:
    """Model and version of an image record's path; None for any other file."""
    found = _IMAGE_PATH.fullmatch(path)
    return (found[1], found[2]) if found and _NAME.fullmatch(found[1]) else None


def files_of(
    run: Run, *, reusable: bool, known: Any = None, keep_pointer: bool = True, branch: str = DATA_BRANCH
) -> CommitFiles:
    """The commit that records a run.

    Args:
        reusable: the run may answer the same inputs again. Only a success without overridden parameters ever does.
        known: plain data that an older copy of this run was read from; its unknown fields are kept.
        keep_pointer: an existing pointer for the same inputs stays (the first answer wins).

    Raises:
        DataError: the model, run id or input digest is no valid name.
    """
    path = run_path(run.model, run.id)
    if not path:
        raise DataError(f"model {run.model!r} with run {run.id!r} cannot be recorded", reason_code="document_invalid")
    files: dict[str, str | None] = {path: dump(run, known=known).decode()}
    keep: frozenset[str] = frozenset()
    if reusable and run.status == "succeeded" and not run.experiment:
        pointer = pointer_path(run.model, run.input_digest)
        if not pointer:
            raise DataError(f"{run.input_digest!r} is no input digest", reason_code="document_invalid")
        files[pointer] = dump(Pointer(run=run.id, model=run.model, input_digest=run.input_digest)).decode()
        keep = frozenset({pointer} if keep_pointer else ())
    message = f"Record run {run.id} of {run.model} ({run.status})"
    return CommitFiles(branch=branch, message=message, files=files, keep=keep)
