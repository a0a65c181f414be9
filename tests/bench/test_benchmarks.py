"""The benchmarks run: one round each, with every figure there. What they measure is for `make bench` alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "benchmarks/run.py"


def measured(folder: Path, *names: str) -> dict[str, dict[str, Any]]:
    """The figures by name. Reached or missed: both is fine on a busy machine, an error is not."""
    file = folder / "figures.json"
    words = [word for name in names for word in ("--only", name)]
    done = subprocess.run(
        [sys.executable, RUN, "--quick", "--json", file, *words], capture_output=True, text=True, timeout=300
    )
    document = json.loads(file.read_text())
    assert document["failures"] == {}, done.stdout + done.stderr
    rows = {row["name"]: row for row in document["figures"]}
    assert done.returncode == int(any(row["good"] is False for row in rows.values()))
    for name, row in rows.items():
        assert f"| {name} |" in done.stdout
        assert row["value"] >= 0
    assert len(rows) == len(document["figures"])
    return rows


def bounds(rows: dict[str, dict[str, Any]]) -> list[tuple[str, float]]:
    return [(row["unit"], row["bound"]) for row in rows.values() if row["bound"] is not None]


def test_two_commits_differ_the_same_under_every_hash_seed(tmp_path: Path) -> None:
    rows = measured(tmp_path, "diff")
    assert bounds(rows) == [("×", 5.0), ("", 1)]
    (outputs,) = [row["value"] for name, row in rows.items() if "hash seeds" in name]
    assert outputs == 1
    print(f"{len(rows)} figures")


@pytest.mark.net
def test_publishing_stays_within_four_calls(tmp_path: Path) -> None:
    rows = measured(tmp_path, "start", "publish")
    assert bounds(rows) == [("s", 0.15), ("s", 0.7), ("", 4), ("s", 0.7), ("", 4)]
    calls = [row["value"] for row in rows.values() if row["bound"] == 4]
    assert len(calls) == 2
    assert max(calls) <= 4, calls
    print(f"{calls} calls for a changed and an unchanged report")


@pytest.mark.act
def test_answered_inputs_execute_no_stage(tmp_path: Path) -> None:
    rows = measured(tmp_path, "answered")
    assert bounds(rows) == [("s", 10.0), ("", 0)]
    assert [row["value"] for row in rows.values() if row["bound"] == 0] == [0]


@pytest.mark.act
def test_a_comment_starts_its_run_within_eight_calls(tmp_path: Path) -> None:
    rows = measured(tmp_path, "command")
    assert bounds(rows) == [("s", 3.0), ("", 8)]
    (calls,) = [row["value"] for row in rows.values() if row["bound"] == 8]
    assert calls <= 8


@pytest.mark.act
def test_a_merged_run_is_released_without_a_stage(tmp_path: Path) -> None:
    rows = measured(tmp_path, "release")
    assert bounds(rows) == [("s", 8.0), ("", 0), ("", 12), ("", 12)]
    assert next(row["value"] for row in rows.values() if row["bound"] == 0) == 0
    assert all(row["good"] for row in rows.values() if row["bound"] == 12)


@pytest.mark.net
def test_the_registry_is_listed_beside_gto(tmp_path: Path) -> None:
    rows = measured(tmp_path, "registry")
    assert bounds(rows) == []  # they hold for the largest repository
    assert [row["unit"] for row in rows.values()] == ["s", "s", "s", "×"]


@pytest.mark.net
def test_the_core_lock_installs_from_nothing(tmp_path: Path) -> None:
    rows = measured(tmp_path, "install")
    assert bounds(rows)[:2] == [("s", 10.0), ("MB", 30.0)]
    assert all(5 < row["value"] < 100 for row in rows.values() if row["unit"] == "MB")
