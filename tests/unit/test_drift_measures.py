"""Effects and intervals, against scipy, published examples, and simulations of their coverage."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trackside.documents.profile import Column
from trackside.drift import measures
from trackside.drift.columns import BINS, Observed, edges_of

LEVEL = 0.95


def number(values: Any, name: str = "x") -> Column:
    """A reference column of numbers, as a profile holds it."""
    found = np.asarray(values, dtype=np.float64)
    seen = Observed(kind="number", edges=edges_of(found, float(found.min()), float(found.max())))
    seen.add(pa.array(found))
    unique = np.unique(found).size
    return seen.column(name, "feature", distinct=unique if unique <= BINS else -1)


def observed(column: Column, values: Any) -> Observed:
    known = frozenset(column.levels) if column.type == "category" else None
    seen = Observed(kind=column.type, edges=np.asarray(column.edges) if column.edges else None, known=known)
    seen.add(pa.array(values))
    return seen


def category(values: list[str]) -> Column:
    seen = Observed(kind="category")
    seen.add(pa.array(values))
    return seen.column("c", "feature")


FLOATS = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=300)
WHOLE = st.lists(st.integers(-50, 50), min_size=2, max_size=300)


@settings(deadline=None)
@given(before=WHOLE, now=WHOLE)
def test_of_few_values_all_figures_are_exact(before: list[int], now: list[int]) -> None:
    column = number(before)
    found = measures.kolmogorov_smirnov(column, observed(column, np.array(now, dtype=float)), LEVEL)
    # Values that only the current data has lie between the edges: D is taken at the reference's values.
    points = np.unique(before)
    left = (points[0] - 0.5, *points)
    exact = max(abs(np.mean(np.array(now) <= at) - np.mean(np.array(before) <= at)) for at in left)
    assert found.effect == pytest.approx(exact, abs=1e-9)
    assert found.effect <= stats.ks_2samp(before, now, method="asymp").statistic + 1e-9


@settings(deadline=None)
@given(before=WHOLE)
def test_of_the_same_values_nothing_has_moved(before: list[int]) -> None:
    column = number(before)
    found = measures.kolmogorov_smirnov(column, observed(column, np.array(before, dtype=float)), LEVEL)
    assert (found.effect, found.low, found.beyond(0)) == (0.0, 0.0, 1.0)
    assert found.extra["psi"] == pytest.approx(0, abs=1e-12)


@settings(deadline=None)
@given(before=FLOATS, now=FLOATS)
def test_d_is_never_above_the_true_one(before: list[float], now: list[float]) -> None:
    column = number(before)
    found = measures.kolmogorov_smirnov(column, observed(column, np.array(now)), LEVEL)
    assert found.effect <= stats.ks_2samp(before, now, method="asymp").statistic + 1e-9
    assert 0 <= found.low <= found.effect <= found.high <= 1


def test_bins_cost_little() -> None:
    rng = np.random.default_rng(1)
    worst = 0.0
    for case in range(20):
        before, now = rng.normal(size=20_000), rng.normal(0.02 * case, 1 + 0.02 * case, 5000)
        column = number(before)
        found = measures.kolmogorov_smirnov(column, observed(column, now), LEVEL)
        exact = stats.ks_2samp(before, now, method="asymp")
        worst = max(worst, abs(found.effect - exact.statistic))
        assert found.beyond(0) == pytest.approx(stats.ks_2samp(before, now, method="asymp").pvalue, rel=0.9, abs=0.05)
        moved = stats.wasserstein_distance(before, now)
        assert found.extra["wasserstein"] == pytest.approx(moved / before.std(ddof=1), rel=0.05, abs=0.003)
    print(f"20 cases, D off by {worst:.5f} at most")
    assert worst <= 1 / BINS


def test_wasserstein_of_steps_is_exact() -> None:
    rng = np.random.default_rng(2)
    before, now = rng.integers(0, 24, 3000), np.clip(rng.integers(2, 26, 1000), 0, 23)
    column = number(before)
    assert measures.wasserstein(column, observed(column, now.astype(float))) == pytest.approx(
        stats.wasserstein_distance(before, now), rel=1e-9
    )


def test_the_interval_of_d_holds_the_true_one() -> None:
    """Two normal distributions an exactly known distance apart, also none: the share of intervals that hold it."""
    rng = np.random.default_rng(3)
    missed = cases = above = 0
    for shift in (0.0, 0.1, 0.25, 0.6):
        true = 2 * stats.norm.cdf(shift / 2) - 1
        for n, m in ((500, 500), (5000, 500), (20_000, 1000)):
            for _ in range(60):
                column = number(rng.normal(size=n))
                found = measures.kolmogorov_smirnov(column, observed(column, rng.normal(shift, 1, m)), LEVEL)
                cases += 1
                above += found.low > true
                missed += not found.low <= true <= found.high
    print(f"{cases} intervals, {missed} missed the true D, {above} from above")
    assert cases == 720
    assert missed <= cases * 0.05


@pytest.mark.parametrize("freedom", [1, 4, 19, 200])
@pytest.mark.parametrize("statistic", [0.5, 10.0, 300.0, 9999.0])
def test_the_non_centrality_is_that_of_scipy(freedom: int, statistic: float) -> None:
    low, high = measures.non_centrality(statistic, freedom, LEVEL)
    for bound, tail in ((low, 0.975), (high, 0.025)):
        if bound > 0:
            assert stats.ncx2.cdf(statistic, freedom, bound) == pytest.approx(tail, abs=1e-4)
        else:
            assert stats.chi2.cdf(statistic, freedom) <= tail + 1e-9


def test_far_out_the_root_is_as_good() -> None:
    for freedom in (1, 19):
        below, above = measures.non_centrality(10_000, freedom, LEVEL), measures.non_centrality(10_001, freedom, LEVEL)
        assert above[0] == pytest.approx(below[0], rel=2e-3)
        assert above[1] == pytest.approx(below[1], rel=2e-3)


def test_chi_square_is_that_of_scipy() -> None:
    rng = np.random.default_rng(4)
    cases = 0
    for _ in range(50):
        before = rng.choice(list("abcdef"), 2000, p=rng.dirichlet(np.full(6, 20))).tolist()
        now = rng.choice(list("abcdef"), 700, p=rng.dirichlet(np.full(6, 20))).tolist()
        column = category(before)
        found = measures.chi_square(column, observed(column, now), LEVEL)
        counts = [[side.count(name) for name in "abcdef"] for side in (before, now)]
        exact = stats.chi2_contingency(counts, correction=False)
        assert found.beyond(0) == pytest.approx(exact.pvalue, rel=1e-6, abs=1e-300)
        assert found.extra["cramers_v"] == pytest.approx(math.sqrt(exact.statistic / 2700), rel=1e-9)
        assert found.extra["cramers_v"] == pytest.approx(stats.contingency.association(counts, "cramer"), rel=1e-9)
        assert found.low <= found.effect <= found.high
        cases += 1
    assert cases == 50


def test_the_interval_of_w_holds_the_true_one() -> None:
    rng = np.random.default_rng(5)
    missed = cases = 0
    for k in (2, 5, 20):
        for apart in (0.0, 0.3):
            p = np.full(k, 1 / k)
            q = p * np.where(np.arange(k) % 2, 1 + apart, 1 - apart)
            q /= q.sum()
            n, m = 5000, 1000
            pooled = (n * p + m * q) / (n + m)
            true = math.sqrt(float(((p - q) ** 2 / pooled).sum()))
            names = [f"l{at}" for at in range(k)]
            for _ in range(60):
                column = category(rng.choice(names, n, p=p).tolist())
                found = measures.chi_square(column, observed(column, rng.choice(names, m, p=q).tolist()), LEVEL)
                cases += 1
                missed += not found.low <= true <= found.high
    print(f"{cases} intervals, {missed} missed the true w")
    assert cases == 360
    assert missed <= cases * 0.08


@settings(deadline=None)
@given(counts=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=40))
def test_pooling_keeps_every_row(counts: list[tuple[int, int]]) -> None:
    before, now = (np.array(side, dtype=float) for side in zip(*counts, strict=True))
    if not before.sum() or not now.sum():
        return
    one, other = measures.pooled(before, now)
    assert (one.sum(), other.sum()) == (before.sum(), now.sum())
    if one.size > 1:
        expected = (one + other) * min(one.sum(), other.sum()) / (one.sum() + other.sum())
        assert expected.min() >= measures.LEAST_EXPECTED - 1e-9


def test_shares_are_those_of_newcombe_and_wilson() -> None:
    """Newcombe 1998 (Statistics in Medicine 17, 873-890), table II, method 10; Wilson for 15 of 148 in part I."""
    found = measures.proportions(48, 80, 56, 70, LEVEL)
    assert (found.effect, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    found = measures.proportions(3, 10, 9, 10, LEVEL)
    assert (found.low, found.high) == pytest.approx((0.1705, 0.8090), abs=5e-5)
    found = measures.proportions(0, 10, 10, 10, LEVEL)
    assert (found.low, found.high) == pytest.approx((0.6075, 1.0), abs=5e-5)
    assert measures.wilson(15, 148, LEVEL) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    exact = stats.chi2_contingency([[48, 32], [56, 14]], correction=False)
    assert measures.proportions(48, 80, 56, 70, LEVEL).beyond(0) == pytest.approx(exact.pvalue)


@settings(deadline=None)
@given(p_values=st.lists(st.floats(0, 1), max_size=60))
def test_q_values_are_those_of_scipy(p_values: list[float]) -> None:
    made = measures.benjamini_hochberg(p_values)
    assert made == pytest.approx(list(stats.false_discovery_control(p_values)) if p_values else [], abs=1e-12)
