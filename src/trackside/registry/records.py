"""Records of releases on the data branch: where they lie and whether a file is one."""

from __future__ import annotations

import re

from trackside.documents.codec import load
from trackside.documents.release import Release
from trackside.errors import DataError
from trackside.registry.versions import Version, parse

MODEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98}[A-Za-z0-9])?")
"""Names of models that can have records; tags can name others too."""
_PATH = re.compile(r"releases/([^/]+)/([^/]+)\.json")


def record_path(model: str, version: Version | str) -> str:
    """Path of a release's record on the data branch; empty for names that no release can have."""
    made = parse(str(version))
    return f"releases/{model}/{made}.json" if made is not None and MODEL.fullmatch(model) else ""


def of_path(path: str) -> tuple[str, Version] | None:
    """Model and version of a record's path; None for any other file."""
    found = _PATH.fullmatch(path)
    version = parse(found[2]) if found else None
    return (found[1], version) if found and version and record_path(found[1], version) == path else None


def parsed(path: str, data: bytes) -> Release:
    """A record's file. Raises DataError: damaged, or it speaks of another model or version than its path."""
    found = load(Release, data, name=path)
    if record_path(found.model, found.version) != path:
        raise DataError(f"{path} holds another release", reason_code="document_invalid")
    return found
