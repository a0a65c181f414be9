"""Code and data that are hard or impossible to find, and reproductions that are killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from reproduce_samples import MD5, Bench, changed, origin_of, store
from train_samples import OUTSIDE, alive

from trackside.documents.run import Run
from trackside.errors import ConfigError, DataError
from trackside.models.progress import Progress
from trackside.reproduce.data import bring, sources_of, wanted, watched
from trackside.reproduce.place import place, remove


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, Run]:
    """Its stage takes ten minutes where a file called `slow` lies beside the clone."""
    root = tmp_path_factory.mktemp("world")
    wait = 'print("half way", flush=True)\n    import time\n    time.sleep(600)'
    slow = f'if pathlib.Path("{root}/a/slow").is_file():\n    {wait}\n'
    bench, run = Bench.make(origin_of(root), root / "a", {"extra.py": slow})
    bench.git("push", "-q", "origin", "HEAD:refs/heads/feature")
    return bench, run


def test_data_that_nobody_has_is_named_by_digest(world: tuple[Bench, Run]) -> None:
    bench, _ = world
    here, remote = bench.clone / ".dvc" / "cache", bench.origin.parent / "remote"
    shutil.rmtree(here)
    bench_files = [path for path in remote.rglob("*") if path.is_file()]
    for path in bench_files:
        path.rename(bench.root / path.name)
    try:
        made = bench.dry()
        assert [(one.digest, one.source) for one in made.data] == [(f"md5:{MD5}", "store")]
        with pytest.raises(DataError) as caught:
            bench.reproduce()
        assert (caught.value.exit_code, caught.value.reason_code) == (7, "data_missing")
        assert f"data/raw.csv (md5:{MD5})" in caught.value.message
        assert caught.value.why == "asked: this clone's cache, store"
        assert bench.left() == []
    finally:
        store(here)
        store(remote)


def test_every_place_is_asked_and_damage_is_seen(world: tuple[Bench, Run], tmp_path: Path) -> None:
    """A damaged cache, an empty default remote, one that does not answer, and one that has it."""
    from trackside.reproduce.code import Repository, find_code

    bench, run = world
    other = tmp_path / "clone"
    OUTSIDE.run(["git", "clone", "-q", bench.clone, other])
    store(other / ".dvc" / "cache").write_bytes(b"damaged")
    store(tmp_path / "other")
    config = (
        (other / ".dvc" / "config").read_text().replace(str(bench.origin.parent / "remote"), str(tmp_path / "empty"))
    )
    local = "['remote \"gone\"']\n    url = ssh://127.0.0.1:1/nowhere\n['remote \"other\"']\n    url = ../../other\n"
    (other / ".dvc" / "config").write_text(config)
    (other / ".dvc" / "config.local").write_text(local)
    repository = Repository(folder=tmp_path / "checkout", clone=other, url="", processes=OUTSIDE)
    repository.prepare()
    code = find_code(repository, run, [run.source.commit])
    into = tmp_path / "into"
    sources = sources_of(other, code.tree, into)
    assert [name for name, _ in sources.remotes] == ["store", "gone", "other", "store"]
    said: list[str] = []

    def progress(label: str, total: int) -> Progress:
        said.append(label)
        assert total == 6
        return Progress(label, total, None, 0, time.monotonic)

    env = {**OUTSIDE.env, "HOME": str(tmp_path)}
    made = bring(
        wanted(code.tree, code.inputs),
        sources,
        into,
        state=tmp_path / "state",
        env=env,
        processes=OUTSIDE,
        progress=progress,
    )
    assert [(one.digest, one.source) for one in made] == [(f"md5:{MD5}", "other")]
    assert [line.rpartition(" ")[2] for line in said] == ["store", "gone", "other"]
    assert (into / "files" / "md5" / MD5[:2] / MD5[2:]).read_bytes() == b"1,2,3\n"


def test_bytes_are_told_while_they_come(tmp_path: Path) -> None:
    told: list[int] = []
    came = threading.Event()

    def bar(done: int) -> None:
        told.append(done)
        if done:
            came.set()

    (tmp_path / "before").write_bytes(b"x" * 100)
    with watched(tmp_path, bar):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "part").write_bytes(b"x" * 1000)
        assert came.wait(60)
    assert told[-1] == 1000


def test_a_disk_that_is_too_small(world: tuple[Bench, Run]) -> None:
    bench, run = world
    rows = [{"path": one.path, "role": one.role, "digest": one.digest, "size": 10**18} for one in run.artifacts]
    with pytest.raises(DataError, match="are needed") as caught:
        bench.reproduce(changed(run, artifacts=rows))
    assert (caught.value.exit_code, caught.value.reason_code) == (7, "no_space")
    assert bench.left() == []


def test_code_that_only_origin_has_and_code_that_nobody_has(world: tuple[Bench, Run], tmp_path: Path) -> None:
    bench, run = world
    clone = tmp_path / "clone"
    OUTSIDE.run(["git", "clone", "-q", "--single-branch", "--branch", "main", bench.origin.as_uri(), clone])
    OUTSIDE.run(["git", "-C", bench.origin, "config", "uploadpack.allowAnySHA1InWant", "true"])
    before = OUTSIDE.run(["git", "-C", clone, "count-objects", "-v"]).text
    made = bench.dry(repo=clone)
    assert (made.code, made.commit) == ("origin", run.source.commit)
    assert OUTSIDE.run(["git", "-C", clone, "count-objects", "-v"]).text == before
    OUTSIDE.run(["git", "-C", bench.origin, "config", "uploadpack.allowFilter", "true"])
    for options in (["--filter=blob:none", "--no-checkout"], ["--depth=1"]):
        part = tmp_path / options[0]
        OUTSIDE.run(["git", "clone", "-q", *options, "--branch", "feature", bench.origin.as_uri(), part])
        (part / "data").mkdir(exist_ok=True)
        made = bench.dry(repo=part / "data")
        assert (made.commit, made.code) == (run.source.commit, "this clone" if options[0] == "--depth=1" else "origin")
    gone = changed(run, source={"commit": "0" * 40, "head_commit": ""})
    with pytest.raises(DataError, match="neither here nor at origin") as caught:
        bench.dry(gone)
    assert (caught.value.exit_code, caught.value.reason_code) == (7, "commit_gone")
    squashed = changed(run, source={"commit": "0" * 40, "head_commit": run.source.commit})
    made = bench.dry(squashed)
    assert (made.commit, made.notes) == (
        run.source.commit,
        [f"commit {'0' * 12} is gone; {run.source.commit[:12]} has the same inputs"],
    )


def test_folders_that_a_killed_process_left(tmp_path: Path) -> None:
    root = tmp_path / "reproduce"
    for name in ("dead", "closed"):
        (root / name / "checkout").mkdir(parents=True)
        (root / f"{name}.lock").touch()
    (root / "closed" / "checkout" / "file").write_text("x")
    (root / "closed" / "checkout").chmod(0o500)
    with place(tmp_path) as one, place(tmp_path) as two:
        assert one != two
        assert sorted(path.name for path in root.iterdir() if path.is_dir()) == sorted([one.name, two.name])
    assert [path.name for path in root.iterdir()] == [".lock"]
    with pytest.raises(ZeroDivisionError), place(tmp_path) as one:
        raise ZeroDivisionError
    assert not one.exists()
    remove(tmp_path / "never there")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"), place(tmp_path / "file"):
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_killed_half_way(number: signal.Signals, world: tuple[Bench, Run]) -> None:
    """A signal leaves nothing; after SIGKILL no stage goes on, and the next reproduction clears up."""
    bench, _ = world
    (bench.root / "slow").touch()
    before = bench.snapshot()
    words = [sys.executable, "-m", "trackside", "reproduce", "../run.json"]
    env = {**bench.env, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(words, cwd=bench.clone, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        assert child.stdout is not None
        said = b""
        while b"half way" not in said:
            line = child.stdout.readline()
            assert line, said.decode()
            said += line
        assert len(bench.left()) == 2
        child.send_signal(number)
        rest = child.stdout.read().decode()
    folder = str(bench.root / "cache")
    if number == signal.SIGKILL:
        deadline = time.monotonic() + 60
        while alive(folder) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(bench.left()) == 2
        with place(bench.root / "cache" / "trackside"):
            assert len(bench.left()) == 2
    else:
        assert child.returncode == 5, rest
        assert "the job was cancelled" in rest
    assert alive(folder) == []
    assert bench.left() == []
    assert bench.snapshot() == before
