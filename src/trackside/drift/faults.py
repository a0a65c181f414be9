"""What is wrong with rows as such, whatever their distribution: keys twice, times out of order, zones mixed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from trackside.drift.scan import Fault
from trackside.sketch.column import Sketch
from trackside.sketch.texts import bytes_of, hashes
from trackside.sketch.values import NAIVE, OFFSET, seconds_of

KEYS = 50_000_000
"""Keys looked at: 8 bytes each."""


@dataclass
class Keys:
    """A sink that finds keys that come twice, by hashes of 64 bits: of 10 million different keys two meet by chance
    once in 400,000 tables.
    """

    name: str
    hashes: list[npt.NDArray[np.uint64]] = field(default_factory=list)
    size: int = 0
    rows: int = 0
    missing: int = 0

    @property
    def columns(self) -> Sequence[str]:
        return (self.name,)

    def add(self, batch: Mapping[str, Any], rows: int) -> None:
        import pyarrow.compute as pc

        self.rows += rows
        if self.name not in batch:
            self.missing += rows
            return
        array = batch[self.name]
        self.missing += array.null_count
        if self.size < KEYS:
            found = hashed(pc.drop_null(array))
            self.hashes.append(found)
            self.size += found.size

    def faults(self) -> list[Fault]:
        found = np.sort(np.concatenate(self.hashes)) if self.hashes else np.zeros(0, dtype=np.uint64)
        twice = int((found[1:] == found[:-1]).sum())
        made = []
        if twice:
            words = f"duplicate keys: {twice:,} of {found.size:,} rows have the key of another row"
            made.append(Fault(column=self.name, test="key", words=words))
        if self.missing:
            words = f"{self.missing:,} of {self.rows:,} rows have no key"
            made.append(Fault(column=self.name, test="key", words=words, kind="warning"))
        return made


def hashed(array: Any) -> npt.NDArray[np.uint64]:
    """64 bits of each value of an Arrow array without nulls; equal values have equal ones within a type."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as t

    if not len(array):
        return np.zeros(0, dtype=np.uint64)
    if t.is_dictionary(array.type):
        words = hashed(array.dictionary.cast(pa.string()).fill_null(""))
        return words[_plain(array.indices.cast(pa.int64())).view(np.int64)]
    if t.is_integer(array.type):
        wide = pa.uint64() if t.is_uint64(array.type) else pa.int64()
        return _plain(array.cast(wide)).view(np.uint64)
    text = pc.cast(array, pa.large_string()) if not t.is_binary(array.type) else array
    return np.asarray(hashes(*bytes_of(text)), dtype=np.uint64)


def _plain(array: Any) -> npt.NDArray[Any]:
    """The eight bytes of each value, by the buffer: Arrow's own conversion would import pandas."""
    return np.frombuffer(array.buffers()[1], dtype=np.uint64)[array.offset : array.offset + len(array)]


@dataclass
class Times:
    """A sink that follows the time of the rows: first, last, and whether they rise."""

    name: str
    low: float = math.inf
    high: float = -math.inf
    last: float = -math.inf
    fallen: int = 0

    @property
    def columns(self) -> Sequence[str]:
        return (self.name,)

    def add(self, batch: Mapping[str, Any], rows: int) -> None:
        del rows
        if self.name not in batch:
            return
        seconds, _, _ = seconds_of(batch[self.name])
        seconds = seconds[np.isfinite(seconds)]
        if not seconds.size:
            return
        self.fallen += int((seconds[1:] < seconds[:-1]).sum()) + int(seconds[0] < self.last)
        self.low, self.high = min(self.low, float(seconds.min())), max(self.high, float(seconds.max()))
        self.last = float(seconds[-1])

    @property
    def window(self) -> list[float]:
        """First and last second since 1970 (UTC); empty without any."""
        return [self.low, self.high] if self.high >= self.low else []

    def faults(self, reference: Sequence[float] = ()) -> list[Fault]:
        """`reference` is the window of the reference rows."""
        made = []
        if not self.window:
            return [Fault(column=self.name, test="window", words="no row has a time")]
        if self.fallen:
            words = f"unsorted: the time falls {self.fallen:,} times from one row to the next"
            made.append(Fault(column=self.name, test="window", words=words, kind="warning"))
        if len(reference) == 2:
            first, last = reference
            both = f"current {day(self.low)} to {day(self.high)}, reference {day(first)} to {day(last)}"
            if self.low < last and self.high > first:
                words = f"overlapping windows: {both}"
                made.append(Fault(column=self.name, test="window", words=words))
            elif self.high <= first:
                words = f"the current data is older than the reference: {both}"
                made.append(Fault(column=self.name, test="window", words=words, kind="warning"))
        return made


def day(seconds: float) -> str:
    """An instant as people read it; as seconds where the calendar has none."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f} s"


def zones(name: str, before: Sketch | None, now: Sketch) -> list[Fault]:
    """Times that nobody can order: some with a zone, some without, in the column itself or against the reference."""
    if now.mixed_zones:
        words = f"mixed time zones: {_zones(now)}"
    elif before is not None and before.zones and now.zones and (NAIVE in before.zones) != (NAIVE in now.zones):
        words = f"mixed time zones: {_zones(before)} in the reference, {_zones(now)} in the current data"
    else:
        return []
    return [Fault(column=name, test="zone", words=words)]


def _zones(sketch: Sketch) -> str:
    names = {NAIVE: "times without a zone", OFFSET: "times with an offset"}
    return " and ".join(names.get(zone, f"times in {zone}") for zone in sketch.zones)
