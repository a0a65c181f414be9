"""The table of tests: every row is whole, and says something sensible of any pair of columns."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.measures.table import TESTS, Row, groups
from trackside.sketch.column import ColumnCounter, Sketch
from trackside.sketch.values import Kind

LEVEL = 0.95
VALUES: dict[Kind, tuple[st.SearchStrategy[object], pa.DataType]] = {
    "number": (st.one_of(st.floats(width=64), st.integers(-2, 2).map(float)), pa.float64()),
    "category": (st.text("abc~é", max_size=3), pa.string()),
    "boolean": (st.booleans(), pa.bool_()),
    "datetime": (st.integers(-(2**40), 2**40), pa.timestamp("ms")),
}


def sketch(kind: Kind, values: list[object]) -> Sketch:
    counter = ColumnCounter(kind)
    counter.add(pa.array(values, VALUES[kind][1]))
    return counter.done()


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Sketch, Sketch]:
    kind = draw(st.sampled_from(sorted(VALUES)))
    rows = st.lists(st.none() | VALUES[kind][0], max_size=80)
    return sketch(kind, draw(rows)), sketch(kind, draw(rows))


@pytest.mark.parametrize("row", TESTS, ids=lambda row: row.name)
def test_a_row_is_whole(row: Row) -> None:
    assert row.source
    assert row.unit
    assert row.applies
    assert row.judges == bool(row.reason)
    assert row.judges or not (row.quality or row.rises or row.invalid or row.floor or row.detect)


def test_the_table_has_the_tests_that_are_promised() -> None:
    assert Counter(row.name for row in TESTS).most_common(1)[0][1] == 1
    assert {row.name for row in TESTS} >= {
        "ks", "wasserstein", "psi", "jensen_shannon", "kullback_leibler", "hellinger", "total_variation", "chi2",
        "cramers_v", "cramer_von_mises", "anderson_darling", "missing", "wrong type", "infinite", "new levels",
        "vanished", "range", "cardinality", "entropy", "mode", "length", "pattern",
    }  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(pair=pairs())
def test_every_test_has_an_answer_for_any_columns(pair: tuple[Sketch, Sketch]) -> None:
    before, now = pair
    for row in TESTS:
        if not groups(before) & frozenset(row.applies):
            continue
        found = row.function(before, now, LEVEL, None)
        if found is None:
            continue
        assert not math.isnan(found.effect), row.name
        assert found.low <= found.effect + 1e-9, row.name
        assert found.effect <= found.high + 1e-9, row.name
        assert found.certain[0] <= found.certain[1] + 1e-12, row.name
        p_values = [found.beyond(least) for least in (0.0, 0.01, 0.1, 0.5)]
        assert all(0 <= one <= 1 + 1e-9 for one in p_values), row.name
        assert p_values[1:] == sorted(p_values[1:]), row.name
        if row.threshold is not None and row.detect is not None and before.finite and now.finite:
            least = row.detect(before, now, row.threshold, 0.001)
            assert least is None or least > row.threshold, row.name


@settings(deadline=None, max_examples=80)
@given(pair=pairs())
def test_no_test_finds_a_column_different_from_itself(pair: tuple[Sketch, Sketch]) -> None:
    for row in TESTS:
        if groups(pair[0]) & frozenset(row.applies):
            found = row.function(pair[0], pair[0], LEVEL, None)
            if found is not None and row.threshold is not None:
                assert found.low <= row.threshold, row.name
                assert abs(found.effect) < 1e-9 or found.effect <= np.ptp(found.certain) + 1e-9, row.name


def test_texts_of_another_format_are_told() -> None:
    """Ids: no level comes twice, but their shape and length do."""
    rng = np.random.default_rng(1)
    before = sketch("category", [f"AB-{at:06d}" for at in rng.integers(0, 10**6, 2000)])
    now = sketch("category", [f"{at:x}" for at in rng.integers(0, 10**12, 2000)])
    rows = {row.name: row for row in TESTS}
    for name in ("pattern", "length"):
        row = rows[name]
        same, other = row.function(before, before, LEVEL, None), row.function(before, now, LEVEL, None)
        assert same is not None
        assert other is not None
        assert same.low <= (row.threshold or 0) < other.low
    assert rows["chi2"].function(before, now, LEVEL, None) is None
