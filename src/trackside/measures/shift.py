"""How far two columns surely are apart, in deviations of the reference: a lower bound of the Wasserstein distance.

By Kantorovich's duality it is the largest difference of the means of any function of slope 1 (Kantorovich & Rubinstein
1958), so that each such function bounds it from below, and a mean's error is that of a t statistic. Two functions are
taken: the values themselves, which see a shift, and their distance from the median, which sees a change of scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from trackside.measures.distances import Pair
from trackside.sketch.numbers import Floats, Numbers

OUTER = 0.01
"""Share at each end of the values that count as the last one before: moments of heavy tails may not exist."""
ROWS_OUTER = 10.0
"""Values of the smaller sample that lie in it at least, so that means are normal."""
LOCATION = 0.9
"""Part of the error rate that a shift is given; a change of scale has the rest."""
_ROUNDING = 1e-12


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
    first, last = _ends(centre, shares, OUTER)
    span = last / 2 - first / 2
    if not span > 0:
        return before.deviation
    place = (np.clip(centre, first, last) / 2 - first / 2) / span
    mean = float((shares * place).sum())
    return 2 * span * math.sqrt(float((shares * (place - mean) ** 2).sum())) / of_normal(OUTER)[1]


def gaps(pair: Pair) -> tuple[Gap, Gap]:
    """Differences of means of the two functions, in the column's unit; what a cell may hide is taken off."""
    n, m = pair.n, pair.m
    p, q = pair.before / n, pair.now / m
    both = (p + q) / 2
    first, last = _ends(pair.centre, both, outer(n, m))
    span = last / 2 - first / 2
    if not span > 0:
        return Gap(size=0.0, error=0.0, part=LOCATION), Gap(size=0.0, error=0.0, part=1 - LOCATION)
    # Both ends of each cell on a scale from 0 to 1, so that no square leaves the doubles.
    lower, upper = ((np.clip(one, first, last) / 2 - first / 2) / span for one in (pair.lower, pair.upper))
    place, hidden = (lower + upper) / 2, (upper - lower) / 2
    middle = place[np.searchsorted(np.cumsum(both), 0.5 - _ROUNDING).clip(max=place.size - 1)]
    made = [
        _gap(values, hidden, (p, q), (n, m), part)
        for values, part in ((place, LOCATION), (np.abs(place - middle), 1 - LOCATION))
    ]
    shift, spread = (replace(one, size=2 * span * one.size, error=2 * span * one.error) for one in made)
    return shift, spread


def outer(n: float, m: float) -> float:
    """Share of the values at each end that count as the last one before."""
    return min(0.25, max(OUTER, ROWS_OUTER / min(n, m)))


def of_normal(share: float) -> tuple[float, float]:
    """Of normal values with outer shares so cut: by how much the mean follows a small shift, and their deviation."""
    normal = NormalDist()
    z = normal.inv_cdf(1 - share)
    return 1 - 2 * share, math.sqrt(1 - 2 * share - 2 * z * normal.pdf(z) + 2 * share * z * z)


def _ends(values: Floats, shares: Floats, share: float) -> tuple[float, float]:
    """The values at which the outer shares end."""
    first, last = np.searchsorted(np.cumsum(shares), [share, 1 - share]).clip(max=values.size - 1)
    return float(values[first]), float(values[last])


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


def detectable(n: float, m: float, threshold: float, tail: float, power: float) -> float:
    """Least shift of normal values, in deviations, that n and m rows show with a chance of `power`, where the p-value
    of "no more than `threshold`" must fall below `tail`.
    """
    from scipy.special import stdtrit

    reach = NormalDist().inv_cdf(power) - float(stdtrit(max(1.0, min(n, m) - 1), tail * LOCATION))
    follows, spread = of_normal(outer(n, m))
    return (threshold + math.sqrt(1 / n + 1 / m) * spread * reach) / follows
