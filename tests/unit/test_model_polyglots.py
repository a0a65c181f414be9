"""The model file gate: a file that is two formats at once hides nothing in either. None of them is loaded."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import pickle
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_model_gate import call, old_tar, state_dict, tarred, zipped

from trackside.trust.gate import scan

HARM = b"cos\nsystem\n(S'id'\ntR."
GOOD = pickle.dumps({"a": 1})
Cases = dict[str, bytes]


def summed(head: bytes | bytearray) -> bytes:
    """A header of a tar with its checksum."""
    made = bytearray(head)
    made[148:156] = b" " * 8
    made[148:156] = b"%06o\0 " % sum(made)
    return bytes(made)


def block(name: str = "x", data: bytes = b"", *, kind: bytes = b"0", size: bytes | None = None) -> bytes:
    """One member of a tar."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    head = bytearray(info.tobuf(tarfile.USTAR_FORMAT)[:512])
    head[156:157] = kind
    if size is not None:
        head[124:136] = size
    return summed(head) + data + bytes(-len(data) % 512)


def tar_and_pickle(*, old: bool, behind: bytes) -> bytes:
    """A tar whose header is also a text of a pickle."""
    head = bytearray(block())
    start = b"\x80\x04X" + (512 - 7).to_bytes(4, "little") + b"n"
    head[: len(start)] = start
    head[257:265] = bytes(8) if old else head[257:265]
    return summed(head) + behind


def pax(record: bytes) -> bytes:
    return block("pax", b"%d %s\n" % (len(record) + 4, record), kind=b"x")


def tars() -> Cases:
    end = bytes(1024)
    late = tarred({"a": b"1"}).rstrip(b"\0")
    late += bytes(-len(late) % 512)
    return {
        "a tar that is a pickle": tar_and_pickle(old=False, behind=b"0" + HARM),
        "an old tar that is a pickle": tar_and_pickle(old=True, behind=b"0" + HARM),
        "a tar that is a pickle, and ends as a tar": tar_and_pickle(old=False, behind=b"0" + HARM + bytes(1500)),
        "a tar, then a pickle": late + call("os", "system"),
        "a tar, zeros, then a tar": late + end + block("x", HARM) + end,
        "a tar, zeros, then a pickle": late + end + HARM,
        "a first member without bytes, then a pickle": block("a") + HARM,
        "an empty member, then another": block("a") + block("b", HARM) + end,
        "a pickle behind a member, in its last block": block("a", b"1")[:513] + HARM.ljust(511, b"\0") + end,
        "a member of an unknown kind": block("a", HARM, kind=b"Z") + end,
        "a contiguous member": block("a", HARM, kind=b"7") + end,
        "a sparse member": block("a", HARM, kind=b"S") + end,
        "a folder with bytes": block("a", HARM, kind=b"5") + end,
        "a folder by its name, with bytes": block("a/", HARM, kind=b"\0") + end,
        "a link with bytes": block("a", HARM, kind=b"2") + end,
        "a size below zero": block("a", size=b"\xff" * 12) + end,
        "a size with a sign": block("a", HARM, size=b"+0000000026\0") + end,
        "a size with a line below": block("a", HARM, size=b"0000000_026\0") + end,
        "a size by an extended header": pax(b"size=0") + block("a", HARM) + end,
        "a sparse map by an extended header": pax(b"GNU.sparse.map=0,0") + block("a", HARM) + end,
        "an extended header at the end": block("a", b"1") + pax(b"path=x") + end,
        "a name twice": block("a", b"1") + block("a", HARM) + end,
        "PyTorch's first format": block("storages", b"I1\n." + bytes(9) + HARM) + end,
        "PyTorch's first format, by a link": block("x", b"I1\n." + bytes(9) + HARM)
        + block("storages", kind=b"1")
        + end,
        "PyTorch's first format, by a long name": pax(b"path=storages") + block("x", b"I1\n." + bytes(9) + HARM) + end,
        "cut": block("a", HARM)[:512],
    }


