"""Whether a release proves its record, so that a repair need not take the data branch's word for it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trackside.documents.codec import load
from trackside.documents.release import Release
from trackside.documents.run import Run
from trackside.errors import DataError, NotFound
from trackside.forge.model import FoundRelease
from trackside.registry.package import FOLDER
from trackside.registry.state import RegistryState
from trackside.registry.versions import parse
from trackside.trust.links import NEEDED, RUN, STATEMENT, Gathered, Measured, digest_of, examine

if TYPE_CHECKING:
    from trackside.forge.github import GithubForge

ASKED = 50
"""Records that are looked into at once: each costs a comparison and two downloads."""
LARGEST = 16 << 20
"""Bytes of a run document or statement."""
LINKS = {name for name in NEEDED if not name.startswith("tag") and name != "model"}
"""What must hold; the tag is what is missing, and the model itself is judged by who fetches it."""


def doubts(
    forge: GithubForge, folder: Path, state: RegistryState, records: Iterable[Release], releases: Sequence[FoundRelease]
) -> Mapping[str, str]:
    """Why a record is not proven, by tag; empty text where it is. Only where tag or release is not whole.

    Args:
        folder: our own, for what is downloaded.

    Raises:
        ForgeError: GitHub cannot be asked.
    """
    by_id = {one.id: one for one in releases}
    made: dict[str, str] = {}
    branch = ""
    for record in _questioned(state, records, by_id):
        if len(made) >= ASKED:
            made[record.tag] = f"more than {ASKED} such records are too many to look into at once"
            continue
        branch = branch or forge.default_branch()
        found = by_id.get(record.release_id)
        try:
            made[record.tag] = _doubt(forge, folder, state, record, found, branch)
        except (DataError, NotFound) as error:
            made[record.tag] = f"the files of its release cannot be had: {error.message}"
    return made


def _questioned(
    state: RegistryState, records: Iterable[Release], by_id: Mapping[int, FoundRelease]
) -> Iterator[Release]:
    for one in records:
        version, found = parse(one.version), by_id.get(one.release_id)
        event = state.version_event(one.model, version) if version is not None else None
        if one.state == "published" and (event is None or not event.annotated or (found is not None and found.draft)):
            yield one


def _doubt(
    forge: GithubForge, folder: Path, state: RegistryState, record: Release, found: FoundRelease | None, branch: str
) -> str:
    if found is None or found.tag != record.tag:
        return "the release that it names is gone"
    there = {one.name: one for one in found.assets if one.uploaded and one.size <= LARGEST}
    lacks = [name for name in (STATEMENT, RUN) if name not in there]
    if lacks:
        return f"its release carries no {' and no '.join(lacks)}"
    other = _same_run(state, record)
    if other:
        return f"its run is the one that {other} was made of"
    whole = [one for one in record.assets if one.role == "model" and not one.part and not one.name.endswith(FOLDER)]
    if any(one.digest != record.model_digest for one in whole):
        return "the model among its files is not the one that it names"
    with tempfile.TemporaryDirectory(prefix="trackside-", dir=folder) as place:
        for name in (STATEMENT, RUN):
            forge.download(there[name].id, Path(place) / name, digest=there[name].digest)
        files = {name: (Path(place) / name).read_bytes() for name in (STATEMENT, RUN)}
    broken = _broken(record, files)
    if broken:
        return f"its release does not prove it ({', '.join(broken)})"
    if not forge.contains(branch, record.commit):
        return f"commit {record.commit[:12]} is not on {branch}"
    return ""


def _same_run(state: RegistryState, record: Release) -> str:
    """Another version whose tag names the same run: its files would prove this record just as well."""
    others = (one for one in state.events_of(record.model) if one.tag.action == "register" and one.name != record.tag)
    return next((one.name for one in others if one.trailers.get("Run-Id", "") == record.run), "")


def _broken(record: Release, files: Mapping[str, bytes]) -> list[str]:
    """Names of links between record, statement and run that do not hold."""
    try:
        run = load(Run, files[RUN], name=RUN)
    except DataError:
        return ["run"]
    known = Gathered(
        tag=record.tag,
        model=record.model,
        version=record.version,
        release=record,
        run=run,  # the data branch's own copy proves nothing here
        files={name: Measured(digest=digest_of(data), size=len(data), content=data) for name, data in files.items()},
    )
    good = {one.name for one in examine(known) if one.state == "ok"}
    return sorted(LINKS - good)
