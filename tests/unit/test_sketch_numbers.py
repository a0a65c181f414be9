"""Sketches of numbers: a pure function of the values, within bounds that hold."""

from __future__ import annotations

import math
import statistics
import threading
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.sketch.cells import Cells, cells_of_sorted
from trackside.sketch.layouts import CHUNK, Pages, Slots, layout_of
from trackside.sketch.moments import moments_of
from trackside.sketch.numbers import CELLS, Floats, NumberCounter, Numbers, keys_of, merged, values_of

EDGES = [0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1e308, -1e308, 1.7976931348623157e308, 1.0, -1.0]
finite = st.one_of(st.sampled_from(EDGES), st.floats(allow_nan=False, allow_infinity=False))


@st.composite
def columns(draw: st.DrawFn) -> Floats:
    """Columns of many shapes, from nothing to more distinct values than there are cells."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.sampled_from([0, 1, 2, 50, 3000, CELLS - 3, CELLS, 40_000]))
    shape = draw(st.sampled_from(sorted(SHAPES)))
    edges = np.array(draw(st.lists(finite, max_size=8)), dtype=np.float64)
    return random.permutation(np.concatenate([SHAPES[shape](random, n), edges]))


def _scattered(random: np.random.Generator, n: int) -> Floats:
    """Doubles of random bits: every exponent, subnormals among them."""
    values = random.integers(0, 2**64, n, dtype=np.uint64).view(np.float64)
    return values[np.isfinite(values)]


SHAPES: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "normal": lambda random, n: random.normal(size=n),
    "lognormal": lambda random, n: random.lognormal(size=n),
    "uniform": lambda random, n: random.uniform(size=n),
    "exponential": lambda random, n: random.exponential(size=n),
    "cauchy": lambda random, n: random.standard_cauchy(size=n),
    "integers": lambda random, n: random.integers(0, 21, n).astype(np.float64),
    "many integers": lambda random, n: random.integers(-20_000, 20_000, n).astype(np.float64),
    "zero inflated": lambda random, n: random.exponential(size=n) * (random.uniform(size=n) < 0.1),
    "timestamps": lambda random, n: 1.7e9 + 1e6 * random.uniform(size=n),
    "sorted timestamps": lambda random, n: 1.7e9 + 60.0 * np.arange(n),
    "clusters": lambda random, n: random.choice(random.normal(size=90), n) * (1 + 1e-9 * random.normal(size=n)),
    "equal": lambda random, n: np.full(n, 0.1),
    "prices": lambda random, n: np.round(random.lognormal(3, 1, n), 2),
    "scattered": _scattered,
}


def plain(values: Floats) -> Numbers:
    """The sketch by its definition, the slow way."""
    if not len(values):
        return Numbers()
    keys, counts = np.unique(keys_of(values), return_counts=True)
    depth = 64
    shifted = keys
    while 1 + np.count_nonzero(shifted[1:] != shifted[:-1]) > CELLS:
        depth -= 1
        shifted = keys >> np.uint64(64 - depth)
    cells = np.unique(shifted)
    held = np.zeros(len(cells), dtype=np.int64)
    np.add.at(held, np.searchsorted(cells, shifted), counts)
    return Numbers(depth=depth, keys=cells, counts=held, low=values.min() + 0.0, high=values.max() + 0.0)


def same(first: Numbers, second: Numbers) -> bool:
    """Equal to the last bit, but for the moments' rounding."""
    return (
        (first.depth, first.low, first.high) == (second.depth, second.low, second.high)
        and np.array_equal(first.keys, second.keys)
        and np.array_equal(first.counts, second.counts)
        and math.copysign(1, first.low) == math.copysign(1, second.low)
        and math.copysign(1, first.high) == math.copysign(1, second.high)
    )


def counted(parts: list[Floats]) -> Numbers:
    counter = NumberCounter()
    for part in parts:
        counter.add(part)
    return counter.done()


def split(values: Floats, random: np.random.Generator, parts: int) -> list[Floats]:
    return np.split(values, np.sort(random.integers(0, len(values) + 1, parts - 1)))


