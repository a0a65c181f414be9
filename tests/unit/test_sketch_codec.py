"""Sketches as documents hold them: back to the last bit, small, and what was tampered with is refused by name."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import random
import tracemalloc
import zlib
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.documents.codec import dump, load
from trackside.documents.profile import Column, Parts, Profile, column_of, sketch_of
from trackside.errors import DataError
from trackside.sketch import codec
from trackside.sketch.column import ColumnCounter, Sketch
from trackside.sketch.dates import Calendar
from trackside.sketch.levels import LevelCounter, entropy
from trackside.sketch.loose import LooseCounter
from trackside.sketch.numbers import Numbers, keys_of
from trackside.sketch.publish import published
from trackside.sketch.values import Kind

VALUES: dict[Kind, tuple[Any, Any]] = {
    "number": (pa.float64(), st.floats()),
    "category": (pa.string(), st.text(max_size=5)),
    "boolean": (pa.bool_(), st.booleans()),
    "datetime": (pa.timestamp("us"), st.datetimes(dt.datetime(1700, 1, 1))),
}


def identical(one: object, other: object) -> None:
    """Field by field, arrays to the last bit."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert one.dtype == np.asarray(other).dtype
        assert np.array_equal(one, np.asarray(other))
    elif isinstance(one, tuple):
        assert isinstance(other, tuple)
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            identical(left, right)
    elif dataclasses.is_dataclass(one):
        for part in dataclasses.fields(one):
            identical(getattr(one, part.name), getattr(other, part.name))
    else:
        assert repr(one) == repr(other)


def of(kind: Kind | None, array: Any) -> Sketch:
    counter = LooseCounter() if kind is None else ColumnCounter(kind)
    counter.add(array)
    return counter.done()


def samples() -> list[Sketch]:
    """One of each kind, with everything that a sketch can hold."""
    draws = np.random.default_rng(5)
    many = LevelCounter(limit=50)
    many.add(pa.array([f"id {one}" for one in range(5000)]))
    lost = dataclasses.replace(of("category", pa.array(["a"] * 5000)), levels=many.done())
    zoned = pa.array([0, 10**9, None], pa.timestamp("s", "Europe/Berlin"))
    return [
        of("number", pa.array([*draws.normal(size=20_000), np.nan, np.inf])),
        of("number", pa.array([1.5, -0.0, 1e308, 5e-324])),
        of("category", pa.array(["a", "ü\x00", None, "a", "x" * 200])),
        of("boolean", pa.array(["yes", "no", "perhaps"])),
        of("datetime", zoned),
        of(None, pa.array(["1", "0", "1"])),
        of("number", pa.nulls(3)),
        lost,
    ]


@pytest.mark.parametrize("kind", [*VALUES, None])
@settings(deadline=None, max_examples=120)
@given(data=st.data())
def test_what_is_written_comes_back(kind: Kind | None, data: Any) -> None:
    form, values = VALUES[kind or "category"]
    drawn = data.draw(st.lists(st.one_of(st.none(), values), max_size=25))
    sketch = of(kind, pa.array(drawn, form))
    identical(codec.decode(codec.encode(sketch)), sketch)
    column = column_of("name", "feature", sketch, publish=False)
    identical(sketch_of(msgspec.json.decode(msgspec.json.encode(column), type=Column)), sketch)
    identical(sketch_of(column_of("name", "feature", sketch)), published(sketch))


def test_samples_come_back_and_equal_ones_are_written_alike() -> None:
    for sketch in samples():
        data = codec.encode(sketch)
        back = codec.decode(data)
        identical(back, sketch)
        assert codec.encode(back) == data


@settings(deadline=None, max_examples=200)
@given(st.sets(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40), st.integers(0, 64))
def test_cells_of_any_depth_come_back(values: set[float], depth: int) -> None:
    numbers = Numbers.of_sorted(np.array(sorted(values))).at(depth)
    sketch = Sketch(kind="number", rows=numbers.count, numbers=numbers)
    identical(codec.decode(codec.encode(sketch)), sketch)


def refused(data: bytes) -> str:
    """The words of the refusal, also as a document's."""
    column = Column(name="x", role="feature", type="number", count=3, sketch=base64.b64encode(data).decode())
    with pytest.raises(codec.Malformed) as found:
        codec.decode(data)
    with pytest.raises(DataError) as told:
        sketch_of(column)
    assert told.value.reason_code == "document_invalid"
    assert told.value.why == str(found.value)
    return str(found.value)


