"""Semantic versions (semver.org 2.0.0) as values: order, and the next one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import total_ordering
from typing import Literal

Bump = Literal["major", "minor", "patch"]
BUMPS: tuple[Bump, ...] = ("patch", "minor", "major")
"""From least to most."""

LONGEST = 1000
"""Characters of a version or tag name that is read at all; file systems give a part of a ref's name 255."""

_NUMBER = r"0|[1-9][0-9]*"
_WORD = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_BUILD = r"[0-9A-Za-z-]+"
PATTERN = (
    rf"(?P<major>{_NUMBER})\.(?P<minor>{_NUMBER})\.(?P<patch>{_NUMBER})"
    rf"(?:-(?P<pre>{_WORD}(?:\.{_WORD})*))?(?:\+(?P<build>{_BUILD}(?:\.{_BUILD})*))?"
)
_WHOLE = re.compile(rf"v?{PATTERN}")


@total_ordering
@dataclass(frozen=True)
class Version:
    """`1.2.3`, `1.2.3-rc.1` or `1.2.3+gpu`; pre-releases come before their release.

    Build metadata has no rank in semver; here it is compared last and as text, so that every order is the same one.
    """

    major: int
    minor: int
    patch: int
    pre: str = ""
    build: str = ""

    def __str__(self) -> str:
        ends = (f"-{self.pre}" if self.pre else "") + (f"+{self.build}" if self.build else "")
        return f"{self.major}.{self.minor}.{self.patch}{ends}"

    def __lt__(self, other: Version) -> bool:
        return self.key() < other.key()

    def key(self) -> tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...], str]:
        """What versions are sorted by: of a pre-release numbers by value and before words."""
        parts = tuple((not one.isdigit(), int(one) if one.isdigit() else 0, one) for one in self.pre.split(".") if one)
        return self.major, self.minor, self.patch, not self.pre, parts, self.build

    def bumped(self, bump: Bump) -> Version:
        """The next release; of a pre-release that is at least its own release."""
        if bump == "major":
            return Version(self.major + 1, 0, 0)
        if bump == "minor":
            return Version(self.major, self.minor + 1, 0)
        return Version(self.major, self.minor, self.patch + (0 if self.pre else 1))


FIRST = Version(1, 0, 0)


def parse(text: str) -> Version | None:
    """A version, with or without `v` in front; None for anything else."""
    found = _WHOLE.fullmatch(text) if len(text) <= LONGEST else None
    return of_match(found) if found else None


def of_match(found: re.Match[str]) -> Version:
    """The version of a match whose expression holds `PATTERN`."""
    major, minor, patch, pre, build = found.group("major", "minor", "patch", "pre", "build")
    return Version(int(major), int(minor), int(patch), pre or "", build or "")


def following(taken: Iterable[Version], bump: Bump) -> Version:
    """The version after the highest that is taken; 1.0.0 where there is none."""
    highest = max(taken, default=None)
    return FIRST if highest is None else highest.bumped(bump)
