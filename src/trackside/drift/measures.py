"""How far two samples are apart, and how sure that is: effects with confidence intervals, p-values, and nothing else.

Both samples are random: a profile is a sample too. Intervals are two-sided at `level`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from trackside.documents.profile import Column
from trackside.drift.columns import Floats, Observed

LEAST_EXPECTED = 5.0
"""Cells of a table of counts that expect fewer are counted together (Cochran 1954)."""
DECILES = 10


@dataclass(frozen=True, kw_only=True)
class Found:
    """An effect with its interval; `extra` are further figures by name, shown and not judged.

    `beyond(least)` is the p-value of the hypothesis that the true effect is no larger than `least` (Murphy & Myors
    1999): with 0 it is the usual test of no difference. It is for effects above 0, or of either sign by their size.
    """

    effect: float
    low: float
    high: float
    beyond: Callable[[float], float]
    extra: dict[str, float] = field(default_factory=dict)


def distances(reference: Column, seen: Observed) -> Floats:
    """Difference of both distribution functions at every edge, current less reference, shape (k + 1,)."""
    before = np.concatenate(([0.0], np.cumsum(reference.counts))) / max(1, sum(reference.counts))
    now = np.concatenate(([0], np.cumsum(seen.counts))) if seen.counts.size else np.zeros(len(reference.edges))
    return np.asarray((seen.below + now) / max(1, seen.finite) - before, dtype=np.float64)


def kolmogorov_smirnov(reference: Column, seen: Observed, level: float) -> Found:
    """Largest distance of the distribution functions, taken at the reference's edges: never above the true D.

    The interval is D ± the quantile of Kolmogorov's distribution, by its first term: P ≤ 2 exp(-2 x²), x =
    D √(nm / (n + m)) (Massart 1990; for two samples Wei & Dudley 2012). Its upper end adds what a bin may hide.
    """
    from scipy.special import kolmogorov

    n, m = sum(reference.counts), seen.finite
    apart = float(np.abs(distances(reference, seen)).max())
    root = math.sqrt((n + m) / (n * m))
    reach = root * math.sqrt(math.log(2 / (1 - level)) / 2)
    hidden = 0.0
    if reference.distinct != len(reference.counts):
        shares = np.asarray(reference.counts) / n
        now = seen.counts / m if seen.counts.size else np.zeros(shares.size)
        hidden = float(np.minimum(shares, now).max())
    extra = {"psi": stability(reference, seen)}
    moved = wasserstein(reference, seen)
    if reference.deviation:
        extra["wasserstein"] = moved / reference.deviation
        extra["mean_shift"] = (seen.mean - (reference.mean or 0.0)) / reference.deviation
    return Found(
        effect=apart,
        low=max(0.0, apart - reach),
        high=min(1.0, apart + reach + hidden),
        beyond=lambda least: float(kolmogorov(max(0.0, apart - least) / root)),
        extra={name: value for name, value in extra.items() if math.isfinite(value)},
    )


def wasserstein(reference: Column, seen: Observed) -> float:
    """Area between the distribution functions, in the column's unit; within a bin they are taken as straight lines.

    Of a column with few values they are steps, and the area is exact. Values outside of the reference's range count
    with half of the way to the farthest one.
    """
    edges, apart = np.asarray(reference.edges), distances(reference, seen)
    with np.errstate(over="ignore", invalid="ignore"):
        widths = np.diff(edges)
        left, right = apart[:-1], apart[1:]
        if reference.distinct == len(reference.counts):
            inner = float((np.abs(left) * widths).sum())
        else:
            crossing = left * right < 0
            both = np.abs(left) + np.abs(right)
            crossed = (left**2 + right**2) / np.where(both > 0, 2 * both, 1.0)
            inner = float((np.where(crossing, crossed, both / 2) * widths).sum())
        below = seen.below / max(1, seen.finite) * max(0.0, float(edges[0]) - seen.low) / 2 if seen.below else 0.0
        above = seen.above / max(1, seen.finite) * max(0.0, seen.high - float(edges[-1])) / 2 if seen.above else 0.0
    return inner + below + above


def stability(reference: Column, seen: Observed) -> float:
    """Population stability index over tenths of the reference, Σ (q - p) ln (q / p); empty ones count half a row."""
    ends = np.cumsum(reference.counts)
    tenth = np.minimum((ends - 1) * DECILES // max(1, int(ends[-1])), DECILES - 1) if ends.size else ends
    before = np.bincount(tenth, weights=reference.counts, minlength=DECILES)
    counts = seen.counts.astype(np.float64) if seen.counts.size else np.zeros(ends.size)
    if counts.size:
        counts[0] += seen.below
        counts[-1] += seen.above
    now = np.bincount(tenth, weights=counts, minlength=DECILES)
    used = (before + now) > 0
    p, q = np.maximum(before[used], 0.5), np.maximum(now[used], 0.5)
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


def unseen(reference: Column) -> int:
    """Rows of the reference for levels that its like would leave unseen: the rest, and singles (Good 1953)."""
    return reference.rest + sum(count == 1 for count in reference.levels.values())


def counts_by_level(reference: Column, seen: Observed) -> tuple[list[str], Floats, Floats]:
    """Levels of the reference and, last and named "", all others; counts of both sides, shape (k,)."""
    names = list(reference.levels)
    before = [float(reference.levels[name]) for name in names]
    now = [float(seen.levels.get(name, 0)) for name in names]
    other = seen.finite - sum(now)
    return [*names, ""], np.array([*before, float(reference.rest)]), np.array([*now, other])


def pooled(before: Floats, now: Floats) -> tuple[Floats, Floats]:
    """Both rows of the table of counts with its rare columns counted as one."""
    total = before.sum() + now.sum()
    expected = (before + now) * min(before.sum(), now.sum()) / total
    rare = expected < LEAST_EXPECTED
    if rare.any() and (expected[rare].sum() < LEAST_EXPECTED) and not rare.all():
        rare[np.flatnonzero(~rare)[np.argmin(expected[~rare])]] = True
    if rare.any():
        before = np.append(before[~rare], before[rare].sum())
        now = np.append(now[~rare], now[rare].sum())
    return before, now


def chi_square(reference: Column, seen: Observed, level: float) -> Found:
    """Cohen's w of two random samples of categories: √(χ² / nm·(n + m)), less what chance adds.

    χ² is Pearson's of the 2 x k table with rare levels pooled; its non-centrality has an exact interval, by which w
    has one. Unlike Cramér's V, w does not depend on the samples' sizes; of equal ones it is 2 V. `moved` is the share
    of rows that would have to change their level, less what chance adds.
    """
    _, every_before, every_now = counts_by_level(reference, seen)
    # More new levels than the reference's like would have are judged by a test of their own.
    every_now[-1] = min(every_now[-1], math.ceil(unseen(reference) / every_before.sum() * seen.finite))
    if not every_now.sum():
        return Found(effect=0.0, low=0.0, high=0.0, beyond=lambda _: 1.0)
    before, now = pooled(every_before, every_now)
    n, m = float(before.sum()), float(now.sum())
    share = n * m / (n + m)
    together = (before + now) / (n + m)
    statistic = float((share * (now / m - before / n) ** 2 / together).sum())
    freedom = before.size - 1
    half = float(np.abs(now / m - before / n).sum()) / 2
    # What chance alone adds to it: half the mean of |N(0, variance)| over the cells.
    chance = float(np.sqrt(2 / math.pi * together * (1 - together) / share).sum()) / 2
    extra = {"total_variation": half, "moved": max(0.0, half - chance)}
    if freedom < 1:
        return Found(effect=0.0, low=0.0, high=1.0, beyond=lambda _: 1.0, extra=extra)
    low, high = non_centrality(statistic, freedom, level)
    return Found(
        effect=math.sqrt(max(0.0, statistic - freedom) / share),
        low=math.sqrt(low / share),
        high=math.sqrt(high / share),
        beyond=lambda least: upper_tail(statistic, freedom, share * least * least),
        extra={**extra, "cramers_v": math.sqrt(statistic / (n + m))},
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
        return _normal_tail(math.sqrt(statistic) - math.sqrt(center + freedom))
    return max(0.0, 1.0 - float(chndtr(statistic, freedom, center)))


def _normal_tail(z: float) -> float:
    return math.erfc(z / math.sqrt(2)) / 2


def proportions(before: int, n: int, now: int, m: int, level: float) -> Found:
    """Difference of two shares, `now / m - before / n`, with Newcombe's score interval (1998, method 10).

    With `least` 0 the p-value is that of the pooled test of equal shares; above, one-sided by Agresti & Caffo's (2000)
    standard error, which adds a success and a failure to each side.
    """
    p, q = before / n, now / m
    low_p, high_p = wilson(before, n, level)
    low_q, high_q = wilson(now, m, level)
    together = (before + now) / (n + m)
    error = math.sqrt(together * (1 - together) * (1 / n + 1 / m))
    a, b = (before + 1) / (n + 2), (now + 1) / (m + 2)
    wide = math.sqrt(a * (1 - a) / (n + 2) + b * (1 - b) / (m + 2))

    def beyond(least: float) -> float:
        if least <= 0:
            return 2 * _normal_tail(abs(q - p) / error) if error else 1.0
        return _normal_tail((abs(b - a) - least) / wide)

    return Found(
        effect=q - p,
        low=q - p - math.hypot(q - low_q, high_p - p),
        high=q - p + math.hypot(high_q - q, p - low_p),
        beyond=beyond,
        extra={"before": p, "now": q},
    )


def wilson(count: int, rows: int, level: float) -> tuple[float, float]:
    """Wilson's score interval of a share (1927)."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, scale = count / rows, 1 + z * z / rows
    middle = (share + z * z / (2 * rows)) / scale
    reach = z / scale * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def difference(before: float, before_error: float, now: float, now_error: float, level: float) -> Found:
    """Difference of two independent estimates that are normal."""
    z, error = NormalDist().inv_cdf((1 + level) / 2), math.hypot(before_error, now_error)
    delta = now - before

    def beyond(least: float) -> float:
        if not error:
            return float(abs(delta) <= least)
        return min(1.0, (2 if least <= 0 else 1) * _normal_tail((abs(delta) - max(0.0, least)) / error))

    return Found(
        effect=delta,
        low=delta - z * error,
        high=delta + z * error,
        beyond=beyond,
        extra={"before": before, "now": now},
    )


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
