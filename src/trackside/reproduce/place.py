"""A folder to train in, aside from any checkout; taken away afterwards, by the next one if this process is killed."""

from __future__ import annotations

import fcntl
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from trackside.errors import ConfigError

LINK = "reproduce.md"


def cache_of(env: Mapping[str, str]) -> Path:
    """Where Trackside keeps what it can make anew. Raises ConfigError where the user has no home."""
    given, home = env.get("XDG_CACHE_HOME", ""), env.get("HOME", "")
    if not given and not home:
        raise ConfigError(
            "there is no place to train in",
            why="neither XDG_CACHE_HOME nor HOME is set",
            remedy="export HOME=…",
            link=LINK,
        )
    return (Path(given) if given else Path(home) / ".cache") / "trackside"


@contextmanager
def place(cache: Path, keep: Path | None = None) -> Iterator[Path]:
    """A fresh folder, gone when the block ends; with `keep` it is that one, and stays.

    Raises:
        ConfigError: `keep` holds something already, or nothing can be written there.
    """
    if keep is not None:
        yield _kept(keep)
        return
    root = cache / "reproduce"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / ".lock", wait=True):
            sweep(root)
            folder = root / secrets.token_hex(6)
            owner = _open(folder.with_suffix(".lock"))
            fcntl.flock(owner, fcntl.LOCK_EX)
            folder.mkdir()
    except OSError as error:
        raise ConfigError(
            f"{root} cannot be written: {error.strerror}", remedy="free some space, or --keep DIR", link=LINK
        ) from error
    try:
        yield folder
    finally:
        remove(folder)
        folder.with_suffix(".lock").unlink(missing_ok=True)
        owner.close()


def sweep(root: Path) -> None:
    """Take away what was left by processes that are gone: their lock is free."""
    for lock in root.glob("?*.lock"):
        with _locked(lock, wait=False) as free:
            if free:
                remove(lock.with_suffix(""))
                lock.unlink(missing_ok=True)


def remove(folder: Path) -> None:
    """A folder with all that is in it, also where a stage took the right to change a folder away."""
    if not folder.exists():
        return
    try:
        shutil.rmtree(folder)
    except OSError:
        for path in [folder, *folder.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)


def _kept(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        full = any(folder.iterdir())
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be used: {error.strerror}", remedy="--keep a new folder", link=LINK
        ) from error
    if full:
        raise ConfigError(f"{folder} is not empty", remedy="--keep a new folder", link=LINK)
    return folder.resolve()


def _open(path: Path) -> IO[bytes]:
    return path.open("ab")


@contextmanager
def _locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Whether the lock was had; children do not inherit it."""
    with _open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
