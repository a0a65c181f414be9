"""Rows with what their performance is judged by: scores, labels (in the table, or joined from another), slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trackside.config.model import DriftPolicy
from trackside.documents.verdict import Labels
from trackside.sketch.texts import bytes_of, hashes
from trackside.sketch.values import Floats, floats_of, kind_of, seconds_of
from trackside.tables.table import Table

KEPT = 2_000_000
"""Rows in memory at most where nothing is joined; of more, every second one is kept, then every fourth."""
LEVELS = 1000
"""Levels of a column by which rows can be sliced; a column of more is none to slice by."""
DAY = 86_400.0

Hashes = npt.NDArray[np.uint64]
Codes = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Coded:
    """Texts by their place in `names`, shape (n,); -1 where there is none."""

    codes: Codes
    names: tuple[str, ...]

    def chosen(self, rows: Any) -> Coded:
        return replace(self, codes=self.codes[rows])


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of a table, shape (n,) each. `numbers` are labels that are numbers (NaN: none), `classes` those that are
    texts; of a column that holds both every label is a text. `keys` are hashes, with `keyed` where there is a key;
    `example` is one of them as it was read. `times` are seconds.
    """

    scores: Floats
    numbers: Floats | None = None
    classes: Coded | None = None
    keys: Hashes | None = None
    keyed: Mask | None = None
    times: Floats | None = None
    slices: dict[str, Coded] = field(default_factory=dict)
    example: str = ""

    @property
    def labelled(self) -> Mask:
        """Where a row has a label and a score."""
        there = np.isfinite(self.scores)
        if self.classes is not None:
            return there & (self.classes.codes >= 0)
        return there & np.isfinite(self.numbers) if self.numbers is not None else np.zeros(there.size, dtype=bool)

    def chosen(self, rows: Any) -> Rows:
        """Some of them, by a mask or places."""
        columns = {name: getattr(self, name) for name in ("scores", "numbers", "keys", "keyed", "times")}
        return replace(
            self,
            slices={name: one.chosen(rows) for name, one in self.slices.items()},
            classes=self.classes.chosen(rows) if self.classes is not None else None,
            **{name: found[rows] for name, found in columns.items() if found is not None},
        )


class _Texts:
    """Collects a column as texts."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.parts: list[Codes] = []

    def add(self, array: Any) -> None:
        coded = as_texts(array).dictionary_encode()
        places = [self.places.setdefault(name, len(self.places)) for name in coded.dictionary.to_pylist()]
        self.parts.append(np.array([*places, -1])[coded.indices.fill_null(len(places)).to_numpy()])

    def absent(self, rows: int) -> None:
        self.parts.append(np.full(rows, -1))

    def done(self) -> Coded:
        codes = np.concatenate(self.parts) if self.parts else np.zeros(0, dtype=np.int64)
        return Coded(codes=codes.astype(np.int64), names=tuple(self.places))


def as_texts(array: Any) -> Any:
    """Any column as Arrow texts, null where it is; a whole number is written without a point."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as t

    if t.is_dictionary(array.type):
        array = array.dictionary_decode()
    if t.is_floating(array.type):
        array = pc.if_else(pc.is_nan(array), None, array)
        whole = pc.and_(pc.equal(array, pc.round(array)), pc.less(pc.abs(array), 2.0**53))
        wholes = pc.cast(pc.if_else(whole, array, None), pa.int64())
        return pc.if_else(whole, pc.cast(wholes, pa.string()), pc.cast(array, pa.string()))
    if t.is_nested(array.type) or t.is_binary(array.type) or t.is_large_binary(array.type):
        return pa.nulls(len(array), pa.string())
    return pc.cast(array, pa.string())


def _keys(array: Any) -> tuple[Hashes, Mask]:
    """Keys as hashes of their texts. A whole number written with `.0`, as a column of numbers and nulls often is, is
    the same key without.
    """
    import pyarrow.compute as pc

    texts = pc.replace_substring_regex(as_texts(array), r"^(-?[0-9]+)\.0$", r"\1")
    keyed = pc.is_valid(texts).to_numpy(zero_copy_only=False)
    return hashes(*bytes_of(texts.fill_null(""))), keyed


