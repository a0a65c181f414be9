"""All features at once: what no column shows alone is found from the files, and the columns are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from drift_world import WATCH, parquet
from trackside.drift.check import Asked, check
from trackside.drift.profile import Side, opened
from trackside.drift.together import COLUMN, together
from trackside.sketch.values import Kind
from trackside.tables.sources import Data
from trackside.tables.table import open_table

KINDS: dict[str, Kind] = {"x": "number", "y": "number", "c": "category", "b": "boolean", "when": "datetime"}
POLICY = replace(WATCH, prediction="", label="", multivariate=True)


def table(path: Path, seed: int, correlation: float, rows: int = 9000) -> Path:
    """Two correlated numbers, a category with gaps, a truth, and days that are never the same twice."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    y = correlation * x + np.sqrt(1 - correlation**2) * rng.normal(size=rows)
    levels = [None if at % 9 == 0 else "abcdef"[at % 6] for at in rng.permutation(rows)]
    days = pa.array(rng.integers(seed * 10**6, (seed + 1) * 10**6, rows), pa.timestamp("s"))
    return parquet(path, {"x": x, "y": y, "c": levels, "b": rng.random(rows) < 0.3, "when": days})


def test_columns_that_part_are_found_by_name(tmp_path: Path) -> None:
    before = open_table([table(tmp_path / "a.parquet", 1, 0.7)])
    same = together(before, open_table([table(tmp_path / "b.parquet", 2, 0.7)]), KINDS, 0.05)
    other = together(before, open_table([table(tmp_path / "c.parquet", 3, 0.0)]), KINDS, 0.05)
    assert same is not None
    assert other is not None
    assert not same.alarm
    assert other.alarm
    assert set(list(other.extra)[:2]) == {"x", "y"}
    assert "x (" in other.sentence


def test_a_check_with_rows_at_hand_says_so(tmp_path: Path) -> None:
    side: Side = opened(open_table([table(tmp_path / "a.parquet", 1, 0.7)]), POLICY, "m")
    asked = Asked(model="m", as_of="2026-03-01", checked_at="2026-03-01T00:00:00Z")
    data = Data(files=(table(tmp_path / "c.parquet", 3, 0.0),), source="c.parquet", digest="")
    found = check(side, data, POLICY, asked)
    assert (found.verdict, found.moved) == ("drift", [COLUMN])
    assert check(side, data, replace(POLICY, multivariate=False), asked).verdict == "ok"


def test_tables_that_cannot_be_told_apart_say_nothing(tmp_path: Path) -> None:
    few = open_table([table(tmp_path / "few.parquet", 1, 0.7, rows=20)])
    assert together(few, few, KINDS, 0.05) is None
    assert together(few, few, {"when": "datetime"}, 0.05) is None
    assert together(few, few, {"none": "number"}, 0.05) is None
