"""Many texts at once, by the bytes of an Arrow array: lengths, hashes, patterns and short names, no loop over rows."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

NAME = 120
"""Characters of a level's name; longer ones are told apart by a digest."""
PATTERN = 64
"""Bytes of a text that its pattern is made of."""

_SLICE = 8192
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_MORE = ord("+")
_LETTER, _DIGIT, _SPACE = ord("a"), ord("9"), ord(" ")


def _classes() -> Bytes:
    """The class of every byte: letters `a` (all that is not ASCII too), digits `9`, white space and itself."""
    made = np.arange(256, dtype=np.uint8)
    for byte in range(256):
        one = chr(byte)
        if byte >= 128 or one.isalpha():
            made[byte] = _LETTER
        elif one.isdigit():
            made[byte] = _DIGIT
        elif one.isspace() or not one.isprintable():
            made[byte] = _SPACE
    return made


_CLASSES = _classes()
_RUNS = np.isin(np.arange(256), (_LETTER, _DIGIT, _SPACE))


def level(value: str) -> str:
    """A level's name; a long one is cut, and keeps its identity by a digest."""
    if len(value) <= NAME:
        return value
    return f"{value[: NAME - 20]}…{hashlib.sha256(value.encode('utf-8', 'replace')).hexdigest()[:16]}"


def digest_name(value: str) -> str:
    """What a rare level goes by where it is published."""
    return "~" + hashlib.sha256(level(value).encode("utf-8", "replace")).hexdigest()[:10]


def bytes_of(array: Any) -> tuple[Bytes, Counts]:
    """The bytes of an Arrow array of binary values or texts without nulls, and offsets (n + 1,) into them."""
    import pyarrow.types as t

    if not len(array):
        return np.zeros(0, dtype=np.uint8), np.zeros(1, dtype=np.int64)
    wide = t.is_large_binary(array.type) or t.is_large_string(array.type)
    _, places, data = array.buffers()
    offsets = np.frombuffer(places, dtype=np.int64 if wide else np.int32)[array.offset : array.offset + len(array) + 1]
    first, last = int(offsets[0]), int(offsets[-1])
    held = np.frombuffer(data, dtype=np.uint8)[first:last] if data is not None else np.zeros(0, dtype=np.uint8)
    return held, offsets.astype(np.int64) - first


def array_of(data: Bytes, offsets: Counts) -> Any:
    """The inverse of `bytes_of`, as binary values."""
    import pyarrow as pa

    places = pa.py_buffer(offsets.astype(np.int32).tobytes())
    return pa.BinaryArray.from_buffers(pa.binary(), len(offsets) - 1, [None, places, pa.py_buffer(data.tobytes())])


def lengths(data: Bytes, offsets: Counts) -> Counts:
    """Characters of each text, shape (n,)."""
    if not data.size or int(data.max()) < 128:
        return np.diff(offsets)
    starts = np.concatenate(([0], np.cumsum((data & 0xC0) != 0x80, dtype=np.int64)))
    return np.asarray(starts[offsets[1:]] - starts[offsets[:-1]], dtype=np.int64)


def hashes(data: Bytes, offsets: Counts) -> Hashes:
    """64 bits of each text, the same everywhere and always, shape (n,): a polynomial modulo 2^64 of its bytes, mixed.

    Against chance, not against an adversary.
    """
    made = np.zeros(len(offsets) - 1, dtype=np.uint64)
    begins = range(0, made.size, _SLICE)
    most = max((int(offsets[min(at + _SLICE, made.size)] - offsets[at]) for at in begins), default=0)
    powers, inverse = _powers(_BASE, most), _powers(_INVERSE, most)
    for at in begins:
        places = offsets[at : at + _SLICE + 1]
        part = data[places[0] : places[-1]].astype(np.uint64)
        # Sums of (byte + 1) · base^place over the slice; the place of a text's first byte is divided out again.
        sums = np.zeros(part.size + 1, dtype=np.uint64)
        np.cumsum((part + np.uint64(1)) * powers[: part.size], out=sums[1:])
        starts = places - places[0]
        made[at : at + _SLICE] = (sums[starts[1:]] - sums[starts[:-1]]) * inverse[starts[:-1]]
    return _mixed(made + np.diff(offsets).astype(np.uint64))


def _powers(base: int, most: int) -> Hashes:
    """base^0 to base^most, modulo 2^64."""
    made = np.full(most + 1, base, dtype=np.uint64)
    made[0] = 1
    return np.multiply.accumulate(made)


def _mixed(bits: Hashes) -> Hashes:
    """Every bit of the result depends on every bit (finalizer of SplitMix64: Steele, Lea & Flood 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def patterns(data: Bytes, offsets: Counts) -> Any:
    """The shape of each text as an Arrow array: letters `a`, digits `9`, runs as one; `+` ends what goes on."""
    sizes = np.diff(offsets)
    kept = np.minimum(sizes, PATTERN)
    if kept.sum() != data.size:
        places = np.concatenate(([0], np.cumsum(kept)))
        data = data[np.arange(places[-1]) + np.repeat(offsets[:-1] - places[:-1], kept)]
        offsets = places
    classes = _CLASSES[data]
    new = np.ones(data.size, dtype=bool)
    new[1:] = classes[1:] != classes[:-1]
    new |= ~_RUNS[classes]
    new[offsets[:-1][kept > 0]] = True
    ends = np.concatenate(([0], np.cumsum(new)))[offsets]
    made = classes[new]
    if (cut := sizes > PATTERN).any():
        made = np.insert(made, ends[1:][cut], _MORE)
        ends = ends + np.concatenate(([0], np.cumsum(cut)))
    return array_of(made, ends)


def names(array: Any) -> tuple[Any, bool]:
    """Binary values as names of levels: text, what is no UTF-8 replaced, long ones cut as `level` does; and whether
    all are as they were.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    plain = True
    try:
        made = array.cast(pa.string())
    except pa.ArrowInvalid:
        made, plain = pa.array([one.decode("utf-8", "replace") for one in array.to_pylist()], pa.string()), False
    long = lengths(*bytes_of(made)) > NAME
    if not long.any():
        return made, plain
    cut = pa.array([level(one) for one in made.filter(pa.array(long)).to_pylist()], pa.string())
    return pc.replace_with_mask(made, pa.array(long), cut), False
