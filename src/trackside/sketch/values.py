"""Arrow arrays of any type as the values of a kind: numbers, seconds or truths, what is not of the kind told apart."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Kind = Literal["number", "category", "datetime", "boolean"]

NAIVE, OFFSET = "", "offset"
"""Zones of times without one, and of texts with an offset from UTC."""

_NUMBER = r"(?i)^[ \t\r\n\v\f]*[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)[ \t\r\n\v\f]*$"
_DATE = (
    r"^(\d{3}[1-9]|\d\d[1-9]\d|\d[1-9]\d\d|[1-9]\d{3})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
    r"([T ]([01]\d|2[0-3])(:[0-5]\d(:[0-5]\d(\.\d{1,9})?)?)?"
)
_ZONE = r"(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)"
_TRUE, _FALSE = ["true", "1", "t", "yes"], ["false", "0", "f", "no"]
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


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


def floats_of(array: Any) -> tuple[Floats, int]:
    """Numbers with NaN for null and for what is none, shape (n,), and how many of the latter there are.

    Truths are 0 and 1; texts are numbers where they are written as such.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    array = _plain(array)
    kind = kind_of(array.type)
    if kind == "category":
        return _of_texts(array)
    if kind in ("number", "boolean"):
        return _doubles(array if array.type == pa.float64() else pc.cast(array, pa.float64(), safe=False)), 0
    return np.full(len(array), np.nan), len(array) - array.null_count


def seconds_of(array: Any) -> tuple[Floats, int, frozenset[str]]:
    """Dates and times as seconds since 1970 with NaN for null and for what is none, shape (n,); how many of the latter
    there are; and the zones that occur: `NAIVE`, `OFFSET` or a name. Naive times are taken as UTC.

    Texts are dates where they are written as in ISO 8601.
    """
    import pyarrow as pa
    import pyarrow.types as t

    array = _plain(array)
    if kind_of(array.type) == "category":
        return _dates_of_texts(array)
    there = len(array) > array.null_count
    if t.is_timestamp(array.type):
        whole = _doubles(array.view(pa.int64()).cast(pa.float64(), safe=False))
        zones = frozenset({array.type.tz or NAIVE} if there else ())
        return whole / _PER_SECOND[array.type.unit], 0, zones
    if t.is_date(array.type):
        days = t.is_date32(array.type)
        whole = _doubles(array.view(pa.int32() if days else pa.int64()).cast(pa.float64(), safe=False))
        return whole * 86_400 if days else whole / 1e3, 0, frozenset({NAIVE} if there else ())
    return np.full(len(array), np.nan), len(array) - array.null_count, frozenset()


def truths_of(array: Any) -> tuple[Mask, Mask, int]:
    """Where values are true and where they are false, shape (n,) each, and how many are null or NaN. 1 and 0 are
    truths, and the usual words in texts.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    array = _plain(array)
    if kind_of(array.type) == "category":
        words = pc.ascii_lower(pc.ascii_trim_whitespace(array))
        yes, no = (pc.is_in(words, value_set=pa.array(known, words.type)) for known in (_TRUE, _FALSE))
        return yes.to_numpy(zero_copy_only=False), no.to_numpy(zero_copy_only=False), array.null_count
    values, wrong = floats_of(array)
    return values == 1.0, values == 0.0, int(np.isnan(values).sum()) - wrong


def texts_of(array: Any) -> tuple[Any, int]:
    """A column's texts, or a dictionary of them; null where there are none, and how many values are no text."""
    import pyarrow as pa

    if kind_of(array.type) == "category":
        return array, 0
    return pa.nulls(len(array), pa.string()), len(array) - _plain(array).null_count


def _plain(array: Any) -> Any:
    import pyarrow as pa
    import pyarrow.types as t

    if t.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.large_string()) if t.is_string_view(array.type) else array


def _doubles(array: Any) -> Floats:
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


def _of_texts(array: Any) -> tuple[Floats, int]:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        values = _doubles(pc.cast(array, pa.float64()))
        if int(np.isnan(values).sum()) == array.null_count:
            return values, 0
    except pa.ArrowInvalid:
        pass
    # Words among the numbers, or spaces around them. Each different text is looked at once.
    coded = array.dictionary_encode()
    texts = coded.dictionary
    written = pc.match_substring_regex(texts.cast(pa.large_binary()), _NUMBER)
    trimmed = pc.ascii_trim_whitespace(pc.if_else(written, texts, pa.scalar(None, texts.type)))
    found = _doubles(pc.cast(trimmed, pa.float64()))
    return _spread(coded.indices, found, written.to_numpy(zero_copy_only=False))


def _spread(indices: Any, found: Floats, good: Mask) -> tuple[Floats, int]:
    """Values of the different texts for all rows, and how many rows have a text that is none."""
    places = indices.fill_null(len(found)).to_numpy()
    return np.append(found, np.nan)[places], int(np.append(~good, False)[places].sum())


def _dates_of_texts(array: Any) -> tuple[Floats, int, frozenset[str]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    coded = array.dictionary_encode()
    texts = coded.dictionary.cast(pa.large_binary())
    found = np.full(len(texts), np.nan)
    zones = set()
    if len(texts):
        trimmed = pc.ascii_trim_whitespace(_ascii(coded.dictionary))
        for zone, form in ((NAIVE, f"{_DATE})?$"), (OFFSET, f"{_DATE}{_ZONE})$")):
            here = pc.match_substring_regex(trimmed, form)
            if pc.any(here).as_py():
                made = _parsed(trimmed.filter(here), zoned=zone == OFFSET)
                found[here.to_numpy(zero_copy_only=False)] = made
                zones |= {zone} if np.isfinite(made).any() else set()
    values, wrong = _spread(coded.indices, found, np.isfinite(found))
    return values, wrong, frozenset(zones)


def _ascii(texts: Any) -> Any:
    """Texts that are all ASCII; others, which are no dates, become empty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(pc.string_is_ascii(texts), texts, pa.scalar("", texts.type))


def _parsed(texts: Any, *, zoned: bool) -> Floats:
    """Seconds of texts that are dates by their form; NaN for days that no month has."""
    import pyarrow as pa
    import pyarrow.compute as pc

    short = pc.replace_substring_regex(texts, r"(\.\d{6})\d+", r"\1")
    try:
        times = pc.cast(short, pa.timestamp("us", "UTC" if zoned else None))
        return _doubles(times.view(pa.int64()).cast(pa.float64(), safe=False)) / 1e6
    except pa.ArrowInvalid:
        return np.array([_second(one) for one in short.to_pylist()], dtype=np.float64)


def _second(text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return np.nan
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
