"""Archives and compressed streams, read strictly: every byte belongs to something, so that no two readers see two
different things in one file. What is ambiguous is refused, though some reader may open it.

Sources: PKWARE's APPNOTE 6.3 (zip), POSIX.1-2001 and the manual of GNU tar (tar).
"""

from __future__ import annotations

import lzma
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, Protocol

ENTRIES = 100_000
"""Members of one archive at most."""
ZIP_HEADS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
BLOCK = 512
_PIECE = 1 << 16
_FULL, _FULL_WIDE = 0xFFFF, 0xFFFFFFFF
"""Numbers of a zip that stand for one in its zip64 fields."""
_EMPTY_LZMA = 18
"""Bytes of an LZMA stream that holds nothing: its header and those that begin a range coder."""
_LOCKED = 0x2061
"""Flags of a zip's member: encrypted, a patch, encrypted strongly, with a masked header."""
_STREAMED = 0x08
"""The flag of a member whose checksum and sizes follow it."""


class Odd(Exception):
    """The file is not laid out as its format says. The message says how."""


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file of an archive; `pieces` reads it and raises Odd where it is not what the archive says."""

    name: str
    pieces: Callable[[], Iterator[bytes]]


def inflated(file: _Readable, make: Callable[[], Any], *, known: int | None = None) -> Iterator[bytes]:
    """What one compressed stream holds, by a machine of zlib, bz2 or lzma.

    Args:
        known: pieces that can surely be made; from there on single bytes, to get all that comes before a fault.

    Raises:
        Odd: bytes follow the stream. EOFError: it ends early. Also what the machine raises for damaged ones.
    """
    machine, made_so_far = make(), 0
    while not machine.eof:
        tail = getattr(machine, "unconsumed_tail", b"")
        hungry = not tail and getattr(machine, "needs_input", True)
        given = file.read(_PIECE) if hungry else tail
        made = machine.decompress(given, _PIECE if known is None or made_so_far < known else 1)
        if made:
            made_so_far += 1
            yield made
        elif not given and not machine.eof:
            raise EOFError("the stream ends early")
    if machine.unused_data or file.read(1):
        raise Odd("bytes behind its compressed stream")


def lzma_begins(head: bytes) -> bool:
    """Whether liblzma may take this for a stream of the old format, which has no magic."""
    if len(head) < _EMPTY_LZMA or head[0] >= 225 or head[13]:  # the first byte of a range coder is 0
        return False
    window, size = struct.unpack("<IQ", head[1:13])
    usual = window.bit_count() in (0, 1, 32) or (window.bit_count() == 2 and window & (window >> 1))
    return head[:2] == b"\x5d\x00" or bool(usual and (size < 1 << 38 or size == (1 << 64) - 1))


def lzma_streams(file: IO[bytes], *, known: int | None = None) -> Iterator[bytes]:
    """What streams of the old LZMA format hold, one behind the other as Python reads them; `known` as for `inflated`.

    Raises:
        ValueError: something else follows. EOFError, LZMAError: the last one is cut or damaged.
    """
    at, made_so_far = 0, 0
    while True:
        at += _zeros(file, at) // _EMPTY_LZMA * _EMPTY_LZMA  # each of these is a stream that holds nothing
        file.seek(at)
        if not (head := file.read(_EMPTY_LZMA)).strip(b"\0"):
            return
        if not lzma_begins(head):
            raise ValueError("no further stream")
        file.seek(at)
        machine = lzma.LZMADecompressor(lzma.FORMAT_ALONE)
        while not machine.eof:
            given = file.read(_PIECE) if machine.needs_input else b""
            at += len(given)
            made = machine.decompress(given, _PIECE if known is None or made_so_far < known else 1)
            if made:
                made_so_far += 1
                yield made
            elif not given and not machine.eof:
                raise EOFError("the stream ends early")
        at -= len(machine.unused_data)


def _zeros(file: IO[bytes], start: int) -> int:
    """How many zeros follow."""
    file.seek(start)
    found = 0
    while data := file.read(_PIECE):
        rest = data.lstrip(b"\0")
        found += len(data) - len(rest)
        if rest:
            break
    return found


@dataclass
class _Part:
    """Some bytes of a file, from `at` on."""

    file: IO[bytes]
    at: int
    left: int

    def read(self, size: int = -1, /) -> bytes:
        self.file.seek(self.at)
        data = self.file.read(self.left if size < 0 else min(size, self.left))
        self.at, self.left = self.at + len(data), self.left - len(data)
        return data

    def pieces(self) -> Iterator[bytes]:
        while self.left:
            if not (data := self.read(_PIECE)):
                raise EOFError("it ends early")
            yield data


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A member by the directory of a zip."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    at: int


def zip_members(file: IO[bytes]) -> list[Member] | None:
    """The members of a zip, or of one in the midst of a file of another format; None where no reader finds one.

    Raises:
        Odd: the local headers do not agree with the directory or do not follow each other; another directory may be
            found; bytes stand before or behind a file that begins as a zip.
    """
    file.seek(0)
    whole = file.read(4) in ZIP_HEADS
    found = _end_of_zip(file, whole)
    if found is None:
        return None
    base, start, stop, count = found
    file.seek(start)
    entries = list(_directory(file.read(stop - start), count))
    if len({one.name for one in entries}) < len(entries):
        raise Odd("a name twice")
    members, at = [], base
    entries.sort(key=lambda one: one.at)
    for entry, following in zip(entries, [*(base + one.at for one in entries), start][1:], strict=True):
        if base + entry.at != at:
            raise Odd("bytes between its members")
        members.append(_member(file, entry, at, following))
        at = following
    if at != start:
        raise Odd("bytes before its directory")
    return members


def _end_of_zip(file: IO[bytes], whole: bool) -> tuple[int, int, int, int] | None:
    """Where the zip begins, where its directory begins and ends, and how many members it lists."""
    length = file.seek(0, 2)
    before = max(length - 22 - _FULL, 0)
    file.seek(before)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 and not whole:
        return None
    if at < 0 or len(tail) - at < 22:
        raise Odd("a zip that does not end as one")
    disk, disk_of_it, here, count, size, offset, comment = struct.unpack("<4H2IH", tail[at + 4 : at + 22])
    if whole and at + 22 + comment != len(tail):
        raise Odd("bytes behind its directory")
    stop = before + at
    file.seek(max(stop - 76, 0))
    wide = file.read(76)
    if len(wide) == 76 and wide[56:60] == b"PK\x06\x07":
        stop -= 76
        numbers = struct.unpack("<4sQHHIIQQQQ", wide[:56])
        magic, rest, _, _, disk, disk_of_it, here, wide_count, wide_size, wide_offset = numbers
        plain = [(count, wide_count, _FULL), (size, wide_size, _FULL_WIDE), (offset, wide_offset, _FULL_WIDE)]
        if magic != b"PK\x06\x06" or rest != 44 or any(one not in (other, full) for one, other, full in plain):
            raise Odd("two ends that do not agree")
        count, size, offset = wide_count, wide_size, wide_offset
        _, locator_disk, told, disks = struct.unpack("<4sIQI", wide[56:])
        if locator_disk or disks > 1 or told != offset + size:
            raise Odd("two ends that do not agree")
    elif wide[-20:-16] == b"PK\x06\x07" or _FULL in (count, here) or _FULL_WIDE in (size, offset):
        raise Odd("an end that is not there")
    base = stop - size - offset
    if disk or disk_of_it or here != count or base < 0 or count > ENTRIES:
        raise Odd("a directory in parts, elsewhere, or too large")
    file.seek(offset)
    if base and (whole or file.read(4) == b"PK\x01\x02"):
        raise Odd("a directory that is not where its end says")
    return base, stop - size, stop, count


def _directory(data: bytes, count: int) -> Iterator[_Entry]:
    at = 0
    for _ in range(count):
        if len(data) - at < 46 or data[at : at + 4] != b"PK\x01\x02":
            raise Odd("a directory that is damaged")
        fields = struct.unpack("<4H4x3I5H2I", data[at + 4 : at + 46])
        _, _, flags, method, crc, packed, size, named, more, comment, disk, _, _, offset = fields
        names = at + 46
        at = names + named + more + comment
        name, extra = data[names : names + named], data[names + named : names + named + more]
        if at > len(data) or disk not in (0, _FULL) or b"\0" in name:
            raise Odd("a directory that is damaged")
        size, packed, offset = _wide(extra, size, packed, offset)
        yield _Entry(name=name, flags=flags, method=method, crc=crc, packed=packed, size=size, at=offset)
    if at != len(data):
        raise Odd("bytes in its directory")


def _wide(extra: bytes, *numbers: int) -> list[int]:
    """Numbers of a header, those that are full by its zip64 field."""
    at, found = 0, list[bytes]()
    while at + 4 <= len(extra):
        kind, size = struct.unpack("<HH", extra[at : at + 4])
        found += [extra[at + 4 : at + 4 + size]] if kind == 1 else []
        at += 4 + size
    full = sum(one == _FULL_WIDE for one in numbers)
    if len(found) > 1 or (full and (not found or len(found[0]) < 8 * full)):
        raise Odd("sizes that are not clear")
    values = iter(struct.unpack(f"<{full}Q", found[0][: 8 * full]) if full else ())
    return [next(values) if one == _FULL_WIDE else one for one in numbers]


def _member(file: IO[bytes], entry: _Entry, at: int, following: int) -> Member:
    """One member whose local header says what the directory says, and which reaches to what follows."""
    file.seek(at)
    head = file.read(30)
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise Odd("a member without a header")
    flags, method, crc, packed, size, named, more = struct.unpack("<2x2H4x3I2H", head[4:])
    name, extra = file.read(named), file.read(more)
    size, packed = _wide(extra, size, packed)
    streamed = bool(flags & _STREAMED)
    agreed = (crc, packed, size) == (entry.crc, entry.packed, entry.size) or (streamed and not (crc or packed or size))
    if (flags, method, name) != (entry.flags, entry.method, entry.name) or not agreed:
        raise Odd("a member whose header and directory do not agree")
    begin = at + 30 + named + more
    end = begin + entry.packed
    if not end <= following <= end + (24 if streamed else 0):
        raise Odd("bytes between its members")
    file.seek(end)
    numbers = entry.crc, entry.packed, entry.size
    plain = [] if max(numbers) > _FULL_WIDE else [struct.pack("<3I", *numbers)]
    told = [*plain, struct.pack("<IQQ", *numbers)]
    if streamed and file.read(following - end) not in [*told, *(b"PK\x07\x08" + one for one in told)]:
        raise Odd("a member whose end and directory do not agree")
    return Member(name=name.decode("utf-8", "replace"), pieces=partial(_unzipped, file, entry, begin))


def _unzipped(file: IO[bytes], entry: _Entry, begin: int) -> Iterator[bytes]:
    if entry.flags & _LOCKED or entry.method not in (0, 8):
        raise Odd("it is encrypted, or packed in another way than by deflate")
    part = _Part(file, begin, entry.packed)
    pieces = part.pieces() if entry.method == 0 else inflated(part, partial(zlib.decompressobj, -15))
    crc, size = 0, 0
    for piece in pieces:
        crc, size = zlib.crc32(piece, crc), size + len(piece)
        yield piece
    if (crc, size) != (entry.crc, entry.size):
        raise Odd("it holds something else than its directory says")


def is_tar(head: bytes) -> bool:
    """Whether a tar begins here, with or without a magic: by its checksum."""
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
_EXTRAS = b"xgLK"
"""Headers about the next one: extended, global, a long name, a long link."""
_EMPTY = b"123456"
"""Links, devices, folders."""
_TORCH = frozenset({"storages", "tensors"})
"""Of PyTorch's first format, which reads pickles between raw bytes."""


