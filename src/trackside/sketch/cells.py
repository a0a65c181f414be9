"""The dyadic grid of the doubles: keys that sort as values do, cut to the depth at which few enough differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]

CELLS = 12288
"""Occupied cells at most. Of a million normal, lognormal, uniform, exponential or Cauchy values none holds more than
0.12 % (0.15 % where the dense part lies away from 0), and 30 such columns are written in 0.5 MB.
"""
BITS = 64

_SIGN = np.uint64(1 << 63)
_CHUNK = 1 << 16
_SAMPLE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Cells:
    """`keys` (k,) rise and hold the first `depth` bits of each cell, right-aligned; `counts` (k,) are positive."""

    depth: int = BITS
    keys: Keys = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    counts: Counts = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def within(self, cells: int) -> Cells:
        """The same values at the greatest depth at which no more than `cells` are occupied, which is at least 1."""
        if len(self.keys) <= cells:
            return self
        # Neighbours share a cell of d bits where they differ in none of the first d. cells - 1 borders may remain.
        differing = self.keys[1:] ^ self.keys[:-1]
        greatest_lost = np.partition(differing, len(differing) - cells)[len(differing) - cells]
        return self.at(self.depth - int(greatest_lost).bit_length())

    def at(self, depth: int) -> Cells:
        """The same values in cells of fewer bits. Raises ValueError for a depth below 0 or above this one."""
        if not 0 <= depth <= self.depth:
            raise ValueError(f"depth {depth} is not within 0 to {self.depth}")
        if depth == self.depth or not len(self.keys):
            return self
        keys, counts = _grouped(_shifted(self.keys, self.depth - depth), self.counts)
        return Cells(depth=depth, keys=keys, counts=counts)


def keys_of(values: Floats) -> Keys:
    """Keys that sort as the values do, shape (n,); -0.0 is 0.0. The values are finite."""
    bits = (values + 0.0).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def values_of(keys: Keys) -> Floats:
    """The values that have these keys: the inverse of `keys_of`."""
    return np.where(keys & _SIGN, keys & ~_SIGN, ~keys).view(np.float64)


def bounds_of(cells: Cells, low: float, high: float) -> tuple[Floats, Floats]:
    """The least value and the greatest that each cell can hold, of values from `low` to `high`: shapes (k,)."""
    if not len(cells.keys):
        return np.zeros(0), np.zeros(0)
    spare = BITS - cells.depth
    first = cells.keys << np.uint64(spare) if cells.depth else np.zeros_like(cells.keys)
    last = first | np.uint64((1 << spare) - 1)
    # No value has the key of -0.0.
    last -= last == _SIGN - np.uint64(1)
    # As keys: the outer cells reach into what is no number.
    least, most = keys_of(np.array([low, high]))
    return values_of(np.clip(first, least, most)), values_of(np.clip(last, least, most))


def cells_of_sorted(values: Floats) -> Cells:
    """The cells of rising finite values, shape (n,), at the greatest depth with at most `CELLS` of them."""
    if not len(values):
        return Cells()
    # The depth of some of the values is no less than that of all, and most often the same.
    sample = keys_of(values[:: -(-len(values) // _SAMPLE)])
    starts = _starts(sample)
    depth = Cells(keys=sample[starts], counts=np.diff(starts, append=len(sample))).within(CELLS).depth
    starts = _cell_starts(values, depth)
    keys = _shifted(keys_of(values[starts]), BITS - depth)
    return Cells(depth=depth, keys=keys, counts=np.diff(starts, append=len(values))).within(CELLS)


def united(parts: Sequence[Cells]) -> Cells:
    """The cells of all parts' values, at the greatest depth with at most `CELLS` of them that all parts know."""
    filled = [part for part in parts if len(part.keys)]
    if not filled:
        return Cells()
    depth = min(part.depth for part in filled)
    levelled = [part.at(depth) for part in filled]
    keys = np.concatenate([part.keys for part in levelled])
    counts = np.concatenate([part.counts for part in levelled])
    order = np.argsort(keys, kind="stable")
    keys, counts = _grouped(keys[order], counts[order])
    return Cells(depth=depth, keys=keys, counts=counts).within(CELLS)


def _starts(keys: Keys) -> npt.NDArray[np.intp]:
    """Where runs of equal keys start, for at least one key."""
    return np.concatenate([[0], np.flatnonzero(keys[1:] != keys[:-1]) + 1])


def _cell_starts(values: Floats, depth: int) -> npt.NDArray[np.intp]:
    """Where the cells of at least one rising value start."""
    spare = np.uint64(BITS - depth)
    found: list[npt.NDArray[np.intp]] = [np.zeros(1, dtype=np.intp)]
    for first in range(0, len(values), _CHUNK):
        # The bits as they are tell cells apart as the keys do.
        bits = (values[first : first + _CHUNK + 1] + 0.0).view(np.uint64) >> spare
        found.append(np.flatnonzero(bits[1:] != bits[:-1]) + (first + 1))
    return np.concatenate(found)


def _shifted(keys: Keys, bits: int) -> Keys:
    return keys >> np.uint64(bits) if bits < BITS else np.zeros_like(keys)


def _grouped(keys: Keys, counts: Counts) -> tuple[Keys, Counts]:
    """Rising keys once each, with the sums of their counts."""
    starts = _starts(keys)
    return keys[starts], np.add.reduceat(counts, starts)
