"""Sketches of numbers: a pure function of the values, within bounds that hold."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.sketch.numbers import CELLS, Floats, NumberCounter, Numbers, keys_of, merged, values_of

EDGES = [0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1e308, -1e308, 1.7976931348623157e308, 1.0, -1.0]
finite = st.one_of(st.sampled_from(EDGES), st.floats(allow_nan=False, allow_infinity=False))


@st.composite
def columns(draw: st.DrawFn) -> Floats:
    """Columns of many shapes, from nothing to more distinct values than there are cells."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.sampled_from([0, 1, 2, 50, 3000, 9000, 30_000]))
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
    cells = keys
    while len(cells) > CELLS:
        depth -= 1
        cells = np.unique(keys >> np.uint64(64 - depth)) if depth else np.zeros(1, dtype=np.uint64)
    shifted = keys >> np.uint64(64 - depth) if depth else np.zeros_like(keys)
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
