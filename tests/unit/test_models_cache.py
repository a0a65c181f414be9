"""The cache by digest: fetched once whoever asks, gone on with after a kill, never a wrong byte given away."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from trackside.errors import DataError
from trackside.models.cache import Cache, folder_alone
from trackside.system.files import cache_folder

CONTENT = bytes(range(256)) * 40
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


def bring(partial: Path) -> None:
    """The bytes that are lacking."""
    held = partial.stat().st_size
    with partial.open("ab") as file:
        file.write(CONTENT[held:])


def never(partial: Path) -> None:
    raise AssertionError(f"{partial} was fetched again")


def test_what_is_held_is_not_fetched_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    first = cache.fetch(DIGEST, bring)
    assert (first.fetched, first.path.read_bytes()) == (True, CONTENT)
    again = cache.fetch(DIGEST, never)
    assert (again.fetched, again.path) == (False, first.path)
    assert [one.name for one in tmp_path.rglob("*.part")] == []


def test_a_beginning_is_gone_on_with(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    partial = cache.place(DIGEST).with_name(cache.place(DIGEST).name + ".part")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(CONTENT[:1000])
    began: list[int] = []

    def fill(path: Path) -> None:
        began.append(path.stat().st_size)
        bring(path)

    assert cache.fetch(DIGEST, fill).path.read_bytes() == CONTENT
    assert began == [1000]


def test_bytes_that_changed_in_the_cache_are_fetched_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    path = cache.fetch(DIGEST, bring).path
    for other in (b"", CONTENT[:-1], CONTENT + b"x", bytes(len(CONTENT))):
        path.write_bytes(other)
        assert cache.held(DIGEST) is None
        assert cache.fetch(DIGEST, bring).fetched
        assert path.read_bytes() == CONTENT


def test_the_beginning_of_something_else_is_thrown_away_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    partial = cache.place(DIGEST).with_name(cache.place(DIGEST).name + ".part")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"other")
    began: list[int] = []

    def fill(path: Path) -> None:
        began.append(path.stat().st_size)
        bring(path)
        if path.read_bytes() != CONTENT:
            path.unlink()
            raise DataError("other bytes", reason_code="content_mismatch")

    assert cache.fetch(DIGEST, fill).path.read_bytes() == CONTENT
    assert began == [5, 0]


def test_other_bytes_are_never_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with pytest.raises(DataError) as raised:
        cache.fetch(DIGEST, lambda path: path.write_bytes(b"other") and None)
    assert raised.value.reason_code == "content_mismatch"
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []


@pytest.mark.parametrize("digest", ["", "sha256:", "md5:" + "0" * 32, "sha256:" + "Z" * 64, "sha256:../../x", "0" * 64])
def test_what_is_no_digest_names_no_file(tmp_path: Path, digest: str) -> None:
    with pytest.raises(DataError):
        Cache(tmp_path).place(digest)


def test_of_many_at_once_one_fetches(tmp_path: Path) -> None:
    fetched, waited, paths, lock = [], [], [], threading.Lock()

    def slowly(partial: Path) -> None:
        time.sleep(0.05)
        with lock:
            fetched.append(partial)
        bring(partial)

    def ask() -> None:
        kept = Cache(tmp_path).fetch(DIGEST, slowly, waits=lambda: waited.append(1))
        with lock:
            paths.append(kept.path.read_bytes())

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    print(f"12 at once: {len(fetched)} fetched, {len(waited)} waited")
    assert len(fetched) == 1
    assert paths == [CONTENT] * 12


def hang(folder: Path, ready: Path) -> None:
    def fill(partial: Path) -> None:
        with partial.open("ab") as file:
            file.write(CONTENT[partial.stat().st_size : partial.stat().st_size + 500])
        ready.write_text("")
        time.sleep(60)

    Cache(folder).fetch(DIGEST, fill)


def test_whoever_is_killed_leaves_a_beginning_and_no_lock(tmp_path: Path) -> None:
    folder, kills = tmp_path / "cache", 5
    for number in range(kills):
        ready = tmp_path / f"ready{number}"
        child = multiprocessing.get_context("fork").Process(target=hang, args=(folder, ready))
        child.start()
        while not ready.exists():
            time.sleep(0.01)
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join()
    began: list[int] = []

    def fill(path: Path) -> None:
        began.append(path.stat().st_size)
        bring(path)

    assert Cache(folder).fetch(DIGEST, fill).path.read_bytes() == CONTENT
    print(f"{kills} kills")
    assert began == [500 * kills]


def test_a_folder_is_one_processs_at_a_time(tmp_path: Path) -> None:
    inside, most = [], []

    def enter() -> None:
        with folder_alone(tmp_path):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)
            inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert most == [1] * 8
    assert list(tmp_path.iterdir()) == []


def test_where_the_cache_is() -> None:
    assert cache_folder({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/trackside")
    assert cache_folder({"XDG_CACHE_HOME": "relative", "HOME": "/h"}) == Path("/h/.cache/trackside")
    assert cache_folder({}) is None
