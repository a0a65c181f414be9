"""What is wrong with rows as such, whatever their distribution: keys twice, times out of order, zones mixed."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from trackside.drift.scan import Fault
from trackside.drift.words import share
from trackside.errors import DataError
from trackside.sketch.texts import bytes_of, hashes
from trackside.sketch.values import NAIVE, OFFSET, seconds_of

MISSING = 0.02
"""Share of rows, more than in the reference, whose missing time is told."""
WRONG = 0.01
"""Share of rows whose time cannot be read, above which nothing is known of the window."""
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


class Timed(msgspec.Struct, frozen=True, kw_only=True):
    """What a profile keeps of the times of its rows, in its details beside their window."""

    rows: int = 0
    missing: int = 0
    wrong: int = 0
    zones: list[str] = []


def timed(details: Mapping[str, Any]) -> Timed:
    """Raises DataError for what no profile holds."""
    try:
        return msgspec.convert(details.get("times", {}), Timed)
    except msgspec.ValidationError as error:
        raise DataError(
            "the profile's times cannot be read", why=str(error), link="drift.md", reason_code="reference_invalid"
        ) from error


@dataclass
class Times:
    """A sink that follows the time of the rows: first, last, whether they rise, and what zones they are of. `missing`
    are null, `wrong` values no time.
    """

    name: str
    low: float = math.inf
    high: float = -math.inf
    last: float = -math.inf
    fallen: int = 0
    rows: int = 0
    missing: int = 0
    wrong: int = 0
    zones: set[str] = field(default_factory=set)

    @property
    def columns(self) -> Sequence[str]:
        return (self.name,)

    def add(self, batch: Mapping[str, Any], rows: int) -> None:
        self.rows += rows
        if self.name not in batch:
            self.missing += rows
            return
        seconds, wrong, zones = seconds_of(batch[self.name])
        seconds = seconds[np.isfinite(seconds)]
        self.wrong += wrong
        self.missing += rows - wrong - seconds.size
        self.zones |= zones
        if not seconds.size:
            return
        self.fallen += int((seconds[1:] < seconds[:-1]).sum()) + int(seconds[0] < self.last)
        self.low, self.high = min(self.low, float(seconds.min())), max(self.high, float(seconds.max()))
        self.last = float(seconds[-1])

    @property
    def window(self) -> list[float]:
        """First and last second since 1970 (UTC); empty without any."""
        return [self.low, self.high] if self.high >= self.low else []

    @property
    def details(self) -> dict[str, Any]:
        """What a profile keeps of them."""
        window = {"window": self.window} if self.window else {}
        counts = Timed(rows=self.rows, missing=self.missing, wrong=self.wrong, zones=sorted(self.zones))
        return {**window, "times": msgspec.to_builtins(counts)}

    def faults(self, details: Mapping[str, Any]) -> list[Fault]:
        """`details` are those of the reference's profile."""
        if not self.window:
            words = f"not one of {self.rows:,} rows has a time"
            return [Fault(column=self.name, test="window", words=words)]
        before, window = timed(details), details.get("window")
        made = zones(self.name, before.zones, self.zones)
        if self.wrong > WRONG * self.rows:
            words = f"{self.wrong:,} of {self.rows:,} values are no time"
            made.append(Fault(column=self.name, test="type", words=words))
        known, lost = before.missing / max(1, before.rows), self.missing / self.rows
        if lost - known > MISSING:
            words = f"rows without a time: {share(known)} → {share(lost)}"
            made.append(Fault(column=self.name, test="present", words=words, kind="warning"))
        return made + self._of_window(window if isinstance(window, list) else ())

    def _of_window(self, reference: Sequence[float]) -> list[Fault]:
        made = []
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


def zones(name: str, before: Collection[str], now: Collection[str]) -> list[Fault]:
    """Times that nobody can order: some with a zone, some without, in the column itself or against the reference."""
    if NAIVE in now and len(now) > 1:
        words = f"mixed time zones: {_zones(now)}"
    elif before and now and (NAIVE in before) != (NAIVE in now):
        words = f"mixed time zones: {_zones(before)} in the reference, {_zones(now)} in the current data"
    else:
        return []
    return [Fault(column=name, test="zone", words=words)]


def gone(name: str) -> Fault:
    """A column that names what rows are, and that is not there."""
    return Fault(column=name, test="present", words="no such column in the current data")


def _zones(found: Collection[str]) -> str:
    names = {NAIVE: "times without a zone", OFFSET: "times with an offset"}
    return " and ".join(names.get(zone, f"times in {zone}") for zone in sorted(found))
