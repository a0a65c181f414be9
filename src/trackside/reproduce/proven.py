"""Whether tag, record, statement and run of a version fit each other: what does not is never trained."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trackside.documents.codec import dump
from trackside.documents.release import Release
from trackside.documents.run import Run
from trackside.errors import DataError, Refused, TracksideError
from trackside.forge.access import server_of
from trackside.registry.release import statement_of
from trackside.registry.state import Event
from trackside.registry.versions import Version
from trackside.trust.links import RUN, STATEMENT, Check, Gathered, Measured, digest_of, examine

if TYPE_CHECKING:
    from trackside.app import Context
    from trackside.models.source import Source

LINK = "reproduce.md"
BY_BYTES = ("tag statement", "record statement", f"file {STATEMENT}", f"file {RUN}")
"""Checks of bytes that another build of Trackside may write otherwise: one new field with a default is enough."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """A version's tag (None: it is gone), its record, and the run that the record names."""

    tag: str
    model: str
    version: Version
    event: Event | None
    release: Release
    run: Run


def prove(context: Context, source: Source, known: Known) -> tuple[Run, Release]:
    """Run and record, once every link between them holds.

    Statement and run document are made anew from the run's record: their digests must be those in tag and record. Where
    they are not, what was released is fetched and judged instead, and must say what the run's record says.

    Raises:
        Refused: a link is broken (`not_verified`).
    """
    server, found, _ = known.release.url.partition(f"/{known.run.source.repository}/releases/")
    server = server if found else server_of(context.env)
    here = {STATEMENT: statement_of(known.run, server), RUN: dump(known.run)}
    broken = _broken(known, here)
    if broken and all(one.name in BY_BYTES for one in broken):
        try:
            broken = _broken(known, _released(source, known.release))
        except TracksideError as error:
            raise _refused(known, broken, f"and the released statement cannot be had: {error.message}") from error
    if broken:
        raise _refused(known, broken)
    return known.run, known.release


def _broken(known: Known, files: dict[str, bytes]) -> list[Check]:
    gathered = Gathered(
        tag=known.tag,
        model=known.model,
        version=str(known.version),
        event=known.event,
        release=known.release,
        run=known.run,
        files={name: Measured(digest=digest_of(data), size=len(data), content=data) for name, data in files.items()},
    )
    return [one for one in examine(gathered) if one.state == "failed"]


def _released(source: Source, release: Release) -> dict[str, bytes]:
    """Statement and run as the release has them."""
    made = {}
    with source.forge() as forge, tempfile.TemporaryDirectory(prefix="trackside-") as folder:
        for one in forge.assets(release.release_id):
            if one.name in (STATEMENT, RUN):
                path = Path(folder) / one.name
                forge.download(one.id, path, digest=one.digest)
                made[one.name] = path.read_bytes()
    if len(made) < 2:
        raise DataError(f"the release of {release.tag} lacks one", reason_code="asset_missing")
    return made


def _refused(known: Known, broken: list[Check], more: str = "") -> Refused:
    first = broken[0]
    names = ", ".join(dict.fromkeys(one.name for one in broken))
    return Refused(
        f"{known.tag} is not reproduced: what is recorded of it does not fit ({names})",
        why="; ".join(part for part in (f"{first.name}: expected {first.expected}, found {first.found}", more) if part),
        remedy=f"trackside models verify {known.tag} tells more; a run is reproduced by its id without its release",
        link=LINK,
        reason_code="not_verified",
    )
