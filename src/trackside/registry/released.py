"""Whether a version is out: record, tag, GitHub's release, its files and its statement, held against each other."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trackside.documents.release import Release
from trackside.errors import NotFound, Refused
from trackside.forge.model import FoundRelease
from trackside.forge.ports import ContentReader
from trackside.registry.binding import bond, stated
from trackside.registry.read import record, recorded
from trackside.registry.state import Event
from trackside.registry.versions import Version

LINK = "promotion.md"


class ReleaseReader(ContentReader, Protocol):
    """Releases and their files."""

    def release(self, release_id: int) -> FoundRelease: ...
    def download(self, asset_id: int, to: Path, *, digest: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Out:
    """A version that is out: its record, which its tag bears out, and GitHub's release."""

    release: Release
    there: FoundRelease


@dataclass(frozen=True, kw_only=True)
class Statement:
    """The statement that a version's tag names; `inputs` is the digest of what the run was trained on."""

    content: bytes
    inputs: str


def need_same(release: Release, event: Event) -> None:
    """Raises Refused (`tag_moved`) where the tag of a version, whose object was read, does not bear out its record."""
    found = bond(event, release)
    if found.state != "bound":
        raise Refused(
            f"the tag {event.name} is not the one that the release was made with",
            why=found.why,
            remedy="trackside models doctor",
            link=LINK,
            reason_code="tag_moved",
        )


def need_out(reader: ReleaseReader, model: str, version: Version, event: Event, *, branch: str) -> Out | None:
    """The version as it was released; None where no version of the model has a record, as with other tools' models.

    Args:
        event: the version's tag, whose object was read.
        branch: the data branch.

    Raises:
        Refused: its tag is not the one that it was released with (`tag_moved`); it is not released, or not any more
            (`release_missing`); a file of the release is not there (`asset_missing`) or another one
            (`content_mismatch`).
        DataError: its record is damaged (`document_invalid`).
    """
    release = record(reader, model, version, branch=branch)
    if release is None:
        if recorded(reader, model, branch=branch):
            raise _missing(f"{model} v{version} has no record, and others of its versions have one")
        return None
    need_same(release, event)
    if release.state != "published":
        raise Refused(
            f"{model} v{version} is not released",
            why="its files are not all there yet",
            remedy="re-run the job `register` of the commit's release.yml, then ask again",
            link="releases.md",
            reason_code="release_missing",
        )
    try:
        there = reader.release(release.release_id)
    except NotFound:
        raise _missing(f"GitHub has no release {release.release_id} of {release.tag} any more") from None
    if there.tag != release.tag or there.draft:
        raise _missing(f"GitHub's release {there.id} is {'a draft' if there.draft else f'of {there.tag[:100]}'}")
    _need_files(release, there)
    return Out(release=release, there=there)


def statement_of(reader: ReleaseReader, out: Out) -> Statement:
    """The statement, which must bear out what the record says of the model.

    Raises:
        Refused: the release has none (`asset_missing`), or it speaks of another model (`content_mismatch`).
        DataError: it has other bytes than those that the tag names (`content_mismatch`).
    """
    release = out.release
    names = {one.name for one in release.assets if one.role == "statement"}
    found = next((one for one in out.there.assets if one.name in names), None)
    if found is None:
        raise _broken(release, "asset_missing", "it has no statement")
    with tempfile.TemporaryDirectory(prefix="trackside-") as aside:
        path = Path(aside) / "statement"
        reader.download(found.id, path, digest=release.statement_digest)
        content = path.read_bytes()
    why = stated(content, release)
    if why:
        raise _broken(release, "content_mismatch", why)
    try:
        inputs = json.loads(content)["predicate"]["buildDefinition"]["internalParameters"]["inputDigest"]
    except (LookupError, TypeError):
        inputs = ""
    return Statement(content=content, inputs=inputs if isinstance(inputs, str) else "")


def _need_files(release: Release, there: FoundRelease) -> None:
    listed = {one.name: one for one in there.assets}
    for asset in release.assets:
        one = listed.get(asset.name)
        if one is None or not one.uploaded:
            raise _broken(release, "asset_missing", f"{asset.name[:100]} is not there")
        if one.size != asset.size or (one.digest and one.digest != asset.digest):
            raise _broken(
                release, "content_mismatch", f"{asset.name[:100]} is {one.digest or f'{one.size:,} bytes'} there"
            )


def _missing(message: str) -> Refused:
    return Refused(message, remedy="trackside models doctor", link=LINK, reason_code="release_missing")


def _broken(release: Release, code: str, why: str) -> Refused:
    return Refused(
        f"the release of {release.tag} is not what was recorded",
        why=why,
        remedy=f"trackside models doctor; trackside models verify {release.tag}",
        link=LINK,
        reason_code=code,
    )
