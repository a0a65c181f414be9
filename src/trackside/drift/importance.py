"""What a model relies on, as it says itself: the importance of its features, from a file that its run wrote."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from trackside.documents.profile import Profile
from trackside.errors import DataError

LIMIT = 4 * 1024 * 1024
"""Bytes of the file."""


def read_importance(path: Path) -> dict[str, float]:
    """Importance by column, of any unit and sign: a JSON object, or a list of `{"feature": name, "importance": x}`.

    Raises:
        DataError: not such a file, or a value that is no finite number.
    """
    try:
        data = path.read_bytes()
        found = msgspec.json.decode(data) if len(data) <= LIMIT else None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _bad(path, "it cannot be read as JSON") from None
    if isinstance(found, list) and all(isinstance(one, dict) for one in found):
        found = {str(one.get("feature", "")): one.get("importance") for one in found}
    if not isinstance(found, dict) or not found:
        raise _bad(path, "it holds no object of columns and numbers")
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise _bad(path, f"the importance of {name[:80]!r} is no finite number")
    return {name: float(value) for name, value in found.items()}


def with_importance(profile: Profile, path: Path) -> Profile:
    """The profile with what the model relies on, of the columns that it has. Raises as `read_importance` does."""
    known = {one.name for one in profile.columns}
    found = {name: value for name, value in read_importance(path).items() if name in known}
    return msgspec.structs.replace(profile, details={**profile.details, "importance": found})


def _bad(path: Path, why: str) -> DataError:
    return DataError(
        f"the importance of features in {path.name} cannot be used",
        why=why,
        remedy='write {"column": number, …} to it in training, or take drift.importance out of trackside.yaml',
        link="drift.md",
        reason_code="reference_invalid",
    )
