"""A column of a text file, whose kind is known only when all of its values were seen, counted in one pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from trackside.sketch.column import Sketch, TextCounter, of_counts, of_truths
from trackside.sketch.dates import Calendar, calendar_of, together
from trackside.sketch.numbers import NumberCounter, Numbers, merged
from trackside.sketch.texts import Counts
from trackside.sketch.values import Floats, floats_of, kind_of, seconds_of, texts_of, truths_of


class LooseCounter:
    """Counts Arrow arrays of texts as all that they can be: `add` each, then `done`.

    What is found for different texts holds for all rows that have them, so that little is read twice.
    """

    def __init__(self) -> None:
        self._texts = TextCounter(self._see)
        self._rows = self._absent = 0
        self._numbers: _Weighted | None = _Weighted()
        self._seconds: _Weighted | None = _Weighted()
        self._truths: Counts | None = np.zeros(2, dtype=np.int64)
        self._zones: set[str] = set()
        self._calendar = Calendar()

    def add(self, array: Any) -> None:
        """Count one Arrow array of texts, or its chunks. Other values count as what they are written as; those that
        cannot be written, lists say, are missing.
        """
        for part in array.chunks if hasattr(array, "chunks") else [array]:
            self._rows += len(part)
            self._texts.levels.add(_written(part))

    def add_absent(self, rows: int) -> None:
        """Rows of a file that lacks the column."""
        self._rows += rows

    def done(self) -> Sketch:
        """The first kind that all values are of (numbers, truths, dates, else categories), the others `otherwise`."""
        missing = self._rows - self._texts.rows
        texts = self._texts.completed(Sketch(kind="category", rows=self._rows, missing=missing))
        ways = [texts]
        if self._seconds is not None:
            ways.insert(
                0,
                Sketch(
                    kind="datetime",
                    rows=self._rows,
                    missing=missing,
                    numbers=self._seconds.done(),
                    zones=tuple(sorted(self._zones)),
                    calendar=self._calendar,
                ),
            )
        if self._truths is not None:
            ways.insert(0, Sketch(kind="boolean", rows=self._rows, missing=missing, levels=of_truths(self._truths)))
        if self._numbers is not None:
            numbers = self._numbers
            ways.insert(
                0,
                Sketch(
                    kind="number",
                    rows=self._rows,
                    missing=missing + numbers.missing,
                    infinite=numbers.infinite,
                    numbers=numbers.done(),
                ),
            )
        return replace(ways[0], otherwise=tuple(ways[1:]))

    def _see(self, values: Any, counts: Counts) -> None:
        import pyarrow as pa

        texts = values.view(pa.string())
        if self._numbers is not None:
            found, wrong = floats_of(texts)
            self._numbers = self._numbers.added(found, counts) if not wrong else None
        if self._truths is not None:
            yes, no, _ = truths_of(texts)
            both = np.array([counts[yes].sum(), counts[no].sum()])
            self._truths = self._truths + both if (yes | no).all() else None
        if self._seconds is not None:
            found, wrong, zones = seconds_of(texts)
            self._zones |= zones
            self._seconds = self._seconds.added(found, counts) if not wrong else None
            if not wrong:
                self._calendar = together(self._calendar, calendar_of(found, counts))


def _written(array: Any) -> Any:
    import pyarrow as pa
    import pyarrow.types as t

    kind = kind_of(array.type)
    if kind is None or kind == "category":
        return texts_of(array)[0]
    return (array.dictionary_decode() if t.is_dictionary(array.type) else array).cast(pa.string())


class _Weighted:
    """Numbers that come with how often they occur."""

    def __init__(self) -> None:
        self.missing = self.infinite = 0
        self._counter = NumberCounter()
        self._heavy = Numbers()

    def added(self, values: Floats, counts: Counts) -> _Weighted:
        there = np.isfinite(values)
        if not there.all():
            self.missing += int(counts[np.isnan(values)].sum())
            self.infinite += int(counts[np.isinf(values)].sum())
            values, counts = values[there], counts[there]
        if int(counts.sum()) <= 4 * values.size:
            self._counter.add(np.repeat(values, counts))
        else:
            self._heavy = merged(self._heavy, of_counts(values, counts))
        return self

    def done(self) -> Numbers:
        return merged(self._heavy, self._counter.done())
