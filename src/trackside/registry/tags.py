"""The tag grammar of GTO (iterative's Git Tag Ops 1.x), and the pure fold from tags to the state of the registry.

    register  NAME@v1.2.3[#N]   deregister NAME@v1.2.3![#N]   deprecate NAME@deprecated[#N]
    assign    NAME#STAGE[#N]    unassign   NAME#STAGE![#N]

NAME may stand behind a folder (`DIR=NAME`). N counts the events of a NAME. Order is by N, never by clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from trackside.forge.model import TagObject, TagRef
from trackside.registry.versions import PATTERN, Version, parse

Action = Literal["register", "deregister", "deprecate", "assign", "unassign"]

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9/_-]*[A-Za-z0-9])?"
_TAG = re.compile(
    rf"(?P<model>(?:[^=#@!\s]+=)?{_NAME})"
    rf"(?:@(?P<version>v{PATTERN})|(?P<deprecated>@deprecated)|#(?P<stage>{_NAME}))"
    r"(?P<undo>!)?(?:#(?P<counter>[0-9]{1,9}))?"
)
_TRAILER = re.compile(r"(?P<key>[A-Za-z][A-Za-z0-9-]*): (?P<value>.*)")


@dataclass(frozen=True, kw_only=True)
class Tag:
    """One tag name, understood. `counter` is None where the name has none."""

    action: Action
    model: str
    version: Version | None = None
    stage: str = ""
    counter: int | None = None

    def __str__(self) -> str:
        undo = "!" if self.action in ("deregister", "unassign") else ""
        what = f"#{self.stage}" if self.stage else f"@v{self.version}" if self.version else "@deprecated"
        return f"{self.model}{what}{undo}" + ("" if self.counter is None else f"#{self.counter}")


def read(name: str) -> Tag | None:
    """What a tag's name says; None for a tag that is none of the registry's."""
    found = _TAG.fullmatch(name)
    if found is None:
        return None
    model, undo = found["model"], bool(found["undo"])
    counter = None if found["counter"] is None else int(found["counter"])
    if found["version"]:
        action: Action = "deregister" if undo else "register"
        return Tag(action=action, model=model, version=parse(found["version"]), counter=counter)
    if found["stage"]:
        return Tag(action="unassign" if undo else "assign", model=model, stage=found["stage"], counter=counter)
    return None if undo else Tag(action="deprecate", model=model, counter=counter)


def version_tag(model: str, version: Version | str) -> str:
    """`delay@v1.1.0`."""
    return f"{model}@v{version}"


def stage_tag(model: str, stage: str, counter: int, *, unassign: bool = False) -> str:
    """`delay#prod#3`, or `delay#prod!#3` which leaves the stage empty."""
    return f"{model}#{stage}{'!' if unassign else ''}#{counter}"


def message(title: str, trailers: Mapping[str, str]) -> str:
    """A tag's message: one line, then `Key: value` lines; white space of values is folded, empty ones left out."""
    lines = [f"{key}: {' '.join(value.split())}" for key, value in trailers.items() if value.strip()]
    return "\n".join([" ".join(title.split()), "", *lines]).rstrip() + "\n"


def trailers(text: str) -> dict[str, str]:
    """The `Key: value` lines of the last paragraph; of equal keys the first counts. A signature is none of it."""
    body = text.replace("\r\n", "\n").partition("\n-----BEGIN ")[0].rstrip()
    first, _, last = body.rpartition("\n\n")
    found: dict[str, str] = {}
    for line in last.split("\n") if first else []:
        row = _TRAILER.fullmatch(line)
        if row is not None:
            found.setdefault(row["key"], row["value"].strip())
    return found


@dataclass(frozen=True, kw_only=True)
class Event:
    """A tag of the registry. `commit` and `trailers` are known only where its object was read."""

    tag: Tag
    name: str
    object: str
    annotated: bool
    commit: str = ""
    trailers: Mapping[str, str] = field(default_factory=dict)

    @property
    def order(self) -> tuple[int, str]:
        return (-1 if self.tag.counter is None else self.tag.counter, self.name)


@dataclass(frozen=True)
class RegistryState:
    """What the tags say. All answers are for names as in `trackside.yaml`; order is oldest first unless told."""

    events: tuple[Event, ...]

    def models(self) -> tuple[str, ...]:
        return tuple(sorted({one.tag.model for one in self.events}))

    def versions(self, model: str) -> tuple[Version, ...]:
        """Registered versions, lowest first. As for GTO, lightweight tags are none."""
        last: dict[Version, Event] = {}
        for one in self._of(model):
            if one.tag.version is not None and one.annotated:
                last[one.tag.version] = one
        return tuple(sorted(version for version, one in last.items() if one.tag.action == "register"))

    def taken(self, model: str) -> frozenset[Version]:
        """Every version whose name is used up, by whatever tag."""
        return frozenset(one.tag.version for one in self._of(model) if one.tag.version is not None)

    def version_event(self, model: str, version: Version) -> Event | None:
        """The tag that registered a version."""
        found = [one for one in self._of(model) if one.tag.version == version and one.tag.action == "register"]
        return next((one for one in found if one.annotated), found[0] if found else None)

    def stages(self, model: str) -> tuple[str, ...]:
        """Stages that a version was ever given."""
        return tuple(sorted({one.tag.stage for one in self._of(model) if one.tag.stage}))

    def history(self, model: str, stage: str) -> tuple[Event, ...]:
        """What happened to a stage, newest first."""
        return tuple(reversed([one for one in self._of(model) if one.tag.stage == stage and one.annotated]))

    def version_of(self, event: Event) -> Version | None:
        """Which version a stage tag means: its trailer `Version`, else the highest version tag at its commit.

        None for an unassignment, and where the objects that tell were not read (see `read.state`).
        """
        if event.tag.action != "assign":
            return None
        named = parse(event.trailers.get("Version", ""))
        if named is not None:
            return named if self.version_event(event.tag.model, named) is not None else None
        at = [
            one.tag.version
            for one in self._of(event.tag.model)
            if one.tag.action == "register" and one.commit and one.commit == event.commit
        ]
        return max((one for one in at if one is not None), default=None)

    def holder(self, model: str, stage: str) -> Version | None:
        """The version in a stage now."""
        return next((self.version_of(one) for one in self.history(model, stage)), None)

    def previous_holder(self, model: str, stage: str) -> Version | None:
        """The version that was in the stage before the one that is (or, when it is empty, was last)."""
        held = [version for one in self.history(model, stage) if (version := self.version_of(one)) is not None]
        now = self.holder(model, stage)
        return next((version for version in held if version != now), None)

    def next_counter(self, model: str) -> int:
        """One above the highest counter of any tag of the model."""
        return 1 + max((one.tag.counter or 0 for one in self._of(model)), default=0)

    def _of(self, model: str) -> list[Event]:
        return [one for one in self.events if one.tag.model == model]


def fold(refs: Iterable[TagRef], objects: Mapping[str, TagObject] | None = None) -> RegistryState:
    """Tags to state: pure, whatever the order of `refs`. `objects` are the tag objects that were read, by tag name."""
    events = []
    for ref in refs:
        tag = read(ref.name)
        if tag is None:
            continue
        seen = (objects or {}).get(ref.name)
        events.append(
            Event(
                tag=tag,
                name=ref.name,
                object=ref.object,
                annotated=ref.annotated,
                commit=seen.commit if seen else "" if ref.annotated else ref.object,
                trailers=trailers(seen.message) if seen else {},
            )
        )
    return RegistryState(tuple(sorted(events, key=lambda one: one.order)))
