"""Both tables at hand: a column of each is read and sorted, so that its statistics are exact."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from trackside.drift.scan import THREADS, Progress, locked
from trackside.sketch.column import Sketch
from trackside.sketch.numbers import Floats, Numbers
from trackside.sketch.values import Kind, floats_of, seconds_of

if TYPE_CHECKING:
    from trackside.measures.exact import Exact
    from trackside.tables.table import Table

ROWS = 100_000_000
"""Rows of a column that are sorted in memory; of a longer one the sketches must do."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Columns of both tables as counted, and the exact statistics of each pair."""

    before: Mapping[str, Sketch] = field(default_factory=dict)
    now: Mapping[str, Sketch] = field(default_factory=dict)
    exact: Mapping[str, Exact] = field(default_factory=dict)


def exactly(reference: Table, current: Table, kinds: Mapping[str, Kind], progress: Progress | None = None) -> Pairs:
    """Columns of numbers and dates that both tables have, one pair a thread: its memory is what is used.

    Raises:
        DataError: a file cannot be read to its end.
    """
    from trackside.measures.exact import exact_of

    told = locked(progress)
    stop = threading.Event()
    before: dict[str, Sketch] = {}
    now: dict[str, Sketch] = {}
    exact: dict[str, Exact] = {}

    def pair(name: str) -> None:
        if stop.is_set():
            return
        before[name], one = column(reference, name, kinds[name], told)
        now[name], other = column(current, name, kinds[name], told)
        if one.size and other.size:
            exact[name] = exact_of(one, other)

    with ThreadPoolExecutor(THREADS) as pool:
        waiting = [pool.submit(pair, name) for name in kinds]
        try:
            for done in waiting:
                done.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return Pairs(before={name: before[name] for name in kinds}, now={name: now[name] for name in kinds}, exact=exact)


def column(table: Table, name: str, kind: Kind, progress: Progress) -> tuple[Sketch, Floats]:
    """A column's sketch, and its finite values, rising."""
    held = np.empty(table.rows or 0)
    size = rows = missing = infinite = wrong = 0
    zones: set[str] = set()
    for count, batch in table.pieces([name]):
        rows += count
        progress(count)
        if name not in batch:
            missing += count
            continue
        if kind == "datetime":
            values, strange, seen = seconds_of(batch[name])
            zones |= seen
        else:
            values, strange = floats_of(batch[name])
        wrong += strange
        there = np.isfinite(values)
        if not there.all():
            nan = int(np.isnan(values).sum())
            missing += nan
            infinite += values.size - int(there.sum()) - nan
            values = values[there]
        if size + values.size > held.size:
            held = np.concatenate((held[:size], np.empty(max(size, values.size, 1 << 16))))
        held[size : size + values.size] = values
        size += values.size
    held = held[:size]
    held += 0.0  # of two zeros one is left
    held.sort()
    sketch = Sketch(
        kind=kind,
        rows=rows,
        missing=missing,
        infinite=infinite,
        wrong=wrong,
        numbers=Numbers.of_sorted(held),
        zones=tuple(sorted(zones)),
    )
    return sketch, held


def sortable(kinds: Mapping[str, Kind], tables: Sequence[Table]) -> dict[str, Kind]:
    """The columns that exact statistics are of, where the tables are small enough."""
    if any((table.rows or 0) > ROWS for table in tables):
        return {}
    return {
        name: kind
        for name, kind in kinds.items()
        if kind in ("number", "datetime") and all(name in table.types for table in tables)
    }