def test_a_sketch_that_was_cut_or_changed_is_refused_or_consistent() -> None:
    draws = random.Random(11)
    cut = changed = kept = 0
    for sketch in samples():
        data = codec.encode(sketch)
        plain = zlib.decompress(data)
        for size in {*range(min(len(data), 60)), *(draws.randrange(len(data)) for _ in range(40))}:
            refused(data[:size])
            refused(zlib.compress(plain[: size * len(plain) // len(data)]))
            cut += 2
        refused(data + b"x")
        refused(zlib.compress(plain + b"\0"))
        for _ in range(400):
            broken = bytearray(plain)
            for _ in range(draws.choice((1, 1, 2, 8))):
                broken[draws.randrange(min(len(broken), draws.choice((30, 10**9))))] = draws.choice(
                    (0, 255, draws.randrange(256))
                )
            changed += 1
            try:
                found = codec.decode(zlib.compress(bytes(broken)))
            except codec.Malformed:
                continue
            kept += 1  # another sketch: what reads it must not fail either
            for part in (found, *found.otherwise):
                assert sum(one.count for one in (part.numbers, part.levels) if one is not None) == part.finite
            low, high = entropy(found.levels) if found.levels is not None else (0.0, 0.0)
            assert 0 <= low <= high
            assert column_of("x", "feature", found).count == found.rows
    print(f"{cut} cut, {changed} changed, of which {kept} are sketches")
    assert cut > 800
    assert changed == 400 * len(samples())
    assert kept < changed


def parts(**changes: Any) -> bytes:
    """A column of the numbers 1, 2, 3 with fields of its own."""
    values = np.array([1.0, 2.0, 3.0])
    numbers = {
        "depth": 64, "keys": keys_of(values), "counts": np.ones(3, dtype=np.int64),
        "low": 1.0, "high": 3.0, "mean": 2.0, "squares": 2.0,
    }  # fmt: skip
    own = {name: changes.pop(name) for name in list(changes) if name in numbers}
    return codec.encode(Sketch(**{"kind": "number", "rows": 3, "numbers": Numbers(**{**numbers, **own}), **changes}))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cut"),
        (b"plain", "not compressed"),
        (zlib.compress(b""), "cut short"),
        (zlib.compress(b"\x02\x01"), "another version"),
        (zlib.compress(b"\x01\x09"), "9 kinds"),
        (zlib.compress(b"\x01\x01\x07"), "unknown kind"),
        (zlib.compress(b"\x01" + b"\xff" * 9 + b"\x02"), "above 64 bits"),
        (zlib.compress(b"\x01" + b"\xff" * 11 + b"\x01"), "cut short"),
        (zlib.compress(b"\x01\x01\x00\x03" + b"\x80" * 11 + b"\x00\x00\x00"), "cut short"),
        (zlib.compress(b"\x01\x01\x00\x03\x00\x00\x00\x02" + b"\x80" * 11 + b"\x00\x00\x00"), "above 64 bits"),
        (zlib.compress(b"\x01\x01\x00\x03\x00\x00\x00\xff\xff\xff\xff\x7f"), "more values than bytes"),
        (zlib.compress(b"\x01\x01\x00\x03\x00\x00\x00\x01\x7f"), "texts cut short"),
        (zlib.compress(b"\x01\x01\x00\x03\x00\x00\x00\x01\x02\xff\xfe"), "no UTF-8"),
        (zlib.compress(b"\x01\x01\x00\x03\x00\x00\x00\x01\x03\xed\xa0\x80"), "no UTF-8"),
        (zlib.compress(b"\x01\x01\x00\x03\x00\x00\x00\x00\x02"), "neither yes nor no"),
        (parts(calendar=Calendar()), "without a calendar, or one of something else"),
        (parts(kind="datetime"), "without a calendar, or one of something else"),
        (parts(calendar=Calendar(hours=np.full(24, 3))), "does not add up"),
        (parts(calendar=Calendar(months=np.full(12, 4))), "more rows"),
        (parts(rows=4), "do not add up"),
        (parts(missing=4), "more missing values than rows"),
        (parts(rows=4, wrong=2, missing=1), "more missing values than rows"),
        (parts(rows=1 << 54), "more missing values than rows"),
        (parts(counts=np.array([1, 0, 2])), "counts below one"),
        (parts(counts=np.array([-1, 1, 3])), "counts below one"),
        (parts(keys=keys_of(np.array([1.0, 1.0, 3.0]))), "do not rise"),
        (parts(keys=keys_of(np.array([2.0, 1.0, 3.0]))), "do not rise"),
        (parts(depth=65), "more cells"),
        (parts(low=0.5), "outside of the cells"),
        (parts(high=4.0), "outside of the cells"),
        (parts(low=np.nan), "no numbers"),
        (parts(mean=np.inf), "no numbers"),
        (parts(squares=np.nan), "no numbers"),
        (parts(squares=-1.0), "no numbers"),
        (parts(kind="category"), "its kind"),
        (parts(kind="datetime", numbers=None), "its kind"),
        (parts(otherwise=(Sketch(kind="number", rows=3, numbers=Numbers.of_sorted(np.arange(3.0))),)), "disagree"),
        (codec.encode(Sketch(kind="number", numbers=Numbers(low=0.0))), "without a cell"),
    ],
)
def test_each_lie_is_refused_in_words(data: bytes, words: str) -> None:
    assert words in refused(data)


def test_a_bomb_is_not_unpacked() -> None:
    bombs = [zlib.compress(bytes(size), 9) for size in (10**7, 10**8)]
    nested = zlib.compress(zlib.compress(bytes(10**8), 9), 9)
    tracemalloc.start()
    words = [refused(one) for one in (*bombs, nested)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert words[:2] == ["larger than is read"] * 2
    assert peak < 40 * 1024 * 1024


def test_the_column_says_what_its_sketch_holds() -> None:
    column = column_of("x", "feature", samples()[0])
    for lie in ({"type": "datetime"}, {"count": 7}, {"sketch": "*"}, {"sketch": "é"}, {"sketch": ""}):
        with pytest.raises(DataError, match="'x' cannot be read"):
            sketch_of(msgspec.structs.replace(column, **lie))


def test_people_can_read_the_document() -> None:
    values = np.arange(1.0, 102.0)
    column = column_of("x", "feature", of("number", pa.array(values)))
    assert (column.low, column.high, column.mean) == (1.0, 101.0, 51.0)
    assert column.deviation == pytest.approx(values.std(ddof=1), rel=1e-14)
    assert column.quantiles == {"0.01": 2, "0.05": 6, "0.25": 26, "0.5": 51, "0.75": 76, "0.95": 96, "0.99": 100}
    column = column_of("c", "label", of("category", pa.array(["a-1"] * 6 + ["b-2"] * 5 + ["rare"])))
    assert list(column.levels.values()) == [6, 5, 1]
    assert (column.mode, column.mode_count, column.rest, column.distinct) == ("a-1", 6, 0, 3)
    assert (column.patterns, column.lengths["high"]) == ({"a-9": 11}, 4.0)
    assert column.entropy[0] == column.entropy[1] > 0


def test_dates_are_written_as_such() -> None:
    days = [dt.datetime(2024, 5, 6) + dt.timedelta(days=day) for day in range(14)]
    column = column_of("x", "feature", of("datetime", pa.array(days)))
    assert (column.first, column.last, column.zones) == ("2024-05-06T00:00:00Z", "2024-05-19T00:00:00Z", [""])
    assert (column.calendar["weekdays"], column.cadence) == ([2] * 7, [86400.0, 86400.0])
    far = column_of("x", "feature", of("datetime", pa.array([2**60], pa.timestamp("s"))))
    assert (far.first, far.low) == ("", 2.0**60)


def test_a_profile_with_segments_and_parts_comes_back() -> None:
    columns = [column_of("x", "feature", one, publish=False) for one in samples()]
    made = Profile(
        model="m", rows=9, columns=columns, segments={"carrier=UA": columns[:1]}, parts=Parts(counted=[2], total=3)
    )
    assert load(Profile, dump(made)) == made


def test_thirty_columns_are_below_a_megabyte() -> None:
    """20 columns of a million normal numbers, 10 of 5,000 levels in a million rows, of which some are rare."""
    draws = np.random.default_rng(9)
    shares = 1 / np.arange(1, 5001) ** 1.1
    names = np.array([f"level_{one:x}" for one in draws.permutation(5000) * 7919])
    columns = [column_of("x", "feature", of("number", pa.array(draws.normal(3, 2, 10**6))))]
    coded = draws.choice(5000, 10**6, p=shares / shares.sum())
    array = pa.DictionaryArray.from_arrays(pa.array(coded), pa.array(names))
    columns.append(column_of("c", "feature", of("category", array)))
    sizes = [len(dump(Profile(model="m", rows=10**6, columns=[one]))) for one in columns]
    whole = len(dump(Profile(model="m", rows=10**6, columns=columns[:1] * 20 + columns[1:] * 10)))
    print(f"numbers {sizes[0]:,} bytes, levels {sizes[1]:,}, thirty columns {whole:,}")
    assert columns[1].distinct > 4500
    assert sizes[0] < 20_000
    assert whole < 1_000_000


@pytest.mark.parametrize("rows", [1_000, 12_000, 300_000])
def test_numbers_are_published_at_the_depth_that_fits(rows: int) -> None:
    values = np.sort(np.random.default_rng(rows).lognormal(10, 1, rows))
    whole = of("number", pa.array(values))
    column = column_of("x", "feature", whole)
    found = sketch_of(column).numbers
    assert found is not None
    assert len(column.sketch) < 30_000
    assert found.count == rows
    assert found.depth < 64 or rows == 1_000
    cells = np.searchsorted(found.upper, values)
    assert np.array_equal(np.bincount(cells, minlength=len(found.keys)), found.counts)
    assert len(found.keys) > 0.9 * len(whole.numbers.keys)  # type: ignore[union-attr]
