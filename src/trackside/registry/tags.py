"""The tag grammar of GTO (iterative's Git Tag Ops 1.x), and what a tag's message says: names and texts as values.

    register  NAME@v1.2.3[#N]   deregister NAME@v1.2.3![#N]   deprecate NAME@deprecated[#N]
    assign    NAME#STAGE[#N]    unassign   NAME#STAGE![#N]

NAME may stand behind a folder (`DIR=NAME`); versions are those of semver 2, with pre-release and build metadata. N
counts the events of a NAME. Order is by N, never by clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trackside.registry.versions import LONGEST, PATTERN, Version, of_match

Action = Literal["register", "deregister", "deprecate", "assign", "unassign"]

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9/_-]*[A-Za-z0-9])?"
_TAG = re.compile(
    rf"(?P<model>(?:[A-Za-z0-9_./-]+=)?{_NAME})"
    rf"(?:@(?P<version>v{PATTERN})|(?P<deprecated>@deprecated)|#(?P<stage>{_NAME}))"
    r"(?P<undo>!)?(?:#(?P<counter>[0-9]+))?"
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
    found = _TAG.fullmatch(name) if len(name) <= LONGEST else None
    if found is None:
        return None
    model, version, stage, undo, number = found.group("model", "version", "stage", "undo", "counter")
    counter = None if number is None else int(number)
    if version:
        action: Action = "deregister" if undo else "register"
        return Tag(action=action, model=model, version=of_match(found), counter=counter)
    if stage:
        return Tag(action="unassign" if undo else "assign", model=model, stage=stage, counter=counter)
    return None if undo else Tag(action="deprecate", model=model, counter=counter)


def is_model(name: str) -> bool:
    """Whether tags can name such a model."""
    found = read(f"{name}@deprecated")
    return found is not None and found.model == name


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
