"""The classic two-sample statistics of two sorted columns, exact: one pass in pieces that fit the processor's cache."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trackside.sketch.numbers import Floats

PIECE = 4096
"""Values of each side that are merged at a time: their temporaries stay in the processor's cache, below the 10,000 from
which BLAS would start threads.
"""


@dataclass(frozen=True, kw_only=True)
class Exact:
    """Statistics of two samples, of n and m values; ties count as mid-ranks.

    `ks` is the largest distance of the distribution functions, found at the value `ks_at`; `wasserstein` the area
    between them, in the column's unit; `cramer_von_mises` Anderson's T (1962); `anderson_darling` the standardised
    statistic of Scholz & Stephens (1987, equation 7); `auc` P(before < now) +
    P(before = now) / 2, which is Mann & Whitney's U / nm.
    """

    ks: float
    ks_at: float
    wasserstein: float
    cramer_von_mises: float
    anderson_darling: float
    auc: float


def exact_of(before: Floats, now: Floats) -> Exact:
    """Exact statistics of two samples of finite values, each sorted; shapes (n,) and (m,), neither empty.

    Memory does not grow with the samples.
    """
    found = _Sums(before.size, now.size)
    i = j = 0
    with np.errstate(over="ignore", invalid="ignore"):
        while i < before.size or j < now.size:
            one, two = before[i : i + PIECE], now[j : j + PIECE]
            more_one = more_two = 0
            ends = [float(side[-1]) for side in (one, two) if side.size]
            whole = i + one.size == before.size and j + two.size == now.size
            last = max(ends) if whole else min(ends)
            one = one[: one.searchsorted(last, side="right")]
            two = two[: two.searchsorted(last, side="right")]
            if one.size == PIECE:  # a run of equal values may go on
                more_one = int(before[i + PIECE :].searchsorted(last, side="right"))
            if two.size == PIECE:
                more_two = int(now[j + PIECE :].searchsorted(last, side="right"))
            found.add(one, two, more_one, more_two)
            i, j = i + one.size + more_one, j + two.size + more_two
    return found.done()


class _Sums:
    """What the statistics need, summed over pieces in rising order.

    With A and B values so far on each side, E = A m - B n is nm times the distance of the distribution functions: an
    integer, so that nothing cancels. T = A + B.
    """

    def __init__(self, n: int, m: int) -> None:
        self._n, self._m, self._total = float(n), float(m), float(n + m)
        self._steps = np.arange(2 * PIECE + 1, dtype=np.float64)
        self._steps_n = self._steps * n
        self._t = self._e = self._z = 0.0
        self._ks, self._ks_at = -1.0, 0.0
        self._area = self._cramer = self._anderson = self._shift = 0.0
        self._cubes_a = self._cubes_b = 0.0

    def add(self, one: Floats, two: Floats, more_one: int, more_two: int) -> None:
        """The next values of both sides; `more` are further ones equal to the last."""
        both = np.concatenate((one, two))
        order = both.argsort(kind="stable")
        z = both.take(order)
        e = np.empty(z.size + 1)
        e[0] = 0.0
        np.multiply((order < one.size).cumsum(), self._total, out=e[1:])  # counts add up faster than floats
        e -= self._steps_n[: e.size]
        e += self._e
        gaps = z[1:] - z[:-1]
        if more_one or more_two or (gaps.size and gaps.min() == 0):
            ends = np.concatenate((np.flatnonzero(gaps), [gaps.size]))
            t = np.concatenate(([0.0], ends + 1.0))
            t[-1] += more_one + more_two
            z, e = z[ends], np.concatenate((e[:1], e[1:][ends]))
            e[-1] += more_one * self._m - more_two * self._n
            gaps = np.diff(z)
            self._tied(t, e)
            self._t += float(t[-1])
        else:
            self._untied(e)
            self._t += z.size
        size = np.abs(e)
        most = float(size[1:].max())
        if most > self._ks:
            self._ks, self._ks_at = most, float(z[size[1:].argmax()])
        pairs = self._n * self._m
        area = float(size[1:-1].dot(gaps)) / pairs
        if not math.isfinite(area):  # near the greatest double
            area = 2 * float((size[1:-1] / pairs * (z[1:] / 2 - z[:-1] / 2)).sum())
        self._area += area + (2 * abs(self._e) / pairs * (float(z[0]) / 2 - self._z / 2) if self._e else 0.0)
        self._e, self._z = float(e[-1]), float(z[-1])

    def _untied(self, e: Floats) -> None:
        """Squares where every value stands alone: its step is m or -n, so that sums of cubes tell both kinds apart."""
        n, m, total = self._n, self._m, self._total
        first, last, steps = float(e[0]), float(e[-1]), e.size - 1.0
        ones = round((last - first + steps * n) / total)
        squares = 2 * float(e.dot(e)) - first * first - last * last
        apart = (2 * (last**3 - first**3) + ones * m**3 - (steps - ones) * n**3) / 3
        of_a = (n * squares + apart) / total
        self._cramer += of_a / n + (squares - of_a) / m
        self._cubes_a += ones
        self._cubes_b += steps - ones
        middle = e[1:] + e[:-1]
        self._shift += float(middle.sum())
        spread = self._steps[1 : e.size] + (self._t - 0.5 - total / 2)
        spread *= spread
        np.subtract(total * (total - 1) / 4, spread, out=spread)
        np.divide(middle, spread, out=spread)
        self._anderson += float(middle.dot(spread)) / 4

    def _tied(self, t: Floats, e: Floats) -> None:
        """Squares over runs of equal values that end after `t` ones of this piece, shape (k + 1,) from 0 on."""
        n, m, total = self._n, self._m, self._total
        runs = np.diff(t)
        of_a = (np.diff(e) + runs * n) / total
        squares = e[1:] ** 2 + e[:-1] ** 2
        self._cramer += float((of_a * squares).sum()) / n + float(((runs - of_a) * squares).sum()) / m
        self._cubes_a += float((of_a**3).sum())
        self._cubes_b += float(((runs - of_a) ** 3).sum())
        middle = e[1:] + e[:-1]
        self._shift += float((runs * middle).sum())
        ranks = self._t + t[:-1] + runs / 2
        spread = ranks * (total - ranks) - runs * total / 4
        if spread.size > 1 or spread[0] > 0:  # else all values are equal
            self._anderson += float((runs * middle * middle / spread).sum()) / 4

    def done(self) -> Exact:
        n, m, total = self._n, self._m, self._total
        return Exact(
            ks=self._ks / (n * m),
            ks_at=self._ks_at,
            wasserstein=self._area,
            cramer_von_mises=cramer(self._cramer / 4 / (n * m) ** 2, self._cubes_a, self._cubes_b, n, m),
            anderson_darling=standardised(self._anderson * (total - 1) / (total * n * m), n, m),
            auc=0.5 + self._shift / (2 * total * n * m),
        )


def cramer(mean_square: float, cubes_before: float, cubes_now: float, n: float, m: float) -> float:
    """Anderson's T with mid-ranks, from the mean square distance of the distribution functions.

    With no ties it is nm / (n + m) times that mean. It is taken over both samples weighing the same, of each run of
    equal values from both its ends; `cubes` are the sums of cubed run lengths. The form follows from Anderson's
    (1962, equation 10), whose two terms nearly cancel in large samples, by summing over runs.
    """
    total = n + m
    ties = (m * m - n * n) * (cubes_before / n - cubes_now / m) / (12 * n * m * total)
    return n * m / total * mean_square + (1 / 6 - (n * n + m * m) / (12 * n * m)) / total - ties


def standardised(statistic: float, n: float, m: float) -> float:
    """Anderson & Darling's A² of two samples less its mean 1, over its standard deviation.

    Scholz & Stephens 1987, equation 4; its double sum g is H₂(N) - 2 H(N) / N + 1 / N², H and H₂ being the harmonic
    numbers of the first and second order.
    """
    from scipy.special import digamma, zeta

    total = n + m
    if total < 4:
        return statistic - 1.0
    harmonic = float(digamma(total)) + np.euler_gamma
    double = math.pi**2 / 6 - float(zeta(2.0, total + 1)) - 2 * (harmonic + 1 / total) / total + 1 / total**2
    both = 1 / n + 1 / m
    cubic = (4 * double - 6) + (10 - 6 * double) * both
    square = (2 * double - 4) * 4 + 16 * harmonic + (2 * double - 14 * harmonic - 4) * both - 8 * harmonic
    square += 4 * double - 6
    linear = (6 * harmonic + 2 * double - 2) * 4 + (4 * harmonic - 4 * double + 6) * 2
    linear += (2 * harmonic - 6) * both + 4 * harmonic
    constant = (2 * harmonic + 6) * 4 - 8 * harmonic
    variance = (cubic * total**3 + square * total**2 + linear * total + constant) / (
        (total - 1) * (total - 2) * (total - 3)
    )
    return (statistic - 1.0) / math.sqrt(variance)
