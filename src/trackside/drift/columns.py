"""What is counted of one column, batch by batch, in memory that does not grow with the rows.

Bins are `(edges[i], edges[i + 1]]`: the distribution function is exact at every edge. Of a column with few distinct
values every value is an edge, so that nothing is lost.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trackside.documents.profile import Column

Floats = npt.NDArray[np.float64]
Kind = Literal["number", "category", "datetime", "boolean"]

BINS = 256
"""Bins of equal share: the distribution function is known to 0.4 % everywhere."""
SAMPLE = 200_000
"""Rows that the edges are laid by."""
LEVELS = 1000
"""Levels kept of a category, the most frequent ones."""
LEAST_COUNT = 5
"""Rarer levels go by a digest: a profile is published, and should not name single rows. They are still told apart,
since leaving out what is rare by chance would make every current table look different.
"""
TRACKED = 50_000
"""Levels held while counting; beyond, the rarest are given up."""
NAME = 120
"""Characters of a level's name; longer ones are told apart by a digest."""


def kind_of(arrow: Any) -> Kind | None:
    """What a column of an Arrow type is; None for nested and binary ones, which are not compared."""
    import pyarrow.types as t

    if t.is_dictionary(arrow):
        return kind_of(arrow.value_type)
    if t.is_boolean(arrow):
        return "boolean"
    if t.is_integer(arrow) or t.is_floating(arrow) or t.is_decimal(arrow):
        return "number"
    if t.is_string(arrow) or t.is_large_string(arrow) or t.is_string_view(arrow):
        return "category"
    if t.is_timestamp(arrow) or t.is_date(arrow):
        return "datetime"
    return None


