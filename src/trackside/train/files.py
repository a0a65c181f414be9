"""Files that a pull request's code left behind: only regular ones of the checkout are read, never more than asked."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Sequence
from pathlib import Path

from trackside.errors import DataError


def inside(path: str, workspace: Path, allowed: Sequence[Path] = ()) -> Path:
    """Where a path of the checkout really lies; links may lead within it or into `allowed` (DVC's cache) only.

    Raises:
        DataError: it does not exist, or lies elsewhere.
    """
    try:
        real = (workspace / path).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path} was not made") from error
    if not any(real.is_relative_to(root.resolve()) for root in (workspace, *allowed)):
        raise DataError(f"{path} leads out of the checkout")
    return real


def read(path: str, workspace: Path, *, limit: int, allowed: Sequence[Path] = ()) -> bytes:
    """Content of a regular file of at most `limit` bytes.

    Raises:
        DataError: missing, elsewhere, no regular file, too large.
    """
    real = inside(path, workspace, allowed)
    found = real.stat()
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{path} is no regular file")
    if found.st_size > limit:
        raise DataError(f"{path} has {found.st_size:,} bytes; at most {limit:,} are read")
    with real.open("rb") as file:
        return file.read(limit)


def digest(path: str, workspace: Path, allowed: Sequence[Path] = ()) -> tuple[str, int]:
    """`sha256:…` and size of an output. A folder: over its sorted [path, sha256, size] rows; links out are left out.

    Raises:
        DataError: missing, elsewhere, or neither file nor folder.
    """
    real = inside(path, workspace, allowed)
    if real.is_file():
        return "sha256:" + _sha256(real), real.stat().st_size
    if not real.is_dir():
        raise DataError(f"{path} is neither file nor folder")
    rows: list[tuple[str, str, int]] = []
    for file in sorted(real.rglob("*")):
        target = file.resolve()
        if target.is_file() and any(target.is_relative_to(root.resolve()) for root in (workspace, *allowed)):
            rows.append((file.relative_to(real).as_posix(), _sha256(target), target.stat().st_size))
    listing = json.dumps(rows, separators=(",", ":")).encode()
    return "sha256:" + hashlib.sha256(listing).hexdigest(), sum(row[2] for row in rows)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
