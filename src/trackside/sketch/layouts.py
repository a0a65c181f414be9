"""Where counts of known cells lie in memory, so that a chunk of values is counted by a few passes within the cache.

A layout counts values of the cells that it was made for and hands back the others. `Pages` looks up runs of
neighbouring cells; `Slots` looks up single cells, where those are scattered: few distinct values, or narrow clusters
far apart.
"""

from __future__ import annotations

import threading
from typing import Protocol

import numpy as np
import numpy.typing as npt

from trackside.sketch.cells import BITS, Cells, Counts, Floats, Keys

CHUNK = 1 << 15
"""Values that one call counts at most: with what is made of them, 1 MB."""

_PAGES = 1 << 16
"""Entries of a page table at most."""
_COUNTERS = 1 << 16
_LEAST_PAGE = 5
"""Bits of a cell within its page, at least."""
_SPARSE = 4
"""Bits by which there are more slots than cells."""
_LEAST_SLOTS = 10
_FEW = 1024
_MULTIPLIERS = np.array(
    [0x9E3779B97F4A7C15, 0xD1342543DE82EF95, 0xF1357AEA2E62A9C5, 0xBF58476D1CE4E5B9], dtype=np.uint64
)
"""Odd, with mixed bits: the product's first bits depend on all bits of a cell (Knuth, TAOCP 3, 6.4)."""
_NOWHERE = np.uint64(2**BITS - 1)
"""What no cell of finite numbers is."""


class Layout(Protocol):
    """Counters of cells of one depth."""

    def count(self, values: Floats) -> Floats:
        """Count at most `CHUNK` finite values, none of them -0.0; those of unknown cells are given back."""
        ...

    def taken(self) -> Cells:
        """The occupied cells; their counts start again at zero."""
        ...


class _Scratch(threading.local):
    """Room for what is made of a chunk: one for each thread, however many columns it counts."""

    def __init__(self) -> None:
        self.cells = np.empty(CHUNK, dtype=np.uint64)
        self.other = np.empty(CHUNK, dtype=np.uint64)
        self.places = np.empty(CHUNK, dtype=np.int64)


_scratch = _Scratch()