@given(st.lists(finite, max_size=40))
def test_keys_sort_as_the_values_do_and_give_them_back(values: list[float]) -> None:
    array = np.array(values, dtype=np.float64)
    assert np.array_equal(values_of(keys_of(array)), array)
    order = np.argsort(keys_of(array), kind="stable")
    assert np.array_equal(array[order], np.sort(array))


@settings(max_examples=60, deadline=None)
@given(columns())
def test_a_sketch_is_what_its_definition_says(values: Floats) -> None:
    assert same(Numbers.of_sorted(np.sort(values)), plain(values))


@settings(max_examples=80, deadline=None)
@given(columns(), st.integers(0, 2**32), st.integers(2, 12))
def test_no_split_and_no_order_changes_a_sketch(values: Floats, seed: int, parts: int) -> None:
    random = np.random.default_rng(seed)
    whole = Numbers.of_sorted(np.sort(values))
    pieces = split(values, random, parts)
    sketches = [Numbers.of_sorted(np.sort(piece)) for piece in pieces]
    shuffled = [sketches[i] for i in random.permutation(parts)]
    assert same(merged(*sketches), whole)
    assert same(merged(*shuffled), whole)
    # Associative: to the left, to the right.
    left, right = sketches[0], sketches[-1]
    for sketch in sketches[1:]:
        left = merged(left, sketch)
    for sketch in reversed(sketches[:-1]):
        right = merged(sketch, right)
    assert same(left, whole)
    assert same(right, whole)
    assert same(counted(pieces), whole)
    assert same(counted([pieces[i] for i in random.permutation(parts)]), whole)


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_sixty_four_parts_are_the_whole(shape: str) -> None:
    random = np.random.default_rng(7)
    values = SHAPES[shape](random, 400_000)
    whole = Numbers.of_sorted(np.sort(values))
    sketches = [counted([piece]) for piece in split(values, random, 64)]
    assert same(merged(*sketches), whole)
    assert same(counted([values]), whole)
    assert same(counted(split(values, random, 64)), whole)
    assert same(merged(*[counted([piece]) for piece in np.array_split(np.sort(values), 64)][::-1]), whole)
    size = max(-whole.low, whole.high)
    assert abs(merged(*sketches).mean / size - whole.mean / size) < 1e-13
    assert math.isclose(merged(*sketches).squares, whole.squares, rel_tol=1e-9)
    assert whole.count == len(values)
    assert len(whole.keys) <= CELLS
    assert whole.exact == (len(np.unique(values)) <= CELLS)