def streams() -> Cases:
    packed = bz2.compress(b"hello")
    alone = lzma.compress(HARM, format=lzma.FORMAT_ALONE)
    small = lzma.compress(HARM, format=lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 4096}])
    other = lzma.compress(
        HARM, format=lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": 0, "pb": 0}]
    )
    nothing = lzma.compress(b"", format=lzma.FORMAT_ALONE)
    squeezed = zlib.compress(HARM * 99 + bytes(9999))
    makers: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zlib": zlib.compress,
    }  # fmt: skip
    made = {f"{name}, then {what}": make(b"1") + more for name, make in makers.items()
            for what, more in {"a pickle": HARM, "a zip": zipped({"x": HARM}), "another of it": make(HARM),
                               "a zero": b"\0"}.items()}  # fmt: skip
    return made | {
        "a bzip2 whose first bytes are an opcode": packed + bytes(77) + b"0" + HARM,
        "bzip2, a pickle of its bytes": b"BZh9" + packed[4:] + HARM,
        "lzma of 4 KiB": small,
        "lzma of other settings": other,
        "lzma behind an empty one": nothing + alone,
        "lzma behind zeros": bytes(18 * 3) + alone,
        "lzma, then zeros, then lzma": nothing + bytes(18) + alone,
        "lzma with a fault at its end": lzma.compress(HARM * 99 + bytes(1 << 20), format=lzma.FORMAT_ALONE)[:-9],
        "zlib with a fault at its end": squeezed[:-1] + b"\xff",
        "zlib of a small window, cut": zlib_small(HARM * 99)[:-3],
        "Zstandard behind a frame to skip": b"\x50\x2a\x4d\x18\x04\x00\x00\x00" + HARM,
        "old LZ4": b"\x02\x21\x4c\x18" + HARM,
        "Snappy": b"\xff\x06\x00\x00sNaPpY" + HARM,
    }


def zlib_small(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=10)
    return machine.compress(data) + machine.flush()


def local(name: bytes, data: bytes, **other: int) -> bytes:
    """A member of a zip with its header, of which some numbers may be false."""
    told = {"flags": 0, "method": 0, "crc": zlib.crc32(data), "packed": len(data), "size": len(data)} | other
    return struct.pack("<4s5H3I2H", b"PK\3\4", 20, told["flags"], told["method"], 0, 33, told["crc"], told["packed"],
                       told["size"], len(name), 0) + name + data  # fmt: skip


def listed(name: bytes, data: bytes, at: int, **other: int) -> bytes:
    told = {"flags": 0, "method": 0, "crc": zlib.crc32(data), "packed": len(data), "size": len(data)} | other
    return struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, told["flags"], told["method"], 0, 33, told["crc"],
                       told["packed"], told["size"], len(name), 0, 0, 0, 0, 0, at) + name  # fmt: skip


def ended(count: int, size: int, at: int, comment: bytes = b"") -> bytes:
    return struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, size, at, len(comment)) + comment


def one(header: bytes, entry: bytes) -> bytes:
    return header + entry + ended(1, len(entry), len(header))


