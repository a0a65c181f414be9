"""Code and data that are hard or impossible to find, and reproductions that are killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from reproduce_samples import MD5, POLICY, Bench, changed, origin_of, store
from train_samples import OUTSIDE, alive

from trackside.config.load import load as load_config
from trackside.config.variables import refused
from trackside.documents.run import Run
from trackside.errors import ConfigError, DataError
from trackside.models.progress import Progress
from trackside.reproduce.data import bring, sources_of, wanted, watched
from trackside.reproduce.place import place, remove
from trackside.train.confine import landlock_version
from trackside.train.scrub import scrubbed, secrets_of


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


def test_imported_data_that_its_source_lost_too_is_told_as_that(tmp_path: Path) -> None:
    said = f"deps:\n- path: raw.csv\n  repo:\n    url: {tmp_path / 'gone'}\n    rev_lock: {'a' * 40}\n"
    said += f"frozen: true\nouts:\n- md5: {MD5}\n  size: 6\n  hash: md5\n  path: raw.csv\n"
    bench, _ = Bench.make(origin_of(tmp_path), tmp_path / "a", {"data/raw.csv.dvc": said})
    shutil.rmtree(bench.clone / ".dvc" / "cache")
    shutil.rmtree(tmp_path / "remote")
    with pytest.raises(DataError) as caught:
        bench.reproduce(install=False)
    assert (caught.value.exit_code, caught.value.reason_code) == (7, "data_missing")
    told = caught.value.render()
    assert "imported data is gone" in told
    assert "data/raw.csv" in told
    assert "neither a data remote nor the place that it was imported from has it" in told
    assert "re-run" not in told
    assert "default remote" not in told


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


VARIABLE = 'import os\nword = os.environ.get("FLAVOUR", "none")\n'


def test_a_proposed_policy_passes_nothing_that_its_base_does_not(tmp_path: Path) -> None:
    """`pass-env` is in no digest: the base commit's list counts, fetched where it must be; without it none does."""
    files: dict[str, str | bytes] = {"extra.py": VARIABLE, "trackside.yaml": POLICY}
    bench, run = Bench.make(origin_of(tmp_path), tmp_path / "a", files)
    bench.env["FLAVOUR"] = "plain"
    listed = POLICY + "train:\n  pass-env: [FLAVOUR]\n"
    (bench.clone / "trackside.yaml").write_text(listed)
    bench.git("commit", "-qam", "list it")
    proposed = bench.git("rev-parse", "HEAD")
    bench.git("push", "-q", "origin", f"{proposed}:refs/heads/base", f"{run.source.commit}:refs/heads/older")
    clone = tmp_path / "clone"
    OUTSIDE.run(["git", "-C", bench.origin, "config", "uploadpack.allowAnySHA1InWant", "true"])
    seen = {}
    for name, base in (
        ("base lists it", proposed),
        ("base does not", run.source.commit),
        ("base is nowhere", "f" * 40),
        ("no base, today's does not", ""),
    ):
        shutil.rmtree(clone, ignore_errors=True)
        words = ["git", "clone", "-q", "--depth=1", "--branch", "base" if base == run.source.commit else "older"]
        OUTSIDE.run([*words, bench.origin.as_uri(), clone])
        store(clone / ".dvc" / "cache")
        asked = changed(run, source={"commit": proposed, "base_commit": base})
        kept = tmp_path / name.replace(" ", "-")
        _, made = bench.reproduce(asked, repo=clone, keep=kept)
        notes = [one for one in made.restoration.notes if "pass-env" in one]
        seen[name] = ((kept / "checkout" / "model.bin").read_text().split()[2], len(notes))
        assert made.verdict == ("identical" if seen[name][0] == "none" else "within_tolerance")
        assert ("neither here nor at origin" in " ".join(notes)) == (name == "base is nowhere")
    assert seen == {
        "base lists it": ("plain", 0),
        "base does not": ("none", 0),
        "base is nowhere": ("none", 1),
        "no base, today's does not": ("none", 1),
    }


@pytest.mark.parametrize(
    "name", ["AZURE_STORAGE_CONNECTION_STRING", "AWS_ACCESS_KEY_ID", "STORAGE_SAS", "SAS_URL", "OPENAI_API_KEY"]
)
def test_names_that_sound_secret_are_never_passed(name: str) -> None:
    assert refused(name)
    assert scrubbed({name: "value-of-it"}, [name]) == {}
    assert secrets_of({name: "value-of-it"}) == ["value-of-it"]
    with pytest.raises(ConfigError, match="may not be passed"):
        load_config(POLICY + f"train:\n  pass-env: [{name}]\n")


READER = """
import json, os
found = {}
places = json.loads(pathlib.Path("places.json").read_text())
for name, path in places.items():
    try:
        found[name] = pathlib.Path(path.replace("~", str(pathlib.Path.home()), 1)).read_text()[:9]
    except OSError as error:
        found[name] = type(error).__name__
try:
    found["list"] = sorted(os.listdir(places["by path"].rpartition("/")[0]))
except OSError as error:
    found["list"] = type(error).__name__
found["own"] = sorted(os.listdir(pathlib.Path.home()))
pathlib.Path("found.json").write_text(json.dumps(found))
"""


@pytest.mark.skipif(landlock_version() == 0, reason="the kernel has no Landlock")
def test_stages_read_nothing_of_the_user_s_home(tmp_path: Path) -> None:
    """By `~`, by its path and by a link; what lies elsewhere can be read, as the terminal says before the training."""
    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    (home / ".netrc").write_text("HUNTER2 of the user")
    (home / ".aws" / "credentials").write_text("HUNTER2 of the user")
    (tmp_path / "link").symlink_to(home)
    (tmp_path / "elsewhere").write_text("elsewhere")
    places = {
        "by ~": "~/.netrc",
        "by path": f"{home}/.netrc",
        "deeper": f"{home}/.aws/credentials",
        "by link": f"{tmp_path}/link/.netrc",
        "by root": f"/proc/self/root{home}/.netrc",
        "elsewhere": f"{tmp_path}/elsewhere",
    }
    files: dict[str, str | bytes] = {"extra.py": READER, "places.json": json.dumps(places)}
    bench, run = Bench.make(origin_of(tmp_path), tmp_path / "a", files)
    env = {**bench.env, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "XDG_CONFIG_HOME": str(home)}
    bench.env = env
    kept = home / "kept"
    text = bench.text(run, keep=kept)
    assert "reproduced bit by bit" in text
    found = json.loads((kept / "checkout" / "found.json").read_text())
    print(f"{len(places)} places were read")
    assert found.pop("elsewhere") == "elsewhere"
    assert found.pop("own") == ["config", "data", "run", "state"]
    assert found.pop("by ~") == "FileNotFoundError"
    assert set(found) == {"by path", "deeper", "by link", "by root", "list"}
    assert set(found.values()) == {"PermissionError"}
    said, trained = text.index("all that you may read, but for"), text.index("train: python train.py")
    line = text[text.rindex("\n", 0, said) + 1 : text.index("\n", said)]
    assert said < trained
    assert run.source.commit[:12] in line
    assert "from this clone" in line
    assert str(home) in line
    assert f"by {bench.git('log', '-1', '--format=%an <%ae>')}" in line