@dataclass
class Observed:
    """One column as counted so far. `wrong` are values that are not of the expected kind; they, nulls and NaN count as
    missing. `below` and `above` are finite values outside of the edges, `unknown` rows of levels not in `levels`.
    """

    kind: Kind
    edges: Floats | None = None
    known: frozenset[str] | None = None
    rows: int = 0
    missing: int = 0
    infinite: int = 0
    wrong: int = 0
    low: float = math.inf
    high: float = -math.inf
    mean: float = 0.0
    squares: float = 0.0
    below: int = 0
    above: int = 0
    unknown: int = 0
    levels: dict[str, int] = field(default_factory=dict)
    given_up: int = 0
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def finite(self) -> int:
        """Values that the distribution is made of."""
        return self.rows - self.missing - self.infinite

    @property
    def deviation(self) -> float:
        return math.sqrt(self.squares / (self.finite - 1)) if self.finite > 1 else 0.0

    def add(self, array: Any) -> None:
        """Count one Arrow array."""
        self.rows += len(array)
        if self.kind == "number":
            self._add_numbers(array)
        elif self.kind == "datetime":
            self.wrong += (lost := _lost_dates(array))
            self.missing += array.null_count + lost
        else:
            self._add_levels(array)

    def add_absent(self, rows: int) -> None:
        """Rows of a file that lacks the column."""
        self.rows += rows
        self.missing += rows

    def _add_numbers(self, array: Any) -> None:
        values, wrong = numbers(array)
        nan = np.isnan(values)
        finite = finite_of(values)
        self.wrong += wrong
        self.missing += int(nan.sum())
        self.infinite += int(values.size - nan.sum() - finite.size)
        if not finite.size:
            return
        self._moments(finite, self.finite - finite.size)
        self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))
        if self.edges is not None:
            found = np.searchsorted(self.edges, finite, side="left")
            counted = np.bincount(found, minlength=self.edges.size + 1)
            self.below += int(counted[0])
            self.above += int(counted[-1])
            self.counts = counted[1:-1] if not self.counts.size else self.counts + counted[1:-1]

    def _moments(self, finite: Floats, before: int) -> None:
        """Mean and sum of squares merged pairwise (Chan, Golub & LeVeque 1979), so that large offsets cancel."""
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(finite.mean())
            squares = float(((finite - mean) ** 2).sum())
            delta, total = mean - self.mean, before + finite.size
            self.mean += delta * finite.size / total
            self.squares += squares + delta * delta * before * finite.size / total

    def _add_levels(self, array: Any) -> None:
        import pyarrow.compute as pc

        texts, wrong = texts_of(array, boolean=self.kind == "boolean")
        self.wrong += wrong
        self.missing += texts.null_count
        for row in pc.value_counts(texts):
            value, count = row["values"].as_py(), row["counts"].as_py()
            if value is None:
                continue
            name = level(value)
            if self.known is not None and name not in self.known:
                if (hidden := digest_name(value)) in self.known:
                    name = hidden
                else:
                    self.unknown += count
            self.levels[name] = self.levels.get(name, 0) + count
        if len(self.levels) > TRACKED:
            known = self.known or frozenset()
            order = sorted(self.levels.items(), key=lambda one: (one[0] not in known, -one[1], one[0]))
            kept = order[: TRACKED // 2]
            self.given_up += sum(self.levels.values()) - sum(count for _, count in kept)
            self.levels = dict(kept)

    def column(self, name: str, role: Literal["feature", "prediction", "label"], distinct: int = 0) -> Column:
        """As the document has it: the most frequent levels, rare ones by a digest."""
        levels = sorted(self.levels.items(), key=lambda one: (-one[1], one[0]))
        kept = {key if count >= LEAST_COUNT else digest_name(key): count for key, count in levels[:LEVELS]}
        counted = sum(self.levels.values()) + self.given_up
        number = self.kind == "number" and self.finite > 0
        return Column(
            name=name,
            role=role,
            type=self.kind,
            count=self.rows,
            missing=self.missing,
            infinite=self.infinite,
            low=_finite(self.low) if number else None,
            high=_finite(self.high) if number else None,
            mean=_finite(self.mean) if number else None,
            deviation=_finite(self.deviation) if number else None,
            edges=[float(one) for one in self.edges] if number and self.edges is not None else [],
            counts=[int(one) for one in self.counts] if number else [],
            levels=kept,
            rest=counted - sum(kept.values()),
            distinct=distinct or (-1 if self.given_up else len(self.levels)),
        )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def level(value: str) -> str:
    """A level's name; a long one is cut, and keeps its identity by a digest."""
    if len(value) <= NAME:
        return value
    return f"{value[: NAME - 20]}…{hashlib.sha256(value.encode('utf-8', 'replace')).hexdigest()[:16]}"


def digest_name(value: str) -> str:
    """What a rare level goes by."""
    return "~" + hashlib.sha256(level(value).encode("utf-8", "replace")).hexdigest()[:10]


def numbers(array: Any) -> tuple[Floats, int]:
    """Values with NaN for null, and how many texts are no numbers (they become NaN)."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as t

    if t.is_dictionary(array.type):
        array = array.dictionary_decode()
    if kind_of(array.type) == "category":
        try:
            array = pc.cast(pc.utf8_trim_whitespace(array), pa.float64())
        except pa.ArrowInvalid:
            found = np.array([_number(text) for text in array.to_pylist()], dtype=np.float64)
            return found, int(np.isnan(found).sum()) - array.null_count - _written_nan(array)
    elif kind_of(array.type) not in ("number", "boolean"):
        return np.full(len(array), np.nan), len(array) - array.null_count
    return _plain(pc.cast(array, pa.float64(), safe=False)), 0


def finite_of(values: Floats) -> Floats:
    """The finite values, within ±1e308 so that an edge has room beside each."""
    return np.clip(values[np.isfinite(values)], -1e308, 1e308)


def _plain(array: Any) -> Floats:
    """An Arrow array of doubles with NaN for null; by its buffers, since Arrow's own conversion imports pandas."""
    if not len(array):
        return np.zeros(0)
    there, data = array.buffers()
    part = slice(array.offset, array.offset + len(array))
    values = np.frombuffer(data, dtype=np.float64)[part]
    if not array.null_count:
        return values
    bits = np.unpackbits(np.frombuffer(there, dtype=np.uint8), bitorder="little")[part]
    return np.where(bits == 1, values, np.nan)


def _number(text: str | None) -> float:
    try:
        return math.nan if text is None or "_" in text else float(text)
    except ValueError:
        return math.nan


def _written_nan(array: Any) -> int:
    return sum(1 for text in array.to_pylist() if text is not None and text.strip().lower().lstrip("+-") == "nan")


def texts_of(array: Any, *, boolean: bool = False) -> tuple[Any, int]:
    """Text for every value, null for missing ones and those of another kind, and how many of the latter there are."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as t

    if t.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = kind_of(array.type)
    if kind == "boolean":
        return pc.cast(array, pa.string()), 0
    if boolean:
        values, wrong = (None, 0) if kind == "category" else numbers(array)
        if values is None:
            lower = pc.utf8_lower(pc.utf8_trim_whitespace(pc.cast(array, pa.string())))
            truth = pc.is_in(lower, value_set=pa.array(["true", "false", "1", "0", "t", "f", "yes", "no"]))
            made = pc.if_else(pc.is_in(lower, value_set=pa.array(["true", "1", "t", "yes"])), "true", "false")
            made = pc.if_else(truth, made, pa.scalar(None, pa.string()))
        else:
            known = np.isin(values, (0.0, 1.0))
            made = pa.array(
                [("true" if one else "false") if ok else None for one, ok in zip(values == 1.0, known, strict=True)],
                pa.string(),
            )
            wrong = 0
        return made, made.null_count - array.null_count - wrong
    if kind == "category":
        return pc.cast(array, pa.string()), 0
    if t.is_null(array.type):
        return pc.cast(array, pa.string()), 0
    return pa.nulls(len(array), pa.string()), len(array) - array.null_count


def _lost_dates(array: Any) -> int:
    """Values of a column of dates that are none; texts in ISO 8601 are dates."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as t

    kind = kind_of(array.type)
    if kind == "datetime" or t.is_null(array.type):
        return 0
    if kind == "category":
        try:
            pc.cast(array, pa.timestamp("us"))
        except pa.ArrowInvalid:
            return int(len(array) - array.null_count)
        return 0
    return int(len(array) - array.null_count)


def edges_of(values: Floats, low: float, high: float, bins: int = BINS) -> Floats:
    """Edges, rising, `bins + 1` at most: all values where there are few, else quantiles; the first lies below `low`."""
    found = np.unique(values)
    if found.size > bins:
        found = np.quantile(values, np.linspace(0, 1, bins + 1)[1:], method="inverted_cdf")
    found = np.unique(np.append(found, high))
    return np.concatenate(([np.nextafter(low, -np.inf)], found))