def read(
    table: Table,
    *,
    score: str = "",
    label: str = "",
    key: str = "",
    time: str = "",
    slices: Sequence[str] = (),
) -> Rows:
    """Rows of a table. Empty names, and columns that it lacks, are left out; scores are NaN then.

    Raises:
        DataError: a file cannot be read.
    """
    wanted = [name for name in dict.fromkeys((score, label, key, time, *slices)) if name in table.types]
    numeric = label in table.types and kind_of(table.types[label]) in ("number", "boolean")
    parts: list[Rows] = []
    texts = {name: _Texts() for name in (*slices, *([] if numeric or label not in table.types else [label]))}
    stride, offset, size = 1, 0, 0
    for batch in table.batches(wanted):
        rows = max((len(array) for array in batch.values()), default=0)
        kept = slice(offset, None, stride)
        offset = (offset - rows) % stride
        cut = {name: array.take(np.arange(rows)[kept]) if stride > 1 else array for name, array in batch.items()}
        parts.append(_part(cut, len(range(rows)[kept]), texts, (score, label if numeric else "", key, time)))
        size += parts[-1].scores.size
        if not key and size > KEPT:
            whole = _joined(parts, {})
            parts, stride = [whole.chosen(slice(None, None, 2))], stride * 2
            for one in texts.values():
                one.parts = [np.concatenate(one.parts)[::2]]
            offset = offset if size % 2 == 0 else offset + stride // 2
            size = parts[0].scores.size
    coded = {name: one.done() for name, one in texts.items()}
    found = _joined(parts, {name: coded[name] for name in slices if name in table.types})
    if numeric or label not in coded:
        return found
    return _labels(found, coded[label])


def _part(batch: dict[str, Any], rows: int, texts: dict[str, _Texts], names: tuple[str, str, str, str]) -> Rows:
    score, label, key, time = names
    for name, one in texts.items():
        if name in batch:
            one.add(batch[name])
        else:
            one.absent(rows)
    keys, keyed = _keys(batch[key]) if key in batch else (np.zeros(rows, dtype=np.uint64), np.zeros(rows, dtype=bool))
    return Rows(
        scores=floats_of(batch[score])[0] if score in batch else np.full(rows, np.nan),
        numbers=(floats_of(batch[label])[0] if label in batch else np.full(rows, np.nan)) if label else None,
        keys=keys if key else None,
        keyed=keyed if key else None,
        times=(seconds_of(batch[time])[0] if time in batch else np.full(rows, np.nan)) if time else None,
        example=as_texts(batch[key].slice(int(keyed.argmax()), 1))[0].as_py() if keyed.any() else "",
    )


def _joined(parts: list[Rows], slices: dict[str, Coded]) -> Rows:
    if not parts:
        return Rows(scores=np.zeros(0), slices=slices)

    def whole(name: str) -> Any:
        found = [getattr(one, name) for one in parts]
        return None if found[0] is None else np.concatenate(found)

    made = {name: whole(name) for name in ("scores", "numbers", "keys", "keyed", "times")}
    return Rows(slices=slices, example=next((one.example for one in parts if one.example), ""), **made)


def _labels(rows: Rows, coded: Coded) -> Rows:
    """Labels that came as texts: numbers, where every one is written as such."""
    import pyarrow as pa

    values, wrong = floats_of(pa.array(coded.names, pa.string()))
    if not wrong:
        return replace(rows, numbers=np.append(values, np.nan)[coded.codes])
    return replace(rows, classes=coded)


