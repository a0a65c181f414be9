"""Damaged files and strange schemas: a verdict or a clear error, never a traceback, and never ok for what is broken."""

from __future__ import annotations

import io
import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from drift_world import verdict_of
from trackside.config.model import DriftPolicy
from trackside.documents.profile import Profile
from trackside.documents.verdict import Verdict
from trackside.drift.profile import build
from trackside.errors import DataError

CASES = {"parquet": 150, "csv": 60, "jsonl": 60, "arrow": 80, "arrows": 50}
SCHEMAS = 120
POLICY = DriftPolicy(reference="reference.parquet", current="current.parquet", min_rows=50)
ROWS = 300


def plain(seed: int, rows: int = ROWS) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "number": rng.normal(size=rows),
            "whole": rng.integers(0, 1000, rows),
            "word": rng.choice(["ab", "cd", "ef"], rows),
            "flag": rng.random(rows) < 0.5,
            "day": pa.array([date(2026, 1, 1) + timedelta(days=int(at)) for at in rng.integers(0, 90, rows)]),
        }
    )


def parquet(table: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()


def csv(table: pa.Table) -> bytes:
    stream = io.BytesIO()
    pc.write_csv(table, stream)
    return stream.getvalue()


def jsonl(table: pa.Table) -> bytes:
    return "".join(json.dumps(row, default=str) + "\n" for row in table.to_pylist()).encode()


def arrow(table: pa.Table, make: Callable[..., Any] = pa.ipc.new_file) -> bytes:
    stream = io.BytesIO()
    with make(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


FORMS: dict[str, Callable[[pa.Table], bytes]] = {
    "parquet": parquet,
    "csv": csv,
    "jsonl": jsonl,
    "arrow": arrow,
    "arrows": lambda table: arrow(table, pa.ipc.new_stream),
}


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    path = tmp_path_factory.mktemp("fuzz") / "reference.parquet"
    path.write_bytes(parquet(plain(0, 2000)))
    return build(path, POLICY, "m")


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Cut, with bytes flipped, zeroed, doubled or dropped, or with another file's end."""
    held = bytearray(data)
    way = rng.randrange(7)
    at = rng.randrange(len(held))
    size = rng.randrange(1, 64)
    if way == 0:
        del held[at:]
    elif way == 1:
        for _ in range(rng.randrange(1, 20)):
            held[rng.randrange(len(held))] ^= 1 << rng.randrange(8)
    elif way == 2:
        held[at : at + size] = bytes(size)
    elif way == 3:
        held[at:at] = held[at : at + size]
    elif way == 4:
        del held[at : at + size]
    elif way == 5:
        held[at : at + size] = rng.randbytes(size)
    else:
        held[-min(size, 12) :] = rng.randbytes(min(size, 12))
    return bytes(held)


def readable(path: Path, form: str) -> bool:
    """Whether Arrow itself reads the file to its end."""
    try:
        if form == "parquet":
            pq.ParquetFile(path).read()
        elif form == "csv":
            pc.read_csv(path, parse_options=pc.ParseOptions(newlines_in_values=True))
        elif form == "jsonl":
            assert path.read_bytes().strip()
            for line in path.read_bytes().splitlines():
                json.loads(line)
        else:
            with pa.OSFile(str(path)) as raw:
                found = pa.ipc.open_file(raw) if form == "arrow" else pa.ipc.open_stream(raw)
                found.read_all().validate(full=True)
    except Exception:
        return False
    return True


@pytest.mark.parametrize(("form", "cases"), CASES.items())
def test_damaged_files(form: str, cases: int, profile: Profile, tmp_path: Path) -> None:
    rng = random.Random(form)
    good = FORMS[form](plain(1))
    path = tmp_path / f"current.{form}"
    path.write_bytes(good)
    assert verdict_of(profile, path, POLICY).verdict == "ok"
    told: Counter[str] = Counter()
    for _ in range(cases):
        path.write_bytes(damaged(rng, good))
        verdict = verdict_of(profile, path, POLICY)
        assert isinstance(verdict, Verdict)
        if verdict.verdict == "invalid_data":
            assert verdict.problems or any(one.alarm for one in verdict.tests)
        elif verdict.verdict == "ok":
            assert readable(path, form), f"{form}: ok for what cannot be read"
        told[verdict.verdict] += 1
    print(f"{form}: {cases} damaged files: {dict(told)}")
    assert told.total() == cases
    assert told["invalid_data"] > 0


# Schemas


def column(rng: random.Random, rows: int) -> pa.Array:
    """A column of any type, with or without nulls, all of it null, constant, or extreme."""
    makers: list[Callable[[], Any]] = [
        lambda: pa.array(
            [rng.choice([0.0, -0.0, 1e308, -1e308, 5e-324, float("nan"), float("inf")]) for _ in range(rows)]
        ),
        lambda: pa.array([rng.randrange(-(2**63), 2**63) for _ in range(rows)], pa.int64()),
        lambda: pa.array([rng.randrange(2**64) for _ in range(rows)], pa.uint64()),
        lambda: pa.array([rng.random() for _ in range(rows)], pa.float32()),
        lambda: pa.array([rng.random() for _ in range(rows)]).cast(pa.float16()),
        lambda: pa.array([Decimal(rng.randrange(10**9)) / 1000 for _ in range(rows)]),
        lambda: pa.array([rng.choice(["", "a", "é" * 300, "\u202e", "1", "nan", "2026-01-01"]) for _ in range(rows)]),
        lambda: pa.array([f"id-{rng.random()}" for _ in range(rows)], pa.large_string()),
        lambda: pa.array([rng.choice(["x", "y"]) for _ in range(rows)]).dictionary_encode(),
        lambda: pa.array([rng.choice(["x", "y"]) for _ in range(rows)], pa.string_view()),
        lambda: pa.array([rng.random() < 0.5 for _ in range(rows)]),
        lambda: pa.array([date(1, 1, 1) + timedelta(days=rng.randrange(3_000_000)) for _ in range(rows)]),
        lambda: pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * rows, pa.timestamp("ns", "Asia/Tokyo")),
        lambda: pa.array([datetime(2026, 1, 1)] * rows, pa.timestamp("s")),
        lambda: pa.array([rng.randrange(86_400) for _ in range(rows)], pa.time32("s")),
        lambda: pa.array([rng.randrange(10**6) for _ in range(rows)], pa.duration("ms")),
        lambda: pa.array([[1, 2]] * rows),
        lambda: pa.array([{"a": 1}] * rows),
        lambda: pa.array([b"\x00\xff"] * rows),
        lambda: pa.nulls(rows),
        lambda: pa.nulls(rows, pa.float64()),
        lambda: pa.array([1.5] * rows),
    ]
    made = rng.choice(makers)()
    if rng.random() < 0.3 and not pa.types.is_string_view(made.type):
        made = made.take(pa.array([None if rng.random() < 0.5 else at for at in range(rows)], pa.int64()))
    return made


NAMES = [
    "number",
    "whole",
    "word",
    "flag",
    "day",
    "a.b",
    "",
    " ",
    "<script>",
    "é",
    "__index_level_0__",
    "x" * 300,
    "a\nb",
]


def test_strange_schemas(profile: Profile, tmp_path: Path) -> None:
    """As current data, and as a reference compared with itself."""
    rng = random.Random(7)
    told: Counter[str] = Counter()
    for case in range(SCHEMAS):
        rows = rng.choice([0, 1, 60, 300])
        names = rng.sample(NAMES, rng.randrange(1, 8))
        table = pa.table({name: column(rng, rows) for name in names})
        form = rng.choice(["parquet", "arrow"])
        path = tmp_path / f"case.{form}"
        try:
            path.write_bytes(FORMS[form](table))
        except pa.ArrowException:  # what cannot be written, nobody meets
            path.write_bytes(arrow(table))
        verdict = verdict_of(profile, path, POLICY)
        present = {"number", "whole", "word", "flag", "day"} <= set(names)
        assert present or verdict.verdict in ("invalid_data", "insufficient_data"), (case, names)
        told[verdict.verdict] += 1
        try:
            itself = build(path, POLICY, "m")
        except DataError:
            told["no reference"] += 1
            continue
        again = verdict_of(itself, path, POLICY)
        assert again.verdict in ("ok", "insufficient_data") or not itself.columns, (
            case,
            names,
            again.tests,
            again.problems,
        )
        told[f"with itself: {again.verdict}"] += 1
    print(f"{SCHEMAS} schemas: {dict(told)}; {sum(CASES.values()) + SCHEMAS} cases in all")
    assert sum(CASES.values()) + SCHEMAS >= 500
    assert told["invalid_data"] > 50
    assert told["with itself: ok"] > 20
