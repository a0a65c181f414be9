"""The model file gate: what a file would import when it is loaded, in whatever it is wrapped.

A pickle is a program, but it can call only what it imports by name. A file passes when each of these names is trusted
and every part of it could be read; what cannot be followed is refused.
"""

from __future__ import annotations

import ast
import bz2
import lzma
import math
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from trackside.errors import Refused
from trackside.trust.opcodes import Ended, Unclear, Walk, item_bytes
from trackside.trust.packed import (
    BLOCK,
    Member,
    Odd,
    inflated,
    is_tar,
    lzma_begins,
    lzma_streams,
    tar_members,
    zip_members,
)
from trackside.trust.trusted import Global, Scan, allowed

LARGEST = 16 * 1024**3
"""Bytes unpacked from one file at most."""
DEEPEST = 4
"""Archives within archives."""
LONGEST_HEADER = 1 << 16
_TEXT = 1 << 16
SAFE_FORMATS = "safetensors, skops, ONNX, or the library's own format (XGBoost JSON, LightGBM text, CatBoost cbm)"
_ARRAY = b"\x93NUMPY"
_TORCH = b"\x80\x02\x8a\x0a" + 0x1950A86A20F9469CFC6C.to_bytes(10, "little") + b"."
"""The first pickle of PyTorch's files before 1.6: behind the last one are raw numbers."""
_OPAQUE = {
    b"\x04\x22\x4d\x18": "LZ4",
    b"\x02\x21\x4c\x18": "LZ4",
    **{bytes([one]) + b"\x2a\x4d\x18": "Zstandard or LZ4" for one in range(0x50, 0x60)},
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!": "RAR",
    b"\x1f\x9d": "compress",
    b"LZIP": "lzip",
    b"\x89LZO": "lzop",
    b"\xff\x06\x00\x00sNaPpY": "Snappy",
    b"ZF": "joblib before 0.10",
}
"""Compressions by their first bytes that loaders know and Python's library does not."""


@dataclass
class _Found:
    room: int
    names: set[Global] = field(default_factory=set)
    pickles: int = 0
    problems: list[str] = field(default_factory=list)


def scan(path: Path, also: Iterable[str] = ()) -> Scan:
    """Every pickle in a file, also in its zip, tar, npz, gzip, bzip2, xz or zlib wrappings; nothing is loaded or run.

    Args:
        also: names beyond the list, `module.name`, that the project trusts.
    """
    found = _Found(LARGEST)
    with warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore", DeprecationWarning)  # of escapes in texts, which are not this program's
        _scan(file, path.name, found, 0)
    trusted = frozenset(also)
    known = {one for one in found.names if allowed(one, trusted)}
    return Scan(
        pickles=found.pickles,
        allowed=frozenset(known),
        unknown=frozenset(found.names - known),
        problems=tuple(dict.fromkeys(found.problems)),
    )


def require(path: Path, also: Iterable[str] = ()) -> Scan:
    """The scan of a file that may be loaded.

    Raises:
        Refused: it imports what nobody trusts, or a part of it cannot be read (`model_unsafe`).
    """
    found = scan(path, also)
    if found.safe:
        return found
    names = [str(one) for one in sorted(found.unknown)]
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    why = "; ".join(part for part in (f"it imports {shown}" if names else "", *found.problems[:5]) if part)
    raise Refused(
        f"{path.name} could run code when it is loaded",
        why=why,
        remedy=f"save the model as {SAFE_FORMATS}; or trust names that you have read: models.<name>.trusted-imports",
        link="releases.md",
        reason_code="model_unsafe",
    )


def _scan(file: IO[bytes], label: str, found: _Found, depth: int) -> None:
    """One file as everything it may be taken for: one that is two formats is opened as either by somebody."""
    if depth > DEEPEST:
        found.problems.append(f"{label} is an archive within {DEEPEST} others")
        return
    file.seek(0)
    head = file.read(BLOCK)
    packed = next((name for magic, name in _OPAQUE.items() if head.startswith(magic)), "")
    if packed:
        found.problems.append(f"{label} is compressed by {packed}, which cannot be looked into")
    opened = _opener(head)
    if opened is not None:
        _compressed(file, opened, label, found, depth)
    if len(head) > 2 and head[0] in range(0x08, 0x80, 0x10) and int.from_bytes(head[:2], "big") % 31 == 0:
        _perhaps(file, partial(inflated, file, zlib.decompressobj), label, found, depth)
    if lzma_begins(head):
        _perhaps(file, partial(lzma_streams, file), label, found, depth)
    try:
        for member in zip_members(file) or ():  # also those that are called folders: loaders go by the name alone
            _member(member, label, found, depth)
        if is_tar(head):
            for member in tar_members(file):
                _member(member, label, found, depth)
    except Odd as error:
        found.problems.append(f"{label} cannot be unpacked: {error}")
    if not head.startswith(b"PK\x03\x04"):  # no loader that knows a `P`, a persistent id, takes these for a pickle
        file.seek(0)
        _stream(file, label, found)


def _opener(head: bytes) -> Callable[[], Any] | None:
    """What unpacks a compressed file, by its first bytes; None for any other."""
    if head.startswith(b"\x1f\x8b"):
        return partial(zlib.decompressobj, 31)
    if head.startswith(b"BZh"):
        return bz2.BZ2Decompressor
    if head.startswith(b"\xfd7zXZ\x00"):
        return partial(lzma.LZMADecompressor, lzma.FORMAT_XZ)
    return None


def _compressed(file: IO[bytes], make: Callable[[], Any], label: str, found: _Found, depth: int) -> None:
    with tempfile.TemporaryFile() as room:
        file.seek(0)
        if _unpack(inflated(file, make), room, label, found):
            _scan(room, label, found, depth + 1)