def zips() -> Cases:
    name = b"archive/data.pkl"
    evil, entry = local(name, HARM), listed(name, HARM, 0)
    good_at = len(evil) + len(entry)
    good_entry = listed(name, GOOD, len(evil) + len(entry) - len(entry) - len(local(name, GOOD)))
    two = evil + entry + local(name, GOOD) + good_entry + ended(1, len(entry), len(evil))
    plain, whole = local(name, GOOD), one(local(name, GOOD), listed(name, GOOD, 0))
    raw = zlib.compressobj(wbits=-15)
    deflated = raw.compress(GOOD) + raw.flush()
    longer = local(name, deflated + HARM, method=8, size=len(GOOD), crc=zlib.crc32(GOOD))
    longer_entry = listed(name, deflated + HARM, 0, method=8, size=len(GOOD), crc=zlib.crc32(GOOD))
    wide = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(entry), good_at) + struct.pack(
        "<4sIQI", b"PK\6\7", 0, good_at + len(entry), 1
    )
    return {
        "two directories": two,
        "a zip with 70,000 bytes behind it": zipped({"x": HARM}) + bytes(70_000),
        "a zip with a byte behind it": one(evil, entry) + b"\0",
        "a clean zip with a pickle behind it": whole + HARM,
        "a pickle before it": GOOD + one(evil, entry),
        "a clean zip behind another": one(evil, entry) + whole,
        "a comment that is an end": evil + entry + ended(1, len(entry), len(evil), ended(0, 0, 0)),
        "a comment that is a zip": whole[:-2] + struct.pack("<H", len(one(evil, entry))) + one(evil, entry),
        "a comment that is longer than told": whole[:-2] + b"\x01\x00" + b"ab",
        "bytes between members": evil + plain + listed(name, GOOD, len(evil)) + ended(1, len(entry), len(evil + plain)),
        "bytes before the directory": plain + evil + listed(name, GOOD, 0) + ended(1, len(entry), len(plain + evil)),
        "another name in the header": one(local(b"archive/data.pk_", GOOD), listed(name, GOOD, 0)),
        "another size in the header": one(local(name, GOOD, size=3, packed=3), listed(name, GOOD, 0)),
        "another checksum in the header": one(local(name, GOOD, crc=1), listed(name, GOOD, 0)),
        "a false checksum in both": one(local(name, GOOD, crc=1), listed(name, GOOD, 0, crc=1)),
        "another method in the header": one(local(name, GOOD, method=8), listed(name, GOOD, 0)),
        "other flags in the header": one(local(name, GOOD, flags=8), listed(name, GOOD, 0)),
        "a name twice": plain + local(name, HARM) + listed(name, GOOD, 0) + listed(name, HARM, len(plain))
        + ended(2, 2 * len(entry), len(plain) + len(evil)),
        "two names for one member": plain + listed(name, GOOD, 0) + listed(name[:-1] + b"m", GOOD, 0)
        + ended(2, 2 * len(entry), len(plain)),
        "bytes behind a deflated member": one(longer, longer_entry),
        "a stored member that is smaller than told": one(local(name, GOOD, size=9), listed(name, GOOD, 0, size=9)),
        "encrypted": one(local(name, GOOD, flags=1), listed(name, GOOD, 0, flags=1)),
        "encrypted strongly": one(local(name, GOOD, flags=65), listed(name, GOOD, 0, flags=65)),
        "an unknown method": one(local(name, GOOD, method=97), listed(name, GOOD, 0, method=97)),
        "by bzip2": zipped({"x": HARM}, zipfile.ZIP_BZIP2),
        "by lzma": zipped({"x": HARM}, zipfile.ZIP_LZMA),
        "a count that is false": whole[:-12] + b"\x02\x00" + whole[-10:],
        "a directory that is longer than told": plain + listed(name, GOOD, 0) + entry
        + ended(1, len(entry) * 2, len(plain)),
        "an end of zip64 for another directory": evil + plain + entry + wide + ended(1, len(entry), len(evil)),
        "an end of zip64 that is not there": evil + entry + ended(1, len(entry), 0xFFFFFFFF),
        "a NUL in a name": one(local(b"a\0b", HARM), listed(b"a\0b", HARM, 0)),
        "a begin alone": b"PK\3\4" + HARM,
        "a spanned begin": b"PK\7\x08" + one(evil, entry),
        "a text before a zip": b"a text" + one(evil, entry),
        "a text before a zip whose places are moved": b"a text" + evil + listed(name, HARM, 6)
        + ended(1, len(entry), len(evil) + 6),
        "a line of a persistent id, then a pickle, then a zip": b"PKx\n0" + HARM + whole,
    }  # fmt: skip


def others() -> Cases:
    many = b" " * 100
    return {
        "a pickle, then bytes": GOOD + b"\xff" * 9 + HARM,
        "a pickle, then zeros, then a pickle": GOOD + bytes(9) + call("os", "system"),
        "an array, then bytes": npy() + b"\xff" * 9 + HARM,
        "a number behind many spaces": b"I" + many + b"0x10\n0" + HARM,
        "a global beyond ASCII, then harm": "cé\nx\n0".encode() + HARM,
        "a tar within a bzip2 with bytes behind it": bz2.compress(tarred({"x": HARM})) + b"0" + HARM,
    }


def npy() -> bytes:
    room = io.BytesIO()
    np.save(room, np.arange(4.0))
    return room.getvalue()


def test_a_file_of_two_formats_hides_nothing(tmp_path: Path) -> None:
    path, count = tmp_path / "model.pkl", 0
    wrappings: dict[str, Callable[[bytes], bytes]] = {
        "plain": lambda data: data,
        "in a zip": lambda data: zipped({"x": data}),
        "in a tar": lambda data: tarred({"x": data}),
        "in an old tar": lambda data: old_tar(tarred({"x": data})),
        "gzipped": gzip.compress,
    }
    for group in (tars, streams, zips, others):
        for name, data in group().items():
            for wrapping, wrap in wrappings.items():
                path.write_bytes(wrap(data))
                assert not scan(path).safe, (group.__name__, name, wrapping)
                count += 1
    print(f"{count} files of two formats")
    assert count >= 5 * 95


def test_a_sparse_file_hides_no_pickle_behind_a_bzip2(tmp_path: Path) -> None:
    """`BZh9` is an opcode too, for a text of 0.8 GB, which needs no room on the disk."""
    packed = bz2.compress(b"hello")
    length = int.from_bytes(packed[1:5], "little")
    path = tmp_path / "model.pkl"
    with path.open("wb") as file:
        file.write(packed)
        file.seek(5 + length)
        file.write(b"0" + HARM)
    assert not scan(path).safe


