"""The model file gate: what a file would import when it is loaded, in whatever it is wrapped.

A pickle is a program, but it can call only what it imports by name. A file passes when each of these names is trusted
and every part of it could be read; what cannot be followed is refused.
"""

from __future__ import annotations

import ast
import bz2
import gzip
import lzma
import math
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from trackside.errors import Refused
from trackside.trust.opcodes import Ended, Unclear, Walk, item_bytes
from trackside.trust.trusted import Global, Scan, allowed

LARGEST = 16 * 1024**3
"""Bytes unpacked from one file at most."""
DEEPEST = 4
"""Archives within archives."""
ENTRIES = 100_000
LONGEST_HEADER = 1 << 16
SAFE_FORMATS = "safetensors, skops, ONNX, or the library's own format (XGBoost JSON, LightGBM text, CatBoost cbm)"
_HEAD = 512
_ARRAY = b"\x93NUMPY"
_OPAQUE = {
    b"\x04\x22\x4d\x18": "LZ4",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!": "RAR",
    b"ZF": "joblib before 0.10",
}
"""Compressions by their first bytes that loaders know and Python's library does not."""


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


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
    with path.open("rb") as file:
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
    """One file, whatever it is; it can be read again from its start."""
    if depth > DEEPEST:
        found.problems.append(f"{label} is an archive within {DEEPEST} others")
        return
    head = file.read(_HEAD)
    file.seek(0)
    packed = next((name for magic, name in _OPAQUE.items() if head.startswith(magic)), "")
    if packed:
        found.problems.append(f"{label} is compressed by {packed}, which cannot be looked into")
        return
    opened = _opener(head)
    if opened is not None:
        with tempfile.TemporaryFile() as room:
            if _unpack(lambda: opened(file), room, label, found):
                room.seek(0)
                _scan(room, label, found, depth + 1)
        return
    if _maybe_zlib(head):
        with tempfile.TemporaryFile() as room:
            if _unpack(lambda: _Inflated(file), room, label, tried := _Found(found.room)):
                room.seek(0)
                _scan(room, label, found, depth + 1)
            elif tried.room < 0:
                found.problems += tried.problems
        file.seek(0)
    zipped = _is_zip(file)
    if zipped:
        _zip(file, label, found, depth)
    if head[257:262] == b"ustar" or _old_tar(head):
        _tar(file, label, found, depth)
    elif not (zipped and head.startswith(b"PK")):  # a pickle with an archive behind it is both
        file.seek(0)
        _stream(file, label, found)


def _opener(head: bytes) -> Callable[[IO[bytes]], _Readable] | None:
    """How a compressed file is read; None for any other."""
    if head.startswith(b"\x1f\x8b"):
        return lambda file: gzip.GzipFile(fileobj=file)
    if head.startswith(b"BZh"):
        return bz2.BZ2File
    if head.startswith((b"\xfd7zXZ\x00", b"\x5d\x00\x00")):
        return lzma.LZMAFile
    if len(head) > 2 and head[0] == 0x78 and int.from_bytes(head[:2], "big") % 31 == 0:
        return _Inflated
    return None


def _maybe_zlib(head: bytes) -> bool:
    """A zlib stream of a smaller window than usual, or two bytes that happen to look so."""
    return len(head) > 2 and head[0] in range(0x08, 0x78, 0x10) and int.from_bytes(head[:2], "big") % 31 == 0


class _Inflated:
    """A zlib stream, as joblib writes with `compress=`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._machine = file, zlib.decompressobj()

    def read(self, size: int = -1) -> bytes:
        made = b""
        while not made and not self._machine.eof:
            piece = self._machine.unconsumed_tail or self._file.read(1 << 16)
            if not piece:
                raise EOFError("the stream ends early")
            made = self._machine.decompress(piece, size if size > 0 else 1 << 20)
        return made


def _unpack(opened: Callable[[], _Readable | None], room: IO[bytes], label: str, found: _Found) -> bool:
    """Unpack within the room that is left; False (and a problem) where that fails."""
    try:
        file = opened()
        if file is not None:
            while piece := file.read(1 << 20):
                found.room -= len(piece)
                if found.room < 0:
                    found.problems.append(f"{label} unpacks to more than {LARGEST:,} bytes")
                    return False
                room.write(piece)
    except Exception as error:  # archive libraries raise many kinds, and each of them means: not readable
        found.problems.append(f"{label} cannot be unpacked: {type(error).__name__}")
        return False
    return True


def _old_tar(head: bytes) -> bool:
    """Whether a tar without a magic begins here: by its checksum."""
    try:
        return len(head) == _HEAD and tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape").size >= 0
    except tarfile.HeaderError:
        return False


def _is_zip(file: IO[bytes]) -> bool:
    file.seek(0)
    return zipfile.is_zipfile(file)


def _zip(file: IO[bytes], label: str, found: _Found, depth: int) -> None:
    file.seek(0)
    try:
        archive = zipfile.ZipFile(file)
        entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        found.problems.append(f"{label} cannot be unpacked: {type(error).__name__}")
        return
    if len(entries) > ENTRIES:
        found.problems.append(f"{label} holds more than {ENTRIES:,} files")
        return
    for entry in entries:  # also those that are called folders: loaders go by the name alone
        _member(lambda entry=entry: archive.open(entry), f"{label}:{entry.filename}", found, depth)  # type: ignore[misc]


def _tar(file: IO[bytes], label: str, found: _Found, depth: int) -> None:
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for entry in archive:
                if entry.isreg():
                    _member(lambda entry=entry: archive.extractfile(entry), f"{label}:{entry.name}", found, depth)  # type: ignore[misc]
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        found.problems.append(f"{label} cannot be unpacked: {type(error).__name__}")


def _member(opened: Callable[[], _Readable | None], label: str, found: _Found, depth: int) -> None:
    with tempfile.TemporaryFile() as room:
        if _unpack(opened, room, label, found):
            room.seek(0)
            _scan(room, label, found, depth + 1)


def _stream(file: IO[bytes], label: str, found: _Found) -> None:
    """Pickles and arrays one after the other, as PyTorch and numpy write them, up to what is neither."""
    while True:
        start = file.tell()
        head = file.read(len(_ARRAY))
        if head == _ARRAY:
            more = _array(file, label, found)
        else:
            file.seek(start)
            more = bool(head) and _pickle(file, head, label, found)
        if not more:
            return


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


def _pickle(file: IO[bytes], head: bytes, label: str, found: _Found) -> bool:
    """Walk one pickle that begins with `head`; False where nothing can follow it."""
    marked = head[0] == 0x80 and len(head) > 1 and head[1] <= 5
    walk = Walk(file, strict=not marked)
    try:
        walk.run()
    except Ended as error:
        if not marked and not walk.called:  # a text that begins like a pickle imports at most what is not there
            return False
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
