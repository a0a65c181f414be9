"""Files on this machine: digests, and where what can be fetched again is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path


def sha256_of(path: Path) -> str:
    """`sha256:<64 hex>` of a file's bytes."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder(env: Mapping[str, str]) -> Path | None:
    """`trackside` below XDG_CACHE_HOME, else below `~/.cache`; None where neither is known. It may not exist."""
    given, home = env.get("XDG_CACHE_HOME", ""), env.get("HOME", "")
    if given.startswith("/"):
        return Path(given) / "trackside"
    return Path(home) / ".cache/trackside" if home else None