def as_pytorch(files: Cases) -> bytes:
    """A zip as PyTorch writes it: sizes behind the members, filling before them, ends of zip64 from 1.6 on."""
    made, directory = b"", b""
    for name, data in files.items():
        at, named = len(made), name.encode()
        numbers = zlib.crc32(data), len(data), len(data)
        filling = -(at + 34 + len(named)) % 64
        extra = struct.pack("<2sH", b"FB", filling) + b"Z" * filling
        head = struct.pack("<4s5H3I2H", b"PK\3\4", 0, 0x808, 0, 0, 0, 0, 0, 0, len(named), len(extra))
        made += head + named + extra + data + struct.pack("<4s3I", b"PK\7\x08", *numbers)
        directory += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 0, 0, 0x808, 0, 0, 0, *numbers, len(named), 0, 0, 0, 0, 0, at
        )
        directory += named
    start, count = len(made), len(files)
    made += directory + struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 30, 45, 0, 0, count, count, len(directory), start)
    made += struct.pack("<4sIQI", b"PK\6\7", 0, start + len(directory), 1)
    return made + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), 0xFFFFFFFF, 0)


class _Pipe(io.BytesIO):
    """What cannot be sought, so that a zip tells sizes behind its members."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise OSError("not seekable")

    def tell(self) -> int:
        raise OSError("not seekable")


def test_clean_archives_pass(tmp_path: Path) -> None:
    room = io.BytesIO()
    np.savez_compressed(room, a=np.arange(9), b=np.array([{}], dtype=object))
    stored = io.BytesIO()
    np.savez(stored, a=np.arange(9))
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", GOOD)
        archive.writestr("empty", b"")
    commented = io.BytesIO()
    with zipfile.ZipFile(commented, "w") as archive:
        archive.writestr("data.pkl", GOOD)
        archive.comment = b"made by hand"
    long, tar = "d/" * 120 + "model.pkl", io.BytesIO()
    gnu = io.BytesIO()
    for at, form in ((tar, tarfile.PAX_FORMAT), (gnu, tarfile.GNU_FORMAT)):
        with tarfile.open(fileobj=at, mode="w", format=form) as out:
            for name, kind in (("d", tarfile.DIRTYPE), (long, tarfile.REGTYPE), ("l", tarfile.SYMTYPE)):
                info = tarfile.TarInfo(name)
                info.type, info.size, info.linkname = kind, len(GOOD) if name == long else 0, long
                info.pax_headers = {"mtime": "1.5"}
                out.addfile(info, io.BytesIO(GOOD))
    files = {
        "compressed.npz": room.getvalue(),
        "model.pt": as_pytorch({"m/data.pkl": state_dict(), "m/data/0": bytes(16), "m/version": b"3\n"}),
        "piped.zip": pipe.getvalue(),
        "commented.zip": commented.getvalue(),
        "empty.zip": zipped({}),
        "stored.zip": zipped({"a.npz": stored.getvalue()}, zipfile.ZIP_STORED),
        "npz.tar": tarred({"a.npz": stored.getvalue()}),
        "pax.tar": tar.getvalue(),
        "gnu.tar.gz": gzip.compress(gnu.getvalue()),
        "old.tar": old_tar(tarred({"m.pkl": GOOD})),
        "none.tar": tarred({"I1.pkl": GOOD, "N.json": b"{}"}),
        "zip.pkl": pickle.dumps({"weights": stored.getvalue()}),
        "weights.xz": lzma.compress(bytes(4096)),
        "zeros.bin": bytes(5_000_000),
        "twos.bin": np.array([2.0, 2.0] + [0.0] * 99_999, dtype="<f4").tobytes(),
        "counts.bin": np.array([5, 7] + [0] * 9999, dtype="<i8").tobytes(),
        "formula.txt": b"x^2 + y^2 = z^2\n",
        "scores.md": b"F1 score: 0.93\nI1, I2 and L3 are inputs\n",
        "words.txt": "café\nnaïve\nzoo\n".encode(),
        "notes.txt": b"PKZIP made it\n",
        "initial.txt": b"N. Bohr\n",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        found = scan(tmp_path / name)
        assert found.safe, (name, [str(one) for one in found.unknown], found.problems)
    print(f"{len(files)} clean files")
    assert scan(tmp_path / "model.pt").pickles == 1
    assert scan(tmp_path / "npz.tar").pickles == 0


def test_weights_that_begin_with_opcodes_pass(tmp_path: Path) -> None:
    """Numbers behind each first byte but the mark of a pickle, which no raw number of a model's file begins with."""
    numbers, path, count, alarms = random.Random(7), tmp_path / "weights.bin", 0, []
    for first in range(256):
        for _ in range(6):
            body = np.array([numbers.gauss(0, 0.1) for _ in range(200)], dtype="<f4").tobytes()
            path.write_bytes(bytes([first]) + body)
            found = scan(path)
            alarms += [] if found.safe else [(first, found.problems, sorted(map(str, found.unknown)))]
            count += 1
    print(f"{count} files of numbers, {len(alarms)} alarms")
    assert count == 256 * 6
    assert not alarms


