"""One column of a table as counted: what every test looks at, of the reference and of the current data alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trackside.sketch import levels as of_levels
from trackside.sketch import numbers as of_numbers
from trackside.sketch.dates import Calendar, calendar_of, together
from trackside.sketch.levels import LevelCounter, Levels
from trackside.sketch.numbers import CELLS, NumberCounter, Numbers, keys_of
from trackside.sketch.texts import Counts, bytes_of, lengths, patterns
from trackside.sketch.values import Floats, Kind, floats_of, seconds_of, texts_of, truths_of

PATTERNS = 1000
"""Patterns of texts that are held while counting."""


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """`rows` are all; `missing` are nulls, NaN and `wrong` values, which are not of the column's kind; `infinite` ones
    are of numbers. Categories and booleans have `levels`; numbers have `numbers`; dates have `numbers` of their seconds
    since 1970 (UTC), their `calendar` and the `zones` that occur. `lengths` are of texts, in characters, `patterns`
    their shapes.

    `otherwise` is what the same values are as of another kind: of a text file, where more than one is possible.
    """

    kind: Kind
    rows: int = 0
    missing: int = 0
    infinite: int = 0
    wrong: int = 0
    numbers: Numbers | None = None
    levels: Levels | None = None
    lengths: Numbers | None = None
    patterns: Levels | None = None
    zones: tuple[str, ...] = ()
    calendar: Calendar | None = None
    otherwise: tuple[Sketch, ...] = ()

    @property
    def finite(self) -> int:
        """Values that the distribution is made of."""
        return self.rows - self.missing - self.infinite


def merged(sketches: Iterable[Sketch]) -> Sketch:
    """The sketch of all parts' rows. Parts of a text file take the first kind that is possible in all of them.

    Raises:
        ValueError: no part, or parts of different kinds.
    """
    parts = list(sketches)
    ways = [{one.kind: one for one in (*part.otherwise, part)} for part in parts]
    common = [kind for kind in ORDER if parts and all(kind in way for way in ways)]
    if not common:
        raise ValueError("parts of a column are " + " and ".join(sorted({part.kind for part in parts})))
    made = [_merged(kind, [way[kind] for way in ways]) for kind in common]
    return replace(made[0], otherwise=tuple(made[1:]))


ORDER: tuple[Kind, ...] = ("number", "boolean", "datetime", "category")
"""What a column of a text file is: the first that all of its values are."""


def _merged(kind: Kind, parts: list[Sketch]) -> Sketch:
    return Sketch(
        kind=kind,
        rows=sum(part.rows for part in parts),
        missing=sum(part.missing for part in parts),
        infinite=sum(part.infinite for part in parts),
        wrong=sum(part.wrong for part in parts),
        numbers=_numbers(part.numbers for part in parts),
        levels=_levels((part.levels for part in parts), of_levels.TRACKED),
        lengths=_numbers(part.lengths for part in parts),
        patterns=_levels((part.patterns for part in parts), PATTERNS),
        zones=tuple(sorted({zone for part in parts for zone in part.zones})),
        calendar=together(*(part.calendar or Calendar() for part in parts)) if kind == "datetime" else None,
    )


def _numbers(parts: Iterable[Numbers | None]) -> Numbers | None:
    found = [part for part in parts if part is not None]
    return of_numbers.merged(*found) if found else None


def _levels(parts: Iterable[Levels | None], limit: int) -> Levels | None:
    found = [part for part in parts if part is not None]
    return of_levels.merged(*found, limit=limit) if found else None


class ColumnCounter:
    """Counts Arrow arrays as one column of a known kind: `add` each, then `done`."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._rows = self._missing = self._infinite = self._wrong = 0
        self._numbers = NumberCounter() if kind in ("number", "datetime") else None
        self._texts = TextCounter() if kind == "category" else None
        self._truths = np.zeros(2, dtype=np.int64)
        self._zones: set[str] = set()
        self._calendar = Calendar()

    def add(self, array: Any) -> None:
        """Count one Arrow array of any type, or its chunks."""
        for part in _chunks(array):
            self._rows += len(part)
            if self._texts is not None:
                self._add_texts(part, self._texts)
                continue
            if self._numbers is None:
                self._add_truths(part)
                continue
            # Without nulls, values are looked at where they lie.
            self._missing += part.null_count
            part = part.drop_null() if part.null_count else part
            if self.kind == "number":
                self._add_numbers(*floats_of(part), self._numbers)
            else:
                seconds, wrong, zones = seconds_of(part)
                self._zones |= zones
                found = self._add_numbers(seconds, wrong, self._numbers)
                self._calendar = together(self._calendar, calendar_of(found))

    def add_absent(self, rows: int) -> None:
        """Rows of a file that lacks the column."""
        self._rows += rows
        self._missing += rows

    def done(self) -> Sketch:
        made = Sketch(
            kind=self.kind, rows=self._rows, missing=self._missing, infinite=self._infinite, wrong=self._wrong
        )
        if self._texts is not None:
            return self._texts.completed(made)
        if self._numbers is None:
            return replace(made, levels=of_truths(self._truths))
        made = replace(made, numbers=self._numbers.done())
        if self.kind == "number":
            return made
        return replace(made, zones=tuple(sorted(self._zones)), calendar=self._calendar)

    def _add_numbers(self, values: Floats, wrong: int, numbers: NumberCounter) -> Floats:
        there = np.isfinite(values)
        if not there.all():
            missing = int(np.isnan(values).sum())
            self._missing += missing
            values = values[there]
            self._infinite += there.size - missing - values.size
        self._wrong += wrong
        numbers.add(values)
        return values

    def _add_texts(self, array: Any, counter: TextCounter) -> None:
        texts, wrong = texts_of(array)
        before = counter.rows
        counter.levels.add(texts)
        self._missing += len(array) - (counter.rows - before)
        self._wrong += wrong

    def _add_truths(self, array: Any) -> None:
        yes, no, empty = truths_of(array)
        found = np.array([yes.sum(), no.sum()])
        self._truths += found
        self._missing += len(array) - int(found.sum())
        self._wrong += len(array) - int(found.sum()) - empty


