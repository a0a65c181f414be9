"""Categories as counts by level: exact up to `TRACKED` levels, beyond with a certified bound of what was given up."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from trackside.sketch import distinct as distinct_values
from trackside.sketch.texts import Counts, Hashes, bytes_of, digest_name, hashes, names

TRACKED = 50_000
"""Levels held while counting."""
PUBLISHED = 8_192
"""Levels that a published profile names."""
LEAST_COUNT = 5
"""Rarer levels go by a digest: a profile is published, and should not name single rows. They are still told apart,
since leaving out what is rare by chance would make every current table look different.
"""

_SMALL = 1024
_FRESH = 64 * 1024
_FRESH_BYTES = 32 * 1024 * 1024

Watch = Callable[[Any, Counts], None]


@dataclass(frozen=True, kw_only=True)
class Levels:
    """`counts` by level's name, the most frequent first; `rest` rows of levels that are not named; no level outside
    `counts` has more than `bound` rows, and none inside more than `bound` above its count. `distinct` estimates the
    number of levels with a relative standard error of `distinct_error`; `least` are the least hashes of their names,
    held only where some are not named.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    rest: int = 0
    bound: int = 0
    distinct: int = 0
    distinct_error: float = 0.0
    least: Hashes | None = field(default=None, compare=False)

    @property
    def count(self) -> int:
        return sum(self.counts.values()) + self.rest

    @property
    def mode(self) -> str:
        """The most frequent level; "" where none is named."""
        return next(iter(self.counts), "")

    @property
    def mode_count(self) -> tuple[int, int]:
        """Least and greatest number of rows that the most frequent level can have."""
        most = max(self.counts.values(), default=0)
        return max(most, 1 if self.rest else 0), most + min(self.bound, self.rest)


def exact(counts: Mapping[str, int]) -> Levels:
    """Levels that are all known."""
    return Levels(counts=_sorted(counts.items()), distinct=len(counts))


def merged(*parts: Levels, limit: int = TRACKED) -> Levels:
    """Levels of all parts' rows. While no part gave up a level and there are `limit` at most, in any order the same;
    beyond, `bound` is at most n / (limit + 1) for n rows (Misra & Gries 1982; of merges, Agarwal et al. 2013).
    """
    total: dict[str, int] = {}
    for part in parts:
        for name, count in part.counts.items():
            total[name] = total.get(name, 0) + count
    rest, bound = sum(part.rest for part in parts), sum(part.bound for part in parts)
    least = None
    if any(part.least is not None for part in parts) or len(total) > limit:
        known = [hashes_of(part.counts) if part.least is None else part.least for part in parts]
        least = distinct_values.least(np.concatenate(known))
    size = len(total) if least is None else distinct_values.estimate(least)
    error = 0.0 if least is None else distinct_values.error(least)
    if any(part.rest and part.least is None for part in parts):  # of a published one nobody knows which levels they are
        size, error = max(size, *(part.distinct for part in parts)), math.inf
    if len(total) > limit:
        kept, given = _reduced(np.fromiter(total.values(), dtype=np.int64, count=len(total)), limit)
        before = sum(total.values())
        total = {name: int(count) for name, count in zip(total, kept, strict=True) if count}
        rest, bound = rest + before - sum(total.values()), bound + given
    return Levels(
        counts=_sorted(total.items()), rest=rest, bound=bound, distinct=size, distinct_error=error, least=least
    )


def published(levels: Levels, limit: int = PUBLISHED) -> Levels:
    """The most frequent levels, with rare ones by a digest; so is what looks like one. Where most rows are of rare
    levels, as of names and ids, those are left out: they would be no news, and a digest of an id can be guessed.
    """
    order = list(levels.counts.items())
    common = sum(count >= LEAST_COUNT for count in levels.counts.values())
    if 2 * sum(count for _, count in order[:common]) < levels.count:
        limit = min(limit, common)
    kept: dict[str, int] = {}
    for name, count in order[:limit]:
        shown = name if count >= LEAST_COUNT and not name.startswith("~") else digest_name(name)
        kept[shown] = kept.get(shown, 0) + count
    dropped = order[limit:]
    return replace(
        levels,
        counts=_sorted(kept.items()),
        rest=levels.rest + sum(count for _, count in dropped),
        bound=levels.bound + (dropped[0][1] if dropped else 0),
        least=None,
    )


