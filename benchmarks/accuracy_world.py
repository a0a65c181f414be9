"""Thirty columns of all sorts, drawn as sketches: what the study of false alarms and of power is made on.

Up to `DRAWN` rows every number is drawn. Beyond, counts are: a sample of a population of 8,000 values (the quantiles of
the distribution) is a multinomial one, so that a million rows cost a millisecond and are as random as they should be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from scipy.special import ndtri, pdtr

from trackside.sketch.column import Sketch
from trackside.sketch.levels import Levels
from trackside.sketch.numbers import Floats, Numbers, keys_of

DRAWN = 20_000
VALUES = 8000
Rng = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column's distribution. Numbers: `quantile` of a uniform variable. Categories: `shares` of levels."""

    name: str
    kind: Literal["number", "category", "boolean"] = "number"
    quantile: Callable[[Floats], Floats] | None = None
    shares: Floats | None = None
    missing: float = 0.0

    def draw(self, rng: Rng, rows: int) -> Sketch:
        """A sample of `rows` rows."""
        missing = int(rng.binomial(rows, self.missing)) if self.missing else 0
        if self.shares is not None:
            counts = rng.multinomial(rows - missing, self.shares)
            names = ("false", "true") if self.kind == "boolean" else tuple(f"l{at}" for at in range(counts.size))
            seen = {name: int(count) for name, count in zip(names, counts, strict=True) if count}
            levels = Levels(counts=seen, distinct=len(seen))
            return Sketch(kind=self.kind, rows=rows, missing=missing, levels=levels)
        assert self.quantile is not None
        return Sketch(kind="number", rows=rows, missing=missing, numbers=self._numbers(rng, rows - missing))

    def _numbers(self, rng: Rng, rows: int) -> Numbers:
        assert self.quantile is not None
        if rows <= DRAWN:
            return Numbers.of_sorted(np.sort(self.quantile(np.maximum(rng.random(rows), 1e-12))))
        values, shares = _population(self.quantile)
        return counted(values, rng.multinomial(rows, shares))


@cache
def _population(quantile: Callable[[Floats], Floats]) -> tuple[Floats, Floats]:
    """Its values, rising, and their shares."""
    values, back = np.unique(quantile((np.arange(VALUES) + 0.5) / VALUES), return_inverse=True)
    return values, np.bincount(back, minlength=values.size) / VALUES


def counted(values: Floats, counts: np.ndarray) -> Numbers:
    """The sketch of rising values with their counts."""
    used = counts > 0
    values, counts = values[used], counts[used]
    mean = float((values * counts).sum() / counts.sum())
    return Numbers(
        keys=keys_of(values),
        counts=counts.astype(np.int64),
        low=float(values[0]),
        high=float(values[-1]),
        mean=mean,
        squares=float((counts * (values - mean) ** 2).sum()),
    )


def of_levels(name: str, shares: Floats, missing: float = 0.0) -> Column:
    return Column(name=name, kind="category", shares=shares / shares.sum(), missing=missing)


def inflated(zeros: float) -> Callable[[Floats], Floats]:
    """0 with a probability, else exponential."""
    return lambda u: np.where(u < zeros, 0.0, -np.log1p(-np.clip((u - zeros) / (1 - zeros), 0, 1 - 1e-16)))


def normal(u: Floats) -> Floats:
    return np.asarray(ndtri(u))


def poisson(u: Floats) -> Floats:
    """Of mean 3."""
    return np.searchsorted(pdtr(np.arange(60), 3.0), u).astype(np.float64)


@cache
def columns() -> list[Column]:
    """2 to 5,000 levels, ties, zero inflation, heavy tails, missing values."""
    rng = np.random.default_rng(20_261_121)
    rank = np.arange(1.0, 5001)
    return [
        Column(name="normal", quantile=normal),
        Column(name="normal, missing", quantile=normal, missing=0.02),
        Column(name="normal, mostly missing", quantile=normal, missing=0.8),
        Column(name="normal, offset", quantile=lambda u: 1e9 + normal(u)),
        Column(name="uniform", quantile=lambda u: u),
        Column(name="exponential", quantile=lambda u: -np.log1p(-u)),
        Column(name="lognormal", quantile=lambda u: np.exp(normal(u))),
        Column(name="lognormal, wide", quantile=lambda u: np.exp(2.5 * normal(u)), missing=0.3),
        Column(name="t of 2", quantile=lambda u: (2 * u - 1) / np.sqrt(2 * u * (1 - u))),
        Column(name="Cauchy", quantile=lambda u: np.tan(np.pi * (u - 0.5))),
        Column(name="Pareto 1.2", quantile=lambda u: (1 - u) ** (-1 / 1.2)),
        Column(name="two humps", quantile=lambda u: np.where(u < 0.3, normal(u / 0.3), 8 + normal((u - 0.3) / 0.7))),
        Column(name="rounded to 0.1", quantile=lambda u: np.round(normal(u), 1)),
        Column(name="rounded to 0.5", quantile=lambda u: np.round(2 * normal(u)) / 2, missing=0.1),
        Column(name="hours", quantile=lambda u: np.floor(24 * u)),
        Column(name="Poisson 3", quantile=poisson),
        Column(name="97 % zeros", quantile=inflated(0.97)),
        Column(name="half zeros", quantile=inflated(0.5)),
        Column(name="0 or 1, 10 %", quantile=lambda u: (u < 0.1).astype(np.float64)),
        Column(name="0 or 1, 1 %", quantile=lambda u: (u < 0.01).astype(np.float64)),
        Column(name="truth", kind="boolean", shares=np.array([0.9, 0.1]), missing=0.05),
        of_levels("2 levels", np.ones(2)),
        of_levels("5 levels", np.array([0.5, 0.3, 0.15, 0.04, 0.01])),
        of_levels("20 levels", np.ones(20), missing=0.02),
        of_levels("50 levels, mostly rare", rng.dirichlet(np.full(50, 0.3))),
        of_levels("200 levels", 1 / rank[:200]),
        of_levels("1,000 levels", 1 / rank[:1000] ** 1.5),
        of_levels("1,000 equal levels", np.ones(1000)),
        of_levels("5,000 levels", 1 / rank),
        of_levels("5,000 equal levels", np.ones(5000), missing=0.1),
    ]
