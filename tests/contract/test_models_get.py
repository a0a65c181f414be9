"""`trackside models get` over HTTP: verified, resumed, cached, joined, looked into; kills and rivals hurt nobody."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from models_world import Answered, Registry
from trackside.documents.release import Release
from trackside.models.get import ASIDE
from trackside.sandbox.blobs import Trouble
from trackside.sandbox.server import Sandbox
from trackside.trust.gate import scan

BIG = random.Random(5).randbytes(300_000)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.system, ("true",)


@pytest.fixture
def world(sandbox: Sandbox, repo: str, workdir: Path) -> Registry:
    return Registry(sandbox, repo, workdir)


def left(folder: Path) -> list[str]:
    return sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())


def test_a_version_by_each_of_its_names_here_and_by_api(world: Registry, workdir: Path) -> None:
    release = world.version("delay", "1.0.0", BIG)
    world.promote("prod", release, 1)
    clone = world.clone()
    for at, (spec, where) in enumerate(
        (spec, where)
        for spec in ("delay@v1.0.0", "delay@latest", "delay@greatest", "delay#prod")
        for where in (clone, None)
    ):
        got = world.ask("get", spec, "-o", workdir / f"out{at}", clone=where)
        assert got.code == 0, got.err
        assert (workdir / f"out{at}/delay.skops").read_bytes() == BIG
        assert left(workdir / f"out{at}") == ["delay.skops"]
    assert len(world.sandbox.blobs.given) == 1, "fetched once, then from the cache"


def test_what_is_cached_needs_neither_github_nor_a_token(world: Registry, workdir: Path) -> None:
    world.version("delay", "1.0.0", BIG)
    clone = world.clone()
    assert world.ask("get", "delay@latest", "-o", workdir / "a", clone=clone).code == 0
    world.sandbox.calls.clear()
    got = world.ask("get", "delay@latest", "-o", workdir / "b", "--json", clone=clone, GITHUB_TOKEN="")
    assert got.json["fetched"] == 0
    assert world.sandbox.calls == []
    there = world.ask("get", "delay@latest", "-o", workdir / "b", clone=clone, GITHUB_TOKEN="")
    assert "there already" in there.out
    lacking = world.ask(
        *("get", "delay@latest", "-o", workdir / "c"), clone=clone, GITHUB_TOKEN="", XDG_CACHE_HOME=str(workdir / "x")
    )
    assert (lacking.code, left(workdir / "c")) == (2, [])
    assert "GITHUB_TOKEN" in lacking.err


def test_parts_are_joined_and_folders_unpacked(world: Registry, workdir: Path) -> None:
    world.limit = 70_000
    world.version("delay", "1.0.0", BIG)
    files = {"config.json": b"{}", "weights/a.bin": BIG[:99_000], "weights/b.bin": b"b"}
    world.version("delay", "2.0.0", files, path="models/net")
    clone = world.clone()
    assert world.ask("get", "delay@v1.0.0", "-o", workdir / "out", clone=clone).code == 0
    assert (workdir / "out/delay.skops").read_bytes() == BIG
    got = world.ask("get", "delay@v2.0.0", "-o", workdir / "out", "--json", clone=clone)
    assert got.code == 0, got.err
    assert {name: (workdir / "out/net" / name).read_bytes() for name in files} == files
    assert left(workdir / "out") == ["delay.skops", *(f"net/{name}" for name in sorted(files))]
    assert len(world.sandbox.blobs.given) == 5 + 1 + 2 + 1
    (workdir / "out/net/config.json").write_bytes(b"[]")
    other = world.ask("get", "delay@v2.0.0", "-o", workdir / "out", clone=clone)
    assert (other.code, (workdir / "out/net/config.json").read_bytes()) == (2, b"[]")
    assert world.ask("get", "delay@v2.0.0", "-o", workdir / "out", "--force", clone=clone).code == 0
    assert (workdir / "out/net/config.json").read_bytes() == b"{}"
    assert ASIDE not in [one.name for one in (workdir / "out").iterdir()]


def test_all_files_of_a_release(world: Registry, workdir: Path) -> None:
    world.limit = 100_000
    world.version("delay", "1.0.0", BIG)
    got = world.ask("get", "delay@latest", "--all", "-o", workdir / "out", "--json", clone=world.clone())
    assert got.code == 0, got.err
    assert left(workdir / "out") == ["README.md", "delay.skops", "manifest.json", "provenance.intoto.json", "run.json"]
    assert sorted(Path(one).name for one in got.json["files"]) == left(workdir / "out")


def test_dry_run_writes_nothing(world: Registry, workdir: Path) -> None:
    world.version("delay", "1.0.0", BIG)
    got = world.ask("get", "delay@latest", "-o", workdir / "out", "--dry-run", clone=world.clone())
    assert (got.code, (workdir / "out").exists(), (workdir / "cache").exists()) == (0, False, False)
    assert "300 kB" in got.out


def test_a_line_that_breaks_costs_no_byte_twice(world: Registry, workdir: Path) -> None:
    world.version("delay", "1.0.0", BIG)
    world.sandbox.blobs.troubles.append(Trouble(after=90_000, times=3))
    got = world.ask("get", "delay@latest", "-o", workdir / "out", clone=world.clone())
    assert got.code == 0, got.err
    assert (workdir / "out/delay.skops").read_bytes() == BIG
    assert sum(one.sent for one in world.sandbox.blobs.given) == len(BIG)


def test_a_killed_get_and_a_second_one_finish_together(world: Registry, workdir: Path) -> None:
    """Killed at several places, while another waits for the same file; the last one finishes without a trace."""
    world.version("delay", "1.0.0", BIG)
    clone, out = world.clone(), workdir / "out"
    words = [sys.executable, "-m", "trackside", "models", "get", "delay@latest", "--repo", clone, "-o", out]
    kills = 0
    for after in (0, 1, 65_536, 100_000, 100_000):
        world.sandbox.blobs.troubles[:] = [Trouble(after=after, seconds=30.0, cut=False, times=9)]
        before = len(world.sandbox.blobs.given)
        children = [subprocess.Popen([str(one) for one in words], env=world.env, stderr=subprocess.PIPE) for _ in "ab"]
        while len(world.sandbox.blobs.given) == before:
            time.sleep(0.02)
        time.sleep(0.2)
        for child in children:
            child.send_signal(signal.SIGKILL)
        for child in children:
            child.communicate()
            kills += 1
        assert left(out) == []
    world.sandbox.blobs.troubles.clear()
    world.sandbox.blobs.given.clear()
    done = [subprocess.Popen([str(one) for one in words], env=world.env, stderr=subprocess.PIPE) for _ in range(3)]
    said = [child.communicate()[1].decode() for child in done]
    assert [child.returncode for child in done] == [0, 0, 0], said
    assert (out / "delay.skops").read_bytes() == BIG
    assert left(out) == ["delay.skops"]
    assert left(workdir / "cache") == [f"trackside/models/sha256/{name[:2]}/{name}" for name in [_hex(BIG)]]
    given = world.sandbox.blobs.given
    print(f"{kills} kills; then {len(given)} answer of {sum(one.sent for one in given):,} bytes")
    assert sum(one.sent for one in given) < len(BIG) - 240_000


def _hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_what_a_killed_one_left_in_the_folder_goes(world: Registry, workdir: Path) -> None:
    world.version("delay", "1.0.0", BIG)
    (workdir / "out" / ASIDE / "model").mkdir(parents=True)
    (workdir / "out" / ASIDE / "model/delay.skops").write_bytes(b"half")
    assert world.ask("get", "delay@latest", "-o", workdir / "out", clone=world.clone()).code == 0
    assert left(workdir / "out") == ["delay.skops"]


def test_several_at_once_into_one_folder(world: Registry, workdir: Path) -> None:
    releases = [world.version("delay", f"1.{n}.0", BIG + bytes([n]), path=f"m/{n}.bin") for n in range(3)]
    clone, done = world.clone(), list[Answered]()

    def ask(release: Release) -> None:
        done.append(world.ask("get", release.tag, "-o", workdir / "out", "--no-progress", clone=clone))

    threads = [threading.Thread(target=ask, args=(one,)) for one in releases * 4]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [one.code for one in done] == [0] * 12, [one.err for one in done]
    assert left(workdir / "out") == ["0.bin", "1.bin", "2.bin"]
    assert len(world.sandbox.blobs.given) == 3
    for number in range(3):
        assert (workdir / f"out/{number}.bin").read_bytes() == BIG + bytes([number])


def test_the_gate_stands_before_the_folder(world: Registry, workdir: Path) -> None:
    evil = pickle.dumps({"a": [1, Evil()]})
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("data.pkl", evil)
    world.limit = 40
    world.version("delay", "1.0.0", evil)
    world.version("delay", "1.1.0", archive.getvalue())
    world.version("delay", "1.2.0", {"ok.txt": b"fine", "deep/x.bin": evil}, path="models/net")
    world.version("delay", "1.3.0", pickle.dumps({"a": [1, 2.0, "b"]}))
    clone = world.clone()
    refused = 0
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        got = world.ask("get", f"delay@v{version}", "-o", workdir / "out", clone=clone)
        assert got.code == 3, got.err
        assert "posix.system" in got.err
        assert "--trust posix.system" in got.err
        assert left(workdir / "out") == []
        refused += 1
    trusted = world.ask("get", "delay@v1.0.0", "--trust", "posix.system", "-o", workdir / "out", clone=clone)
    assert trusted.code == 0, trusted.err
    assert scan(workdir / "out/delay.skops").unknown
    again = world.ask("get", "delay@v1.0.0", "-o", workdir / "out", clone=clone)
    assert again.code == 3, "what is there already is looked into as well"
    fine = world.ask("get", "delay@v1.3.0", "-o", workdir / "fine", "--json", clone=clone)
    assert fine.json["gate"] == {"pickles": 1, "imports": 0}
    print(f"{refused} refused")


def test_a_folder_that_cannot_be_written_is_a_mistake_not_a_defect(world: Registry, workdir: Path) -> None:
    world.version("delay", "1.0.0", BIG)
    clone = world.clone()
    (workdir / "file").write_text("")
    for out, cache in ((workdir / "file/out", workdir / "c"), (workdir / "out", workdir / "file")):
        got = world.ask("get", "delay@latest", "-o", out, clone=clone, XDG_CACHE_HOME=str(cache))
        assert got.code == 2, got.err
        assert "XDG_CACHE_HOME" in got.err
    none = world.ask("get", "delay@latest", "-o", workdir / "out", clone=clone, XDG_CACHE_HOME="", HOME="")
    assert none.code == 2


def test_a_deprecated_version_is_given_with_a_word(world: Registry, workdir: Path) -> None:
    release = world.version("delay", "1.0.0", BIG)
    world.tag("delay@v1.0.0!#1", release.commit, {"Actor": "ada", "Reason": "leaks labels"})
    got = world.ask("get", "delay@v1.0.0", "-o", workdir / "out", clone=world.clone())
    assert got.code == 0
    assert "deprecated" in got.err
    assert "leaks labels" in got.err
    assert world.ask("get", "delay@latest", "-o", workdir / "out", clone=world.clone()).code == 4


def test_on_a_terminal_there_is_a_bar(world: Registry, workdir: Path) -> None:
    world.version("delay", "1.0.0", BIG)
    clone = world.clone()
    world.sandbox.blobs.troubles.append(Trouble(after=150_000, seconds=0.5, cut=False))
    master, slave = os.openpty()
    words = [sys.executable, "-m", "trackside", "models", "get", "delay@latest", "--repo", clone, "-o", workdir / "o"]
    child = subprocess.Popen([str(one) for one in words], env=world.env, stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    seen = b""
    while True:
        try:
            piece = os.read(master, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        seen += piece
    os.close(master)
    out = child.communicate()[0]
    assert child.returncode == 0, seen
    assert b"#" in seen
    assert b"% of 300 kB" in seen
    assert seen.endswith(b"\r\x1b[K"), "the bar goes"
    assert b"\x1b" not in out
