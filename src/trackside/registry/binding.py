"""What binds a record of the data branch to the tag of its version: pure.

Whoever may write the data branch may write any record. Tags of versions are made once, by the register job, and name
the run and the sha256 of the statement; the statement names the model's digest and that of the run document. So a
record is believed as far as the tag bears it out, and its fields as far as the statement does.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from trackside.documents.image import Image
from trackside.documents.release import Release
from trackside.registry.state import Event
from trackside.registry.tags import version_tag
from trackside.system.text import inert
from trackside.train.provenance import subjects

RUN_ID, STATEMENT_SHA256 = "Run-Id", "Statement-Sha256"
"""Trailers of a version's tag."""


@dataclass(frozen=True, kw_only=True)
class Bond:
    """How a record stands to a tag; `why` says in words what is amiss, empty where nothing is.

    `bound`: the tag names the record's run and statement. `unbound`: the tag names no statement, as those of other
    tools and lightweight ones: any record would do. `moved`: it is not the tag that the release was made with, or is
    at another commit. `differs`: it names another run or statement, or the record speaks of another version.
    """

    state: Literal["bound", "unbound", "moved", "differs"]
    why: str = ""


def bond(event: Event, release: Release) -> Bond:
    """Hold a record against the tag of its version, whose object was read."""
    name = version_tag(event.tag.model, event.tag.version or "")
    if (release.tag, version_tag(release.model, release.version)) != (name, name):
        return Bond(state="differs", why=f"the record speaks of {_told(release.tag)}")
    if event.commit and event.commit != release.commit:
        return Bond(state="moved", why=f"it is at {event.commit[:12]}; the release was made of {release.commit[:12]}")
    if release.tag_object not in ("", event.object):
        return Bond(
            state="moved", why=f"it is {event.object[:12]}; the release was made with {release.tag_object[:12]}"
        )
    run, statement = event.trailers.get(RUN_ID, ""), event.trailers.get(STATEMENT_SHA256, "")
    if run and run != release.run:
        return Bond(state="differs", why=f"it names the run {_told(run)}, the record {_told(release.run)}")
    if statement and f"sha256:{statement}" != release.statement_digest:
        recorded = release.statement_digest.removeprefix("sha256:")[:12] or "none"
        return Bond(
            state="differs", why=f"it names the statement {_told(statement)[:12]}, the record {_told(recorded)}"
        )
    if not run or not statement:
        kind = "names no statement" if event.annotated else "is a lightweight tag"
        return Bond(state="unbound", why=f"the tag {event.name} {kind}: nothing binds the record to it")
    return Bond(state="bound")


def _told(text: str) -> str:
    """Words of a tag or a record, as a terminal may see them."""
    return " ".join(inert(text[:64]).split())


def holds_it(image: Image, release: Release) -> bool:
    """Whether an image's record speaks of the version of a release's."""
    return (image.tag, image.model_digest, image.run, image.commit) == (
        release.tag,
        release.model_digest,
        release.run,
        release.commit,
    )


def stated(statement: bytes, release: Release) -> str:
    """What of a bound record the statement does not bear out, in words; empty where it holds.

    Args:
        statement: the bytes as released, or made anew from the run's record.
    """
    digest = "sha256:" + hashlib.sha256(statement).hexdigest()
    if digest != release.statement_digest:
        return f"the statement is {digest[:19]}, the tag names {_told(release.statement_digest)[:19]}"
    try:
        said = msgspec.json.decode(statement, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "the statement cannot be read"
    if release.model_digest not in subjects(said):
        return f"the statement is not about the model {_told(release.model_digest)[:19]}"
    return ""
