"""Categories, shares and the state of values: against scipy, closed forms, published examples and simulations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import spatial, special, stats

from trackside.measures import levels, quality, shares
from trackside.measures.chance import benjamini_hochberg, non_centrality, proportions, upper_tail, wilson
from trackside.measures.detectable import cohens_w, of_shares
from trackside.sketch.column import Sketch
from trackside.sketch.levels import Levels, exact, published
from trackside.sketch.numbers import Numbers, keys_of

LEVEL = 0.95
COUNTS = st.dictionaries(st.text("abcdefgh~", min_size=1, max_size=2), st.integers(1, 400), min_size=1, max_size=30)


def category(counts: Mapping[str, int], rest: int = 0) -> Sketch:
    found = Levels(counts=dict(counts), rest=rest, bound=rest, distinct=len(counts))
    return Sketch(kind="category", rows=found.count, levels=found)


def drawn(names: list[str], rows: list[str]) -> Sketch:
    counted = Counter(rows)
    return category({name: counted[name] for name in names if counted[name]})


def number(values: list[float]) -> Sketch:
    found = np.asarray(sorted(values), dtype=np.float64)
    keys, counts = np.unique(keys_of(found), return_counts=True)
    made = Numbers(keys=keys, counts=counts, low=found[0], high=found[-1], mean=float(found.mean()))
    return Sketch(kind="number", rows=found.size, numbers=made)


# Counts by level


@settings(deadline=None, max_examples=200)
@given(before=COUNTS, now=COUNTS)
def test_counts_keep_every_row(before: dict[str, int], now: dict[str, int]) -> None:
    for reference in (category(before), category(before, rest=7)):
        found = levels.counts(reference, category(now))
        assert found is not None
        assert found.before.sum() + found.rest_before == reference.rows
        assert found.now.sum() + found.rest_now == sum(now.values())


@settings(deadline=None, max_examples=200)
@given(before=COUNTS, now=COUNTS)
def test_what_is_published_by_digest_is_known_again(before: dict[str, int], now: dict[str, int]) -> None:
    assume(not levels.mostly_rare(category(before)))
    hidden = category(published(exact(before)).counts)
    one, two = levels.counts(category(before), category(now)), levels.counts(hidden, category(now))
    assert one is not None
    assert two is not None
    assert sorted(zip(one.before, one.now, strict=True)) == sorted(zip(two.before, two.now, strict=True))


def test_numbers_of_few_values_are_levels() -> None:
    before, now = number([0.0] * 90 + [1.0] * 10), number([0.0] * 80 + [1.0] * 15 + [2.0] * 5)
    assert levels.few_values(before)
    assert not levels.few_values(number([float(one) for one in range(levels.FEW + 1)]))
    found = levels.counts(before, now)
    assert found is not None
    assert (found.names, list(found.before), list(found.now)) == (("0.0", "1.0", "2.0"), [90, 10, 0], [80, 15, 5])
    new = levels.new_levels(before, now, LEVEL, None)
    assert new is not None
    assert new.extra == {"before": 0.0, "now": 0.05}


# χ²


def test_chi_square_is_that_of_scipy() -> None:
    rng = np.random.default_rng(4)
    cases = 0
    for size in (2, 6, 40):
        names = [f"l{at}" for at in range(size)]
        for _ in range(40):
            p, q = rng.dirichlet(np.full(size, 20)), rng.dirichlet(np.full(size, 20))
            before, now = (
                drawn(names, list(rng.choice(names, 9000, p=p))),
                drawn(names, list(rng.choice(names, 7000, p=q))),
            )
            table = levels.counts(before, now)
            assert table is not None
            if min((table.before + table.now) * 7000 / 16_000) < levels.LEAST_EXPECTED:
                continue
            expected = stats.chi2_contingency([table.before, table.now], correction=False)
            found = levels.chi_square(before, now, LEVEL, None)
            assert found is not None
            assert found.extra["chi2"] == pytest.approx(expected.statistic, rel=1e-9)
            assert found.extra["freedom"] == expected.dof
            assert found.beyond(0) == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-300)
            v = stats.contingency.association(np.array([table.before, table.now], dtype=int), "cramer")
            assert shares.cramers_v(table.before, table.now) == pytest.approx(v, rel=1e-9)
            assert found.low <= found.effect <= found.high
            cases += 1
    print(f"{cases} tables as scipy has them")
    assert cases >= 100


@settings(deadline=None, max_examples=200)
@given(counts=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=40))
def test_pooling_keeps_every_row(counts: list[tuple[int, int]]) -> None:
    before, now = (np.array(side, dtype=float) for side in zip(*counts, strict=True))
    if not before.sum() or not now.sum():
        return
    one, other = levels.pooled(before, now)
    assert (one.sum(), other.sum()) == (before.sum(), now.sum())
    if one.size > 1:
        expected = (one + other) * min(one.sum(), other.sum()) / (one.sum() + other.sum())
        assert expected.min() >= levels.LEAST_EXPECTED - 1e-9


def test_the_interval_of_w_holds_the_true_one() -> None:
    rng = np.random.default_rng(5)
    missed = cases = 0
    for k in (2, 5, 20):
        for apart in (0.0, 0.3):
            p = np.full(k, 1 / k)
            q = p * np.where(np.arange(k) % 2, 1 + apart, 1 - apart)
            q /= q.sum()
            n, m = 5000, 1000
            together = (n * p + m * q) / (n + m)
            true = math.sqrt(float(((p - q) ** 2 / together).sum()))
            names = [f"l{at}" for at in range(k)]
            for _ in range(100):
                before, now = (
                    category(dict(zip(names, rng.multinomial(*side), strict=True))) for side in ((n, p), (m, q))
                )
                found = levels.chi_square(before, now, LEVEL, None)
                assert found is not None
                cases += 1
                missed += not found.low <= true <= found.high
    print(f"{cases} intervals, {missed} missed the true w")
    assert cases == 600
    assert missed <= cases * 0.08


@pytest.mark.parametrize("freedom", [1, 4, 19, 200])
@pytest.mark.parametrize("statistic", [0.5, 10.0, 300.0, 9999.0])
def test_the_non_centrality_is_that_of_scipy(freedom: int, statistic: float) -> None:
    low, high = non_centrality(statistic, freedom, LEVEL)
    for bound, tail in ((low, 0.975), (high, 0.025)):
        if bound > 0:
            assert stats.ncx2.cdf(statistic, freedom, bound) == pytest.approx(tail, abs=1e-4)
        else:
            assert stats.chi2.cdf(statistic, freedom) <= tail + 1e-9


def test_far_out_the_root_is_as_good() -> None:
    for freedom in (1, 19):
        below, above = non_centrality(10_000, freedom, LEVEL), non_centrality(10_001, freedom, LEVEL)
        assert above[0] == pytest.approx(below[0], rel=2e-3)
        assert above[1] == pytest.approx(below[1], rel=2e-3)


def test_certified_w_holds_the_one_of_all_levels() -> None:
    """A reference of which only the most frequent levels are named: χ² of merged cells is never the larger one."""
    rng = np.random.default_rng(6)
    names = [f"l{at}" for at in range(60)]
    cases = 0
    for _ in range(50):
        p, q = rng.dirichlet(np.full(60, 3)), rng.dirichlet(np.full(60, 3))
        counts = dict(zip(names, (int(one) + 1 for one in rng.multinomial(40_000, p)), strict=True))
        now = category(dict(zip(names, (int(one) + 1 for one in rng.multinomial(40_000, q)), strict=True)))
        cut = published(exact(counts), limit=30)
        part = levels.chi_square(Sketch(kind="category", rows=cut.count, levels=cut), now, LEVEL, None)
        whole = levels.chi_square(category(counts), now, LEVEL, None)
        assert part is not None
        assert whole is not None
        assert part.certain[0] <= whole.effect + 1e-9
        assert whole.effect <= part.certain[1] + 1e-9
        cases += 1
    assert cases == 50


# New and vanished levels


def test_what_a_sample_leaves_unseen_is_no_news() -> None:
    """Samples of a long tail: the share of new levels is that of Good and Turing, and its interval holds it."""
    rng = np.random.default_rng(7)
    p = 1 / np.arange(1, 301) ** 1.3
    p /= p.sum()
    names = [f"l{at}" for at in range(300)]
    missed = cases = alarms = 0
    for n in (300, 3000):
        for _ in range(150):
            before = category(dict(zip(names, rng.multinomial(n, p), strict=True)))
            before = category({name: count for name, count in by(before).items() if count})
            now = category({name: count for name, count in zip(names, rng.multinomial(5000, p), strict=True) if count})
            found = levels.new_levels(before, now, LEVEL, None)
            if found is None:
                continue
            cases += 1
            missed += found.low > 0
            alarms += found.low > 0.01 and found.beyond(0.01) < 0.05 / 30
    print(f"{cases} samples, {missed} intervals above 0, {alarms} alarms")
    assert cases >= 150
    assert missed <= cases * 0.05
    assert alarms == 0


def by(one: Sketch) -> Mapping[str, int]:
    assert one.levels is not None
    return one.levels.counts


def test_a_level_that_is_gone_is_told() -> None:
    before = category({"a": 900, "b": 80, "c": 20})
    gone = levels.vanished(before, category({"a": 1000}), LEVEL, None)
    assert gone is not None
    assert gone.effect == pytest.approx(0.08)
    assert gone.extra["before"] == pytest.approx(0.1)
    assert gone.low > 0.05
    none = levels.vanished(before, category({"a": 90, "b": 9, "c": 1}), LEVEL, None)
    assert none is not None
    assert (none.effect, none.low, none.beyond(0.01)) == (0.0, 0.0, 1.0)


# Divergences


@settings(deadline=None, max_examples=200)
@given(
    cells=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=2, max_size=30).filter(
        lambda rows: min(sum(side) for side in zip(*rows, strict=True)) > 0
    )
)
def test_divergences_are_their_closed_forms(cells: list[tuple[int, int]]) -> None:
    before, now = (np.array(side, dtype=float) for side in zip(*cells, strict=True))
    used = (before + now) > 0
    before, now = before[used], now[used]
    p, q = before / before.sum(), now / now.sum()
    assert shares.jensen_shannon(before, now) == pytest.approx(float(spatial.distance.jensenshannon(p, q, 2)), abs=1e-7)
    assert shares.hellinger(before, now) == pytest.approx(
        math.sqrt(max(0.0, 1 - float(np.sqrt(p * q).sum()))), abs=1e-7
    )
    assert shares.total_variation(before, now) == pytest.approx(1 - float(np.minimum(p, q).sum()), abs=1e-12)
    p, q = shares.smoothed(before, now)
    assert shares.kullback_leibler(before, now) == pytest.approx(
        float(special.rel_entr(q, p).sum()), rel=1e-9, abs=1e-12
    )
    both = float(special.rel_entr(q, p).sum() + special.rel_entr(p, q).sum())
    assert shares.stability(before, now) == pytest.approx(both, rel=1e-9, abs=1e-12)


def test_full_cells_need_no_smoothing() -> None:
    before, now = np.array([30.0, 70.0]), np.array([60.0, 40.0])
    assert shares.stability(before, now) == pytest.approx(0.3 * math.log(2) + 0.3 * math.log(7 / 4), rel=1e-12)
    assert shares.kullback_leibler(before, now) == pytest.approx(0.6 * math.log(2) + 0.4 * math.log(4 / 7), rel=1e-12)


def test_tenths_are_those_of_the_reference() -> None:
    before, now = number([float(one) for one in range(100)]), number([float(one) / 2 for one in range(100)])
    assert before.numbers is not None
    assert now.numbers is not None
    p, q = shares.tenths(before.numbers, now.numbers)
    assert list(p) == [10.0] * 10
    assert list(q) == [19.0, *[20.0] * 4, 1.0, 0.0, 0.0, 0.0, 0.0]


# Shares


def test_shares_are_those_of_newcombe_and_wilson() -> None:
    """Newcombe 1998 (Statistics in Medicine 17, 873-890), table II, method 10; Wilson for 15 of 148 in part I."""
    found = proportions(48, 80, 56, 70, LEVEL)
    assert (found.effect, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    found = proportions(3, 10, 9, 10, LEVEL)
    assert (found.low, found.high) == pytest.approx((0.1705, 0.8090), abs=5e-5)
    found = proportions(0, 10, 10, 10, LEVEL)
    assert (found.low, found.high) == pytest.approx((0.6075, 1.0), abs=5e-5)
    assert wilson(15, 148, LEVEL) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    expected = stats.chi2_contingency([[48, 32], [56, 14]], correction=False)
    assert proportions(48, 80, 56, 70, LEVEL).beyond(0) == pytest.approx(expected.pvalue)


@settings(deadline=None)
@given(p_values=st.lists(st.floats(0, 1), max_size=60))
def test_q_values_are_those_of_scipy(p_values: list[float]) -> None:
    made = benjamini_hochberg(p_values)
    assert made == pytest.approx(list(stats.false_discovery_control(p_values)) if p_values else [], abs=1e-12)


def test_what_lies_beyond_the_extremes_by_chance_is_no_news() -> None:
    """The p-value of unchanged data is at least uniform, and a tenth of the values beyond is found."""
    rng = np.random.default_rng(8)
    small, cases = Counter[float](), 0
    for _ in range(400):
        before, now = number(list(rng.exponential(size=100))), number(list(rng.exponential(size=400)))
        found = quality.out_of_range(before, now, LEVEL, None)
        assert found is not None
        assert 0 <= found.low <= found.effect <= found.high <= 1
        cases += 1
        for tail in (0.05, 0.2, 0.5):
            small[tail] += found.beyond(0) <= tail
    print(f"{cases} checks of unchanged data; p-values at most: {dict(small)}")
    for tail, count in small.items():
        assert count <= cases * tail + 4 * math.sqrt(cases * tail * (1 - tail))
    far = quality.out_of_range(number([0.0, 1.0] * 200), number([0.5] * 360 + [7.0] * 40), LEVEL, None)
    assert far is not None
    assert far.effect == 0.1
    assert far.low > 0.05


def test_entropy_mode_and_cardinality_are_told() -> None:
    before, now = category({"a": 50, "b": 50}), category({"a": 25, "b": 25, "c": 25, "d": 25})
    entropy = quality.entropy_change(before, now, LEVEL, None)
    mode = quality.mode(before, now, LEVEL, None)
    many = quality.cardinality(before, now, LEVEL, None)
    assert entropy is not None
    assert mode is not None
    assert many is not None
    assert entropy.effect == pytest.approx(math.log(2))
    assert mode.effect == -0.25
    assert many.effect == pytest.approx(math.log(2))


# What silence means


def test_what_is_detectable_is_found_as_often_as_promised() -> None:
    rng = np.random.default_rng(9)
    tail, n, m, cases = 0.05 / 30, 3000, 2000, 2000
    w = cohens_w(n * m / (n + m), 3, 0.07, tail)
    statistics = stats.ncx2.rvs(3, n * m / (n + m) * w * w, size=cases, random_state=rng)
    share = n * m / (n + m)
    found = np.mean([upper_tail(float(one), 3, share * 0.07**2) < tail for one in statistics])
    rise = of_shares(0.02, n, m, 0.02, tail)
    assert rise is not None
    rises = np.mean(
        [
            proportions(a, n, b, m, LEVEL).beyond(0.02) < tail
            for a, b in zip(rng.binomial(n, 0.02, cases), rng.binomial(m, 0.02 + rise, cases), strict=True)
        ]
    )
    print(f"{cases} cases: w {w:.3f} found in {found:.3f}, a rise of {rise:.3f} in {rises:.3f}")
    assert abs(found - 0.95) < 0.02
    assert abs(rises - 0.95) < 0.03
