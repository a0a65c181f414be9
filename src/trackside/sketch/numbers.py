"""Numbers as counts over a dyadic grid of the doubles themselves.

A double's bits, made sortable, are its key; a cell holds all values whose keys share their first `depth` bits. The
depth is the greatest at which no more than `CELLS` cells are occupied, so it depends on the set of values alone:
sketches of parts merge into that of the whole to the last count, in any order. Up to `CELLS` distinct values nothing is
lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]

CELLS = 8192
"""Occupied cells at most: of a normal column none holds more than 0.2 % of the values."""
BITS = 64

_SIGN = np.uint64(1 << 63)


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
        return float(np.sqrt(self.squares / (self.count - 1))) if self.count > 1 else 0.0

    @property
    def lower(self) -> Floats:
        """The least value that each cell can hold, shape (k,), within `low` and `high`."""
        spare = np.uint64(BITS - self.depth)
        return np.clip(values_of(self.keys << spare), self.low, self.high) if self.depth else np.full(1, self.low)

    @property
    def upper(self) -> Floats:
        """The greatest value that each cell can hold, shape (k,), within `low` and `high`."""
        if not self.depth:
            return np.full(1, self.high)
        spare = np.uint64(BITS - self.depth)
        rest = np.uint64((1 << (BITS - self.depth)) - 1)
        return np.clip(values_of((self.keys << spare) | rest), self.low, self.high)
