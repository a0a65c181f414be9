"""Numbers as counts over a dyadic grid of the doubles themselves.

A double's bits, made sortable, are its key; a cell holds all values whose keys share their first `depth` bits. The
depth is the greatest at which no more than `CELLS` cells are occupied, so it depends on the set of values alone:
sketches of parts merge into that of the whole to the last count, in any order. Up to `CELLS` distinct values nothing is
lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from trackside.sketch.cells import (
    BITS,
    CELLS,
    Cells,
    Counts,
    Floats,
    Keys,
    bounds_of,
    cells_of_sorted,
    keys_of,
    united,
    values_of,
)
from trackside.sketch.layouts import CHUNK, Layout, layout_of
from trackside.sketch.moments import Moments, moments_of, of_chunk, together

__all__ = (
    "BITS",
    "CELLS",
    "Counts",
    "Floats",
    "Keys",
    "NumberCounter",
    "Numbers",
    "keys_of",
    "merged",
    "values_of",
)

_UNKNOWN = 1 << 15
"""Values of unknown cells that wait before they are sorted."""
_PARTS = 256
"""Moments of chunks that wait before they are put together."""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Finite values. `keys` (k,) rise and hold the first `depth` bits of each cell, right-aligned; `counts` (k,) are
    positive. `mean` and `squares` (sum of squared deviations) differ between orders of merging by rounding only.
    """

    depth: int = BITS
    keys: Keys = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    counts: Counts = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    low: float = np.inf
    high: float = -np.inf
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of_sorted(cls, values: Floats) -> Numbers:
        """Of rising finite values, shape (n,)."""
        return _sketch(cells_of_sorted(values), [moments_of(values)])

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    @property
    def exact(self) -> bool:
        """Whether every cell is one value."""
        return self.depth == BITS

    @property
    def deviation(self) -> float:
        """Standard deviation with n - 1; 0 for fewer than two values."""
        n = self.count
        if n < 2:
            return 0.0
        if np.isfinite(self.squares):
            return float(np.sqrt(self.squares / (n - 1)))
        # Squares beyond the doubles: from the cells' centres, every value taken as a share of the greatest.
        size = max(abs(self.low), abs(self.high))
        centres = self.lower / size / 2 + self.upper / size / 2 - self.mean / size
        return float(min(np.sqrt((self.counts * centres**2).sum() / (n - 1)) * size, np.finfo(np.float64).max))

    @property
    def lower(self) -> Floats:
        """The least value that each cell can hold, shape (k,), within `low` and `high`."""
        return bounds_of(self.cells, self.low, self.high)[0]

    @property
    def upper(self) -> Floats:
        """The greatest value that each cell can hold, shape (k,), within `low` and `high`."""
        return bounds_of(self.cells, self.low, self.high)[1]

    @property
    def cells(self) -> Cells:
        """What merges without rounding."""
        return Cells(depth=self.depth, keys=self.keys, counts=self.counts)

    @property
    def moments(self) -> Moments:
        """What merges with rounding, and the ends."""
        return Moments(count=self.count, mean=self.mean, squares=self.squares, low=self.low, high=self.high)

    def cumulative(self) -> Counts:
        """How many values lie in each cell or below it, shape (k,)."""
        return np.cumsum(self.counts)

    def quantiles(self, shares: Floats) -> tuple[Floats, Floats]:
        """Bounds of the values of rank ceil(share × n), at least 1, for shares in 0 to 1: two arrays of their shape.

        Between the bounds lies what numpy names `inverted_cdf` (Hyndman & Fan 1996, definition 1), whatever the values
        are within their cells. An empty sketch gives NaN.
        """
        wanted = np.asarray(shares, dtype=np.float64)
        if not len(self.keys):
            return np.full(wanted.shape, np.nan), np.full(wanted.shape, np.nan)
        cumulative = self.cumulative()
        n = int(cumulative[-1])
        ranks = np.clip(np.ceil(wanted * n), 1, n)
        cells = np.searchsorted(cumulative, ranks)
        # The first value and the last are known whatever their cell.
        lower = np.where(ranks == n, self.high, self.lower[cells])
        upper = np.where(ranks == 1, self.low, self.upper[cells])
        return lower, upper

    def at(self, depth: int) -> Numbers:
        """The same values in cells of fewer bits. Raises ValueError for a depth below 0 or above this sketch's."""
        return _sketch(self.cells.at(depth), [self.moments])

    def within(self, cells: int) -> Numbers:
        """The same values at the greatest depth at which no more than `cells` are occupied, which is at least 1: a pure
        function of the values, as this sketch is.
        """
        return _sketch(self.cells.within(cells), [self.moments])


def merged(*parts: Numbers) -> Numbers:
    """The sketch of all values of the parts: equal, but for the moments' last digits, for every split and order."""
    return _sketch(united([part.cells for part in parts]), [part.moments for part in parts])


def _sketch(cells: Cells, parts: Iterable[Moments]) -> Numbers:
    moments = together(parts)
    return Numbers(
        depth=cells.depth,
        keys=cells.keys,
        counts=cells.counts,
        low=moments.low,
        high=moments.high,
        mean=moments.mean,
        squares=moments.squares,
    )


class NumberCounter:
    """Counts batches of finite values, in memory that does not grow with them."""

    def __init__(self) -> None:
        self._waiting = np.empty(0)
        self._size = 0
        self._unknown: list[Floats] = []
        self._layout: Layout | None = None
        self._cells = Cells()
        self._moments: list[Moments] = []
        self._counted = 0
        self._next_look = 0

    def add(self, values: Floats) -> None:
        """Count these values, shape (n,): finite, any order."""
        if not len(self._waiting) and len(values):
            self._waiting = np.empty(CHUNK)
        first = 0
        while first < len(values):
            piece = values[first : first + CHUNK - self._size]
            # A copy in which -0.0 is 0.0.
            np.add(piece, 0.0, out=self._waiting[self._size : self._size + len(piece)])
            self._size += len(piece)
            first += len(piece)
            if self._size == CHUNK:
                self._count()

    def done(self) -> Numbers:
        """The sketch of all values so far."""
        self._count()
        if self._unknown or self._layout is not None:
            self._learn()
        return _sketch(self._cells, self._moments)

    def _count(self) -> None:
        values = self._waiting[: self._size]
        if not len(values):
            return
        self._size = 0
        self._moments.append(of_chunk(values))
        if len(self._moments) >= _PARTS:
            self._moments = [together(self._moments)]
        unknown = values.copy() if self._layout is None else self._layout.count(values)
        if len(unknown):
            self._unknown.append(unknown)
        self._counted += len(values)
        if sum(map(len, self._unknown)) >= _UNKNOWN or self._counted >= self._next_look:
            self._learn()

    def _learn(self) -> None:
        """Make the cells of values seen so far known, in a layout of the depth that they have."""
        before = self._cells
        parts = [before]
        if self._layout is not None:
            parts.append(self._layout.taken())
        if self._unknown:
            parts.append(cells_of_sorted(np.sort(np.concatenate(self._unknown))))
            self._unknown = []
        self._cells = united(parts)
        if self._layout is None or (before.depth, len(before.keys)) != (self._cells.depth, len(self._cells.keys)):
            self._layout = layout_of(self._cells)
        # The depth of more values is less: with fewer counters, more of them stay in the cache.
        self._next_look = 4 * self._counted