@settings(max_examples=60, deadline=None)
@given(columns(), st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_bounds_hold(values: Floats, shares: list[float]) -> None:
    sketch = Numbers.of_sorted(np.sort(values))
    wanted = np.array(shares)
    lower, upper = sketch.quantiles(wanted)
    if not len(values):
        assert np.isnan([lower, upper]).all()
        assert (sketch.count, sketch.deviation) == (0, 0.0)
        return
    ranks = np.maximum(np.ceil(wanted * len(values)), 1).astype(int) - 1
    ordered = np.sort(values)
    assert (lower <= ordered[ranks]).all()
    assert (ordered[ranks] <= upper).all()
    if sketch.exact:
        assert np.array_equal(lower, upper)
    cumulative = sketch.cumulative()
    assert np.array_equal(np.searchsorted(ordered, sketch.upper, side="right"), cumulative)
    assert np.array_equal(np.searchsorted(ordered, sketch.lower, side="left"), cumulative - sketch.counts)
    assert sketch.low <= sketch.mean <= sketch.high


@settings(max_examples=40, deadline=None)
@given(columns(), st.integers(0, 64), st.integers(0, 64))
def test_a_coarser_sketch_is_that_of_coarser_cells(values: Floats, first: int, second: int) -> None:
    sketch = Numbers.of_sorted(np.sort(values))
    if first > sketch.depth:
        with pytest.raises(ValueError, match="not within 0 to"):
            sketch.at(first)
        return
    coarse = sketch.at(first)
    assert coarse.count == sketch.count
    assert coarse.at(min(first, second)).counts.tolist() == sketch.at(min(first, second)).counts.tolist()
    if len(values):
        assert (coarse.lower <= coarse.upper).all()
        assert np.array_equal(np.searchsorted(np.sort(values), coarse.upper, side="right"), coarse.cumulative())


@settings(max_examples=40, deadline=None)
@given(columns(), st.integers(1, CELLS))
def test_fewer_cells_are_the_finest_that_are_few_enough(values: Floats, cells: int) -> None:
    sketch = Numbers.of_sorted(np.sort(values))
    fewer = sketch.within(cells)
    assert len(fewer.keys) <= cells
    assert same(fewer, sketch.at(fewer.depth))
    assert fewer.depth == sketch.depth or len(sketch.at(fewer.depth + 1).keys) > cells


@settings(max_examples=60, deadline=None)
@given(columns())
def test_quantiles_hold_those_of_numpy(values: Floats) -> None:
    if not len(values):
        return
    shares = np.array([0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0])
    lower, upper = Numbers.of_sorted(np.sort(values)).quantiles(shares)
    exact = np.quantile(values, shares, method="inverted_cdf")
    assert (lower <= exact).all()
    assert (exact <= upper).all()


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_layouts_count_known_cells_and_give_back_the_others(shape: str) -> None:
    random = np.random.default_rng(11)
    values = SHAPES[shape](random, CHUNK) + 0.0
    known = cells_of_sorted(np.sort(values[: CHUNK // 4 * 3]))
    layout = layout_of(known)
    rest = layout.count(values)
    counted_ones = layout.taken()
    assert counted_ones.counts.sum() + len(rest) == len(values)
    left = cells_of_sorted(np.sort(rest))
    together = Numbers.of_sorted(np.sort(values)).cells.at(min(left.depth, known.depth, 13))
    keys = np.concatenate([counted_ones.at(together.depth).keys, left.at(together.depth).keys])
    counts = np.concatenate([counted_ones.at(together.depth).counts, left.at(together.depth).counts])
    for key, count in zip(together.keys, together.counts, strict=True):
        assert counts[keys == key].sum() == count
    # Counts were taken: the layout starts again.
    assert len(layout.taken().keys) == 0
    if shape in ("integers", "clusters", "prices"):
        assert isinstance(layout, Slots)
    if shape in ("normal", "timestamps", "cauchy", "equal"):
        assert isinstance(layout, Pages)


def test_cells_that_share_a_slot_are_counted_all_the_same() -> None:
    # More cells than any four hashes keep apart; each value often.
    random = np.random.default_rng(5)
    values = np.repeat(_scattered(random, 9000), 40)
    random.shuffle(values)
    layout = layout_of(cells_of_sorted(np.sort(values)))
    rest = layout.count(values[:CHUNK])
    assert 0 < len(rest) < CHUNK / 4
    assert same(counted([values]), Numbers.of_sorted(np.sort(values)))


def test_batches_of_any_kind_are_counted_and_left_as_they_are() -> None:
    random = np.random.default_rng(3)
    values = random.normal(size=(3, 50_000))
    before = values.copy()
    counter = NumberCounter()
    counter.add(values[:, ::2][0])
    counter.add(np.zeros(0))
    halfway = counter.done()
    assert same(halfway, Numbers.of_sorted(np.sort(values[0, ::2])))
    counter.add(values[1])
    values.flags.writeable = False
    counter.add(values[2])
    for value in values[0, 1::2]:
        counter.add(np.array([value]))
    assert same(counter.done(), Numbers.of_sorted(np.sort(values.ravel())))
    assert np.array_equal(values, before)
    assert same(NumberCounter().done(), Numbers())


def test_threads_count_columns_side_by_side() -> None:
    columns = [SHAPES[shape](np.random.default_rng(1), 300_000) for shape in sorted(SHAPES)]
    found: dict[int, Numbers] = {}

    def count(first: int) -> None:
        for at in range(first, len(columns), 4):
            found[at] = counted([columns[at]])

    threads = [threading.Thread(target=count, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(columns)
    for at, values in enumerate(columns):
        assert same(found[at], Numbers.of_sorted(np.sort(values)))


@pytest.mark.parametrize("shape", ["normal", "lognormal", "uniform", "exponential", "cauchy"])
def test_no_cell_of_a_million_values_is_heavy(shape: str) -> None:
    random = np.random.default_rng(2)
    for values, heaviest in (
        (SHAPES[shape](random, 1_000_000), 0.0012),
        (5 + 5 * SHAPES[shape](random, 1_000_000), 0.0016),
    ):
        sketch = counted([values])
        assert len(sketch.keys) > CELLS / 3
        assert sketch.counts.max() / sketch.count < heaviest


@settings(max_examples=200, deadline=None)
@given(st.lists(finite, min_size=2, max_size=60), st.integers(1, 59))
def test_moments_are_those_of_fractions(values: list[float], border: int) -> None:
    array = np.array(values)
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    size = max(map(abs, exact))
    halves = merged(Numbers.of_sorted(np.sort(array[:border])), Numbers.of_sorted(np.sort(array[border:])))
    for sketch in (Numbers.of_sorted(np.sort(array)), counted([array]), halves):
        assert abs(Fraction(sketch.mean) - mean) <= size * Fraction(1, 10**14) + Fraction(5e-324)
        assert sketch.low <= sketch.mean <= sketch.high
        wanted = sum((value - mean) ** 2 for value in exact) / (len(exact) - 1)
        assert math.isfinite(sketch.deviation)
        if size > 10**-100:
            most = Fraction(1.7976931348623157e308)
            found = Fraction(sketch.deviation)
            assert found == most or abs(found**2 - wanted) <= max(wanted, size**2 / 10**16) / 10**6


def test_a_large_offset_costs_few_digits() -> None:
    # The share lost is that of the mean's own last digit: sums of squares would have no digit left.
    values = 1e9 + np.random.default_rng(4).normal(size=200_000)
    wanted = statistics.stdev(map(Fraction, values.tolist()))
    for sketch in (Numbers.of_sorted(np.sort(values)), counted([values]), counted(np.array_split(values, 64))):
        assert math.isclose(sketch.deviation, float(wanted), rel_tol=1e9 * 2.0**-52)
    assert math.isclose(moments_of(values).mean, float(statistics.fmean(values)), rel_tol=1e-15)


def test_a_sketch_without_values_is_empty_everywhere() -> None:
    empty = Numbers.of_sorted(np.zeros(0))
    for sketch in (empty, merged(), merged(empty, Numbers()), empty.at(3), empty.within(1)):
        assert sketch.count == 0
        assert len(sketch.lower) == len(sketch.upper) == len(sketch.cumulative()) == 0
    assert same(merged(empty, Numbers.of_sorted(np.ones(2))), Numbers.of_sorted(np.ones(2)))
    assert Cells().at(0).counts.sum() == 0


def test_zeros_of_both_signs_are_one_value_beside_tiny_negative_ones() -> None:
    random = np.random.default_rng(6)
    zeros = np.where(random.random(3 * CHUNK) < 0.5, 0.0, -0.0)
    values = random.permutation(np.concatenate([zeros, 1e-310 * random.normal(size=3 * CHUNK)]))
    found = counted([values])
    assert same(found, Numbers.of_sorted(np.sort(values)))
    assert found.counts[np.searchsorted(found.upper, 0.0)] >= len(zeros)
    assert found.depth < 64
    assert np.array_equal(found.cumulative(), np.searchsorted(np.sort(values), found.upper, side="right"))


def test_the_mean_of_the_greatest_values_is_one_of_them() -> None:
    # The weights of 1, 39 and 39 of 79 add up to more than one.
    greatest = float(np.finfo(np.float64).max)
    for sizes in ((1, 39, 39), (39, 1, 39), (2, 3, 7)):
        sketch = merged(*[Numbers.of_sorted(np.full(size, greatest)) for size in sizes])
        assert (sketch.mean, sketch.deviation) == (greatest, 0.0)
