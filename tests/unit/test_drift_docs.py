"""The page on drift says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trackside.drift.verdict import ORDER
from trackside.measures.table import TESTS, Row
from trackside.performance.metrics import METRICS
from trackside.tables.placeholders import WORDS, fill

PAGE = (Path(__file__).resolve().parents[2] / "docs/drift.md").read_text()


@pytest.mark.parametrize("row", TESTS, ids=lambda row: row.name)
def test_every_test_stands_there_with_its_threshold(row: Row) -> None:
    (line,) = [one for one in PAGE.splitlines() if one.startswith(f"| `{row.name}` |")]
    assert row.unit in line
    if row.threshold is not None:
        assert line.split("|")[4].strip().startswith(f"{row.threshold:g}")
        assert row.reason in line


def test_every_metric_and_verdict_stands_there() -> None:
    for metric in METRICS:
        (line,) = [one for one in PAGE.splitlines() if one.startswith("|") and f"`{metric.name}`" in one]
        assert (f"{100 * metric.threshold:g} %" if metric.relative else f"{metric.threshold:g}") in line
    for kind in ORDER:
        assert f"| `{kind}` |" in PAGE


def test_placeholders_are_as_shown() -> None:
    table = PAGE.partition("| placeholder |")[2].partition("\n\n")[0]
    shown = 0
    for line in table.splitlines()[2:]:
        _, words, values, _ = line.split("|")
        names = re.findall(r"`(\{[^`{}]+\})`", words)
        made = re.findall(r"`([^`]+)`", values)
        for name, text in zip(names, made, strict=False):
            assert fill(name, "2026-03-01") == text
            shown += 1
    assert shown >= 14
    assert all(f"{{{word}" in table for word in WORDS)
