"""`trackside models history`: the audit log. Every tag is an event; none is ever taken out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trackside.models.layout import columns, emit, moment, printable, stamp, table, utc
from trackside.models.which import unknown_model
from trackside.registry.state import Event, RegistryState
from trackside.registry.versions import Version

if TYPE_CHECKING:
    from trackside.app import Context
    from trackside.models.source import Source

SCHEMA = "trackside.history/1"
_DIGEST = re.compile(r"\b[0-9a-f]{32,64}\b")
_SAID = frozenset({"Version", "Actor", "Reason", "Run-Id", "Rolled-Back", "Before"})
"""Trailers that the sentence of an event holds already, or that only tools want."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An event in words. `evidence` are the other trailers of its tag, in their order."""

    event: Event
    version: Version | None
    what: str
    actor: str
    reason: str
    evidence: tuple[tuple[str, str], ...]


def entry(state: RegistryState, event: Event) -> Entry:
    """What an event says."""
    said = event.trailers
    return Entry(
        event=event,
        version=event.tag.version or state.version_of(event),
        what=sentence(state, event),
        actor=actor(event),
        reason=said.get("Reason", ""),
        evidence=tuple((key, text) for key, text in said.items() if key not in _SAID and text),
    )


def actor(event: Event) -> str:
    """Who did it: as the tag's message says, else as its tagger is called."""
    return event.trailers.get("Actor", "") or event.tagger


def sentence(state: RegistryState, event: Event) -> str:
    """`prod is v1.1.0`, in words."""
    tag = event.tag
    version = state.version_of(event) if tag.action == "assign" else None
    if tag.action == "register":
        return f"registered v{tag.version}"
    if tag.action == "deregister":
        return f"took v{tag.version} out of use"
    if tag.action == "deprecate":
        return "took the model out of use"
    if tag.action == "unassign":
        return f"emptied {tag.stage}"
    back = event.trailers.get("Rolled-Back", "")
    held = f"v{version}" if version is not None else "an unknown version"
    return f"gave {tag.stage} back to {held}, from v{back}" if back else f"promoted {held} to {tag.stage}"


def course(state: RegistryState, model: str) -> list[Event]:
    """All events of a model, oldest first.

    Counters order what happened to stages; version tags mostly have none. Where those go between is for people only:
    a version comes before the first event that names it, and otherwise where its date says.
    """
    events = state.events_of(model)
    bare = [one for one in events if one.tag.counter is None]
    last: dict[Version | None, int] = {
        one.tag.version: place for place, one in enumerate(bare) if one.tag.version is not None
    }
    made: list[Event] = []
    at = 0
    for event in (one for one in events if one.tag.counter is not None):
        version = event.tag.version or (state.version_of(event) if event.tag.stage else None)
        needed = last.get(version, -1)
        while at < len(bare) and (at <= needed or _before(bare[at], event)):
            made.append(bare[at])
            at += 1
        made.append(event)
    return [*made, *bare[at:]]


def _before(one: Event, other: Event) -> bool:
    first, second = moment(one.date), moment(other.date)
    return first is not None and second is not None and first <= second


def history(context: Context, source: Source, model: str, limit: int) -> int:
    """Print the newest `limit` events of a model, or of each model (0: all), the newest first.

    Raises:
        NotFound: no tag names the model.
    """
    state = source.state(model)
    if model and not state.events_of(model):
        raise unknown_model(source.state(), model)
    told = [(name, _newest(state, name, limit)) for name in ((model,) if model else state.models())]
    if context.json:
        emit(context, document(source.repository, told))
        return 0
    room = columns(context)
    for at, (name, entries) in enumerate(told):
        if not model:
            context.say(("\n" if at else "") + printable(name))
        context.say(shown(entries, room))
    if not told:
        context.say("nothing has happened yet")
    return 0


def _newest(state: RegistryState, model: str, limit: int) -> list[Entry]:
    events = course(state, model)[::-1]
    return [entry(state, one) for one in (events[:limit] if limit else events)]


def shown(entries: Sequence[Entry], room: int) -> str:
    """The log for people: a row an event, reason and evidence with it."""
    cells = [
        [utc(one.event.date) or "-", one.actor or "-", one.what, "; ".join(_because(one)), one.event.name]
        for one in entries
    ]
    head = ["WHEN (UTC)", "WHO", "WHAT", "WHY", "TAG"]
    return table(head, cells, room=room, shrink={3: 20, 2: 18, 4: 14, 1: 8}, lines=0)


def _because(one: Entry) -> Iterator[str]:
    if one.reason:
        yield one.reason
    if not one.event.annotated:
        yield "a lightweight tag: nobody says who and why"
    for key, text in one.evidence:
        yield f"{key.replace('-', ' ').lower()} {_DIGEST.sub(lambda found: found[0][:12], text)}"


def document(repository: str, told: Sequence[tuple[str, Sequence[Entry]]]) -> dict[str, Any]:
    """The log for tools, newest first."""
    return {
        "schema": SCHEMA,
        "repository": repository,
        "events": [_plain(name, one) for name, entries in told for one in entries],
    }


def _plain(model: str, one: Entry) -> dict[str, Any]:
    event = one.event
    return {
        "model": model,
        "action": event.tag.action,
        "tag": event.name,
        "version": f"v{one.version}" if one.version is not None else "",
        "stage": event.tag.stage,
        "counter": event.tag.counter,
        "commit": event.commit,
        "annotated": event.annotated,
        "at": stamp(event.date),
        "actor": one.actor,
        "reason": one.reason,
        "text": one.what,
        "trailers": dict(event.trailers),
    }
