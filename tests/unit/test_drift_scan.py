"""Scans: every format holds the same, parts make the whole, and rows that cannot be right are told by name."""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from drift_world import WATCH, rows, verdict_of
from trackside.config.model import DriftPolicy
from trackside.documents.codec import dump, load
from trackside.documents.profile import Profile, sketch_of
from trackside.drift.parts import merge
from trackside.drift.profile import MAX_BYTES, build
from trackside.drift.scan import feed, scan
from trackside.errors import ConfigError, DataError
from trackside.sketch.values import kind_of
from trackside.system.processor import FEATURES, avoided
from trackside.tables.progress import Meter
from trackside.tables.readers import File, blocks
from trackside.tables.table import Table, open_table

PLAIN = DriftPolicy(reference="reference.parquet", current="current.parquet")


def columns(seed: int = 1, count: int = 3000) -> dict[str, Any]:
    return rows(np.random.default_rng(seed), count)


def written(path: Path, data: dict[str, Any], groups: int = 500) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(data)
    name = path.name.removesuffix(".gz")
    stream = io.BytesIO()
    if name.endswith(".parquet"):
        pq.write_table(table, stream, row_group_size=groups)
    elif name.endswith(".csv"):
        pc.write_csv(table, stream)
    elif name.endswith(".tsv"):
        pc.write_csv(table, stream, pc.WriteOptions(delimiter="\t"))
    elif name.endswith(".jsonl"):
        stream.write("".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode())
    else:
        make = pa.ipc.new_stream if name.endswith(".arrows") else pa.ipc.new_file
        with make(stream, table.schema) as writer:
            writer.write_table(table, max_chunksize=groups)
    data_bytes = stream.getvalue()
    path.write_bytes(gzip.compress(data_bytes) if path.name.endswith(".gz") else data_bytes)
    return path


ENDS = ("parquet", "arrow", "feather", "arrows", "csv", "csv.gz", "tsv", "jsonl", "jsonl.gz")


@pytest.mark.parametrize("end", ENDS)
def test_every_format_holds_the_same(end: str, tmp_path: Path) -> None:
    data = columns()
    table = open_table([written(tmp_path / f"table.{end}", data)])
    kinds = {field.name: kind_of(field.type) for field in pa.table(data).schema}
    found = scan(table, kinds)
    expected = scan(open_table([written(tmp_path / "expected.parquet", data)]), kinds)
    assert found.rows == expected.rows == 3000
    for name in kinds:
        one, other = found.columns[name], expected.columns[name]
        assert (one.rows, one.missing, one.wrong) == (other.rows, other.missing, other.wrong), name
        assert one.levels == other.levels, name
        if one.numbers is not None and other.numbers is not None:
            assert np.array_equal(one.numbers.keys, other.numbers.keys), name
            assert np.array_equal(one.numbers.counts, other.numbers.counts), name


def test_a_file_that_lies_elsewhere(tmp_path: Path) -> None:
    """As fsspec opens it: the same reader, another file."""
    import fsspec

    path = written(tmp_path / "table.parquet", columns())
    store = fsspec.filesystem("memory")
    for end in ("parquet", "csv.gz", "arrow", "jsonl"):
        store.pipe(f"/scan/table.{end}", written(tmp_path / f"table.{end}", columns()).read_bytes())
        table = open_table([File(path=f"/scan/table.{end}", system=store)])
        assert sum(count for count, _ in table.pieces(["hour"])) == 3000
    assert open_table([path]).rows == 3000


def test_lines_are_never_cut() -> None:
    text = b"".join(b"x" * size + b"\n" for size in (1, 50, 3, 200, 7)) + b"the end"
    assert b"".join(blocks(io.BytesIO(text), 64)) == text
    assert all(one.endswith(b"\n") for one in list(blocks(io.BytesIO(text), 64))[:-1])


