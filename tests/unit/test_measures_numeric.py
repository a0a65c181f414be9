"""Tests of numbers: exact statistics are scipy's, sketches bound them, and their intervals hold the truth."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trackside.measures import distances, numeric, shift
from trackside.measures.exact import Exact, exact_of
from trackside.sketch.column import Sketch
from trackside.sketch.numbers import Floats, Numbers

CASES = 600
SHAPES: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "normal": lambda random, n: random.normal(size=n),
    "few values": lambda random, n: random.integers(0, 4, n).astype(np.float64),
    "ties": lambda random, n: random.integers(-20, 20, n) / 8,
    "zero-inflated": lambda random, n: np.where(random.random(n) < 0.8, 0.0, random.lognormal(0, 2, n)),
    "cauchy": lambda random, n: random.standard_cauchy(n),
    "pareto": lambda random, n: random.pareto(1.2, n),
    "lognormal": lambda random, n: random.lognormal(0, 2, n),
    "constant": lambda random, n: np.full(n, 2.5),
    "tiny": lambda random, n: random.normal(size=n) * 1e-290,
    "huge": lambda random, n: random.normal(size=n) * 1e150,
}
PAIRS = st.tuples(
    st.integers(0, 2**32 - 1),
    st.sampled_from(sorted(SHAPES)),
    st.sampled_from(sorted(SHAPES)),
    st.booleans(),
    st.integers(1, 120),
    st.integers(1, 120),
    st.floats(0, 2),
)
MANY = settings(max_examples=CASES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def two(drawn: tuple[int, str, str, bool, int, int, float]) -> tuple[Floats, Floats]:
    """Two sorted samples, of the same shape where `alike`."""
    seed, one, other, alike, n, m, moved = drawn
    random = np.random.default_rng(seed)
    before = SHAPES[one](random, n)
    now = SHAPES[one if alike else other](random, m) + (moved if alike else 0.0)
    return np.sort(before), np.sort(now)


def by_scipy(before: Floats, now: Floats) -> dict[str, float]:
    """The statistics that scipy has for samples of these sizes."""
    n, m = before.size, now.size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = {
            "ks": scipy.stats.ks_2samp(before, now, method="asymp").statistic,
            "wasserstein": scipy.stats.wasserstein_distance(before, now),
            "auc": scipy.stats.mannwhitneyu(now, before, method="asymptotic").statistic / (n * m),
        }
        if min(n, m) > 1:
            made["cramer_von_mises"] = scipy.stats.cramervonmises_2samp(before, now, method="asymptotic").statistic
        if n + m >= 4 and np.unique(np.concatenate((before, now))).size > 1:
            made["anderson_darling"] = scipy.stats.anderson_ksamp([before, now], variant="midrank").statistic
    return {name: float(value) for name, value in made.items()}


@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_exact_statistics_are_scipys(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of any size give the same."""
    monkeypatch.setattr("trackside.measures.exact.PIECE", piece)
    ran = 0

    @MANY
    @given(PAIRS)
    def equal(drawn: tuple[int, str, str, bool, int, int, float]) -> None:
        nonlocal ran
        before, now = two(drawn)
        found = exact_of(before, now)
        for name, value in by_scipy(before, now).items():
            assert getattr(found, name) == pytest.approx(value, rel=1e-9, abs=1e-9), name
        at = np.searchsorted(before, found.ks_at, "right") / before.size
        assert abs(at - np.searchsorted(now, found.ks_at, "right") / now.size) == pytest.approx(found.ks, abs=1e-12)
        ran += 1

    equal()
    print(f"{ran} pairs, pieces of {piece}")
    assert ran >= 500


@pytest.mark.parametrize("shape", ["normal", "zero-inflated", "cauchy", "ties"])
def test_exact_statistics_of_long_columns_are_scipys(shape: str) -> None:
    """Runs of equal values that span many pieces; sizes that are no multiples of a piece."""
    random = np.random.default_rng(5)
    before, now = np.sort(SHAPES[shape](random, 30_011)), np.sort(SHAPES[shape](random, 17_003) * 1.1)
    found = exact_of(before, now)
    for name, value in by_scipy(before, now).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-9, abs=1e-9), name


def sketch(values: Floats) -> Sketch:
    return Sketch(kind="number", rows=values.size, numbers=Numbers.of_sorted(np.sort(values)))


BOUNDS = {
    "ks": distances.kolmogorov_smirnov,
    "wasserstein": distances.wasserstein,
    "auc": distances.auc,
    "cramer_von_mises": distances.cramer_von_mises,
    "anderson_darling": distances.anderson_darling,
}


def test_sketches_bound_the_exact_statistics() -> None:
    """At every depth, from the sign alone to single values; there the interval is the statistic."""
    ran = 0

    @MANY
    @given(PAIRS, st.integers(1, 64), st.integers(1, 64))
    def bounded(drawn: tuple[int, str, str, bool, int, int, float], one: int, other: int) -> None:
        nonlocal ran
        before, now = two(drawn)
        found = exact_of(before, now)
        pair = distances.pair_of(Numbers.of_sorted(before).at(one), Numbers.of_sorted(now).at(other))
        for name, bounds in BOUNDS.items():
            low, high = bounds(pair)
            value = getattr(found, name)
            room = 1e-12 * max(1.0, abs(value))
            assert low - room <= value <= high + room, name
            if min(one, other) == 64:
                assert low == high == pytest.approx(value, rel=1e-9, abs=1e-9), name
        ran += 1

    bounded()
    print(f"{ran} pairs of sketches")
    assert ran >= 500


@pytest.mark.parametrize("shape", ["normal", "lognormal", "cauchy"])
def test_certified_intervals_are_narrow(shape: str) -> None:
    """Of full sketches they are far narrower than what chance does to samples of that size."""
    random = np.random.default_rng(9)
    before, now = SHAPES[shape](random, 200_000), SHAPES[shape](random, 100_000) * 1.02
    pair = distances.pair_of(Numbers.of_sorted(np.sort(before)), Numbers.of_sorted(np.sort(now)))
    found = exact_of(np.sort(before), np.sort(now))
    assert not pair.exact
    for name, bounds in BOUNDS.items():
        low, high = bounds(pair)
        assert low <= getattr(found, name) <= high, name
    low, high = distances.kolmogorov_smirnov(pair)
    assert high - low < 0.001
    low, high = distances.wasserstein(pair)
    assert high - low < 0.01 * shift.scale(Numbers.of_sorted(np.sort(before)))