def tar_members(file: IO[bytes]) -> Iterator[Member]:
    """The members of a tar, one by one.

    Raises:
        Odd: something follows that is not a member, or is there where zeros should be; a kind of member, or a way to
            tell its size, that readers take differently.
    """
    length, at, extra, names = file.seek(0, 2), 0, b"", set[str]()
    while at < length:
        file.seek(at)
        head = file.read(BLOCK)
        if not head.strip(b"\0"):
            break
        name, kind, size = _tar_head(head)
        at += BLOCK
        end = at + size
        following = -(-end // BLOCK) * BLOCK
        if end > length or len(names) >= ENTRIES or (kind in _EXTRAS and size + len(extra) > _PIECE):
            raise Odd("it ends early, or holds too many files")
        if kind in _EXTRAS:
            data = _Part(file, at, size).read()
            if re.search(rb"(?:^|[\s])(?:size|SCHILY\.realsize|GNU\.sparse\.[^=]*|hdrcharset)=", data):
                raise Odd("a size that not every reader knows")
            extra += kind + data
        else:
            called = _long_name(extra) or name
            if called in names or name in _TORCH or any(one.encode() in extra for one in _TORCH):
                raise Odd("a name twice, or of a format of PyTorch that nobody can check")
            names.add(called)
            extra = b""
            if kind == b"0" or (kind == b"\0" and not name.endswith("/")):  # the oldest format knows folders so
                yield Member(name=called, pieces=_Part(file, at, size).pieces)
            elif size:
                raise Odd("bytes of a member that is not a file")
        _only_zeros(file, end, following)
        at = following
    if extra:
        raise Odd("a header without its member")
    _only_zeros(file, at, length)


def _tar_head(head: bytes) -> tuple[str, bytes, int]:
    """Name, kind and size in bytes."""
    try:
        known = tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        raise Odd("something that is not a member") from None
    kind, field = head[156:157], head[124:136]
    written = _OCTAL.fullmatch(field)
    if kind not in b"0\0" + _EMPTY + _EXTRAS or known.size < 0 or not (written or field[0] == 0x80):
        raise Odd("a member of a kind, or of a size, that readers take differently")
    name = head[:100].split(b"\0")[0].decode("utf-8", "surrogateescape")
    return name, kind, known.size


def _long_name(extra: bytes) -> str:
    """The name by headers before a member's own; empty where they say none."""
    found = re.search(rb"\spath=([^\n]*)\n", extra) or re.search(rb"L([^\0]*)", extra)
    return found[1].decode("utf-8", "surrogateescape") if found else ""


def _only_zeros(file: IO[bytes], start: int, end: int) -> None:
    """Raises Odd where there are others."""
    file.seek(start)
    left = end - start
    while left > 0 and (data := file.read(min(left, _PIECE))):
        if data.strip(b"\0"):
            raise Odd("bytes behind its members")
        left -= len(data)
