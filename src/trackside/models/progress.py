"""How far a download is: a bar that renews itself on a terminal, a line now and then anywhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from trackside.models.layout import clip, size

FIRST, EVERY = 3.0, 10.0
"""Seconds before the first line where there is no terminal, and between two."""
RENEWED = 0.1
"""Seconds between two states of the bar."""
BAR = 24


class Progress:
    """Told of the bytes that are here; `total` are all. Use as a context manager: the bar is wiped away at the end.

    Args:
        label: what is fetched, one printable line.
        stream: where it goes; None says nothing.
        room: cells of the terminal's line; 0 where there is none.
    """

    def __init__(self, label: str, total: int, stream: TextIO | None, room: int, clock: Callable[[], float]) -> None:
        self._label, self._total, self._stream, self._room, self._clock = label, total, stream, room, clock
        self._begun = clock()
        self._next = self._begun + (0.0 if room else FIRST)
        self._first = -1
        self._drawn = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn and self._stream is not None:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def __call__(self, done: int) -> None:
        """`done` bytes are here, those of an earlier attempt included."""
        now = self._clock()
        if self._first < 0:
            self._first = done  # what was here before tells nothing of the speed
        if now < self._next or self._stream is None:
            return
        self._next = now + (RENEWED if self._room else EVERY)
        text = self.line(done, now - self._begun)
        if self._room:
            self._stream.write("\r" + clip(text, self._room - 1) + "\x1b[K")
            self._drawn = True
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def line(self, done: int, seconds: float) -> str:
        share = min(done / self._total, 1.0) if self._total else 1.0
        came = done - max(self._first, 0)
        speed = came / seconds if seconds > 0 else 0.0
        left = f", {_time((self._total - done) / speed)} left" if speed > 0 and done < self._total else ""
        done_now = f"{100 * share:.0f} % of {size(self._total)}, {size(int(speed))}/s{left}"
        if not self._room:
            return f"{self._label}: {done_now}"
        return f"[{'#' * int(share * BAR):.<{BAR}}] {done_now}  {self._label}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min" if minutes else f"{rest} s"
