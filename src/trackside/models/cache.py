"""Files of releases by their digest: fetched once, gone on with after a kill, by one of several at a time.

    <cache>/trackside/models/sha256/ab/abcd…         a whole file, whose bytes have that digest
    <cache>/trackside/models/sha256/ab/abcd….part    what has come of one; whoever fetches it holds its lock

A lock ends with the process that holds it, however that ends. A file is judged by its digest each time it is used.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trackside.errors import DataError
from trackside.system.files import sha256_of

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A file of the cache; `fetched`: it was not there before."""

    path: Path
    fetched: bool


@dataclass(frozen=True)
class Cache:
    """Files below `folder`, which is made when first needed."""

    folder: Path

    def place(self, digest: str) -> Path:
        """Where the file of a digest lies, or would. Raises DataError for what is no digest."""
        found = _DIGEST.fullmatch(digest)
        if found is None:
            raise DataError(f"{digest[:100]!r} is no sha256 digest", reason_code="document_invalid")
        return self.folder / "models/sha256" / found[1][:2] / found[1]

    def held(self, digest: str) -> Path | None:
        """The file, its bytes checked; None where there is none, or one whose bytes changed."""
        path = self.place(digest)
        try:
            return path if sha256_of(path) == digest else None
        except FileNotFoundError:
            return None

    def fetch(self, digest: str, fill: Callable[[Path], None], *, waits: Callable[[], None] = lambda: None) -> Kept:
        """The file, fetched where it is not there.

        Args:
            fill: brings the bytes that the given file still lacks (it may hold a beginning), and raises DataError,
                the file taken away, where the whole has another digest.
            waits: called once where another process fetches the same file, before it is waited for.

        Raises:
            DataError: `fill` brought other bytes, also after a start from nothing.
        """
        there = self.held(digest)
        if there is not None:
            return Kept(path=there, fetched=False)
        path = self.place(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".part")
        with _alone(partial, waits):
            there = self.held(digest)  # whoever was waited for may have brought it
            if there is not None:
                partial.unlink(missing_ok=True)
                return Kept(path=there, fetched=False)
            began = partial.stat().st_size
            try:
                fill(partial)
            except DataError:
                if not began:
                    raise
                with partial.open("wb"):  # what was there was the beginning of something else
                    pass
                fill(partial)
            if sha256_of(partial) != digest:
                partial.unlink()
                raise DataError(f"what was fetched is not {digest}", reason_code="content_mismatch")
            partial.replace(path)
        return Kept(path=path, fetched=True)


@contextmanager
def _alone(path: Path, waits: Callable[[], None]) -> Iterator[None]:
    """Hold a file's lock; the file exists then, and is the one that the lock is on."""
    told = False
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    told = True
                    waits()
                fcntl.flock(handle, fcntl.LOCK_EX)
            if _same(handle, path):  # else its holder renamed or removed it meanwhile
                yield
                return
        finally:
            os.close(handle)


def _same(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def folder_alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder that exists: several processes that put files there do it one after the other."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
