"""The story of one model: its tags in their order, indexed so that each question costs what its answer costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from trackside.registry.tags import Tag, trailers
from trackside.registry.versions import Version, parse

_RANK = {"register": 0, "assign": 0, "deregister": 1, "unassign": 1, "deprecate": 2}
"""Of two events with one counter: nothing can be taken back before it was done."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """A tag of the registry. What a tag object tells is known only where it was read.

    `commit` is what the tag points at; `tagger` a name, `date` RFC 3339 as the tagger's clock said: for people only,
    nothing is decided by it.
    """

    tag: Tag
    name: str
    object: str
    annotated: bool
    commit: str = ""
    message: str = ""
    tagger: str = ""
    date: str = ""

    @cached_property
    def trailers(self) -> Mapping[str, str]:
        """The `Key: value` lines at the end of the message."""
        return trailers(self.message)

    @property
    def title(self) -> str:
        """The first line of the message."""
        return self.message.partition("\n")[0].strip()


MOST = 10**18 - 1
"""The highest number that counts: one above it, and the next tag could have no name that is read."""


class Story:
    """Everything that tags say of one model. `events` are oldest first.

    Order is by counter. Tags without one come before those with one, but nothing is taken back before it was done.
    A deprecation without a counter, where none has one, is the newest: nothing says that anything came after it.
    `void` are the tags whose counter is above `MOST`: they are no events.
    """

    __slots__ = ("_at", "_holding", "by_stage", "by_version", "events", "latest", "live", "top", "versions", "void")

    def __init__(self, events: Iterable[Event]) -> None:
        told = list(events)
        self.void = tuple(one for one in told if counter(one) > MOST)
        given = [one for one in told if counter(one) <= MOST] if self.void else told
        done: dict[object, int] = {}  # of every version and stage: where it was done first
        for one in given:
            if _RANK[one.tag.action] == 0:
                at, key = counter(one), one.tag.version or one.tag.stage
                done[key] = min(at, done.get(key, at))
        ends = not any(one.tag.action == "deprecate" and one.tag.counter is not None for one in given)
        self.events = tuple(sorted(given, key=lambda one: _order(one, done, ends=ends)))
        self.by_version: dict[Version, list[Event]] = {}
        self.by_stage: dict[str, list[Event]] = {}
        self._at: dict[str, list[Event]] = {}
        self.top = 0
        for one in self.events:
            tag = one.tag
            self.top = max(self.top, tag.counter or 0)
            if tag.version is not None:
                self.by_version.setdefault(tag.version, []).append(one)
                if tag.action == "register" and one.commit:
                    self._at.setdefault(one.commit, []).append(one)
            elif tag.stage:
                self.by_stage.setdefault(tag.stage, []).append(one)
        self.latest = {version: told[-1] for version, told in self.by_version.items()}
        self.live = {version for version, last in self.latest.items() if last.tag.action == "register"}
        self.versions = tuple(sorted(self.live, key=Version.key))
        self._holding: dict[str, Event | None] = {}

    def registered(self, version: Version) -> Event | None:
        """The tag that registered a version: the newest where there are several, rather an annotated one."""
        found = [one for one in self.by_version.get(version, ()) if one.tag.action == "register"]
        return next((one for one in reversed(found) if one.annotated), found[-1] if found else None)

    def version_of(self, event: Event) -> Version | None:
        """Which version an (un)assignment means: its trailer `Version`, else the version tag at its commit.

        Of several at one commit: one that is registered still, that was so before the event, and the highest. None
        where nothing tells, and where the version was never registered.
        """
        if not event.tag.stage:
            return None
        named = parse(event.trailers.get("Version", ""))
        if named is not None:
            return named if self.registered(named) is not None else None
        found = self._at.get(event.commit, ()) if event.commit else ()
        if len(found) > 1:
            found = [one for one in found if one.tag.version in self.live] or found
            found = [one for one in found if counter(one) <= counter(event)] or found
        return max((one.tag.version for one in found if one.tag.version is not None), default=None)

    def holding(self, stage: str) -> Event | None:
        """The assignment by which a stage is held now."""
        if stage not in self._holding:
            self._holding[stage] = self.play(self.by_stage.get(stage, ()))
        return self._holding[stage]

    def play(self, events: Sequence[Event], end: int | None = None) -> Event | None:
        """The assignment that stands after the first `end` events (all) of a stage that came in this order.

        As for GTO an unassignment ends what its own version holds: the newest assignment of another one that still
        stands holds again. So it is with a version that was deregistered.
        """
        ended: set[object] = set()
        commits: set[str] = set()
        for at in range(len(events) if end is None else end, 0, -1):
            one = events[at - 1]
            version = self.version_of(one)
            if version is not None and version not in self.live:
                continue
            key = version if version is not None else one.commit or one.name
            if one.tag.action == "unassign":
                ended.add(key)
                if one.commit and not one.trailers.get("Version"):
                    commits.add(one.commit)
            elif key not in ended and one.commit not in commits:
                return one
        return None

    def held(self, stage: str) -> Iterator[Event]:
        """The assignments that held a stage after each of its events, newest first: one may come more than once."""
        events = self.by_stage.get(stage, [])
        for end in range(len(events), 0, -1):
            now = self.play(events, end)
            if now is not None:
                yield now


def counter(event: Event) -> int:
    """The number of an event; of one without, that of before all others."""
    return -1 if event.tag.counter is None else event.tag.counter


def _order(event: Event, done: Mapping[object, int], *, ends: bool) -> tuple[float, int, str]:
    """`done`: the counter of what an undoing tag undoes. `ends`: a deprecation without a counter comes last."""
    action = event.tag.action
    number: float = counter(event)
    if event.tag.counter is None and action == "deprecate" and ends:
        number = math.inf
    elif event.tag.counter is None and _RANK[action] == 1:
        number = done.get(event.tag.version or event.tag.stage, number)
    return number, _RANK[action], event.name
