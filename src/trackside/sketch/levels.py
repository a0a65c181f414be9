"""Categories as counts by level: exact up to `TRACKED` levels, beyond with a certified bound of what was given up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

TRACKED = 50_000
"""Levels held while counting."""


@dataclass(frozen=True, kw_only=True)
class Levels:
    """`counts` by level's name; `rest` rows of levels that are not named; no level outside `counts` has more than
    `bound` rows, and none inside more than `bound` above its count. `distinct` estimates the number of levels.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    rest: int = 0
    bound: int = 0
    distinct: int = 0

    @property
    def count(self) -> int:
        return sum(self.counts.values()) + self.rest
