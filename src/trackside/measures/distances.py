"""Distances of two sketched columns: for each an interval that surely holds the statistic of the samples themselves.

Between the ends of a cell the distribution functions may rise anywhere. Their difference, D0 before it, stays within
D0 - q and D0 + p there, p and q being the shares of the samples in the cell; from that every bound follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trackside.measures.exact import cramer, standardised
from trackside.sketch.cells import Cells, bounds_of
from trackside.sketch.numbers import Floats, Numbers

Interval = tuple[float, float]

_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two samples of n and m values in the same cells, shapes (k,): `before` and `now` count them, `lower` and `upper`
    are the cells' ends. Of `exact` ones each cell is one value.
    """

    before: Floats
    now: Floats
    lower: Floats
    upper: Floats
    exact: bool

    @cached_property
    def n(self) -> float:
        return float(self.before.sum())

    @cached_property
    def m(self) -> float:
        return float(self.now.sum())

    @cached_property
    def centre(self) -> Floats:
        return self.lower + (self.upper / 2 - self.lower / 2)

    @cached_property
    def apart(self) -> Floats:
        """Difference of the distribution functions, reference less current, before each cell and after the last."""
        rises = np.cumsum(self.before * self.m - self.now * self.n) / (self.n * self.m)
        return np.concatenate(([0.0], rises))

    @cached_property
    def within(self) -> tuple[Floats, Floats]:
        """Least and greatest distance of the distribution functions, shapes (k,), anywhere in each cell."""
        start = self.apart[:-1]
        bottom, top = start - self.now / self.m, start + self.before / self.n
        return np.maximum(0.0, np.maximum(bottom, -top)), np.maximum(top, -bottom)


def pair_of(before: Numbers, now: Numbers) -> Pair:
    """Both samples in the cells of the coarser grid of the two. Neither is empty."""
    depth = min(before.depth, now.depth)
    one, two = before.cells.at(depth), now.cells.at(depth)
    keys = np.sort(np.concatenate((one.keys, two.keys)), kind="stable")  # merges two rising runs
    keys = keys[np.append(True, keys[1:] != keys[:-1])]
    counts = np.zeros((2, keys.size))
    for side, cells in zip(counts, (one, two), strict=True):
        side[np.searchsorted(keys, cells.keys)] = cells.counts
    every = Cells(depth=depth, keys=keys, counts=counts.sum(0).astype(np.int64))
    lower, upper = bounds_of(every, min(before.low, now.low), max(before.high, now.high))
    return Pair(before=counts[0], now=counts[1], lower=lower, upper=upper, exact=before.exact and now.exact)


def kolmogorov_smirnov(pair: Pair) -> Interval:
    """Largest distance of the distribution functions."""
    known = float(np.abs(pair.apart).max())
    return (known, known) if pair.exact else (known, max(known, float(pair.within[1].max())))


def farthest(pair: Pair) -> float:
    """The value up to which the distribution functions are known to differ most."""
    return float(pair.upper[np.abs(pair.apart[1:]).argmax()])


def wasserstein(pair: Pair) -> Interval:
    """Area between the distribution functions, in the column's unit."""
    between = float((np.abs(pair.apart[1:-1]) * (pair.lower[1:] / 2 - pair.upper[:-1] / 2)).sum())
    inside = [float((one * (pair.upper / 2 - pair.lower / 2)).sum()) for one in pair.within]
    return _around(2 * (between + inside[0]), 2 * (between + inside[1]), exact=pair.exact)


def auc(pair: Pair) -> Interval:
    """P(before < now) + P(before = now) / 2."""
    p, q = pair.before / pair.n, pair.now / pair.m
    middle = float((q * (np.cumsum(p) - p / 2)).sum())
    unknown = 0.0 if pair.exact else float((p * q).sum()) / 2
    return _around(middle - unknown, middle + unknown, exact=pair.exact)


def cramer_von_mises(pair: Pair) -> Interval:
    """Anderson's T with mid-ranks (1962)."""
    n, m, apart = pair.n, pair.m, pair.apart
    weight = (pair.before / n + pair.now / m) / 2
    tied = [float((side**3).sum()) for side in (pair.before, pair.now)]
    if pair.exact:
        known = cramer(float((weight * (apart[1:] ** 2 + apart[:-1] ** 2)).sum()) / 2, tied[0], tied[1], n, m)
        return known, known
    least, most = (float((weight * one * one).sum()) for one in pair.within)
    # Equal values within a cell may be many or none; how much they weigh has opposite signs on both sides.
    low = cramer(least, tied[0], m, n, m) if m > n else cramer(least, n, tied[1], n, m)
    high = cramer(most, n, tied[1], n, m) if m > n else cramer(most, tied[0], m, n, m)
    return _around(low, high, exact=False)


def anderson_darling(pair: Pair) -> Interval:
    """The standardised statistic of Scholz & Stephens (1987) with mid-ranks.

    A run of t equal values weighs t / (L R + (L + R) t / 4), where L come before it and R after. That shrinks whenever
    a run with L, R > 0 is split: a cell weighs most as one run. The first and last run may so weigh twice as much.
    Least it weighs as single values, none of which weighs less than the one that is nearest to the median.
    """
    n, m = pair.n, pair.m
    total = n + m
    runs = pair.before + pair.now
    first = np.cumsum(runs) - runs
    after = total - first - runs
    if runs.size == 1 and pair.exact:
        known = standardised(0.0, n, m)
        return known, known
    unit = n * m * (total - 1) / total
    spread = first * after + (first + after) * runs / 4
    if runs.size == 1:
        return standardised(0.0, n, m), np.inf
    one_run = runs / spread
    if pair.exact:
        middle = (pair.apart[1:] + pair.apart[:-1]) / 2
        known = standardised(unit * float((one_run * middle * middle).sum()), n, m)
        return known, known
    least, most = pair.within
    central = np.clip(total / 2, first + 0.5, first + runs - 0.5)
    low = unit * float((runs * least * least / (central * (total - central) - total / 4)).sum())
    outer = (runs > 1) & ((first == 0) | (after == 0))
    high = unit * float((np.where(outer, 2.0, 1.0) * one_run * most * most).sum())
    return standardised(low * (1 - _ROUNDING), n, m), standardised(high * (1 + _ROUNDING), n, m)


def _around(low: float, high: float, *, exact: bool) -> Interval:
    """An interval with room for rounding."""
    if exact:
        return high, high
    room = _ROUNDING * max(abs(low), abs(high))
    return low - room, high + room