def test_what_is_tried_counts_for_the_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members that may be zlib are unpacked within what is left, not each within the whole."""
    monkeypatch.setattr("trackside.trust.gate.LARGEST", 3 << 18)
    path = tmp_path / "model.zip"
    packed = zlib_small(bytes(1 << 17))
    for damaged, count, safe in ((False, 2, True), (False, 6, False), (True, 2, True), (True, 6, False)):
        data = packed[:-1] + b"\xff" if damaged else packed
        path.write_bytes(zipped({f"m{at}": data for at in range(count)}, zipfile.ZIP_STORED))
        assert scan(path).safe == safe, (damaged, count, scan(path).problems)


class _Watching(pickle.Unpickler):
    """Tells names that would be called; nothing is imported or called."""

    names: set[tuple[str, str]]

    def find_class(self, module: str, name: str) -> Any:
        def called(*_: Any) -> None:
            self.names.add((module, name))
            raise pickle.UnpicklingError("watched")

        return called


def unzipped(data: bytes) -> Iterator[bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        yield from (archive.read(one) for one in archive.infolist())


def untarred(data: bytes) -> Iterator[bytes]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for entry in archive:
            if file := archive.extractfile(entry):
                yield file.read()


def inflated(data: bytes) -> Iterator[bytes]:
    """As joblib does, which goes on behind the first stream."""
    machine = zlib.decompressobj()
    made = machine.decompress(data, 99_999)
    yield made
    yield made + zlib.decompressobj().decompress(machine.unused_data, 99_999)


def opened(kind: Callable[..., Any]) -> Callable[[bytes], Iterator[bytes]]:
    def read(data: bytes) -> Iterator[bytes]:
        with kind(io.BytesIO(data)) as file:
            yield file.read(99_999)

    return read


READERS: list[Callable[[bytes], Iterator[bytes]]] = [
    lambda data: iter([data]), unzipped, untarred, inflated, opened(gzip.open), opened(bz2.open), opened(lzma.open),
]  # fmt: skip


def called(data: bytes) -> set[tuple[str, str]]:
    """What loaders would call first in what Python's own readers of archives make of a file."""
    names = set[tuple[str, str]]()
    for reader in READERS:
        with contextlib.suppress(Exception):  # many kinds: this reader does not take it for its own
            for content in reader(data):
                watching = _Watching(io.BytesIO(content))
                watching.names = names
                with contextlib.suppress(Exception):
                    watching.load()
    return names


def test_what_passes_calls_nothing_by_any_reader(tmp_path: Path) -> None:
    """Files of two formats and clean ones, damaged at random: the gate answers, and agrees with who opens them."""
    choice, path, passed, count = random.Random(11), tmp_path / "model.pkl", 0, 0
    seeds = [data for group in (tars, streams, zips, others) for data in group().values() if len(data) < 20_000]
    seeds += [GOOD, zipped({"x": GOOD}), tarred({"x": GOOD}), gzip.compress(GOOD), bz2.compress(GOOD), npy()] * 8
    while count < 1200:
        data = bytearray(choice.choice(seeds))
        for _ in range(choice.randint(1, 4)):
            at, kind = choice.randrange(len(data) + 1), choice.randrange(4)
            if kind == 0 and at < len(data):
                data[at] = choice.choice([0, 1, 0x7F, 0xFF, choice.randrange(256)])
            elif kind == 1:
                del data[at : at + choice.randrange(40)]
            elif kind == 2:
                data[at:at] = bytes(choice.randrange(30))
            else:
                data[at:at] = choice.choice([HARM, zipped({"y": HARM}), choice.choice(seeds)[:600]])
        path.write_bytes(data)
        count += 1
        if (found := scan(path)).safe:
            passed += 1
            known = {(one.module, one.name) for one in found.allowed}
            assert called(bytes(data)) <= known, bytes(data)[:2000]
    whole = [bytes(data) for group in (tars, streams, zips, others) for data in group().values() if len(data) < 20_000]
    harmful = sum(bool(called(data)) for data in whole if b"\xff" * 12 not in data)  # a size on which tarfile spins
    print(f"{count} damaged files, {passed} pass; {harmful} of {len(whole)} files of two formats call by these readers")
    assert harmful > 20
    assert count == 1200
    assert passed > 20