def test_types_of_later_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1, "t": "2026-01-01T00:00:00"}\n{"a": 2.5, "t": "soon", "b": null}\n')
    table = open_table([path])
    assert {name: str(kind) for name, kind in table.types.items()} == {"a": "double", "t": "string", "b": "null"}
    path.write_text('{"a": 1}\n{"a": "x"}\n')
    with pytest.raises(DataError, match="cannot be read"):
        open_table([path])


# Parts


def same(one: Profile, other: Profile) -> None:
    """Equal but for the last digits of moments, which depend on the order of adding."""
    assert [column.name for column in one.columns] == [column.name for column in other.columns]
    for left, right in zip(one.columns, other.columns, strict=True):
        a, b = sketch_of(left), sketch_of(right)
        assert replace(a, numbers=None, lengths=None) == replace(b, numbers=None, lengths=None), left.name
        if a.numbers is not None and b.numbers is not None:
            assert (a.numbers.depth, a.numbers.low, a.numbers.high) == (b.numbers.depth, b.numbers.low, b.numbers.high)
            assert np.array_equal(a.numbers.keys, b.numbers.keys)
            assert np.array_equal(a.numbers.counts, b.numbers.counts)
            assert a.numbers.mean == pytest.approx(b.numbers.mean, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("of", [1, 3, 64])
def test_parts_merge_to_the_whole(of: int, tmp_path: Path) -> None:
    """Also 64 of a table of 30 row groups: some are empty. In any order, and by way of files."""
    data = columns(count=30_000) | {"id": [f"id-{at}" for at in range(30_000)]}
    path = written(tmp_path / "reference.parquet", data, groups=1000)
    whole = build(path, PLAIN, "m")
    parts = [build(path, PLAIN, "m", part=(number, of)) for number in range(1, of + 1)]
    assert sum(part.rows for part in parts) == 30_000
    read = [load(Profile, dump(part), limit=MAX_BYTES) for part in parts]
    order = np.random.default_rng(3).permutation(of)
    made = merge([read[at] for at in order])
    same(made, whole)
    assert (made.rows, made.digest, made.parts) == (whole.rows, whole.digest, None)
    if of == 64:
        halves = [merge(read[:31]), merge(read[31:])]
        assert [half.parts is not None for half in halves] == [True, True]
        same(merge(halves), whole)


def test_parts_of_text_files_agree_on_kinds(tmp_path: Path) -> None:
    """A column whose first part is all numbers and whose last is not."""
    table = open_table(
        [
            written(tmp_path / f"{at}.csv", {"a": ["1", "2"] if at < 3 else ["x", "3"], "b": [at, at + 1]})
            for at in range(4)
        ]
    )
    shares = [scan(table.share(number, 2), dict.fromkeys(table.types)) for number in (1, 2)]
    assert [share.rows for share in shares] == [4, 4]
    from trackside.sketch.column import merged

    made = {name: merged(share.columns[name] for share in shares) for name in table.types}
    assert {name: one.kind for name, one in made.items()} == {"a": "category", "b": "number"}
    assert made["a"].levels is not None
    assert dict(made["a"].levels.counts) == {"1": 3, "2": 3, "3": 1, "x": 1}


def test_what_does_not_merge(tmp_path: Path) -> None:
    path = written(tmp_path / "reference.parquet", columns())
    whole = build(path, PLAIN, "m")
    one, two = (build(path, PLAIN, "m", part=(number, 2)) for number in (1, 2))
    other = build(written(tmp_path / "other.parquet", columns(2)), PLAIN, "m", part=(2, 2))
    narrow = build(path, replace(PLAIN, ignore=("hour",)), "m", part=(2, 2))
    for wrong, why in (
        ([], "no profile"),
        ([whole, whole], "whole"),
        ([one, one], "twice"),
        ([one, whole], "different cuts"),
        ([one, build(path, PLAIN, "m", part=(2, 3))], "different cuts"),
        ([one, other], "different tables"),
        ([one, narrow], "different columns"),
    ):
        with pytest.raises(DataError, match=why):
            merge(wrong)
    with pytest.raises(DataError, match="parts 1 of 2"):
        verdict_of(merge([one]), path, PLAIN)
    same(merge([two, one]), whole)
    with pytest.raises(ConfigError):
        build(path, PLAIN, "m", part=(3, 2))


# What is wrong with rows


def told(policy: DriftPolicy, reference: dict[str, Any], current: dict[str, Any], folder: Path, form: str) -> list[str]:
    """Sentences of the alarms about the data itself."""
    profile = build(written(folder / f"reference.{form}", reference), policy, "m")
    profile = load(Profile, dump(profile), limit=MAX_BYTES)
    verdict = verdict_of(profile, written(folder / f"current.{form}", current), policy)
    alarms = [one for one in verdict.tests if one.alarm and one.heading == "data_quality"]
    assert alarms == [] or verdict.verdict != "ok"
    return [f"{one.column} {one.kind}: {one.sentence}" for one in alarms] + verdict.problems


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_duplicate_keys(form: str, tmp_path: Path) -> None:
    policy = replace(PLAIN, key="id")
    for ids in ([f"id-{at}" for at in range(3000)], list(range(3000))):
        good, twice = {**columns(), "id": ids}, {**columns(2), "id": [*ids[:-10], *ids[:10]]}
        assert told(policy, good, {**columns(2), "id": ids}, tmp_path, form) == []
        assert told(policy, good, twice, tmp_path, form) == [
            "id invalid_data: duplicate keys: 10 of 3,000 rows have the key of another row"
        ]
        some = {**columns(2), "id": [None, *ids[1:]]}
        assert told(policy, good, some, tmp_path, form) == ["id warning: 1 of 3,000 rows have no key"]


def moments(first: datetime, count: int = 3000) -> list[datetime]:
    return [first + timedelta(minutes=at) for at in range(count)]


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_windows(form: str, tmp_path: Path) -> None:
    policy = replace(PLAIN, time="at")
    begin = datetime(2026, 1, 1)
    before = {**columns(), "at": moments(begin)}
    later = moments(begin + timedelta(days=10))
    assert told(policy, before, {**columns(2), "at": later}, tmp_path, form) == []
    (words,) = told(policy, before, {**columns(2), "at": moments(begin + timedelta(hours=2))}, tmp_path, form)
    assert words.startswith("at invalid_data: overlapping windows: current 2026-01-01 02:00 to")
    (words,) = told(policy, before, {**columns(2), "at": later[::-1]}, tmp_path, form)
    assert words == "at warning: unsorted: the time falls 2,999 times from one row to the next"
    (words,) = told(policy, before, {**columns(2), "at": moments(begin - timedelta(days=9))}, tmp_path, form)
    assert words.startswith("at warning: the current data is older than the reference")


def test_mixed_time_zones(tmp_path: Path) -> None:
    naive = moments(datetime(2026, 1, 1))
    aware = moments(datetime(2026, 2, 1, tzinfo=UTC))
    (words,) = told(PLAIN, {**columns(), "at": naive}, {**columns(2), "at": aware}, tmp_path, "parquet")
    assert (
        words == "at invalid_data: mixed time zones: times without a zone in the reference, times in UTC in the "
        "current data"
    )
    texts = [one.isoformat() for one in naive]
    mixed = [*texts[:-5], *(f"{one}+02:00" for one in texts[-5:])]
    words = told(PLAIN, {**columns(), "at": texts}, {**columns(2), "at": mixed}, tmp_path, "csv")[0]
    assert words == "at invalid_data: mixed time zones: times without a zone and times with an offset"
    with pytest.raises(DataError, match="mixed time zones"):
        told(PLAIN, {**columns(), "at": mixed}, columns(), tmp_path, "csv")
    with pytest.raises(DataError, match="two types"):
        open_table(
            [written(tmp_path / f"{name}.parquet", {"at": value}) for name, value in (("a", naive), ("b", aware))]
        )


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_the_time_of_rows_has_one_zone(form: str, tmp_path: Path) -> None:
    """Of the column that `time` names, which is no feature; from the profile of the whole and of merged parts."""
    policy = replace(PLAIN, time="at")
    naive = {**columns(), "at": moments(datetime(2026, 1, 1))}
    aware = {**columns(2), "at": moments(datetime(2026, 2, 1, tzinfo=UTC))}
    for before, now, said in (
        (naive, aware, "times without a zone in the reference"),
        (aware, {**naive, "at": moments(datetime(2026, 3, 1))}, "times without a zone in the current data"),
    ):
        (words,) = told(policy, before, now, tmp_path, form)
        assert words.startswith("at invalid_data: mixed time zones: ")
        assert said in words
    assert told(policy, aware, {**aware, "at": moments(datetime(2026, 3, 1, tzinfo=UTC))}, tmp_path, form) == []
    texts = [one.isoformat() for one in moments(datetime(2026, 2, 1))]
    mixed = [*texts[:-5], *(f"{one}+00:00" for one in texts[-5:])]
    (words,) = told(policy, naive, {**columns(2), "at": mixed}, tmp_path, form)
    assert words == "at invalid_data: mixed time zones: times without a zone and times with an offset"
    with pytest.raises(DataError, match="mixed time zones"):
        told(policy, {**columns(), "at": mixed}, naive, tmp_path, form)
    path = written(tmp_path / f"parts.{form}", naive)
    merged = merge([build(path, policy, "m", part=(number, 2)) for number in (1, 2)])
    assert merged.details["times"] == build(path, policy, "m").details["times"]
    path = written(tmp_path / f"aware.{form}", aware)
    assert verdict_of(merged, path, policy).verdict == "invalid_data"
    for wrong in ([], {"rows": "many"}, {"zones": [1]}):
        spoiled = msgspec.structs.replace(merged, details={**merged.details, "times": wrong})
        with pytest.raises(DataError, match="times cannot be read"):
            verdict_of(spoiled, path, policy)


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_times_that_are_missing_or_none(form: str, tmp_path: Path) -> None:
    policy = replace(PLAIN, time="at")
    texts = [one.isoformat() for one in moments(datetime(2026, 2, 1))]
    before = {**columns(), "at": [one.isoformat() for one in moments(datetime(2026, 1, 1))]}
    some = {**before, "at": [None if at % 2 else one for at, one in enumerate(before["at"])]}

    def every(step: int, other: str | None) -> dict[str, Any]:
        return {**columns(2), "at": [one if at % step else other for at, one in enumerate(texts)]}

    assert told(policy, before, every(3, "soon"), tmp_path, form) == [
        "at invalid_data: 1,000 of 3,000 values are no time"
    ]
    assert told(policy, before, every(200, "soon"), tmp_path, form) == []
    assert told(policy, before, every(3, None), tmp_path, form) == ["at warning: rows without a time: 0 % → 33.3 %"]
    assert told(policy, before, every(100, None), tmp_path, form) == []
    assert told(policy, some, every(2, None), tmp_path, form) == []
    assert told(policy, before, every(1, "soon"), tmp_path, form) == [
        "at invalid_data: not one of 3,000 rows has a time"
    ]
    assert told(policy, before, columns(2), tmp_path, form) == ["at invalid_data: no such column in the current data"]


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_key_that_is_gone(form: str, tmp_path: Path) -> None:
    policy = replace(PLAIN, key="id")
    assert told(policy, {**columns(), "id": list(range(3000))}, columns(2), tmp_path, form) == [
        "id invalid_data: no such column in the current data"
    ]


def spoilt(how: str) -> dict[str, Any]:
    """3,000 rows with one fault."""
    data = columns(2)
    size = len(data["hour"])
    if how == "no value":
        data["temperature"] = pa.nulls(size, pa.float64())
    elif how == "NaN":
        data["temperature"] = np.full(size, np.nan)
    elif how == "infinite":
        data["temperature"] = np.where(np.arange(size) % 20 == 0, np.inf, data["temperature"])
    elif how == "some NaN":
        data["temperature"] = np.where(np.arange(size) % 5 == 0, np.nan, data["temperature"])
    elif how == "type":
        data["temperature"] = [f"about {one:.0f}" for one in data["temperature"]]
    elif how == "truth":
        data["weekend"] = [f"perhaps {one}" for one in data["weekend"]]
    elif how == "missing":
        del data["temperature"]
    elif how == "10,000 categories":
        data["carrier"] = [f"c{at}" for at in range(size)]
    elif how == "vanished":
        data["carrier"] = ["c1"] * size
    return data


SPOILT = {
    "no value": ("temperature", "invalid_data"),
    "NaN": ("temperature", "invalid_data"),
    "infinite": ("temperature", "warning"),
    "some NaN": ("temperature", "warning"),
    "type": ("temperature", "invalid_data"),
    "truth": ("weekend", "invalid_data"),
    "missing": ("temperature", "invalid_data"),
    "10,000 categories": ("carrier", "warning"),
    "vanished": ("carrier", "drift"),
}


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl", "arrow"])
def test_what_never_passes_as_ok(how: str, form: str, tmp_path: Path) -> None:
    profile = build(written(tmp_path / "reference.parquet", columns(count=10_000)), PLAIN, "m")
    name, least = SPOILT[how]
    verdict = verdict_of(profile, written(tmp_path / f"current.{form}", spoilt(how)), PLAIN)
    assert verdict.verdict == least, verdict.problems
    assert verdict.moved[0] == name
    assert verdict_of(profile, written(tmp_path / f"same.{form}", columns(3)), PLAIN).verdict == "ok"


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl", "arrow", "arrows"])
def test_a_file_without_rows(form: str, tmp_path: Path) -> None:
    profile = build(written(tmp_path / "reference.parquet", columns()), PLAIN, "m")
    path = tmp_path / f"current.{form}"
    head = written(path, {name: one[:0] for name, one in columns().items()}).read_bytes()
    for data in (b"", b"\n", head):
        path.write_bytes(data)
        for policy in (PLAIN, replace(PLAIN, key="hour", time="rain")):
            verdict = verdict_of(profile, path, policy)
            assert verdict.verdict == "invalid_data"
            assert verdict.problems
            assert verdict.reference.rows == 3000
            if data == head and form != "jsonl":
                assert verdict.reason_code == "current_empty"
                assert verdict.problems[0].startswith("the current data has no rows")
        with pytest.raises(DataError):
            build(path, PLAIN, "m")


def test_categories_by_the_thousand(tmp_path: Path) -> None:
    """As many on both sides are no news; no more are held than there are."""
    rng = np.random.default_rng(4)
    data = [{"id": [f"c{one}" for one in rng.integers(0, 10_000, 40_000)], "x": rng.random(40_000)} for _ in range(2)]
    for form in ("parquet", "csv"):
        profile = build(written(tmp_path / f"reference.{form}", data[0]), PLAIN, "m")
        verdict = verdict_of(profile, written(tmp_path / f"current.{form}", data[1]), PLAIN)
        assert verdict.verdict == "ok"
        held = sketch_of(profile.columns[0]).levels
        assert held is not None
        assert held.distinct == pytest.approx(len(set(data[0]["id"])), rel=0.05)


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_a_column_that_is_renamed(form: str, tmp_path: Path) -> None:
    good = columns()
    for old, new in (("temperature", "Temperature_"), ("carrier", "airline"), ("temperature", "t2m")):
        now = columns(2)
        now[new] = now.pop(old)
        words = told(PLAIN, good, now, tmp_path, form)
        assert f"{old} invalid_data: no such column in the current data" in words
        assert f"{old} may have been renamed: the current data has {new}, which the reference lacks" in words


def test_segments_are_counted_by_level(tmp_path: Path) -> None:
    policy = replace(WATCH, segments=("carrier",))
    data = columns(count=6000)
    profile = build(written(tmp_path / "r.parquet", data), policy, "m")
    assert len(profile.segments) == 10
    for segment, held in profile.segments.items():
        level = segment.partition("=")[2]
        here = data["carrier"] == level
        found = sketch_of(next(one for one in held if one.name == "temperature"))
        assert found.rows == here.sum()
        assert found.numbers is not None
        assert found.numbers.mean == pytest.approx(data["temperature"][here].mean())
    parts = [build(tmp_path / "r.parquet", policy, "m", part=(number, 3)) for number in (1, 2, 3)]
    made = merge(parts)
    assert {name: [one.name for one in held] for name, held in made.segments.items()} == {
        name: [one.name for one in held] for name, held in profile.segments.items()
    }
    assert len(dump(profile)) < 1_000_000
    other = build(tmp_path / "r.parquet", replace(policy, segments=()), "m")
    assert msgspec.structs.replace(profile, segments={}).columns == other.columns


# How it is read


class Taken:
    """A sink that notes what it is given."""

    def __init__(self, *names: str) -> None:
        self.columns = names
        self.rows = 0
        self.missing = 0

    def add(self, batch: dict[str, Any], count: int) -> None:
        self.rows += count
        self.missing += 0 if set(batch) == set(self.columns) else count


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_every_sink_sees_every_row(form: str, tmp_path: Path) -> None:
    table = open_table(
        [
            written(tmp_path / f"a.{form}", columns()),
            written(tmp_path / f"b.{form}", {"hour": columns()["hour"]}),
        ]
    )
    sinks = [Taken("hour"), Taken("rain", "carrier"), Taken("temperature")]
    read: list[int] = []
    assert feed(table, sinks, read.append) == 6000
    assert [(one.rows, one.missing) for one in sinks] == [(6000, 0), (6000, 3000), (6000, 3000)]
    assert sum(read) == 24_000


def test_a_fault_in_a_thread_comes_out(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", columns())
    table = open_table([path])

    class Broken(Taken):
        def add(self, batch: dict[str, Any], count: int) -> None:
            raise DataError("no more")

    with pytest.raises(DataError, match="no more"):
        feed(table, [Taken("hour"), Broken("rain")])
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="cannot be read"):
        feed(table, [Taken("hour")])


def test_progress_is_told_now_and_then() -> None:
    now = [0.0]
    said: list[str] = []
    meter = Meter(1000, 10, said.append, lambda: now[0])
    meter(100)
    now[0] = 4.0
    meter(300)
    now[0] = 5.0
    meter(100)
    now[0] = 10.0
    meter(500)
    assert said == ["40 % of 100 rows, 10 rows/s, 6 s left", "100 % of 100 rows, 10 rows/s, 0 s left"]
    unknown = Meter(None, 2, said.append, lambda: now[0])
    now[0] = 20.0
    unknown(40)
    assert said[-1] == "20 rows, 2 rows/s"


def test_what_a_processor_is_slow_at() -> None:
    amd = "vendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 avx512f avx512dq\n"
    assert avoided(amd) == FEATURES
    assert avoided(amd.replace("AuthenticAMD", "GenuineIntel")) == ""
    assert avoided(amd.replace("avx512", "avx1")) == ""
    assert avoided("") == ""


def test_shares_are_the_table(tmp_path: Path) -> None:
    table = open_table([written(tmp_path / f"{at}.parquet", columns(at, 1700), groups=400) for at in range(3)])
    for of in (1, 2, 5, 40):
        shares: list[Table] = [table.share(number, of) for number in range(1, of + 1)]
        assert sum(share.rows or 0 for share in shares) == 5100
    for number, of in ((0, 2), (3, 2)):
        with pytest.raises(ConfigError):
            table.share(number, of)