class TextCounter:
    """Levels, lengths and patterns of texts. `also` is called with different texts and their counts, as `Watch` is."""

    def __init__(self, also: of_levels.Watch | None = None) -> None:
        self.levels = LevelCounter(watch=self._see)
        self._patterns = LevelCounter(limit=PATTERNS)
        self._lengths: dict[int, int] = {}
        self._also = also

    @property
    def rows(self) -> int:
        """Texts counted so far."""
        return self.levels.rows

    def completed(self, sketch: Sketch) -> Sketch:
        levels = self.levels.done()  # first: what it still holds comes by
        sizes = np.fromiter(self._lengths, dtype=np.float64, count=len(self._lengths))
        counts = np.fromiter(self._lengths.values(), dtype=np.int64, count=len(self._lengths))
        return replace(sketch, levels=levels, lengths=of_counts(sizes, counts), patterns=self._patterns.done())

    def _see(self, values: Any, counts: Counts) -> None:
        held, offsets = bytes_of(values)
        sizes = lengths(held, offsets)
        if int(sizes.max()) < 4 * sizes.size:
            rows = np.bincount(sizes, weights=counts).astype(np.int64)
            sizes = np.flatnonzero(rows)
            counted = rows[sizes]
        else:
            sizes, places = np.unique(sizes, return_inverse=True)
            counted = np.bincount(places, weights=counts).astype(np.int64)
        for size, count in zip(sizes.tolist(), counted.tolist(), strict=True):
            self._lengths[size] = self._lengths.get(size, 0) + count
        self._patterns.add_counts(patterns(held, offsets), counts)
        if self._also is not None:
            self._also(values, counts)


def of_counts(values: Floats, counts: Counts) -> Numbers:
    """Numbers of finite values that occur so many times each."""
    values, places = np.unique(values, return_inverse=True)
    counts = np.bincount(places, weights=counts, minlength=values.size).astype(np.int64)
    return of_numbers.merged(
        *(_exact(values[at : at + CELLS], counts[at : at + CELLS]) for at in range(0, values.size, CELLS))
    )


def _exact(values: Floats, counts: Counts) -> Numbers:
    """Of rising values, `CELLS` at most."""
    low, high = float(values[0]) + 0.0, float(values[-1]) + 0.0
    mean = min(max(float((values * (counts / counts.sum())).sum()), low), high)
    with np.errstate(over="ignore"):
        squares = float(((values - mean) ** 2 * counts).sum())
    return Numbers(keys=keys_of(values), counts=counts, low=low, high=high, mean=mean, squares=squares)


def of_truths(counts: Counts) -> Levels:
    return of_levels.exact({name: int(count) for name, count in zip(("true", "false"), counts, strict=True) if count})


def _chunks(array: Any) -> list[Any]:
    return list(array.chunks) if hasattr(array, "chunks") else [array]
