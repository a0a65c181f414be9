"""Paths of pipelines: relative to the repository's root, normalised, and inside it."""

from __future__ import annotations

import posixpath
import re

from trackside.errors import ConfigError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
MAX_PATH = 1000


def is_url(path: str) -> bool:
    return bool(_URL.match(path))


def inside(base: str, path: str, *, file: str) -> str:
    """`path`, which `file` gives relative to folder `base`, from the root; `.` is the root itself.

    Raises:
        ConfigError: absolute, outside the repository, within `.git`, too long, not UTF-8 or with control characters.
    """
    made = posixpath.normpath(posixpath.join(base, path))
    if not path or len(made) > MAX_PATH or any(ord(c) < 32 or 0xD800 <= ord(c) <= 0xDFFF for c in made):
        raise ConfigError(f"not a usable path: {made[:100]!r}", file=ascii(file)[1:-1], link="pipelines.md")
    if path.startswith(("/", "~")) or re.match(r"[A-Za-z]:[\\/]", path) or made == ".." or made.startswith("../"):
        raise ConfigError(
            f"{path!r} is outside the repository",
            file=file,
            remedy="use a path inside the repository; bring outside data in with `dvc import-url`",
            link="pipelines.md",
            reason_code="path_outside",
        )
    if made == ".git" or made.startswith(".git/"):
        raise ConfigError(f"{path!r} is git's own folder", file=file, link="pipelines.md", reason_code="path_outside")
    return made