def labels_policy(policy: DriftPolicy) -> DriftPolicy:
    """The policy whose current data are the labels, to gather them by."""
    return replace(policy, current=policy.labels, query=policy.labels_query)


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Rows with their labels, and how that went. `conflicts` are keys with several different labels, `disputed` the
    rows that have one of them.
    """

    rows: Rows
    facts: Labels
    conflicts: int = 0
    disputed: int = 0


def join(rows: Rows, labels: Rows, *, source: str, key: str) -> Joined:
    """Labels to rows by key.

    A key with several different labels labels nothing; a row whose key stands twice is joined like any other. Labels
    that rows have of their own stay where no other has come.

    Args:
        rows: with `keys`.
        labels: with `keys` and `numbers` or `classes`.
    """
    held = (labels.classes.codes >= 0) if labels.classes is not None else np.isfinite(_numbers(labels))
    held &= _keyed(labels)
    places = np.flatnonzero(held)
    order = places[np.argsort(_hashes(labels)[places], kind="stable")]
    keys = _hashes(labels)[order]
    value = labels.classes.codes[order] if labels.classes is not None else _numbers(labels)[order]
    first = np.concatenate(([True], keys[1:] != keys[:-1])) if keys.size else np.zeros(0, dtype=bool)
    group = np.cumsum(first) - 1
    unlike = np.zeros(int(first.sum()), dtype=bool)
    unlike[group[np.flatnonzero(value != value[np.flatnonzero(first)][group])]] = True
    order, keys = order[first], keys[first]
    disputed = _keyed(rows) & np.isin(_hashes(rows), keys[unlike])
    order, keys = order[~unlike], keys[~unlike]
    at = np.searchsorted(keys, _hashes(rows))
    at[at == keys.size] = 0
    match = _keyed(rows) & (keys[at] == _hashes(rows)) if keys.size else np.zeros(rows.scores.size, dtype=bool)
    chosen = np.where(match, order[at] if keys.size else 0, -1)
    joined = _with_labels(rows, labels, chosen, match)
    there = _has_label(joined)
    _, often = np.unique(_hashes(rows)[_keyed(rows)], return_counts=True)
    facts = Labels(
        source=source,
        key=key,
        rows=rows.scores.size,
        joined=int(there.sum()),
        waiting=int((~there).sum()),
        unmatched=int(keys.size - np.unique(chosen[match]).size),
        duplicates=int((often > 1).sum()) + int(held.sum() - first.sum()),
        lag_days=_lag(rows, labels, chosen, match),
    )
    return Joined(rows=joined, facts=facts, conflicts=int(unlike.sum()), disputed=int(disputed.sum()))


def _hashes(rows: Rows) -> Hashes:
    return rows.keys if rows.keys is not None else np.zeros(rows.scores.size, dtype=np.uint64)


def _keyed(rows: Rows) -> Mask:
    return rows.keyed if rows.keyed is not None else np.zeros(rows.scores.size, dtype=bool)


def _numbers(rows: Rows) -> Floats:
    return rows.numbers if rows.numbers is not None else np.full(rows.scores.size, np.nan)


def _has_label(rows: Rows) -> Mask:
    return rows.classes.codes >= 0 if rows.classes is not None else np.isfinite(_numbers(rows))


def _with_labels(rows: Rows, labels: Rows, chosen: Codes, match: Mask) -> Rows:
    if labels.classes is not None:
        codes = np.where(match, labels.classes.codes[chosen], -1) if match.any() else np.full(match.size, -1)
        return replace(rows, numbers=None, classes=Coded(codes=codes, names=labels.classes.names))
    own = _numbers(rows) if rows.classes is None else np.full(match.size, np.nan)
    numbers = np.where(match, _numbers(labels)[chosen], own) if match.any() else own
    return replace(rows, numbers=numbers, classes=None)


def _lag(rows: Rows, labels: Rows, chosen: Codes, match: Mask) -> dict[str, float]:
    """Days from a prediction to its label, where both times are known."""
    if rows.times is None or labels.times is None or not match.any():
        return {}
    took = (labels.times[chosen[match]] - rows.times[match]) / DAY
    took = took[np.isfinite(took)]
    if not took.size:
        return {}
    shares = {"p50": 0.5, "p90": 0.9, "max": 1.0}
    return {name: round(float(np.quantile(took, share)), 3) for name, share in shares.items()}
