"""A sketch as few bytes: differences as variable-length integers, compressed. What comes back is checked throughout."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from trackside.sketch.column import ORDER, Sketch
from trackside.sketch.dates import Calendar
from trackside.sketch.distinct import KEPT
from trackside.sketch.levels import Levels
from trackside.sketch.numbers import BITS, CELLS, Counts, Numbers, keys_of

VERSION = 1
LIMIT = 32 * 1024 * 1024
"""Bytes of one sketch, not compressed, that are read."""
RATIO = 100
"""A sketch that shrank by more, and is above a MiB, is refused: it was made to fill memory."""
ROWS = 1 << 53

_SEVEN = np.uint64(7)

Whole = npt.NDArray[np.uint64]


class Malformed(ValueError):
    """Bytes that no sketch was written as."""


def encode(sketch: Sketch) -> bytes:
    """The bytes of a sketch; the same for equal sketches."""
    made = _Writer()
    made.whole(VERSION, 1 + len(sketch.otherwise))
    for one in (sketch, *sketch.otherwise):
        _write(made, one)
    return zlib.compress(bytes(made.data), 9)


def decode(data: bytes) -> Sketch:
    """The sketch of these bytes.

    Raises:
        Malformed: they are cut, too many, or not as `encode` writes them.
    """
    found = _Reader(_inflated(data))
    if found.whole() != VERSION:
        raise Malformed("another version")
    size = found.whole()
    if not 1 <= size <= len(ORDER):
        raise Malformed(f"{size} kinds")
    first, *others = [_read(found) for _ in range(size)]
    found.end()
    if len({one.kind for one in (first, *others)}) < size or len({one.rows for one in (first, *others)}) > 1:
        raise Malformed("kinds that disagree")
    return replace(first, otherwise=tuple(others))


def size_of(numbers: Numbers) -> int:
    """Bytes that numbers take in a sketch."""
    made = _Writer()
    _write_numbers(made, numbers)
    return len(zlib.compress(bytes(made.data), 9))


def _inflated(data: bytes) -> bytes:
    limit = min(LIMIT, 1024 * 1024 + RATIO * len(data))
    stream = zlib.decompressobj()
    try:
        made = stream.decompress(data, limit)
    except zlib.error as error:
        raise Malformed("not compressed data") from error
    if not stream.eof or stream.unused_data:
        raise Malformed("larger than is read" if len(made) >= limit else "cut, or followed by something")
    return made


def _write(made: _Writer, one: Sketch) -> None:
    made.whole(ORDER.index(one.kind), one.rows, one.missing, one.infinite, one.wrong)
    made.texts(one.zones)
    made.whole(one.calendar is not None)
    if one.calendar is not None:
        made.some(np.concatenate(_calendar(one.calendar)).astype(np.uint64))
    for numbers in (one.numbers, one.lengths):
        made.whole(numbers is not None)
        if numbers is not None:
            _write_numbers(made, numbers)
    for levels in (one.levels, one.patterns):
        made.whole(levels is not None)
        if levels is not None:
            _write_levels(made, levels)


def _read(found: _Reader) -> Sketch:
    kind = found.whole()
    if kind >= len(ORDER):
        raise Malformed("an unknown kind")
    rows, missing, infinite, wrong = (found.whole() for _ in range(4))
    if rows > ROWS or missing + infinite > rows or wrong > missing:
        raise Malformed("more missing values than rows")
    zones = found.texts()
    calendar = _read_calendar(found, rows) if found.flag() else None
    numbers, lengths = (_read_numbers(found) if found.flag() else None for _ in range(2))
    levels, patterns = (_read_levels(found) if found.flag() else None for _ in range(2))
    for counted in (numbers, lengths, levels, patterns):
        if counted is not None and counted.count != rows - missing - infinite:
            raise Malformed("counts that do not add up")
    dated = ORDER[kind] == "datetime"
    if (numbers is not None) != (dated or ORDER[kind] == "number") or (numbers is None) == (levels is None):
        raise Malformed("not what a column of its kind has")
    if dated != (calendar is not None):
        raise Malformed("dates without a calendar, or one of something else")
    return Sketch(
        kind=ORDER[kind],
        rows=rows,
        missing=missing,
        infinite=infinite,
        wrong=wrong,
        zones=tuple(zones),
        calendar=calendar,
        numbers=numbers,
        lengths=lengths,
        levels=levels,
        patterns=patterns,
    )


def _calendar(one: Calendar) -> tuple[Counts, Counts, Counts]:
    return one.hours, one.weekdays, one.months


def _read_calendar(found: _Reader, rows: int) -> Calendar:
    counts = found.some(24 + 7 + 12)
    if int(counts.max()) > rows:
        raise Malformed("a calendar of more rows")
    hours, weekdays, months = np.split(counts.astype(np.int64), [24, 31])
    if not hours.sum() == weekdays.sum() == months.sum() <= rows:
        raise Malformed("a calendar that does not add up")
    return Calendar(hours=hours, weekdays=weekdays, months=months)


def _write_numbers(made: _Writer, one: Numbers) -> None:
    made.whole(one.depth)
    made.many(_steps(one.keys))
    made.some(one.counts.astype(np.uint64))
    made.doubles(one.low, one.high, one.mean, one.squares)


def _read_numbers(found: _Reader) -> Numbers:
    depth = found.whole()
    keys = _sums(found.many())
    counts = found.counts(keys.size)
    low, high, mean, squares = found.doubles(4)
    if depth > BITS or keys.size > CELLS:
        raise Malformed("more cells than there are")
    made = Numbers(depth=depth, keys=keys, counts=counts, low=low, high=high, mean=mean, squares=squares)
    if not keys.size:
        if (low, high, mean, squares) != (np.inf, -np.inf, 0.0, 0.0):
            raise Malformed("numbers without a cell")
        return made
    ends = np.array([low, high, mean])
    if not np.isfinite(ends).all() or low > high or not squares >= 0:
        raise Malformed("ends or moments that are no numbers")
    cells = keys_of(ends[:2]) >> np.uint64(BITS - depth) if depth else np.zeros(2, dtype=np.uint64)
    if cells[0] != keys[0] or cells[1] != keys[-1]:
        raise Malformed("ends outside of the cells")
    return made


def _write_levels(made: _Writer, one: Levels) -> None:
    names = sorted(one.counts)
    made.texts(names)
    made.some(np.fromiter((one.counts[name] for name in names), dtype=np.uint64, count=len(names)))
    made.whole(one.rest, one.bound, one.distinct, one.least is not None)
    made.doubles(one.distinct_error)
    if one.least is not None:
        made.many(_steps(one.least))


def _read_levels(found: _Reader) -> Levels:
    names = found.texts()
    counts = found.counts(len(names)).tolist()
    rest, bound, distinct, hashed = (found.whole() for _ in range(4))
    (error,) = found.doubles(1)
    least = _sums(found.many()) if hashed else None
    if len(set(names)) < len(names) or max(rest, bound, distinct) > ROWS or not error >= 0 or hashed > 1:
        raise Malformed("levels that cannot be")
    if least is not None and least.size > KEPT:
        raise Malformed("more hashes than are kept")
    ordered = dict(sorted(zip(names, counts, strict=True), key=lambda row: (-row[1], row[0])))
    return Levels(counts=ordered, rest=rest, bound=bound, distinct=distinct, distinct_error=error, least=least)


def _steps(rising: Whole) -> Whole:
    """First value and differences, less one: those of neighbours are 0."""
    return np.concatenate((rising[:1], np.diff(rising) - np.uint64(1))) if rising.size else rising


def _sums(steps: Whole) -> Whole:
    made = np.cumsum(steps + np.minimum(np.arange(steps.size, dtype=np.uint64), np.uint64(1)), dtype=np.uint64)
    if (made[1:] <= made[:-1]).any():
        raise Malformed("values that do not rise")
    return made


class _Writer:
    def __init__(self) -> None:
        self.data = bytearray()

    def whole(self, *values: int) -> None:
        self.some(np.array(values, dtype=np.uint64))

    def some(self, values: Whole) -> None:
        """Values in 1 to 10 bytes each of 7 bits, the lowest first; all but the last have the eighth bit."""
        sizes = np.ones(values.size, dtype=np.int64)
        for place in range(1, 10):
            sizes += values >= np.uint64(1 << 7 * place)
        starts = np.cumsum(sizes) - sizes
        made = np.zeros(int(sizes.sum()), dtype=np.uint8)
        for place in range(int(sizes.max(initial=0))):
            here = sizes > place
            bits = (values[here] >> np.uint64(7 * place)) & np.uint64(0x7F)
            made[starts[here] + place] = bits + (sizes[here] > place + 1) * np.uint64(0x80)
        self.data += made.tobytes()

    def many(self, values: Whole) -> None:
        self.whole(values.size)
        self.some(values)

    def texts(self, texts: Sequence[str]) -> None:
        held = [text.encode("utf-8", "replace") for text in texts]
        self.many(np.fromiter(map(len, held), dtype=np.uint64, count=len(held)))
        self.data += b"".join(held)

    def doubles(self, *values: float) -> None:
        self.data += struct.pack(f"<{len(values)}d", *values)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._bytes = np.frombuffer(data, dtype=np.uint8)
        self._place = 0

    def whole(self) -> int:
        return int(self.some(1)[0])

    def flag(self) -> bool:
        found = self.whole()
        if found > 1:
            raise Malformed("neither yes nor no")
        return bool(found)

    def some(self, size: int) -> Whole:
        window = self._bytes[self._place : self._place + 10 * size]
        ends = np.flatnonzero(window < 0x80)[:size] + 1
        if ends.size < size:
            raise Malformed("cut short")
        if not size:
            return np.zeros(0, dtype=np.uint64)
        starts = np.concatenate(([0], ends[:-1]))
        sizes = ends - starts
        longest = int(sizes.max())
        if longest > 10 or (longest == 10 and (window[ends[sizes == 10] - 1] > 1).any()):
            raise Malformed("a number above 64 bits")
        made = np.zeros(size, dtype=np.uint64)
        for place in range(longest):
            here = sizes > place
            made[here] |= (window[starts[here] + place] & 0x7F).astype(np.uint64) << np.uint64(7 * place)
        self._place += int(ends[-1])
        return made

    def counts(self, size: int) -> Counts:
        found = self.some(size)
        if size and (not found.all() or float(found.sum(dtype=np.float64)) > ROWS):
            raise Malformed("counts below one or above all")
        return found.astype(np.int64)

    def many(self) -> Whole:
        size = self.whole()
        if size > len(self._data):
            raise Malformed("more values than bytes")
        return self.some(size)

    def texts(self) -> list[str]:
        ends = [0, *np.cumsum(sizes := self.many(), dtype=np.float64)]
        if ends[-1] > len(self._data) - self._place:
            raise Malformed("texts cut short")
        made = []
        for size in sizes.tolist():
            try:
                made.append(self._data[self._place : self._place + size].decode("utf-8"))
            except UnicodeDecodeError as error:
                raise Malformed("texts that are no UTF-8") from error
            self._place += size
        return made

    def doubles(self, size: int) -> tuple[float, ...]:
        part = self._data[self._place : self._place + 8 * size]
        if len(part) < 8 * size:
            raise Malformed("cut short")
        self._place += 8 * size
        return struct.unpack(f"<{size}d", part)

    def end(self) -> None:
        if self._place != len(self._data):
            raise Malformed("more than a sketch")
