"""Tests of numbers: of each the effect with its interval, by the exact statistics where they are at hand."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from trackside.measures import distances, shift
from trackside.measures.distances import Interval, Pair, pair_of
from trackside.measures.exact import Exact
from trackside.measures.found import Found
from trackside.sketch.column import Sketch
from trackside.sketch.numbers import Numbers


def kolmogorov_smirnov(before: Sketch, now: Sketch, level: float, exact: Exact | None) -> Found | None:
    """Largest distance D of the distribution functions, 0 to 1. None where a side has no values.

    The interval is D ± the quantile of Kolmogorov's distribution, by its first term: P ≤ 2 exp(-2 x²), x =
    D √(nm / (n + m)) (Massart 1990; for two samples Wei & Dudley 2012). It holds for every distribution.
    """
    from scipy.special import kolmogorov

    if before.numbers is None or now.numbers is None or not before.numbers.count or not now.numbers.count:
        return None
    n, m = before.numbers.count, now.numbers.count
    if exact:
        low, high, extra = exact.ks, exact.ks, {"at": exact.ks_at, "auc": exact.auc}
    else:
        pair = pair_of(before.numbers, now.numbers)
        low, high = distances.kolmogorov_smirnov(pair)
        extra = {"at": distances.farthest(pair), "auc": sum(distances.auc(pair)) / 2}
    root = math.sqrt(1 / n + 1 / m)
    reach = root * math.sqrt(math.log(2 / (1 - level)) / 2)
    return Found(
        effect=(low + high) / 2,
        low=max(0.0, low - reach),
        high=min(1.0, high + reach),
        beyond=lambda least: float(kolmogorov(max(0.0, low - max(0.0, least)) / root)),
        certain=(low, high),
        extra=extra | mean_shift(before.numbers, now.numbers),
    )


def mean_shift(before: Numbers, now: Numbers) -> dict[str, float]:
    """Difference of the plain means in plain deviations of the reference; empty where that is 0 or no number."""
    spread = before.deviation
    with np.errstate(over="ignore", invalid="ignore"):
        moved = float(np.float64(now.mean) - before.mean) / spread if spread > 0 else math.nan
    return {"mean_shift": moved} if math.isfinite(moved) else {}


def wasserstein(before: Sketch, now: Sketch, level: float, exact: Exact | None) -> Found | None:
    """Wasserstein's first distance in deviations of the reference: how far a value lies off on average.

    It is judged by the lower bound of `shift`, a t statistic, and not by its own distribution: that keeps the power
    of a test of means for a shift, and needs no moments. AUC would, too, but says nothing of how far values lie off
    and does not see a change of scale. The deviation is `shift.scale`, which is σ for normal values. The upper end
    adds the area that chance has on average and a deviation's reach, tails taken as the samples show them.

    None where a side has no values or the reference has one value only.
    """
    if before.numbers is None or now.numbers is None or not before.numbers.count or not now.numbers.count:
        return None
    unit = shift.scale(before.numbers)
    if not 0 < unit < math.inf:
        return None
    pair = pair_of(before.numbers, now.numbers)
    area = (exact.wasserstein, exact.wasserstein) if exact else distances.wasserstein(pair)
    gaps = shift.gaps(pair)
    freedom = max(1.0, min(pair.n, pair.m) - 1)
    effect = (area[0] + area[1]) / 2 / unit
    return Found(
        effect=effect,
        low=min(area[0] / unit, shift.least(gaps, freedom, level) / unit),
        high=(area[1] + _by_chance(pair, unit, level)) / unit,
        beyond=lambda least: shift.beyond(gaps, freedom, least * unit),
        certain=(area[0] / unit, area[1] / unit),
        extra={"deviation": unit, **mean_shift(before.numbers, now.numbers)},
    )


def _by_chance(pair: Pair, unit: float, level: float) -> float:
    """What the samples' errors may take off the area: at most E|B| on average, B being a Brownian bridge by the
    distribution function, and beyond as a normal variable of the values' deviation (Borell 1975, Tsirelson 1976).
    """
    root = math.sqrt(1 / pair.n + 1 / pair.m)
    together = np.cumsum(pair.before / pair.n + pair.now / pair.m) / 2
    ends = np.append(pair.lower, pair.upper[-1]) / 2
    area = 2 * float((np.sqrt(together * np.maximum(0.0, 1 - together)) * np.diff(ends)).sum())
    return root * (math.sqrt(2 / math.pi) * area + NormalDist().inv_cdf((1 + level) / 2) * unit)


def cramer_von_mises(before: Sketch, now: Sketch, level: float, exact: Exact | None) -> Found | None:
    """Anderson's T, shown and not judged: its size grows with the rows. `p_value` is asymptotic, of no difference."""
    del level
    if before.numbers is None or now.numbers is None or not before.numbers.count or not now.numbers.count:
        return None
    if exact:
        known = (exact.cramer_von_mises, exact.cramer_von_mises)
    else:
        known = distances.cramer_von_mises(pair_of(before.numbers, now.numbers))
    found = _figure(known)
    found.extra["p_value"] = cramer_tail(found.effect, before.numbers.count, now.numbers.count)
    return found


def cramer_tail(statistic: float, n: float, m: float) -> float:
    """P(T ≥ statistic) of equal distributions: T with its exact mean and variance (Anderson 1962, equations 6 and 14)
    by the limiting distribution (Anderson & Darling 1952, equation 4.35).
    """
    from scipy.special import gammaln, kve

    total, pairs = n + m, n * m
    mean = (1 + 1 / total) / 6
    variance = (total + 1) * (4 * pairs * total - 3 * (n * n + m * m) - 2 * pairs) / (180 * pairs * total**2)
    limit = 1 / 6 + (statistic - mean) / math.sqrt(45 * variance) if variance > 0 else 0.0
    if limit <= 0.003:
        return 1.0
    k = np.arange(12)
    y = (4 * k + 1) ** 2 / (16 * limit)
    terms = np.exp(gammaln(k + 0.5) - gammaln(k + 1) - 2 * y) * np.sqrt(4 * k + 1) * kve(0.25, y)
    below = float(terms.sum()) / math.sqrt(math.pi**3 * limit)
    return min(1.0, max(0.0, 1 - below))


def anderson_darling(before: Sketch, now: Sketch, level: float, exact: Exact | None) -> Found | None:
    """Scholz & Stephens' standardised statistic, shown and not judged: its size grows with the rows."""
    del level
    if before.numbers is None or now.numbers is None or before.numbers.count + now.numbers.count < 4:
        return None
    if not before.numbers.count or not now.numbers.count:
        return None
    if exact:
        return _figure((exact.anderson_darling, exact.anderson_darling))
    return _figure(distances.anderson_darling(pair_of(before.numbers, now.numbers)))


def _figure(certain: Interval) -> Found:
    """What is known of the samples and not judged."""
    effect = (certain[0] + certain[1]) / 2
    return Found(effect=effect, low=-math.inf, high=math.inf, beyond=lambda _: 1.0, certain=certain)