def named_as(levels: Levels, known: Container[str]) -> Levels:
    """Levels by the names of a published reference: those that it knows by a digest only take the digest."""
    total: dict[str, int] = {}
    for name, count in levels.counts.items():
        shown = name
        if name not in known or name.startswith("~"):
            hidden = digest_name(name)
            shown = hidden if hidden in known else name
        total[shown] = total.get(shown, 0) + count
    return replace(levels, counts=_sorted(total.items()))


def entropy(levels: Levels) -> tuple[float, float]:
    """Least and greatest Shannon entropy in nats that the levels' shares can have; equal where nothing was given up.

    Entropy falls as rows gather (it is Schur-concave): least where the rows that are not counted to a level fill up
    the most frequent ones to `bound` each, greatest where they go to the rarest, and to levels of their own.
    """
    total = levels.count
    if not total:
        return 0.0, 0.0
    counts = np.sort(np.fromiter(levels.counts.values(), dtype=np.int64, count=len(levels.counts)))[::-1]
    if not levels.rest:
        value = _entropy(counts, total)
        return value, value
    bound = max(1, min(levels.bound, levels.rest))
    filled = np.minimum(np.arange(counts.size), levels.rest // bound + 1)
    given = np.clip(levels.rest - bound * filled, 0, bound)
    left = levels.rest - int(given.sum())
    low = _entropy(counts + given, total) + left // bound * _term(bound, total) + _term(left % bound, total)
    others = levels.rest
    if not levels.distinct_error:
        others = min(others, max(levels.distinct - counts.size, int(not counts.size)))
    high = _filled(counts[::-1], levels.rest, others, total)
    return min(low, high), max(low, high)


def _filled(counts: Counts, rest: int, others: int, total: int) -> float:
    """Entropy where `rest` rows are poured over rising counts and `others` empty levels, up to one height."""
    sizes = others + np.arange(counts.size + 1)
    sums = rest + np.concatenate(([0], np.cumsum(counts)))
    heights = np.where(sizes > 0, sums / np.maximum(sizes, 1), np.inf)
    under = int(np.argmax(heights <= np.append(counts, np.inf)))
    height = float(heights[under])
    return int(sizes[under]) * _term(height, total) + _entropy(counts[under:], total)


def _entropy(counts: Counts, total: int) -> float:
    shares = counts[counts > 0] / total
    return float(-(shares * np.log(shares)).sum()) + 0.0


def _term(count: float, total: int) -> float:
    return -count / total * math.log(count / total) if count else 0.0


def _sorted(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    return dict(sorted(counts, key=lambda one: (-one[1], one[0])))


def _reduced(counts: Counts, limit: int) -> tuple[Counts, int]:
    """All counts less the first one beyond the `limit` largest, and that one."""
    few = np.bincount(np.minimum(counts, _SMALL))[::-1].cumsum()[::-1]  # how many counts are so large at least
    given = int(np.flatnonzero(few > limit)[-1])
    if given == _SMALL:
        given = int(np.sort(counts)[counts.size - limit - 1])
    return np.maximum(counts - given, 0), given


def hashes_of(texts: Iterable[str]) -> Hashes:
    """The hashes of names, as counting makes them."""
    held = [text.encode("utf-8", "replace") for text in texts]
    sizes = np.cumsum([0, *map(len, held)], dtype=np.int64)
    return hashes(np.frombuffer(b"".join(held), dtype=np.uint8), sizes)


class LevelCounter:
    """Counts the levels of Arrow arrays of texts: `add` each, then `done`.

    `watch` is called with texts (binary Arrow values, no two of one call alike) and their counts; all rows come by in
    few calls.
    """

    def __init__(self, *, limit: int = TRACKED, watch: Watch | None = None) -> None:
        self._limit = limit
        self._watch = watch
        self._fresh: list[tuple[Any, Counts]] = []
        self._fresh_size = 0
        self._fresh_bytes = 0
        self._varied = False
        self._shared: tuple[Any, Counts] | None = None
        self._held: tuple[Any, Counts] | None = None
        self._least: Hashes | None = None
        self._bound = 0
        self.rows = 0

    def add(self, array: Any) -> None:
        """Count texts (or a dictionary of them); nulls are passed over."""
        import pyarrow.types as t

        if t.is_dictionary(array.type):
            self._add_dictionary(array)
        else:
            for part in _pieces(array):
                self._add(*self._distinct(part))

    def add_counts(self, values: Any, counts: Counts) -> None:
        """Count binary values without nulls so many times each."""
        self._add(*_grouped(values, counts))

    def done(self) -> Levels:
        self._settle()
        self._flush()
        named = {}
        if self._held is not None:
            values, counts = self._held
            named = _sorted(zip(values.to_pylist(), counts.tolist(), strict=True))
        least = self._least
        return Levels(
            counts=named,
            rest=self.rows - sum(named.values()),
            bound=self._bound,
            distinct=len(named) if least is None else distinct_values.estimate(least),
            distinct_error=0.0 if least is None else distinct_values.error(least),
            least=least,
        )

    def _add(self, values: Any, counts: Counts) -> None:
        if not len(values):
            return
        self.rows += int(counts.sum())
        self._fresh.append((values, counts))
        self._fresh_size += len(values)
        self._fresh_bytes += values.nbytes
        if self._fresh_size >= _FRESH or self._fresh_bytes >= _FRESH_BYTES:
            self._flush()

    def _distinct(self, array: Any) -> tuple[Any, Counts]:
        """Binary values and how often each occurs; of a column with many different ones, just the values."""
        import pyarrow as pa

        values = array.cast(pa.binary())
        values = values.drop_null() if values.null_count else values
        if self._varied:
            return values, np.ones(len(values), dtype=np.int64)
        found = values.value_counts()
        self._varied = 2 * len(found) > len(values) and len(values) > 1000
        return found.field(0), found.field(1).to_numpy()

    def _add_dictionary(self, array: Any) -> None:
        """Places are counted, and the texts read once for all arrays that share a dictionary."""
        import pyarrow as pa

        texts, places = array.dictionary, array.indices
        places = (places.drop_null() if places.null_count else places).to_numpy().astype(np.intp, copy=False)
        if texts.null_count:
            places = places[texts.is_valid().to_numpy(zero_copy_only=False)[places]]
        if len(texts) > 4 * len(places):
            found, counts = np.unique(places, return_counts=True)
            self._add(*_grouped(texts.take(pa.array(found)).cast(pa.binary()), counts))
            return
        counts = np.bincount(places, minlength=len(texts))
        self.rows += places.size
        if self._shared is not None and self._shared[0].equals(texts):
            self._shared = texts, self._shared[1] + counts
            return
        self._settle()
        self._shared = texts, counts

    def _settle(self) -> None:
        """What was counted by places becomes counts of texts."""
        import pyarrow as pa

        if self._shared is not None:
            texts, counts = self._shared
            self._shared, there = None, counts > 0
            self.rows -= int(counts.sum())
            self._add(*_grouped(texts.filter(pa.array(there)).cast(pa.binary()), counts[there]))

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._fresh:
            return
        parts = self._fresh
        values, counts = parts[0] if len(parts) == 1 else _joined(parts)
        if len(parts) > 1 or self._varied:
            values, counts = _grouped(values, counts)
        self._fresh, self._fresh_size, self._fresh_bytes = [], 0, 0
        if self._watch is not None:
            self._watch(values, counts)
        named, plain = names(values)
        if self._least is not None:
            self._least = distinct_values.least(hashes(*bytes_of(named)), self._least)
        if self._held is not None:
            values, counts = _grouped(*_joined([self._held, (named, counts)]))
        else:  # also here: different texts may have one name
            values, counts = (named, counts) if plain else _grouped(named, counts)
        if len(values) > self._limit:
            if self._least is None:
                self._least = distinct_values.least(hashes(*bytes_of(values)))
            counts, given = _reduced(counts, self._limit)
            self._bound += given
            values, counts = values.filter(pa.array(counts > 0)), counts[counts > 0]
        self._held = (values, counts) if len(values) else None


def _pieces(array: Any) -> list[Any]:
    """Parts of an array that each have less than 2 GiB of text."""
    import pyarrow.types as t

    if t.is_dictionary(array.type) or not len(array):
        return [array] if len(array) else []
    if array.nbytes < 1 << 30 or len(array) == 1:
        return [array]
    half = len(array) // 2
    return [*_pieces(array[:half]), *_pieces(array[half:])]


def _joined(parts: list[tuple[Any, Counts]]) -> tuple[Any, Counts]:
    import pyarrow as pa

    return pa.concat_arrays([values for values, _ in parts]), np.concatenate([counts for _, counts in parts])


def _grouped(values: Any, counts: Counts) -> tuple[Any, Counts]:
    """Every value once; up to 2^53 rows."""
    coded = values.dictionary_encode()
    return coded.dictionary, np.bincount(
        coded.indices.to_numpy(), weights=counts, minlength=len(coded.dictionary)
    ).astype(np.int64)
