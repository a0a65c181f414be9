"""The seasons that the reference itself holds: how far its Mondays of March are from the whole of it, and so on.

With them a check knows from its first day what is usual for the weekday and the month; without a column of times in
the reference it must see the days go by first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from trackside.documents.verdict import Test
from trackside.sketch.values import Kind, seconds_of

if TYPE_CHECKING:
    from trackside.drift.scan import Scan
    from trackside.sketch.column import ColumnCounter
    from trackside.tables.table import Table

Cell = tuple[int, int]
"""Weekday (0 is Monday) and month (1 to 12)."""
LEAST_DAYS = 3
"""Days of a cell; of fewer its effect is that of odd days."""


@dataclass(frozen=True, kw_only=True)
class Seasons:
    """Signed effects against the whole reference, by test and column, one of each cell (NaN: none)."""

    cells: tuple[Cell, ...] = ()
    effects: Mapping[tuple[str, str], Sequence[float]] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        """For a profile's details."""
        tests: dict[str, dict[str, list[float | None]]] = {}
        for (test, column), row in self.effects.items():
            tests.setdefault(test, {})[column] = [float(f"{one:.4g}") if math.isfinite(one) else None for one in row]
        return {"cells": [list(cell) for cell in self.cells], "tests": tests}

    @classmethod
    def from_document(cls, found: object) -> Seasons:
        """Empty for what is none."""
        if not isinstance(found, Mapping):
            return cls()
        try:
            cells = tuple((int(weekday), int(month)) for weekday, month in found["cells"])
            effects = {
                (str(test), str(column)): [math.nan if one is None else float(one) for one in row]
                for test, columns in found["tests"].items()
                for column, row in columns.items()
            }
        except (KeyError, TypeError, ValueError, AttributeError):
            return cls()
        return cls(cells=cells, effects={name: row for name, row in effects.items() if len(row) == len(cells)})

    def around(self, at: date, test: str, column: str) -> list[float]:
        """Effects of the day's own cell and of the nearer neighbouring month's; none where its own is not known."""
        row = self.effects.get((test, column), ())
        near = at.month % 12 + 1 if at.day > 15 else (at.month - 2) % 12 + 1
        known = {cell: one for cell, one in zip(self.cells, row, strict=False) if math.isfinite(one)}
        if (at.weekday(), at.month) not in known:
            return []
        return [known[cell] for month in (at.month, near) if (cell := (at.weekday(), month)) in known]


def signed(test: Test) -> float:
    """A test's effect with the way that the mean of a column of numbers moved as its sign."""
    effect = test.effect if test.effect is not None else math.nan
    return -effect if test.extra.get("mean_shift", 0.0) < 0 else effect


def of_reference(
    table: Table, kinds: Mapping[str, Kind], time: str, judged: Callable[[Scan], Sequence[Test]]
) -> Seasons:
    """The seasons of a reference table by its column of times; none where it has no such column.

    Args:
        kinds: columns to compare.
        judged: the tests of rows against the whole reference.

    Raises:
        DataError: a file cannot be read to its end.
    """
    from trackside.drift.scan import Scan, feed

    if time not in table.types:
        return Seasons()
    sinks = [_Seasonal(time, name, kind) for name, kind in kinds.items() if name in table.types and name != time]
    days = _Days(time)
    feed(table, [*sinks, days])
    cells = sorted(cell for cell, found in days.found.items() if len(found) >= LEAST_DAYS)
    tests = []
    for cell in cells:
        columns = {sink.name: sink.counters[cell].done() for sink in sinks if cell in sink.counters}
        found = judged(Scan(rows=days.rows[cell], columns=columns))
        tests.append({(one.test, one.column): signed(one) for one in found if one.kind != "invalid_data"})
    names = dict.fromkeys(name for one in tests for name in one)
    return Seasons(cells=tuple(cells), effects={name: [one.get(name, math.nan) for one in tests] for name in names})


def cells_of(seconds: Any) -> Any:
    """Weekday + 7 · month of each time, -1 where there is none, shape (n,)."""
    there = np.isfinite(seconds)
    days = np.where(there, seconds, 0.0) // 86_400
    days = days.astype(np.int64)
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12 + 1
    return np.where(there, (days + 3) % 7 + 7 * months, -1), days


def _cell(code: int) -> Cell:
    return code % 7, (code - code % 7) // 7


@dataclass
class _Days:
    """A sink that counts the rows and the days of each cell."""

    time: str
    rows: dict[Cell, int] = field(default_factory=dict)
    found: dict[Cell, set[int]] = field(default_factory=dict)

    @property
    def columns(self) -> Sequence[str]:
        return (self.time,)

    def add(self, batch: Mapping[str, Any], rows: int) -> None:
        del rows
        if self.time not in batch:
            return
        codes, days = cells_of(seconds_of(batch[self.time])[0])
        for code in np.unique(codes[codes >= 0]):
            here = codes == code
            cell = _cell(int(code))
            self.rows[cell] = self.rows.get(cell, 0) + int(here.sum())
            self.found.setdefault(cell, set()).update(np.unique(days[here]).tolist())


class _Seasonal:
    """A sink that counts one column for each cell."""

    def __init__(self, time: str, name: str, kind: Kind) -> None:
        self.columns = (time, name)
        self.time, self.name, self.kind = time, name, kind
        self.counters: dict[Cell, ColumnCounter] = {}

    def add(self, batch: Mapping[str, Any], rows: int) -> None:
        import pyarrow as pa

        from trackside.sketch.column import ColumnCounter

        if self.time not in batch or self.name not in batch:
            return
        codes, _ = cells_of(seconds_of(batch[self.time])[0])
        order = np.argsort(codes, kind="stable")
        array = batch[self.name].take(pa.array(order))
        ends = np.flatnonzero(np.diff(codes[order], append=-2)) + 1
        begin = 0
        for end in ends.tolist():
            code = int(codes[order[begin]])
            if code >= 0:
                counter = self.counters.setdefault(_cell(code), ColumnCounter(self.kind))
                counter.add(array.slice(begin, end - begin))
            begin = end
        del rows
