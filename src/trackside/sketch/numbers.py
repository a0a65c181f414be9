"""Numbers as counts over a dyadic grid of the doubles themselves.

A double's bits, made sortable, are its key; a cell holds all values whose keys share their first `depth` bits. The
depth is the greatest at which no more than `CELLS` cells are occupied, so it depends on the set of values alone:
sketches of parts merge into that of the whole to the last count, in any order. Up to `CELLS` distinct values nothing is
lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from trackside.sketch.moments import Moments, moments_of, together

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]

CELLS = 8192
"""Occupied cells at most: of a normal column none holds more than 0.2 % of the values."""
BITS = 64

_SIGN = np.uint64(1 << 63)
_ONE = np.uint64(1)
_CHUNK = 1 << 16
"""Values looked at together: they and what is made of them stay in the processor's cache."""
_SAMPLE = 1 << 16


def keys_of(values: Floats) -> Keys:
    """Keys that sort as the values do, shape (n,); -0.0 is 0.0. The values are finite."""
    bits = (values + 0.0).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def values_of(keys: Keys) -> Floats:
    """The values that have these keys: the inverse of `keys_of`."""
    return np.where(keys & _SIGN, keys & ~_SIGN, ~keys).view(np.float64)


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
        if not len(values):
            return cls()
        # The depth of some of the values is no less than that of all, and most often the same.
        every = -(-len(values) // _SAMPLE)
        sample = keys_of(values[::every])
        depth = _fitting(sample[_starts(sample)], BITS)
        starts = _cell_starts(values, depth)
        keys = _shifted(keys_of(values[starts]), BITS - depth)
        counts = np.diff(starts, append=len(values))
        moments = moments_of(values)
        # + 0.0: -0.0 is 0.0 at the ends too
        whole = cls(
            depth=depth,
            keys=keys,
            counts=counts,
            low=float(values[0]) + 0.0,
            high=float(values[-1]) + 0.0,
            mean=moments.mean,
            squares=moments.squares,
        )
        return whole.at(_fitting(keys, depth))

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
        return self._within(_widened(self.keys, BITS - self.depth))

    @property
    def upper(self) -> Floats:
        """The greatest value that each cell can hold, shape (k,), within `low` and `high`."""
        rest = np.uint64((1 << (BITS - self.depth)) - 1)
        return self._within(_widened(self.keys, BITS - self.depth) | rest)

    def _within(self, keys: Keys) -> Floats:
        if not len(keys):
            return np.zeros(0)
        # As keys: the outer cells reach into what is no number. No value has the key of -0.0.
        least, most = keys_of(np.array([self.low, self.high]))
        return values_of(np.clip(keys - (keys == _SIGN - _ONE), least, most))

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
        if not 0 <= depth <= self.depth:
            raise ValueError(f"depth {depth} is not within 0 to {self.depth}")
        if depth == self.depth or not len(self.keys):
            return self
        keys, counts = _grouped(_shifted(self.keys, self.depth - depth), self.counts)
        return replace(self, depth=depth, keys=keys, counts=counts)


def merged(*parts: Numbers) -> Numbers:
    """The sketch of all values of the parts: equal, but for the moments' last digits, for every split and order."""
    filled = [part for part in parts if len(part.keys)]
    if len(filled) <= 1:
        return filled[0] if filled else Numbers()
    depth = min(part.depth for part in filled)
    levelled = [part.at(depth) for part in filled]
    keys = np.concatenate([part.keys for part in levelled])
    counts = np.concatenate([part.counts for part in levelled])
    order = np.argsort(keys, kind="stable")
    keys, counts = _grouped(keys[order], counts[order])
    moments = together([Moments(count=p.count, mean=p.mean, squares=p.squares) for p in filled])
    low, high = min(part.low for part in filled), max(part.high for part in filled)
    whole = Numbers(
        depth=depth,
        keys=keys,
        counts=counts,
        low=low,
        high=high,
        mean=min(max(moments.mean, low), high),
        squares=moments.squares,
    )
    return whole.at(_fitting(keys, depth))


class NumberCounter:
    """Counts batches of finite values, in memory that does not grow with them."""

    def __init__(self) -> None:
        self._whole = Numbers()
        self._waiting: list[Floats] = []
        self._size = 0

    def add(self, values: Floats) -> None:
        """Count these values, shape (n,): finite, any order."""
        if not len(values):
            return
        self._waiting.append(np.array(values))
        self._size += len(values)
        if self._size >= _CHUNK:
            self._flush()

    def done(self) -> Numbers:
        """The sketch of all values so far."""
        self._flush()
        return self._whole

    def _flush(self) -> None:
        if self._waiting:
            self._whole = merged(self._whole, Numbers.of_sorted(np.sort(np.concatenate(self._waiting))))
            self._waiting, self._size = [], 0


def _starts(keys: Keys) -> npt.NDArray[np.intp]:
    """Where runs of equal keys start, for at least one key."""
    return np.concatenate([[0], np.flatnonzero(keys[1:] != keys[:-1]) + 1])


def _cell_starts(values: Floats, depth: int) -> npt.NDArray[np.intp]:
    """Where the cells of at least one rising value start."""
    spare = np.uint64(BITS - depth)
    found: list[npt.NDArray[np.intp]] = [np.zeros(1, dtype=np.intp)]
    for first in range(0, len(values) if depth else 0, _CHUNK):
        # The unsorted bits tell cells apart as the keys do.
        bits = (values[first : first + _CHUNK + 1] + 0.0).view(np.uint64) >> spare
        found.append(np.flatnonzero(bits[1:] != bits[:-1]) + (first + 1))
    return np.concatenate(found)


def _shifted(keys: Keys, bits: int) -> Keys:
    return keys >> np.uint64(bits) if bits < BITS else np.zeros_like(keys)


def _widened(keys: Keys, bits: int) -> Keys:
    return keys << np.uint64(bits) if bits < BITS else np.zeros_like(keys)


def _grouped(keys: Keys, counts: Counts) -> tuple[Keys, Counts]:
    """Rising keys once each, with the sums of their counts."""
    starts = _starts(keys)
    return keys[starts], np.add.reduceat(counts, starts)


def _fitting(keys: Keys, depth: int) -> int:
    """The greatest depth at which different, rising keys of `depth` bits fall into at most `CELLS` cells."""
    if len(keys) <= CELLS:
        return depth
    # Neighbours share a cell of d bits where they differ in none of the first d. CELLS - 1 borders may remain.
    differing = keys[1:] ^ keys[:-1]
    greatest_lost = np.partition(differing, len(differing) - CELLS)[len(differing) - CELLS]
    return depth - int(greatest_lost).bit_length()
