"""How times, as seconds since 1970, are spread over the day, the week and the year, and how far apart they lie."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from trackside.sketch.numbers import Counts, Floats, Numbers

_HOUR = 3600.0
_THURSDAY = 3
"""The weekday of 1970-01-01, where Monday is 0."""
_DAYS = 1 << 16
"""Days, 179 years, that are counted in one table; more are sorted."""
_END = 2.0**63
"""Seconds before and after 1970 from which on there is no calendar."""


def _zeros(size: int) -> Counts:
    return np.zeros(size, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Counts of times in UTC: `hours` (24,) from midnight, `weekdays` (7,) from Monday, `months` (12,) from January."""

    hours: Counts = field(default_factory=lambda: _zeros(24))
    weekdays: Counts = field(default_factory=lambda: _zeros(7))
    months: Counts = field(default_factory=lambda: _zeros(12))

    @property
    def count(self) -> int:
        return int(self.hours.sum())


def calendar_of(seconds: Floats, counts: Counts | None = None) -> Calendar:
    """Of finite seconds since 1970-01-01T00:00Z, shape (n,), in the Gregorian calendar, without leap seconds.

    `counts` (n,) tells how often each occurs. Times that 64-bit seconds cannot tell are left out.
    """
    if len(seconds) and max(-float(seconds.min()), float(seconds.max())) >= _END:
        there = np.abs(seconds) < _END
        seconds, counts = seconds[there], None if counts is None else counts[there]
    if not len(seconds):
        return Calendar()
    passed = np.floor(seconds / _HOUR).astype(np.int64)
    day = int(passed.min()) // 24
    length = int(passed.max()) // 24 - day + 1
    if length <= _DAYS:
        passed -= 24 * day
        table = np.bincount(passed, weights=counts, minlength=24 * length).astype(np.int64).reshape(length, 24)
        days, of_days, hours = day + np.arange(length), table.sum(axis=1), table.sum(axis=0)
    else:
        days, places = np.unique(passed // 24, return_inverse=True)
        of_days = np.bincount(places, weights=counts).astype(np.int64)
        hours = np.bincount(passed % 24, weights=counts, minlength=24).astype(np.int64)
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
    return Calendar(
        hours=hours, weekdays=_summed((days + _THURSDAY) % 7, of_days, 7), months=_summed(months, of_days, 12)
    )


def together(*parts: Calendar) -> Calendar:
    """The calendar of all parts' times: the same for every split and order."""
    return Calendar(
        hours=sum((part.hours for part in parts), _zeros(24)),
        weekdays=sum((part.weekdays for part in parts), _zeros(7)),
        months=sum((part.months for part in parts), _zeros(12)),
    )


def cadence(times: Numbers) -> tuple[float, float]:
    """Bounds of the usual time between neighbouring different times, in seconds; both NaN for fewer than two.

    Up to `CELLS` different times it is their median distance, and the bounds are equal. Of more it is the mean
    distance in the middle half of all times, where at least each cell holds one, and at most each row is one.
    """
    if len(times.keys) < 2:
        return np.nan, np.nan
    if times.exact:
        median = float(np.median(np.diff(times.lower)))
        return median, median
    cumulative = times.cumulative()
    first, last = (int(cell) for cell in np.searchsorted(cumulative, np.array([0.25, 0.75]) * times.count))
    span = float(times.upper[last] - times.lower[first])
    rows = int(times.counts[first : last + 1].sum())
    return span / rows, span / max(last - first - 1, 1)


def _summed(places: Counts, counts: Counts | Floats, size: int) -> Counts:
    return np.bincount(places, weights=counts, minlength=size).astype(np.int64)
