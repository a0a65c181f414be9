"""How far two columns surely are apart, in deviations of the reference: a lower bound of the Wasserstein distance.

By Kantorovich's duality it is the largest difference of the means of any function of slope 1 (Kantorovich & Rubinstein
1958), so that each such function bounds it from below, and a mean's error is that of a t statistic. Two functions are
taken: the values themselves, which see a shift, and their distance from the median, which sees a change of scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trackside.measures.distances import Pair
from trackside.sketch.numbers import Floats, Numbers

OUTER = 0.01
"""Share at each end of the values that count as the last one before: moments of heavy tails may not exist."""
ROWS_OUTER = 10.0
"""Values of the smaller sample that lie in it at least, so that means are normal."""
LOCATION = 0.9
"""Part of the error rate that a shift is given; a change of scale has the rest."""
_NORMAL = 0.981951
"""Deviation of the standard normal distribution with 1 % at each end so cut: √(.98 - 2 z φ(z) + .02 z²), z = 2.3263."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A surely known difference of two means, its standard error, and its part of the error rate."""

    size: float
    error: float
    part: float


def scale(before: Numbers) -> float:
    """Standard deviation with the outer values cut at the 1st and 99th percentile, made equal to σ of normal values.

    That of a column nearly all of whose values are equal is the plain one, which may be 0.
    """
    centre = before.lower + (before.upper / 2 - before.lower / 2)
    counts = before.counts.astype(np.float64)
    shares = counts / counts.sum()
    cut = _cut(centre, shares, OUTER)
    mean = float((shares * cut).sum())
    found = math.sqrt(float((shares * (cut - mean) ** 2).sum())) / _NORMAL
    return found if found > 0 else before.deviation


def gaps(pair: Pair) -> tuple[Gap, Gap]:
    """Differences of means of the two functions, in the column's unit; what a cell may hide is taken off."""
    n, m = pair.n, pair.m
    p, q = pair.before / n, pair.now / m
    both = (p + q) / 2
    outer = min(0.25, max(OUTER, ROWS_OUTER / min(n, m)))
    place = _cut(pair.centre, both, outer)
    hidden = np.minimum(pair.upper / 2 - pair.lower / 2, place[-1] - place[0])
    middle = place[np.searchsorted(np.cumsum(both), 0.5 - 1e-12).clip(max=place.size - 1)]
    return (
        _gap(place, hidden, (p, q), (n, m), LOCATION),
        _gap(np.abs(place - middle), hidden, (p, q), (n, m), 1 - LOCATION),
    )


def _cut(values: Floats, shares: Floats, outer: float) -> Floats:
    """Values with those of the outer shares taken as the first and last within."""
    ends = np.searchsorted(np.cumsum(shares), [outer, 1 - outer]).clip(max=values.size - 1)
    return np.asarray(np.minimum(np.maximum(values, values[ends[0]]), values[ends[1]]), dtype=np.float64)


def _gap(place: Floats, hidden: Floats, shares: tuple[Floats, Floats], rows: tuple[float, float], part: float) -> Gap:
    means = [float((share * place).sum()) for share in shares]
    spreads = [
        (math.sqrt(float((share * (place - mean) ** 2).sum())) + math.sqrt(float((share * hidden**2).sum()))) ** 2
        for share, mean in zip(shares, means, strict=True)
    ]
    n, m = rows
    apart = spreads[0] / n + spreads[1] / m
    # Few rare values may show no spread in the smaller sample: there the other one's counts.
    together = (n * spreads[0] + m * spreads[1]) / (n + m) * (1 / n + 1 / m)
    unknown = sum(float((share * hidden).sum()) for share in shares)
    return Gap(size=max(0.0, abs(means[1] - means[0]) - unknown), error=math.sqrt(max(apart, together)), part=part)


def least(found: tuple[Gap, Gap], freedom: float, level: float) -> float:
    """Lower end of the two-sided interval of the distance, by Student's t and Bonferroni over the functions."""
    from scipy.special import stdtrit

    return max(0.0, *(one.size + float(stdtrit(freedom, (1 - level) / 2 * one.part)) * one.error for one in found))


def beyond(found: tuple[Gap, Gap], freedom: float, distance: float) -> float:
    """p-value of "the distance is no more than that"; both tails of the t statistic count."""
    from scipy.special import stdtr

    reach = max(0.0, distance)
    made = [
        float(stdtr(freedom, (reach - one.size) / one.error) + stdtr(freedom, -(reach + one.size) / one.error))
        / one.part
        for one in found
        if one.error > 0
    ]
    return min([1.0, *made])
