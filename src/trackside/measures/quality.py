"""The state of a column's values: missing, of another type, infinite, out of range; and how many different ones."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from trackside.measures import levels
from trackside.measures.chance import proportions, wilson
from trackside.measures.found import Found
from trackside.measures.shares import figure
from trackside.sketch.column import Sketch
from trackside.sketch.levels import Levels, entropy
from trackside.sketch.numbers import Floats

if TYPE_CHECKING:
    from trackside.measures.exact import Exact

NODES = 256
"""Steps in which the mass beyond a sample's extremes is taken (Simpson's rule)."""


def missing(before: Sketch, now: Sketch, level: float, exact: Exact | None) -> Found | None:
    """Difference of the shares without a value; what is of the wrong type has a test of its own."""
    del exact
    if not before.rows or not now.rows:
        return None
    return proportions(before.missing, before.rows, now.missing - now.wrong, now.rows, level)


def wrong_type(before: Sketch, now: Sketch, level: float, exact: Exact | None) -> Found | None:
    """Share of values that are not of the column's type; the reference has none by definition."""
    del exact
    return proportions(0, before.rows, now.wrong, now.rows, level) if before.rows and now.rows else None


def infinite(before: Sketch, now: Sketch, level: float, exact: Exact | None) -> Found | None:
    """Difference of the shares of infinite values."""
    del exact
    if before.kind != "number" or not before.rows or not now.rows:
        return None
    return proportions(before.infinite, before.rows, now.infinite, now.rows, level)


def out_of_range(before: Sketch, now: Sketch, level: float, exact: Exact | None) -> Found | None:
    """Share of values beyond the reference's extremes, less what lies there by chance.

    The mass beyond the extremes of n values is Beta(2, n - 1) whatever the distribution (Wilks 1942), and less where
    values are tied. So "no more than `least` beyond that" has the p-value of a binomial tail averaged over it.
    """
    del exact
    if before.numbers is None or now.numbers is None or not before.numbers.count or not now.numbers.count:
        return None
    count = outside(before, now)
    n, m = before.numbers.count, now.numbers.count
    beyond = _Tail(count, n, m)
    tail = (1 - level) / 2
    share = count / m
    return Found(
        effect=share,
        low=_least(beyond, tail, share),
        high=wilson(count, m, level)[1],
        beyond=beyond,
        certain=(share, share),
        extra={"before": 0.0, "now": share},
    )


def outside(before: Sketch, now: Sketch) -> int:
    """Current values beyond the reference's extremes that are surely there: whole cells of the sketch."""
    if before.numbers is None or now.numbers is None:
        return 0
    there = (now.numbers.upper < before.numbers.low) | (now.numbers.lower > before.numbers.high)
    return int(now.numbers.counts[there].sum())


class _Tail:
    """P(at least `count` of m rows lie beyond n others' extremes), by the share that is there beside what chance puts
    there.
    """

    def __init__(self, count: int, n: int, m: int) -> None:
        from scipy.special import betaincinv

        self._count, self._rows = count, m
        width = max(1.0, n - 1.0)
        self._mass: Floats = np.linspace(0.0, float(betaincinv(2.0, width, 1 - 1e-12)), NODES + 1)
        simpson = np.tile([2.0, 4.0], NODES // 2 + 1)[: NODES + 1]
        simpson[[0, -1]] = 1.0
        weights = simpson * self._mass * (1 - self._mass) ** (width - 1)
        self._weights: Floats = weights / weights.sum()

    def __call__(self, least: float) -> float:
        from scipy.special import betainc

        if not self._count:
            return 1.0
        share = np.minimum(self._mass + max(0.0, least), 1.0)
        return float((self._weights * betainc(self._count, self._rows - self._count + 1.0, share)).sum())


def _least(beyond: _Tail, tail: float, share: float) -> float:
    """The least share that the p-value does not speak against, to 1e-6."""
    low, high = 0.0, share
    if beyond(0.0) >= tail or beyond(high) < tail:
        return 0.0 if beyond(0.0) >= tail else high
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle) < tail else (low, middle)
    return low


def cardinality(before: Sketch, now: Sketch, level: float, exact: Exact | None) -> Found | None:
    """Logarithm of the ratio of distinct values, which grows with the rows; sketched beyond what is counted."""
    del level, exact
    one, two = _distinct(before), _distinct(now)
    return figure(math.log(two / one), {"before": float(one), "now": float(two)}) if one and two else None


def _distinct(one: Sketch) -> int:
    if one.levels is not None:
        return one.levels.distinct
    return int(one.numbers.keys.size) if one.numbers is not None and one.numbers.exact else 0


def entropy_change(before: Sketch, now: Sketch, level: float, exact: Exact | None) -> Found | None:
    """Difference of the entropies of the levels, in nats; of numbers of few values these are the levels."""
    del level, exact
    found = levels.counts(before, now)
    if found is None:
        return None
    one, two = (_entropy(side) for side in (before, now))
    effect = sum(two) / 2 - sum(one) / 2
    made = figure(effect, {"before": sum(one) / 2, "now": sum(two) / 2})
    return replace(made, certain=(two[0] - one[1], two[1] - one[0]))


def _entropy(one: Sketch) -> tuple[float, float]:
    named, rest = levels.by_level(one)
    return entropy(one.levels or Levels(counts=named, rest=rest, bound=rest))


def mode(before: Sketch, now: Sketch, level: float, exact: Exact | None) -> Found | None:
    """Difference of the shares of the reference's most frequent value; of numbers only where few are kept apart."""
    del exact
    if before.numbers is not None and not (before.numbers.exact and now.numbers is not None and now.numbers.exact):
        return None
    found = levels.counts(before, now)
    if found is None or not found.before.size:
        return None
    top = int(np.argmax(found.before))
    n, m = found.before.sum() + found.rest_before, found.now.sum() + found.rest_now
    if not n or not m:
        return None
    return proportions(float(found.before[top]), float(n), float(found.now[top]), float(m), level)
