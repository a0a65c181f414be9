"""All features at once: rows of both tables, evenly taken, for the classifier that tells the tables apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trackside.documents.verdict import Test
from trackside.drift.scan import Progress, feed
from trackside.measures import domain as classifier
from trackside.sketch.numbers import Floats
from trackside.sketch.values import Kind, floats_of, seconds_of, texts_of

if TYPE_CHECKING:
    from trackside.tables.table import Table

COLUMN = "(all features together)"
SHOWN = 3


def together(
    reference: Table, current: Table, kinds: Mapping[str, Kind], alpha: float, progress: Progress | None = None
) -> Test | None:
    """How well rows of both tables are told apart, as a test of the verdict; None of too few rows.

    Dates are left out: a window is always told from another one by its days. Raises DataError as reading does.
    """
    names = [
        name
        for name, kind in kinds.items()
        if kind != "datetime" and all(name in t.types for t in (reference, current))
    ]
    if not names:
        return None
    samples = []
    for table in (reference, current):
        samples.append(_Sample({name: kinds[name] for name in names}))
        feed(table, samples[-1:], progress)
    before, now = _coded(samples[0].rows(), samples[1].rows(), kinds)
    found = classifier.domain(before, now, 1 - alpha)
    if found is None:
        return None
    order = sorted(found.extra, key=lambda name: (-found.extra[name], name))[:SHOWN]
    why = ", ".join(f"{name[:40]} ({100 * found.extra[name]:.0f} %)" for name in order)
    return Test(
        heading="features",
        column=COLUMN,
        test="domain",
        effect=found.effect,
        low=found.low,
        high=found.high,
        threshold=classifier.THRESHOLD,
        p_value=found.beyond(classifier.THRESHOLD),
        alarm=found.low > classifier.THRESHOLD,
        kind="drift",
        sentence=f"of 100 pairs of rows {100 * (0.5 + found.effect):.0f} are told apart, by {why}",
        unit="AUC above 1/2",
        extra={name: float(f"{found.extra[name]:.4g}") for name in order},
    )


class _Sample:
    """Every n-th row, n doubling as the table grows; values as floats, texts as 64 bits of a hash seen as such."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self.columns: Sequence[str] = tuple(kinds)
        self._kinds = kinds
        self._stride = 1
        self._seen = 0
        self._parts: list[Floats] = []
        self._size = 0

    def add(self, batch: Mapping[str, Any], rows: int) -> None:
        begin = -self._seen % self._stride
        picked = np.arange(begin, rows, self._stride)
        self._seen += rows
        if not picked.size:
            return
        made = np.full((picked.size, len(self.columns)), np.nan)
        for at, name in enumerate(self.columns):
            if name in batch:
                made[:, at] = _values(batch[name].take(_indices(picked)), self._kinds[name])
        self._parts.append(made)
        self._size += picked.size
        while self._size > 2 * classifier.ROWS:
            whole = np.concatenate(self._parts)[::2]
            self._stride *= 2
            self._parts, self._size = [whole], whole.shape[0]

    def rows(self) -> dict[str, Floats]:
        whole = np.concatenate(self._parts) if self._parts else np.zeros((0, len(self.columns)))
        return {name: whole[:, at] for at, name in enumerate(self.columns)}


def _indices(picked: Any) -> Any:
    import pyarrow as pa

    return pa.array(picked)


def _values(array: Any, kind: Kind) -> Floats:
    if kind == "number":
        return floats_of(array)[0]
    if kind == "datetime":
        return seconds_of(array)[0]
    if kind == "boolean":
        from trackside.sketch.values import truths_of

        yes, no, _ = truths_of(array)
        return np.where(yes, 1.0, np.where(no, 0.0, np.nan))
    return _hashed(array)


def _hashed(array: Any) -> Floats:
    """53 bits of each text's hash, NaN where there is none."""
    import pyarrow as pa
    import pyarrow.types as t

    from trackside.sketch.texts import bytes_of, hashes

    texts, _ = texts_of(array)
    texts = texts.dictionary_decode() if t.is_dictionary(texts.type) else texts
    texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    there = np.asarray(texts.is_valid().to_pylist(), dtype=bool)
    made = np.full(len(texts), np.nan)
    made[there] = (hashes(*bytes_of(texts.drop_null())) >> np.uint64(11)).astype(np.float64)
    return made


def _coded(
    before: dict[str, Floats], now: dict[str, Floats], kinds: Mapping[str, Kind]
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Hashes of categories as ranks by frequency in both tables, the most frequent level 0."""
    for name in before:
        if kinds[name] != "category":
            continue
        both = np.concatenate((before[name], now[name]))
        there = ~np.isnan(both)
        _, back, counts = np.unique(both[there], return_inverse=True, return_counts=True)
        rank = np.empty(counts.size)
        rank[np.argsort(-counts, kind="stable")] = np.arange(counts.size)
        both[there] = rank[back]
        before[name], now[name] = both[: before[name].size], both[before[name].size :]
    return before, now
