"""Tests of numbers: exact statistics are scipy's, sketches bound them, and their intervals hold the truth."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trackside.measures import detectable, distances, numeric, shift
from trackside.measures.exact import exact_of
from trackside.measures.found import Found
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


def test_exact_statistics_are_scipys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merged in pieces of any size."""
    ran = 0

    @MANY
    @given(PAIRS)
    def equal(drawn: tuple[int, str, str, bool, int, int, float]) -> None:
        nonlocal ran
        before, now = two(drawn)
        wanted = by_scipy(before, now)
        for piece in (1, 7, 4096):
            monkeypatch.setattr("trackside.measures.exact.PIECE", piece)
            found = exact_of(before, now)
            for name, value in wanted.items():
                assert getattr(found, name) == pytest.approx(value, rel=1e-9, abs=1e-9), name
            at = np.searchsorted(before, found.ks_at, "right") / before.size
            at -= np.searchsorted(now, found.ks_at, "right") / now.size
            assert abs(at) == pytest.approx(found.ks, abs=1e-12)
            ran += 1

    equal()
    print(f"{ran} comparisons")
    assert ran >= 3 * CASES


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


def test_the_lower_bound_of_the_distance_holds() -> None:
    """Whatever the samples and the depth, what `shift` takes for sure is no more than the exact distance."""
    ran = 0

    @MANY
    @given(PAIRS, st.integers(8, 64))
    def bounded(drawn: tuple[int, str, str, bool, int, int, float], depth: int) -> None:
        nonlocal ran
        before, now = two(drawn)
        area = exact_of(before, now).wasserstein
        pair = distances.pair_of(Numbers.of_sorted(before).at(depth), Numbers.of_sorted(now))
        for gap in shift.gaps(pair):
            assert 0 <= gap.size <= area * (1 + 1e-9)
            assert 0 <= gap.error < math.inf
        ran += 1

    bounded()
    print(f"{ran} pairs")
    assert ran >= 500


def test_the_deviation_is_that_of_normal_values_and_bounded_for_others() -> None:
    random = np.random.default_rng(3)
    assert shift.scale(Numbers.of_sorted(np.sort(random.normal(5, 2, 200_000)))) == pytest.approx(2, rel=0.01)
    assert shift.scale(Numbers.of_sorted(np.sort(random.standard_cauchy(200_000)))) < 10
    assert shift.scale(Numbers.of_sorted(np.full(100, 7.0))) == 0
    rare = np.sort(np.where(np.arange(1000) < 3, 1.0, 0.0))  # rarer than what is cut: the plain one
    assert shift.scale(Numbers.of_sorted(rare)) == pytest.approx(np.std(rare, ddof=1))


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_normal_values_cut_at_both_ends(share: float) -> None:
    """Against integration over a fine grid of the normal distribution."""
    z = scipy.stats.norm.ppf((np.arange(400_000) + 0.5) / 400_000)
    ends = scipy.stats.norm.ppf([share, 1 - share])
    follows, spread = shift.of_normal(share)
    assert np.std(np.clip(z, *ends)) == pytest.approx(spread, rel=1e-4)
    assert (np.clip(z + 0.001, *ends).mean() - np.clip(z, *ends).mean()) / 0.001 == pytest.approx(follows, rel=1e-2)


NULL = ("normal", "ties", "zero-inflated", "cauchy", "lognormal", "pareto")
FAMILY = 60
THRESHOLDS = {"ks": 0.05, "wasserstein": 0.08}


def both(before: Floats, now: Floats, level: float = 0.95) -> dict[str, Found]:
    one, other = sketch(before), sketch(now)
    found = {
        "ks": numeric.kolmogorov_smirnov(one, other, level, None),
        "wasserstein": numeric.wasserstein(one, other, level, None),
    }
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize("sizes", [(200, 200), (1500, 200), (200, 1500)], ids=str)
def test_equal_distributions_do_not_alarm(sizes: tuple[int, int]) -> None:
    """Nor is "no difference" refuted more often than promised; 60 pairs of each of six shapes."""
    random = np.random.default_rng(sum(sizes))
    alarms = refuted = ran = 0
    for shape in NULL:
        for _ in range(60):
            for name, found in both(SHAPES[shape](random, sizes[0]), SHAPES[shape](random, sizes[1])).items():
                alarms += found.low > THRESHOLDS[name] and found.beyond(THRESHOLDS[name]) < 0.05 / FAMILY
                refuted += found.beyond(0) < 0.05
                assert found.low <= found.certain[0] <= found.effect <= found.certain[1] <= found.high
                ran += 1
    print(f"{ran} tests, {refuted} refuted")
    assert ran >= 500
    assert alarms == 0
    assert refuted <= scipy.stats.binom.ppf(0.999, ran, 0.05)


def power(n: int, m: int, moved: float, runs: int, test: str, spread: float = 1.0) -> float:
    """Share of runs in which normal values that moved are found, though it is the only drift of the family."""
    random = np.random.default_rng(n + m)
    hits = 0
    for _ in range(runs):
        found = both(random.normal(size=n), moved + spread * random.normal(size=m))[test]
        hits += found.low > THRESHOLDS[test] and found.beyond(THRESHOLDS[test]) < 0.05 / FAMILY
    return hits / runs


def test_a_quarter_of_a_deviation_is_found_in_two_thousand_rows() -> None:
    assert power(2000, 2000, 0.25, 200, "wasserstein") >= 0.95


def test_a_larger_spread_is_found_with_no_shift() -> None:
    assert power(5000, 5000, 0.0, 50, "wasserstein", spread=1.3) == 1


def test_power_has_no_cliff_at_a_thousand_rows() -> None:
    assert abs(power(1000, 1000, 0.25, 150, "wasserstein") - power(1001, 1001, 0.25, 150, "wasserstein")) <= 0.1


