"""The same columns once more, by the rows of one level of another column: `carrier=UA`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trackside.sketch.column import ColumnCounter, Sketch
from trackside.sketch.numbers import Numbers
from trackside.sketch.texts import digest_name, level
from trackside.sketch.values import Kind

if TYPE_CHECKING:
    from trackside.drift.scan import Progress
    from trackside.tables.table import Table

LARGEST = 10
"""Levels of a column that become segments, the most frequent of the reference."""
CELLS = 512
"""Cells of a segment's column at most: there are many of them, and each has fewer rows."""


def levels_of(sketch: Sketch) -> list[str]:
    """The levels that become segments."""
    return list(sketch.levels.counts)[:LARGEST] if sketch.levels is not None else []


def named(column: str, one: str) -> str:
    return f"{column}={one}"


class _Segmented:
    """A sink that counts one column for each level of another."""

    def __init__(self, by: str, levels: Sequence[str], name: str, kind: Kind) -> None:
        self.columns = (by, name)
        self.by, self.name = by, name
        self._places = {one: at for at, one in enumerate(levels)}
        self.counters = {one: ColumnCounter(kind) for one in levels}

    def add(self, batch: Mapping[str, Any], rows: int) -> None:
        if self.by not in batch:
            return
        places = self._rows(batch[self.by])
        for one, at in self._places.items():
            here = places == at
            count = int(here.sum())
            if not count:
                continue
            if self.name in batch:
                self.counters[one].add(_chosen(batch[self.name], here))
            else:
                self.counters[one].add_absent(count)
        del rows

    def _rows(self, array: Any) -> Any:
        """For every row the number of its level, -1 for any other."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.types as t

        if not t.is_dictionary(array.type):
            array = pc.cast(array, pa.string()).dictionary_encode()
        known = [self._place(one) for one in array.dictionary.cast(pa.string()).to_pylist()]
        codes = array.indices.cast(pa.int64()).fill_null(len(known)).to_numpy()
        return np.array([*known, -1])[codes]

    def _place(self, text: str | None) -> int:
        if text is None:
            return -1
        found = self._places.get(level(text))
        return self._places.get(digest_name(text), -1) if found is None else found


def _chosen(array: Any, here: Any) -> Any:
    import pyarrow as pa
    import pyarrow.types as t

    if t.is_string_view(array.type):  # Arrow cannot choose among these
        array = array.cast(pa.large_string())
    return array.filter(pa.array(here))


def segmented(
    table: Table, by: Mapping[str, Sequence[str]], kinds: Mapping[str, Kind], progress: Progress | None = None
) -> dict[str, dict[str, Sketch]]:
    """Sketches of the columns by segment.

    Args:
        by: levels that make segments, by column.
    """
    from trackside.drift.scan import feed

    sinks = [
        _Segmented(column, levels, name, kind)
        for column, levels in by.items()
        if column in table.types and levels
        for name, kind in kinds.items()
        if name != column and name in table.types
    ]
    if sinks:
        feed(table, sinks, progress)
    made: dict[str, dict[str, Sketch]] = {}
    for sink in sinks:
        for one, counter in sink.counters.items():
            made.setdefault(named(sink.by, one), {})[sink.name] = coarse(counter.done())
    return made


def coarse(sketch: Sketch) -> Sketch:
    """The sketch in at most `CELLS` cells: a pure function of the values, as the finer one is."""
    return replace(sketch, numbers=_coarse(sketch.numbers), lengths=_coarse(sketch.lengths), patterns=None)


def _coarse(numbers: Numbers | None) -> Numbers | None:
    while numbers is not None and len(numbers.keys) > CELLS:
        numbers = numbers.at(numbers.depth - 1)
    return numbers
