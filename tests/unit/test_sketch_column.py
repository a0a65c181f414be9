"""One column: values of any Arrow type as those of a kind; parts are the whole, text files included."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.sketch.column import ColumnCounter, Sketch, merged, of_counts
from trackside.sketch.dates import calendar_of
from trackside.sketch.levels import Levels
from trackside.sketch.loose import LooseCounter
from trackside.sketch.numbers import CELLS, NumberCounter, Numbers
from trackside.sketch.publish import published
from trackside.sketch.values import Kind, floats_of, kind_of, seconds_of, texts_of, truths_of

WRITTEN = st.one_of(
    st.none(),
    st.floats(allow_nan=False).map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.sampled_from(["", " 1", "2\t", "+3", ".5", "5.", "1e5", "1E-400", "1e400", "nan", "-NaN", "Infinity", "-inf"]),
    st.sampled_from(["nan(1)", "1_0", "0x1", "1,5", "é", "１", "1 2", "e5", ".", "+", "--1", "true", "\x00", "1d3"]),
    st.text(max_size=3),
)
DATES = st.one_of(
    st.none(),
    st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)).map(dt.datetime.isoformat),
    st.datetimes(dt.datetime(2, 1, 1), timezones=st.just(dt.UTC)).map(dt.datetime.isoformat),
    st.dates(dt.date(1, 1, 1)).map(str),
    st.sampled_from(["2024-02-30", "2023-02-29", "2024-13-01", "0000-01-01", "2024", "20240101", "2024-01-01T24:00"]),
    st.sampled_from(["2024-05-06T07:08:09Z", "2024-05-06 07:08+0200", "2024-05-06 07-03", " 2024-05-06 ", "x"]),
)


def same_numbers(one: Numbers | None, other: Numbers | None) -> None:
    """Equal but for the last digits of the moments."""
    assert (one is None) == (other is None)
    if one is None or other is None:
        return
    assert (one.depth, one.low, one.high) == (other.depth, other.low, other.high)
    assert np.array_equal(one.keys, other.keys)
    assert np.array_equal(one.counts, other.counts)
    if one.count and math.isfinite(one.squares):
        size = max(abs(one.low), abs(one.high))
        assert math.isclose(one.mean, other.mean, rel_tol=1e-9, abs_tol=1e-12 * size)
        assert math.isclose(one.squares, other.squares, rel_tol=1e-9, abs_tol=1e-12 * size * size * one.count)


def same(one: Sketch, other: Sketch) -> None:
    plain = ("kind", "rows", "missing", "infinite", "wrong", "levels", "patterns", "zones")
    for name in plain:
        assert getattr(one, name) == getattr(other, name), name
    same_numbers(one.numbers, other.numbers)
    same_numbers(one.lengths, other.lengths)
    assert (one.calendar is None) == (other.calendar is None)
    if one.calendar is not None and other.calendar is not None:
        for name in ("hours", "weekdays", "months"):
            assert np.array_equal(getattr(one.calendar, name), getattr(other.calendar, name)), name
    assert len(one.otherwise) == len(other.otherwise)
    for left, right in zip(one.otherwise, other.otherwise, strict=True):
        same(left, right)


def counted(kind: Kind | None, *arrays: Any) -> Sketch:
    counter = LooseCounter() if kind is None else ColumnCounter(kind)
    for array in arrays:
        counter.add(array)
    return counter.done()


def number(text: str) -> float | None:
    """A number as text files have it: ASCII, no underscores, no hexadecimal."""
    text = text.strip(" \t\r\n\v\f")
    try:
        return float(text) if text.isascii() and "_" not in text and text == text.strip() else None
    except ValueError:
        return None


@settings(deadline=None, max_examples=300)
@given(st.lists(WRITTEN, max_size=12))
def test_texts_are_numbers_where_python_says_so(values: list[str | None]) -> None:
    array = pa.array(["x", *values], pa.string())[1:]
    expected = [math.nan if value is None or (found := number(value)) is None else found for value in values]
    wrong = sum(value is not None and number(value) is None for value in values)
    for form in (array, array.cast(pa.large_string()), array.cast(pa.string_view()), array.dictionary_encode()):
        found, bad = floats_of(form)
        assert (found.tolist(), bad) == (pytest.approx(expected, rel=0, abs=0, nan_ok=True), wrong)
    alone = [floats_of(pa.array([value], pa.string())) for value in values]
    assert sum(bad for _, bad in alone) == wrong  # no matter what else is there


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, None, -3], pa.int8()), [1.0, math.nan, -3.0]),
        (pa.array([2**63, 1], pa.uint64()), [2.0**63, 1.0]),
        (pa.array([1.5, None, math.inf], pa.float16()), [1.5, math.nan, math.inf]),
        (pa.array([1.5, math.nan], pa.float32()), [1.5, math.nan]),
        (pa.array([decimal.Decimal("1.25"), None]), [1.25, math.nan]),
        (pa.array([decimal.Decimal("-7")], pa.decimal256(60, 3)), [-7.0]),
        (pa.array([True, None, False]), [1.0, math.nan, 0.0]),
        (pa.array([9, 4, None], pa.int64()).dictionary_encode(), [9.0, 4.0, math.nan]),
        (pa.array([0.5, 1.5, 2.5])[1:], [1.5, 2.5]),
        (pa.array([None, 1.0, None, 2.0])[1:3], [1.0, math.nan]),
        (pa.nulls(2), [math.nan, math.nan]),
        (pa.array([], pa.float64()), []),
    ],
)  # fmt: skip
def test_numbers_of_any_width(array: Any, expected: list[float]) -> None:
    found, wrong = floats_of(array)
    assert (found.tolist(), wrong) == (pytest.approx(expected, rel=0, abs=0, nan_ok=True), 0)
    sketch = counted("number", array)
    finite = [one for one in expected if math.isfinite(one)]
    assert (sketch.rows, sketch.finite, sketch.infinite) == (len(expected), len(finite), sum(map(math.isinf, expected)))


_ISO = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d(:\d\d(:\d\d(\.\d{1,9})?)?)?(Z|[+-]\d\d(:?\d\d)?)?)?", re.ASCII
)  # fmt: skip


def second(text: str) -> float | None:
    text = text.strip(" \t\r\n\v\f")
    if not _ISO.fullmatch(text):
        return None
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    found = found if found.tzinfo else found.replace(tzinfo=dt.UTC)
    return (found - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(seconds=1)


@settings(deadline=None, max_examples=300)
@given(st.lists(DATES, max_size=10))
def test_texts_are_dates_where_iso_8601_says_so(values: list[str | None]) -> None:
    expected = [math.nan if value is None or (found := second(value)) is None else found for value in values]
    good = [value for value in values if value is not None and second(value) is not None]
    zoned = {"offset" if re.search(r"\d(Z|[+-]\d\d(:?\d\d)?)$", one.strip()[10:]) else "" for one in good}
    found, wrong, zones = seconds_of(pa.array(values, pa.string()))
    assert found.tolist() == pytest.approx(expected, rel=1e-15, nan_ok=True)
    assert (wrong, zones) == (sum(value is not None for value in values) - len(good), zoned)


def test_times_of_any_unit_and_zone_are_seconds() -> None:
    noon = dt.datetime(2024, 5, 6, 12, 0, 0, 500_000)
    for unit in ("ms", "us", "ns"):
        found, wrong, zones = seconds_of(pa.array([noon, None], pa.timestamp(unit)))
        assert (found[0], wrong, zones) == (1714996800.5, 0, {""})
        assert math.isnan(found[1])
        zoned = pa.array([noon], pa.timestamp(unit, "Europe/Berlin"))
        assert seconds_of(zoned)[2] == {"Europe/Berlin"}
    assert seconds_of(pa.array([dt.date(1969, 12, 31)]))[0].tolist() == [-86400.0]
    assert seconds_of(pa.array([dt.date(1969, 12, 31)], pa.date64()).dictionary_encode())[0].tolist() == [-86400.0]
    assert seconds_of(pa.array([1.5, None]))[1] == 1
    assert seconds_of(pa.nulls(3))[1:] == (0, frozenset())


def test_dates_of_texts_have_the_calendar_of_times() -> None:
    times = [dt.datetime(2024, 5, 6, 7), dt.datetime(2024, 5, 6, 7, 30), dt.datetime(2024, 12, 29, 23)] * 5
    texts = pa.array([time.isoformat() for time in times])
    far = calendar_of(np.array([0.0, 3e11]), np.array([3, 2]))  # 9,500 years: another way to count
    assert (far.count, far.hours[0], far.weekdays[3], far.months[0]) == (5, 3, 3, 3)
    for found in (counted(None, texts), counted("datetime", texts), counted("datetime", pa.array(times))):
        assert found.calendar is not None
        assert {hour: int(count) for hour, count in enumerate(found.calendar.hours) if count} == {7: 10, 23: 5}
        assert found.calendar.weekdays.tolist() == [10, 0, 0, 0, 0, 0, 5]
        assert found.calendar.months.tolist() == [0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 5]


def test_times_with_and_without_a_zone_are_mixed() -> None:
    plain, zoned = pa.array([0], pa.timestamp("s")), pa.array([0], pa.timestamp("s", "UTC"))
    texts = pa.array(["2024-05-06T07:08:09Z", "2024-05-06"])
    assert counted("datetime", plain, zoned).zones == ("", "UTC")
    assert merged([counted("datetime", plain), counted("datetime", zoned)]).zones == ("", "UTC")
    assert counted("datetime", texts).zones == ("", "offset")
    for one in (counted("datetime", plain), counted("datetime", zoned, pa.nulls(1, pa.timestamp("s")))):
        assert len(one.zones) == 1


@pytest.mark.parametrize(
    ("array", "levels", "missing", "wrong"),
    [
        (pa.array([True, False, None, True]), {"true": 2, "false": 1}, 1, 0),
        (pa.array([1, 0, None, 2]), {"true": 1, "false": 1}, 2, 1),
        (pa.array([1.0, math.nan, 0.5]), {"true": 1}, 2, 1),
        (pa.array([" Yes", "NO", "t", "maybe", None, "0"]), {"true": 2, "false": 2}, 2, 1),
        (pa.array([dt.date(2024, 1, 1)]), {}, 1, 1),
        (pa.nulls(2), {}, 2, 0),
    ],
)
def test_truths_in_their_many_ways(array: Any, levels: dict[str, int], missing: int, wrong: int) -> None:
    found = counted("boolean", array)
    assert found.levels is not None
    assert (dict(found.levels.counts), found.missing, found.wrong) == (levels, missing, wrong)
    assert found.finite == sum(levels.values())
    yes, no, empty = truths_of(array)
    assert int(yes.sum() + no.sum()) + empty + wrong == len(array)


def test_what_is_of_another_kind_is_wrong() -> None:
    strangers: dict[Kind, list[Any]] = {
        "number": [pa.array(["x", "1"]), pa.array([dt.date(2024, 1, 1)]), pa.array([[1]])],
        "datetime": [pa.array(["x", "2024-01-01"]), pa.array([1.0]), pa.array([True])],
        "boolean": [pa.array(["x", "true"]), pa.array([7]), pa.array([b"1"])],
        "category": [pa.array([1]), pa.array([b"a"]), pa.array([{"a": 1}])],
    }
    for kind, arrays in strangers.items():
        found = counted(kind, *arrays)
        assert (found.wrong, found.missing) == (3, 3), kind
        assert found.finite == found.rows - 3
    assert texts_of(pa.array([1, None]))[1] == 1
    assert kind_of(pa.dictionary(pa.int8(), pa.string())) == "category"
    assert kind_of(pa.list_(pa.int8())) is None


def test_rows_of_a_file_without_the_column_are_missing() -> None:
    for counter in (ColumnCounter("number"), ColumnCounter("category"), LooseCounter()):
        counter.add(pa.array(["1"]))
        counter.add_absent(3)
        found = counter.done()
        assert (found.rows, found.missing, found.finite) == (4, 3, 1)


VALUES: dict[Kind, Any] = {
    "number": st.one_of(st.none(), st.floats(width=32), st.integers(-3, 3).map(float)),
    "category": st.one_of(st.none(), st.sampled_from(["a", "B-12", "", "x" * 130]), st.text(max_size=4)),
    "boolean": st.one_of(st.none(), st.booleans()),
    "datetime": st.one_of(st.none(), st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2250, 1, 1))),
}
TYPES: dict[Kind, Any] = {
    "number": pa.float64(),
    "category": pa.string(),
    "boolean": pa.bool_(),
    "datetime": pa.timestamp("us"),
}


@pytest.mark.parametrize("kind", list(VALUES))
@settings(deadline=None, max_examples=100)
@given(data=st.data(), order=st.randoms())
def test_parts_in_any_order_and_grouping_are_the_whole(kind: Kind, data: Any, order: random.Random) -> None:
    values = data.draw(st.lists(VALUES[kind], max_size=30))
    whole = counted(kind, pa.array(values, TYPES[kind]))
    size = data.draw(st.integers(1, 8))
    batches = [pa.array(values[at : at + size], TYPES[kind]) for at in range(0, len(values), size)]
    same(counted(kind, pa.chunked_array(batches, TYPES[kind])), whole)
    parts = [counted(kind, *batches[at::3]) for at in range(3)]
    same(merged(parts), whole)
    same(merged([merged(parts[:2]), parts[2]]), merged([parts[0], merged(parts[1:])]))
    order.shuffle(parts)
    same(merged(parts), whole)
    assert whole.rows == len(values)
    assert whole.missing == sum(one is None or one != one for one in values)


LOOSE = st.one_of(
    st.lists(st.sampled_from(["1", "0", None, "1.5", "7", "-3e4", "nan", "inf"]), max_size=10),
    st.lists(st.sampled_from(["true", "false", "no", "1", "0", None]), max_size=10),
    st.lists(st.sampled_from(["2024-01-01", "2024-01-02T03:04:05", "2024-01-01T00:00:00Z", None]), max_size=10),
    st.lists(st.one_of(st.none(), st.text(max_size=4)), max_size=10),
)


def kind_by_values(values: Sequence[str | None]) -> Kind:
    there = [value for value in values if value is not None]
    if all(number(value) is not None for value in there):
        return "number"
    if all(value.strip().lower() in ("true", "1", "t", "yes", "false", "0", "f", "no") for value in there):
        return "boolean"
    return "datetime" if all(second(value) is not None for value in there) else "category"


@settings(deadline=None, max_examples=300)
@given(st.lists(LOOSE, min_size=1, max_size=5), st.randoms())
def test_a_text_column_is_told_by_all_parts_together(parts: list[list[str | None]], order: random.Random) -> None:
    every = [value for part in parts for value in part]
    whole = counted(None, pa.array(every, pa.string()))
    assert whole.kind == kind_by_values(every)
    sketches = [counted(None, pa.array(part, pa.string())) for part in parts]
    same(merged(sketches), whole)
    order.shuffle(sketches)
    left = sketches[0]
    for one in sketches[1:]:
        left = merged([left, one])
    same(left, whole)
    known = counted(whole.kind, pa.array(every, pa.string()))
    same(known, Sketch(**{**vars(whole), "otherwise": ()}))
    texts = next(one for one in (whole, *whole.otherwise) if one.kind == "category")
    assert texts.levels is not None
    assert dict(texts.levels.counts) == dict(Counter(value for value in every if value is not None))


def test_a_part_of_numbers_and_one_of_texts_are_texts_without_loss() -> None:
    numbers = [f"{one}.50" for one in range(100_000)]  # more than are tracked
    left = counted(None, pa.array(numbers))
    assert left.kind == "number"
    found = merged([left, counted(None, pa.array(["n/a", "0.50"]))])
    assert (found.kind, found.rows, found.missing) == ("category", 100_002, 0)
    assert found.levels is not None
    assert found.levels.count == 100_002
    assert found.levels.bound >= 1
    assert found.lengths is not None
    assert found.lengths.count == 100_002
    assert found.patterns is not None
    assert dict(found.patterns.counts) == {"9.9": 100_001, "a/a": 1}


def test_a_text_file_and_one_with_types_are_one_column() -> None:
    """Parquet beside CSV: what has a type counts as it is written."""
    moment = dt.datetime(2024, 5, 6, 7, 8, 9, 250_000)
    typed: list[tuple[Kind, Any, str]] = [
        ("number", pa.array([1, None, 3]), "2.5"),
        ("number", pa.array([0.1, 1e-7, 1e300]), "nan"),
        ("number", pa.array([7, 8]).dictionary_encode(), "9"),
        ("number", pa.array([decimal.Decimal("1.50")]), "2"),
        ("boolean", pa.array([True, False, None]), "true"),
        ("datetime", pa.array([moment, None]), "2024-05-06"),
        ("datetime", pa.array([moment], pa.timestamp("us", "Europe/Berlin")), "2024-05-06T07:08:09Z"),
        ("datetime", pa.array([moment.date()]), "2024-05-06"),
    ]
    for kind, array, text in typed:
        found, alone = counted(None, pa.array([text]), array), counted(kind, pa.array([text]), array)
        assert (found.kind, found.rows, found.missing) == (kind, alone.rows, alone.missing)
        same_numbers(found.numbers, alone.numbers)
        assert found.levels == alone.levels
    assert counted(None, pa.array([[1], None]), pa.nulls(2)).missing == 4


def test_sixty_four_parts_of_a_table_are_the_whole() -> None:
    draws = np.random.default_rng(7)
    rows = 64_000
    arrays: dict[Kind, Any] = {
        "number": pa.array(np.where(draws.random(rows) < 0.1, np.nan, draws.standard_cauchy(rows))),
        "category": pa.array([f"level {one}" for one in draws.zipf(1.2, rows) % 3000]),
        "boolean": pa.array(draws.random(rows) < 0.3),
        "datetime": pa.array(draws.integers(0, 10**9, rows)).cast(pa.timestamp("s")),
    }
    for kind, array in arrays.items():
        parts = [counted(kind, array[at : at + 1000]) for at in range(0, rows, 1000)]
        assert len(parts) == 64
        same(merged(parts), counted(kind, array))
        same(merged([merged(parts[at::8]) for at in range(8)]), counted(kind, array))


def test_parts_of_different_kinds_do_not_merge() -> None:
    with pytest.raises(ValueError, match="category and number"):
        merged([Sketch(kind="number", numbers=Numbers()), Sketch(kind="category", levels=Levels())])
    with pytest.raises(ValueError):
        merged([])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False, width=32), st.integers(1, 5)), max_size=30))
def test_counts_of_values_are_the_values(pairs: list[tuple[float, int]]) -> None:
    values, counts = np.array([one for one, _ in pairs]), np.array([count for _, count in pairs], dtype=np.int64)
    counter = NumberCounter()
    counter.add(np.repeat(values, counts))
    same_numbers(of_counts(values, counts), counter.done())


def test_more_values_than_cells_are_counted_as_batches_are() -> None:
    values = np.random.default_rng(2).normal(size=3 * CELLS)
    counter = NumberCounter()
    counter.add(np.repeat(values, 7))
    same_numbers(of_counts(values, np.full(values.size, 7)), counter.done())


def test_lengths_and_patterns_are_of_rows() -> None:
    found = counted("category", pa.array(["AB-12", "CD-34", "ab-1", "", None, "x" * 300, "日本"]))
    assert found.lengths is not None
    assert found.patterns is not None
    assert dict(found.patterns.counts) == {"a-9": 3, "": 1, "a": 1, "a+": 1}
    assert (found.lengths.low, found.lengths.high, found.lengths.count) == (0.0, 300.0, 6)


def test_what_names_single_rows_is_not_published() -> None:
    values = ["often"] * 9 + ["K-1"] * 4 + ["secret@example.org"]
    found = published(counted(None, pa.array(values)))
    assert found.levels is not None
    assert found.patterns is not None
    assert found.levels.counts["often"] == 9
    assert sorted(name[0] for name in found.levels.counts) == ["o", "~", "~"]
    assert (dict(found.patterns.counts), found.patterns.rest) == ({"a": 9}, 5)
    assert found.otherwise == ()
    truths = counted("boolean", pa.array([True, False, False]))
    assert published(truths).levels == truths.levels