@pytest.mark.parametrize(("n", "m"), [(400, 400), (2000, 2000), (10_000, 3000)])
def test_what_is_called_detectable_is_found_that_often(n: int, m: int) -> None:
    one, other = Sketch(kind="number", rows=n), Sketch(kind="number", rows=m)
    least = detectable.shift(one, other, THRESHOLDS["wasserstein"], 0.05 / FAMILY)
    assert least is not None
    assert abs(power(n, m, least, 150, "wasserstein") - detectable.POWER) <= 0.05
    far = detectable.kolmogorov(one, other, THRESHOLDS["ks"], 0.05 / FAMILY)
    assert far is not None
    moved = 2 * scipy.stats.norm.ppf((1 + far) / 2)  # D of two normal distributions so far apart
    assert power(n, m, moved, 150, "ks") >= detectable.POWER - 0.05


def test_a_fiftieth_of_a_deviation_is_no_drift_in_a_million_rows() -> None:
    random = np.random.default_rng(2)
    before, now = np.sort(random.normal(size=1_000_000)), np.sort(random.normal(0.02, 1, 1_000_000))
    exact = exact_of(before, now)
    one, other = sketch(before), sketch(now)
    for known in (exact, None):
        for test, name in ((numeric.kolmogorov_smirnov, "ks"), (numeric.wasserstein, "wasserstein")):
            found = test(one, other, 0.95, known)
            assert found is not None
            assert found.beyond(0) < 1e-9, "it is surely there"
            assert found.beyond(THRESHOLDS[name]) > 0.99, "and does not matter"
            assert found.low < found.effect < found.high < THRESHOLDS[name]
            assert (found.certain[0] == found.certain[1]) == (known is not None)
    assert distances.wasserstein(distances.pair_of(one.numbers, other.numbers))[0] <= exact.wasserstein  # type: ignore[arg-type]


def test_the_interval_of_the_distance_holds_the_true_one() -> None:
    """Two normal distributions .5 apart: W1 = .5 and D = 2 Φ(.25) - 1."""
    random = np.random.default_rng(8)
    truth = {"wasserstein": 0.5, "ks": 2 * float(scipy.stats.norm.cdf(0.25)) - 1}
    held = dict.fromkeys(truth, 0)
    for _ in range(200):
        for name, found in both(random.normal(size=800), random.normal(0.5, 1, 500)).items():
            held[name] += found.low <= truth[name] <= found.high
    assert min(held.values()) >= scipy.stats.binom.ppf(0.001, 200, 0.95)


def test_statistics_that_are_shown() -> None:
    """Exact where both columns are at hand; p-values are scipy's."""
    random = np.random.default_rng(4)
    for n, m in ((20, 30), (500, 400), (300, 40)):
        before, now = random.normal(size=n), random.normal(0.15, 1, m)
        exact = exact_of(np.sort(before), np.sort(now))
        want = scipy.stats.cramervonmises_2samp(before, now, method="asymptotic")
        for known in (exact, None):
            found = numeric.cramer_von_mises(sketch(before), sketch(now), 0.95, known)
            assert found is not None
            assert found.effect == pytest.approx(want.statistic, rel=1e-9)
            assert found.extra["p_value"] == pytest.approx(want.pvalue, abs=1e-7)
            assert (found.low, found.high, found.beyond(0)) == (-math.inf, math.inf, 1.0)
            other = numeric.anderson_darling(sketch(before), sketch(now), 0.95, known)
            assert other is not None
            assert other.effect == pytest.approx(exact.anderson_darling, rel=1e-9)


TESTS = (numeric.kolmogorov_smirnov, numeric.wasserstein, numeric.cramer_von_mises, numeric.anderson_darling)


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
def test_columns_of_which_nothing_can_be_said(test: Callable[..., Found | None]) -> None:
    some, none = sketch(np.arange(5.0)), sketch(np.zeros(0))
    category = Sketch(kind="category", rows=5)
    for before, now in ((none, some), (some, none), (none, none), (category, some), (some, category)):
        assert test(before, now, 0.95, None) is None


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ([1.0], [2.0]),
        ([3.0] * 50, [3.0] * 70),
        ([3.0] * 50, [4.0] * 70),
        ([-1.7e308, 0.0, 1.7e308] * 20, [1.79e308] * 30),
        ([5e-324, 0.0] * 20, [-5e-324, 1.0] * 30),
    ],
    ids=["single", "same", "constants", "greatest", "least"],
)
def test_extreme_columns_give_numbers(before: list[float], now: list[float]) -> None:
    one, two_ = np.sort(np.array(before)), np.sort(np.array(now))
    for known in (exact_of(one, two_), None):
        for test in TESTS:
            found = test(sketch(one), sketch(two_), 0.95, known)
            if found is not None:
                assert not math.isnan(found.effect + found.beyond(0.1) + sum(found.certain))
                assert found.low <= found.high
                assert 0 <= found.beyond(0) <= found.beyond(0.1) <= 1


def test_scipy_stats_is_not_loaded() -> None:
    """It takes more time than a check of a thousand rows."""
    script = (
        "import sys, numpy as np\n"
        "from trackside.measures import numeric, exact\n"
        "from trackside.sketch.column import Sketch\n"
        "from trackside.sketch.numbers import Numbers\n"
        "a = np.arange(50.0)\n"
        "one = Sketch(kind='number', rows=50, numbers=Numbers.of_sorted(a))\n"
        "known = exact.exact_of(a, a + 1)\n"
        "for test in (numeric.kolmogorov_smirnov, numeric.wasserstein, numeric.cramer_von_mises):\n"
        "    test(one, one, .95, known).beyond(.1)\n"
        "sys.exit('scipy.stats' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
