"""What the job `attest` signs: the predicate of a version's statement, and the digests that it is about."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import msgspec

from trackside.documents.release import Release
from trackside.errors import DataError

FOLDER = "attest"
PREDICATE, SUBJECTS = "predicate.json", "subjects.txt"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[^\x00-\x20\x7f]+")


def write(folder: Path, release: Release, statement: bytes) -> Path:
    """`attest/<tag>/predicate.json` and `subjects.txt` (lines as `sha256sum` writes them) below a folder.

    Subjects are those of the statement, and every file that the release was published with.

    Args:
        statement: `provenance.intoto.json` of the release.

    Raises:
        DataError: the statement is not the one that the record of the release names.
    """
    digest = "sha256:" + hashlib.sha256(statement).hexdigest()
    if digest != release.statement_digest:
        raise DataError(
            f"the statement of {release.tag} is not the one that its tag names",
            why=f"expected {release.statement_digest}, found {digest}",
            remedy="see what was released: trackside models verify",
            link="provenance.md",
            reason_code="content_mismatch",
        )
    said: dict[str, Any] = json.loads(statement)
    rows = {str(one["digest"]["sha256"]): str(one["name"]) for one in reversed(said["subject"])}
    for asset in release.assets:
        rows.setdefault(asset.digest.removeprefix("sha256:"), asset.name)
    target = folder / FOLDER / release.tag
    target.mkdir(parents=True, exist_ok=True)
    (target / PREDICATE).write_bytes(msgspec.json.encode(said["predicate"], order="sorted") + b"\n")
    lines = [f"{sha}  {_plain(name)}" for sha, name in sorted(rows.items()) if _SHA256.fullmatch(sha)]
    (target / SUBJECTS).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


def _plain(name: str) -> str:
    """A name without white space and control characters, which would end a line or a word."""
    return "".join(_NAME.findall(name)) or "file"
