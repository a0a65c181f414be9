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

_NUMBER = r"(?:0|[1-9][0-9]{0,8})"
PATTERN = rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-[0-9A-Za-z-]{{1,60}}(?:\.[0-9A-Za-z-]{{1,60}}){{0,9}})?"
_WHOLE = re.compile(rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-(.+))?")


@total_ordering
@dataclass(frozen=True)
class Version:
    """`1.2.3` or `1.2.3-rc.1`; pre-releases come before their release."""

    major: int
    minor: int
    patch: int
    pre: str = ""

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}" + (f"-{self.pre}" if self.pre else "")

    def __lt__(self, other: Version) -> bool:
        return self._key() < other._key()

    def _key(self) -> tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]:
        """Numbers by value and before words, as semver orders the parts of a pre-release."""
        parts = tuple(
            (not one.isdigit(), int(one) if one.isdigit() else 0, one) for one in self.pre.split(".") if self.pre
        )
        return self.major, self.minor, self.patch, not self.pre, parts

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
    text = text.removeprefix("v")
    found = _WHOLE.fullmatch(text) if re.fullmatch(PATTERN, text) else None
    return Version(int(found[1]), int(found[2]), int(found[3]), found[4] or "") if found else None


def following(taken: Iterable[Version], bump: Bump) -> Version:
    """The version after the highest that is taken; 1.0.0 where there is none."""
    highest = max(taken, default=None)
    return FIRST if highest is None else highest.bumped(bump)
