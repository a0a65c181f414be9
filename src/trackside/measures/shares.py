"""Divergences of two distributions given as shares: of the levels of a category, of numbers in tenths of the reference.

All are of the samples: chance makes them larger than nothing, more so of many cells and few rows, so none of them
judges. Where rows of levels that are not named count as one cell, the figures are lower bounds of the true ones, for
merging cells never increases a divergence (data processing inequality).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from trackside.measures import levels
from trackside.measures.found import Found
from trackside.sketch.column import Sketch
from trackside.sketch.numbers import Floats, Numbers

if TYPE_CHECKING:
    from trackside.measures.exact import Exact

TENTHS = 10
LEAST = 0.5
"""Rows that an empty cell counts as where a logarithm is taken of its share."""

Measure = Callable[[Floats, Floats], float]


def tenths(before: Numbers, now: Numbers) -> tuple[Floats, Floats]:
    """Counts in the tenths of the reference, shape (10,) or fewer: cells go where their last value's rank falls.

    Both are brought to the coarser grid of the two; what lies beyond the reference's range counts in the outer tenths.
    """
    depth = min(before.depth, now.depth)
    one, two = before.at(depth), now.at(depth)
    ends = np.cumsum(one.counts)
    last = np.searchsorted(ends, np.arange(1, TENTHS) * ends[-1] / TENTHS)
    edges = np.unique(one.keys[last])
    return _between(edges, one), _between(edges, two)


def _between(edges: Floats, one: Numbers) -> Floats:
    place = np.searchsorted(edges, one.keys, side="left")
    return np.bincount(place, weights=one.counts, minlength=edges.size + 1).astype(np.float64)


def cells(before: Sketch, now: Sketch) -> tuple[Floats, Floats] | None:
    """Counts of both sides in the same cells, none of them empty on both; None where a side has no values."""
    if before.numbers is not None and now.numbers is not None and not levels.few_values(before):
        if not before.numbers.count or not now.numbers.count:
            return None
        p, q = tenths(before.numbers, now.numbers)
    else:
        found = levels.counts(before, now)
        if found is None:
            return None
        p, q = np.append(found.before, found.rest_before), np.append(found.now, found.rest_now)
        if not p.sum() or not q.sum():
            return None
    used = (p + q) > 0
    return p[used], q[used]


def smoothed(before: Floats, now: Floats) -> tuple[Floats, Floats]:
    """Shares, with half a row in cells that are empty."""
    p, q = np.maximum(before, LEAST), np.maximum(now, LEAST)
    return p / p.sum(), q / q.sum()


def stability(before: Floats, now: Floats) -> float:
    """Population stability index, Σ (q - p) ln (q / p): Jeffreys' divergence."""
    p, q = smoothed(before, now)
    return float(((q - p) * np.log(q / p)).sum())


def kullback_leibler(before: Floats, now: Floats) -> float:
    """Σ q ln (q / p) in nats, of current data from the reference (Kullback & Leibler 1951)."""
    p, q = smoothed(before, now)
    return max(0.0, float((q * np.log(q / p)).sum()))


def jensen_shannon(before: Floats, now: Floats) -> float:
    """The distance, 0 to 1: the root of the divergence in bits (Lin 1991; Endres & Schindelin 2003)."""
    p, q = before / before.sum(), now / now.sum()
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        halves = [np.where(one > 0, one * np.log2(one / middle), 0.0).sum() for one in (p, q)]
    return math.sqrt(min(1.0, max(0.0, float(sum(halves)) / 2)))


def hellinger(before: Floats, now: Floats) -> float:
    """√(Σ (√p - √q)² / 2), 0 to 1."""
    p, q = np.sqrt(before / before.sum()), np.sqrt(now / now.sum())
    return math.sqrt(float(((p - q) ** 2).sum()) / 2)


def total_variation(before: Floats, now: Floats) -> float:
    """Σ |p - q| / 2: the share of rows that would have to change their cell, chance included."""
    return float(np.abs(before / before.sum() - now / now.sum()).sum()) / 2


def cramers_v(before: Floats, now: Floats) -> float:
    """√(χ² / (n + m)) of the 2 x k table, rare cells pooled (Cramér 1946)."""
    one, two = levels.pooled(before, now)
    n, m = float(one.sum()), float(two.sum())
    together = (one + two) / (n + m)
    statistic = float((n * m / (n + m) * (two / m - one / n) ** 2 / together).sum())
    return math.sqrt(statistic / (n + m))


def shown(measure: Measure) -> Callable[[Sketch, Sketch, float, Exact | None], Found | None]:
    """A test's function of a divergence: an effect without interval, which judges nothing."""

    def function(before: Sketch, now: Sketch, level: float, exact: Exact | None) -> Found | None:
        del level, exact
        found = cells(before, now)
        if found is None:
            return None
        effect = measure(*found)
        return figure(effect)

    return function


def figure(effect: float, extra: dict[str, float] | None = None) -> Found:
    """An effect that is known and not judged."""
    return Found(
        effect=effect,
        low=-math.inf,
        high=math.inf,
        beyond=lambda _: 1.0,
        certain=(effect, effect),
        extra=extra or {},
    )
