"""How far a long scan is, on standard error: share done, rows a second, time left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FIRST, EVERY = 3.0, 5.0
"""Seconds before the first line, and between two."""


class Meter:
    """Told of values read, says a line now and then. `values` are all there are to read, None where nobody knows;
    `columns` of them are a row.
    """

    def __init__(
        self,
        values: int | None,
        columns: int,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._values, self._columns, self._say, self._clock = values, max(columns, 1), say, clock
        self._begun = clock()
        self._next = self._begun + FIRST
        self._done = 0
        self._lock = threading.Lock()

    def __call__(self, values: int) -> None:
        with self._lock:
            self._done += values
            now = self._clock()
            if now >= self._next:
                self._next = now + EVERY
                self._say(self._line(now - self._begun))

    def _line(self, seconds: float) -> str:
        rows = self._done / self._columns
        speed = f"{rows / seconds:,.0f} rows/s"
        if not self._values:
            return f"{rows:,.0f} rows, {speed}"
        share = min(self._done / self._values, 1.0)
        left = seconds * (1 - share) / share if share else 0.0
        return f"{100 * share:.0f} % of {self._values / self._columns:,.0f} rows, {speed}, {left:.0f} s left"