def _perhaps(file: IO[bytes], read: Callable[..., Iterator[bytes]], label: str, found: _Found, depth: int) -> None:
    """What a format without a magic makes of a file, which may be a text or numbers. Before a fault counts all that a
    loader would get.
    """
    with tempfile.TemporaryFile() as room:
        tried, pieces = _Found(found.room), _Counted()
        file.seek(0)
        whole = _unpack(pieces.of(read()), room, label, tried)
        if not whole and tried.room >= 0:
            room.seek(0)
            file.seek(0)
            tried.room = found.room
            _unpack(read(known=pieces.count), room, label, tried)
        inner = _Found(tried.room)
        if tried.room >= 0 and room.seek(0, 2):
            _scan(room, label, inner, depth + 1)
        found.room = inner.room
        if pieces.ended or inner.pickles or inner.problems or found.room < 0:
            found.names |= inner.names
            found.pickles += inner.pickles
            found.problems += [*tried.problems, *inner.problems]


@dataclass
class _Counted:
    """How many pieces could be made before a fault, and whether a stream ended as it should with bytes behind it."""

    count: int = 0
    ended: bool = False

    def of(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        try:
            for piece in pieces:
                self.count += 1
                yield piece
        except Odd:
            self.ended = True
            raise


def _unpack(pieces: Iterable[bytes], room: IO[bytes], label: str, found: _Found) -> bool:
    """Unpack within the room that is left; False (and a problem) where that fails."""
    try:
        for piece in pieces:
            found.room -= len(piece)
            if found.room < 0:
                found.problems.append(f"{label} unpacks to more than {LARGEST:,} bytes")
                return False
            room.write(piece)
    except Odd as error:
        found.problems.append(f"{label} cannot be unpacked: {error}")
        return False
    except Exception as error:  # the machines raise many kinds, and each of them means: not readable
        found.problems.append(f"{label} cannot be unpacked: {type(error).__name__}")
        return False
    return True


def _member(member: Member, label: str, found: _Found, depth: int) -> None:
    name = f"{label}:{member.name}"
    with tempfile.TemporaryFile() as room:
        if _unpack(member.pieces(), room, name, found):
            _scan(room, name, found, depth + 1)


def _stream(file: IO[bytes], label: str, found: _Found) -> None:
    """Pickles and arrays one after the other, as PyTorch and numpy write them, up to what is neither."""
    start, marked, raw = 0, False, False
    while True:
        head = file.read(len(_ARRAY))
        if head == _ARRAY:
            marked, more = True, _array(file, label, found)
        else:
            file.seek(start)
            raw = raw or (start == 0 and file.read(len(_TORCH)) == _TORCH)
            file.seek(start)
            problems = len(found.problems)
            more = bool(head) and _pickle(file, head, label, found)
            if head and not more and marked and not raw and problems == len(found.problems):
                found.problems.append(f"{label} has bytes behind it that belong to nothing")
            marked = marked or _is_marked(head)
        if not more:
            return
        start = file.tell()


def _array(file: IO[bytes], label: str, found: _Found) -> bool:
    """Leave an array's bytes behind; of objects only the header, since a pickle follows. False where that fails."""
    wide = 2 if file.read(2)[:1] == b"\x01" else 4
    length = int.from_bytes(file.read(wide), "little")
    size = _array_bytes(file.read(length)) if length <= LONGEST_HEADER else None
    if size is None:
        found.problems.append(f"{label} has a header that is not written as numpy writes it")
        return False
    file.seek(size, 1)
    return True


def _array_bytes(header: bytes) -> int | None:
    """Bytes of an array's items, 0 where they are objects; None where that cannot be told."""
    try:
        described = ast.literal_eval(header.decode("latin-1").strip())
        items = [described["descr"]] if isinstance(described["descr"], str) else [one[1] for one in described["descr"]]
        sizes = [item_bytes(one) for one in items]
        shape = [int(one) for one in described["shape"]]
    except (ValueError, SyntaxError, KeyError, TypeError, IndexError, RecursionError, MemoryError):
        return None
    plain = all(one is not None for one in sizes) and not (len(sizes) > 1 and 0 in sizes)
    records = not isinstance(described["descr"], str)
    if not plain or min(shape, default=1) < 0 or (records and any(len(one) != 2 for one in described["descr"])):
        return None
    return sum(one or 0 for one in sizes) * math.prod(shape)


def _is_marked(head: bytes) -> bool:
    """Whether a pickle says here that it is one."""
    return head[:1] == b"\x80" and len(head) > 1 and head[1] <= 5


def _is_text(file: IO[bytes], start: int) -> bool:
    """Whether a file goes on from here as lines that a person wrote."""
    file.seek(start)
    piece = file.read(_TEXT)
    try:
        text = piece.decode() if len(piece) < _TEXT else piece[: piece.rfind(b"\n") + 1].decode()
    except UnicodeDecodeError:
        return False
    return all(one.isprintable() or one in "\t\r\n" for one in text)


def _pickle(file: IO[bytes], head: bytes, label: str, found: _Found) -> bool:
    """Walk one pickle that begins with `head`; False where nothing can follow it."""
    marked, start = _is_marked(head), file.tell()
    walk = Walk(file, strict=not marked)
    try:
        walk.run()
    except Ended as error:
        imports = any(all(word.isidentifier() for word in str(one).split(".")) for one in walk.names)
        if not marked and not walk.called and (not imports or _is_text(file, start)):
            return False  # such as the labels cat, dog, bird: it would import at most what is not there
        problem = f"{label} is a damaged pickle: {str(error)[:100]}"
    except Unclear as error:
        problem = f"{label}: {error}"
    else:
        problem = ""
    found.names |= walk.names
    found.pickles += 1
    if problem:
        found.problems.append(problem)
    return not problem
