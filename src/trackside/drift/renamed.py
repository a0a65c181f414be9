"""A column that is missing: which new one it may have become."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import SequenceMatcher

import numpy as np

from trackside.sketch.column import Sketch

LIKE = 0.75
"""Names that share so much of their letters are taken for each other."""
CLOSE = 0.05
"""Distance of two distributions, 0 to 1, below which the values tell it."""


def likely(name: str, before: Sketch, candidates: Mapping[str, Sketch]) -> str:
    """The candidate of the same kind that is alike in name, or else the only one alike in values; "" for none."""
    same = {other: now for other, now in candidates.items() if now.kind == before.kind}
    close = {other: SequenceMatcher(None, _bare(name), _bare(other)).ratio() for other in same}
    best = max(close, key=lambda other: close[other], default="")
    if best and close[best] >= LIKE:
        return best
    alike = [other for other, now in same.items() if distance(before, now) < CLOSE]
    return alike[0] if len(alike) == 1 else ""


def _bare(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def distance(before: Sketch, now: Sketch) -> float:
    """Rough distance of two distributions: of numbers the largest gap of the distribution functions, of levels the
    total variation; 1 where there is nothing to compare.
    """
    if before.levels is not None and now.levels is not None:
        total, other = before.levels.count, now.levels.count
        if not total or not other:
            return 1.0
        names = before.levels.counts.keys() | now.levels.counts.keys()
        gaps = (abs(before.levels.counts.get(one, 0) / total - now.levels.counts.get(one, 0) / other) for one in names)
        return sum(gaps) / 2
    one, two = before.numbers, now.numbers
    if one is None or two is None or not one.count or not two.count:
        return 1.0
    places = np.union1d(one.upper, two.upper)
    shares = [
        np.concatenate(([0], np.cumsum(side.counts)))[np.searchsorted(side.upper, places, side="right")] / side.count
        for side in (one, two)
    ]
    return float(np.abs(shares[0] - shares[1]).max())
