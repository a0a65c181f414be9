"""How sure a figure is: intervals and p-values of shares, of χ², and of many tests at once.

All intervals are two-sided at `level`, and both samples are random: a reference is a sample too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from trackside.measures.found import Found


def normal_tail(z: float) -> float:
    """P(Z ≥ z) of the standard normal distribution."""
    return math.erfc(z / math.sqrt(2)) / 2


def wilson(count: float, rows: float, level: float) -> tuple[float, float]:
    """Wilson's score interval of a share (1927)."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, scale = count / rows, 1 + z * z / rows
    middle = (share + z * z / (2 * rows)) / scale
    reach = z / scale * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def proportions(before: float, n: float, now: float, m: float, level: float) -> Found:
    """Difference of two shares, `now / m - before / n`, with Newcombe's score interval (1998, method 10).

    With `least` 0 the p-value is that of the pooled test of equal shares; above, by the standard error where the shares
    are `least` apart and as likely as can be (Farrington & Manning 1990), for either sign. `n` may be an effective
    number of rows.
    """
    p, q = before / n, now / m
    low_p, high_p = wilson(before, n, level)
    low_q, high_q = wilson(now, m, level)
    together = (before + now) / (n + m)
    error = math.sqrt(together * (1 - together) * (1 / n + 1 / m))

    def beyond(least: float) -> float:
        if least <= 0:
            return 2 * normal_tail(abs(q - p) / error) if error else 1.0
        if abs(q - p) <= least:
            return 1.0
        one, two = ((before, n), (now, m)) if q > p else ((now, m), (before, n))
        return 2 * normal_tail((abs(q - p) - least) / _error_apart(*one, *two, least))

    return Found(
        effect=q - p,
        low=q - p - math.hypot(q - low_q, high_p - p),
        high=q - p + math.hypot(high_q - q, p - low_p),
        beyond=beyond,
        certain=(q - p, q - p),
        extra={"before": p, "now": q},
    )


def _error_apart(few: float, n: float, many: float, m: float, least: float) -> float:
    """Standard error of `many / m - few / n` at the likeliest shares that are `least` apart; by bisection."""
    low, high = 0.0, 1.0 - least

    def slope(share: float) -> float:
        other = share + least
        made = 0.0
        for count, rows, at in ((few, n, share), (many, m, other)):
            made += (count / at if count else 0.0) - ((rows - count) / (1 - at) if rows > count else 0.0)
        return made

    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    share = (low + high) / 2
    other = share + least
    return math.sqrt(share * (1 - share) / n + other * (1 - other) / m) or 1e-300


def difference(before: float, before_error: float, now: float, now_error: float, level: float) -> Found:
    """Difference of two independent estimates that are normal, with their standard errors."""
    z, error = NormalDist().inv_cdf((1 + level) / 2), math.hypot(before_error, now_error)
    delta = now - before

    def beyond(least: float) -> float:
        if not error:
            return float(abs(delta) <= least)
        return min(1.0, (2 if least <= 0 else 1) * normal_tail((abs(delta) - max(0.0, least)) / error))

    return Found(
        effect=delta,
        low=delta - z * error,
        high=delta + z * error,
        beyond=beyond,
        certain=(delta, delta),
        extra={"before": before, "now": now},
    )


def non_centrality(statistic: float, freedom: int, level: float) -> tuple[float, float]:
    """Interval of the non-centrality of a χ² statistic, by inverting its distribution.

    Above 10,000 the square root is taken as normal with variance 1 (Fisher), which the exact one equals there.
    """
    from scipy.special import chndtr, chndtrinc

    tail = (1 - level) / 2
    if statistic > 10_000:
        z, root = NormalDist().inv_cdf(1 - tail), math.sqrt(statistic)
        return max(0.0, (root - z) ** 2 - freedom), (root + z) ** 2 - freedom
    bounds = [
        float(chndtrinc(statistic, freedom, share)) if float(chndtr(statistic, freedom, 0.0)) > share else 0.0
        for share in (1 - tail, tail)
    ]
    return bounds[0], bounds[1]


def upper_tail(statistic: float, freedom: int, center: float) -> float:
    """P(X ≥ statistic) for a χ² variable with a non-centrality; above 10,000 as for its interval."""
    from scipy.special import chdtrc, chndtr

    if center <= 0:
        return float(chdtrc(freedom, statistic))
    if statistic > 10_000:
        return normal_tail(math.sqrt(statistic) - math.sqrt(center + freedom))
    return max(0.0, 1.0 - float(chndtr(statistic, freedom, center)))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """q-values: the least false discovery rate at which each one is found (Benjamini & Hochberg 1995)."""
    found = np.asarray(p_values, dtype=np.float64)
    if not found.size:
        return []
    order = np.argsort(found, kind="stable")
    raw = found[order] * found.size / np.arange(1, found.size + 1)
    made = np.empty(found.size)
    made[order] = np.minimum(np.minimum.accumulate(raw[::-1])[::-1], 1.0)
    return [float(one) for one in made]
