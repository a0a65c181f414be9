"""The least true effect that a test would find nearly always, given how many rows there are: what silence means.

It is what alarms with a probability of `POWER` where the p-value must fall below `tail`, the strictest that
Benjamini & Hochberg's rule asks for (alpha divided by the number of tests).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

from trackside.measures import levels
from trackside.measures.shift import detectable as of_shift
from trackside.sketch.column import Sketch

POWER = 0.95
_NORMAL = NormalDist()

Detect = Callable[[Sketch, Sketch, float, float], "float | None"]
"""`(reference, current, threshold, tail)`; None where nothing could be found."""


def of_shares(share: float, n: float, m: float, threshold: float, tail: float) -> float | None:
    """Least rise of a share that is found, by the normal approximation; by bisection, to 1e-6."""
    reach = _NORMAL.inv_cdf(1 - tail) + _NORMAL.inv_cdf(POWER)

    def found(rise: float) -> bool:
        now = min(1.0, share + rise)
        # Agresti & Caffo's: one success and one failure more on either side.
        p, q = (share * n + 1) / (n + 2), (now * m + 1) / (m + 2)
        return rise - threshold >= reach * math.sqrt(p * (1 - p) / (n + 2) + q * (1 - q) / (m + 2))

    low, high = threshold, 1 - share
    if high <= low or not found(high):
        return None
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def missing(before: Sketch, now: Sketch, threshold: float, tail: float) -> float | None:
    """Of the share without a value."""
    return of_shares(before.missing / before.rows, before.rows, now.rows, threshold, tail)


def nothing_yet(before: Sketch, now: Sketch, threshold: float, tail: float) -> float | None:
    """Of a share that is 0 in the reference: of values of another type, of new levels."""
    return of_shares(0.0, before.rows, now.rows, threshold, tail)


def kolmogorov(before: Sketch, now: Sketch, threshold: float, tail: float) -> float | None:
    """Of D: its deviation at the median is at most half the root of 1/n + 1/m."""
    from scipy.special import kolmogi

    root = _root(before, now)
    found = threshold + root * (float(kolmogi(tail)) + _NORMAL.inv_cdf(POWER) / 2)
    return found if found < 1 else None


def shift(before: Sketch, now: Sketch, threshold: float, tail: float) -> float | None:
    """Of a mean in deviations."""
    return of_shift(before.finite, now.finite, threshold, tail, POWER)


def _root(before: Sketch, now: Sketch) -> float:
    n, m = before.finite, now.finite
    return math.sqrt((n + m) / (n * m))


def levels_moved(before: Sketch, now: Sketch, threshold: float, tail: float) -> float | None:
    """Of Cohen's w of two columns by level."""
    found = levels.counts(before, now)
    if found is None or levels.mostly_rare(before):
        return None
    one, two = levels.pooled(*levels.comparable(found))
    n, m = float(one.sum()), float(two.sum())
    return cohens_w(n * m / (n + m), one.size - 1, threshold, tail) if one.size > 1 and n and m else None


def cohens_w(share: float, freedom: int, threshold: float, tail: float) -> float:
    """Of w, for a table of `freedom` degrees and nm / (n + m) = `share`, by the non-central χ² distribution."""
    from scipy.special import chndtr

    middle = freedom + share * threshold**2
    critical = _quantile(freedom, share * threshold**2, tail)

    def lacks(center: float) -> float:
        return float(chndtr(critical, freedom, center)) - (1 - POWER)

    top = max(1.0, 2 * critical + middle)
    while lacks(top) > 0:
        top *= 2
    return math.sqrt(_crossing(lacks, 0.0, top) / share)


def _quantile(freedom: int, center: float, tail: float) -> float:
    """Where a χ² variable's upper tail is `tail`; of large ones by the root, which is normal."""
    from scipy.special import chdtri, chndtr

    if center <= 0:
        return float(chdtri(freedom, tail))
    wide = math.sqrt(2 * (freedom + 2 * center))
    low, high = freedom + center, freedom + center + 10 * wide + 10
    while 1 - float(chndtr(high, freedom, center)) > tail:
        high += 10 * wide
    return _crossing(lambda at: 1 - float(chndtr(at, freedom, center)) - tail, low, high)


def _crossing(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that is positive at `low` and negative at `high` crosses 0, by regula falsi as of Illinois
    (Dowell & Jarratt 1971); the import of scipy.optimize would cost more than all checks of a small table.
    """
    at_low, at_high = function(low), function(high)
    if at_low <= 0:
        return low
    side = 0
    for _ in range(100):
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        found = function(middle)
        if found == 0 or high - low <= 1e-10 * abs(high):
            return middle
        if found > 0:
            low, at_low = middle, found
            at_high = at_high / 2 if side > 0 else at_high
            side = 1
        else:
            high, at_high = middle, found
            at_low = at_low / 2 if side < 0 else at_low
            side = -1
        if abs(found) < 1e-12:
            return middle
    return (low + high) / 2