def layout_of(known: Cells) -> Layout:
    """The quicker layout for cells, which are at least one."""
    depth, cells = known.depth, _unsorted(known)
    least, most = int(cells.min()), int(cells.max())
    bits = max(_LEAST_PAGE, ((most - least) // (_PAGES - 2)).bit_length())
    pages = np.unique(cells >> np.uint64(bits))
    if len(pages) << bits > _COUNTERS:
        return Slots(depth, cells, known.counts)
    first, last = int(pages[0]), int(pages[-1])
    if (last - first + 1) << bits <= _COUNTERS:
        pages = np.arange(first, last + 1, dtype=np.uint64)
    # Room for as much again on both sides: sorted and growing values stay within known pages.
    room = min(len(pages), ((_COUNTERS >> bits) - len(pages)) // 2)
    before = np.arange(max(first - room, 0), first, dtype=np.uint64)
    after = np.arange(last + 1, min(last + room, ((1 << depth) - 1) >> bits) + 1, dtype=np.uint64)
    pages = np.concatenate((before, pages, after))
    return Pages(depth, pages, bits)


class Pages:
    """Known are all cells of some pages: runs of 2**bits neighbouring cells."""

    def __init__(self, depth: int, pages: Keys, bits: int) -> None:
        self._depth = depth
        self._pages = pages
        self._bits = np.uint64(bits)
        # Entries before the first page and after the last stand for all that is beyond them: unknown, as 0 says.
        self._before = np.uint64(int(pages[0]) - 1 if pages[0] else 2**BITS - 1)
        self._starts = np.zeros(int(pages[-1] - pages[0]) + 3, dtype=np.int64)
        self._starts[(pages - self._before).view(np.int64)] = np.arange(1, len(pages) + 1) << bits
        self._unknown = 1 << bits
        self._within = np.uint64((1 << bits) - 1)
        self._counts = np.zeros((len(pages) + 1) << bits, dtype=np.int64)

    def count(self, values: Floats) -> Floats:
        n = len(values)
        cells, pages, places = _scratch.cells[:n], _scratch.other[:n], _scratch.places[:n]
        np.right_shift(values.view(np.uint64), np.uint64(BITS - self._depth), out=cells)
        np.right_shift(cells, self._bits, out=pages)
        np.subtract(pages, self._before, out=pages)
        np.take(self._starts, pages.view(np.int64), out=places, mode="clip")
        np.bitwise_and(cells, self._within, out=cells)
        np.add(places, cells.view(np.int64), out=places)
        counts = np.bincount(places, minlength=len(self._counts))
        self._counts += counts
        if not counts[: self._unknown].any():
            return values[:0]
        self._counts[: self._unknown] = 0
        return values[places < self._unknown]

    def taken(self) -> Cells:
        places = np.flatnonzero(self._counts)
        counts = self._counts[places]
        self._counts[:] = 0
        of_page = self._pages[(places >> np.int64(self._bits)) - 1] << self._bits
        return _rising(of_page | (places.view(np.uint64) & self._within), counts, self._depth)


class Slots:
    """Known are single cells, each in the slot that its hash tells; of cells with the same slot, the fullest."""

    def __init__(self, depth: int, cells: Keys, counts: Counts) -> None:
        self._depth = depth
        bits = max((len(cells) << _SPARSE).bit_length(), _LEAST_SLOTS)
        self._shift = np.uint64(BITS - bits)
        # By rising counts: of those that share a slot the last stays.
        rising = cells[np.argsort(counts, kind="stable")]
        # Of few cells, two that share a slot may both be full.
        hashes = _MULTIPLIERS if len(cells) <= _FEW else _MULTIPLIERS[:1]
        self._multiplier = max(hashes, key=lambda by: len(np.unique((rising * by) >> self._shift)))
        # An empty slot leads to the last place, where no cell is.
        self._places = np.full(1 << bits, len(cells), dtype=np.int64)
        self._places[(rising * self._multiplier) >> self._shift] = np.arange(len(cells))
        self._held = np.append(rising, _NOWHERE)
        self._counts = np.zeros(len(self._held), dtype=np.int64)

    def count(self, values: Floats) -> Floats:
        n = len(values)
        cells, other, places = _scratch.cells[:n], _scratch.other[:n], _scratch.places[:n]
        np.right_shift(values.view(np.uint64), np.uint64(BITS - self._depth), out=cells)
        np.multiply(cells, self._multiplier, out=other)
        np.right_shift(other, self._shift, out=other)
        np.take(self._places, other.view(np.int64), out=places, mode="clip")
        np.take(self._held, places, out=other, mode="clip")
        self._counts += np.bincount(places, minlength=len(self._counts))
        unknown: npt.NDArray[np.bool_] = other != cells
        if not unknown.any():
            return values[:0]
        self._counts -= np.bincount(places[unknown], minlength=len(self._counts))
        return values[unknown]

    def taken(self) -> Cells:
        places = np.flatnonzero(self._counts)
        counts = self._counts[places]
        self._counts[:] = 0
        return _rising(self._held[places], counts, self._depth)


def _unsorted(known: Cells) -> Keys:
    """The first bits of the doubles as they are, in the order of the keys."""
    sign = np.uint64(1 << (known.depth - 1))
    return np.where(known.keys & sign, known.keys ^ sign, ~known.keys & np.uint64((1 << known.depth) - 1))


def _rising(cells: Keys, counts: Counts, depth: int) -> Cells:
    """Cells of the first bits of the doubles as they are."""
    sign = np.uint64(1 << (depth - 1))
    keys = np.where(cells & sign, ~cells & np.uint64((1 << depth) - 1), cells | sign)
    order = np.argsort(keys)
    return Cells(depth=depth, keys=keys[order], counts=counts[order])
