"""Packages from the recorded lock, or not; pipelines with frozen stages, folders of data and overridden parameters."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import jsonschema
import pytest
from reproduce_samples import FILES, POLICY, Bench, changed, origin_of, python_with, store, wheel_with

from trackside.documents.codec import dump, schema
from trackside.documents.reproduction import Reproduction, Restoration
from trackside.documents.run import Run
from trackside.errors import DataError, Refused

TINY = "import tiny\nword, shift = tiny.WORD, tiny.SHIFT\n"
MODULE = "WORD, SHIFT = '{}', {}\n"
LOCKED = POLICY + "train:\n  requirements: requirements.txt\n"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, Run, Path]:
    """A run whose only package is tiny 1.0, from a folder of wheels that stands for an index."""
    root = tmp_path_factory.mktemp("locked")
    index = root / "wheels"
    _, pin = wheel_with(index, "1.0", MODULE.format("one", 0.0))
    requirements = f"--no-index\n--find-links {index}\n{pin}"
    files = {"extra.py": TINY, "trackside.yaml": LOCKED, "requirements.txt": requirements}
    bench, run = Bench.make(origin_of(root), root / "a", files)
    assert run.environment.installed == ["tiny==1.0"]
    return bench, run, index


def test_packages_come_from_the_recorded_lock(locked: tuple[Bench, Run, Path], tmp_path: Path) -> None:
    """Whatever is active: a Python with another tiny is first on PATH, and does not count."""
    bench, run, _ = locked
    other = python_with(tmp_path / "py", "1.1", MODULE.format("other", 0.002))
    bench.env["PATH"] = f"{other}:{bench.env['PATH']}"
    dry = bench.dry()
    assert (dry.packages, dry.lock_file) == ("from requirements.txt, as locked", "requirements.txt")
    assert dry.lock_digest == next(one.digest for one in run.dependencies if one.kind == "lock")
    assert [one.input for one in dry.differences] == []
    jsonschema.validate(json.loads(dump(dry)), schema(Restoration))
    code, made = bench.reproduce()
    assert (code, made.verdict, made.restoration.differences) == (0, "identical", [])
    jsonschema.validate(json.loads(dump(made)), schema(Reproduction))
    envs = bench.root / "cache" / "trackside" / "envs"
    (kept,) = [path for path in envs.iterdir() if path.is_symlink()]
    assert (kept / "bin" / "python").exists()
    code, made = bench.reproduce(install=False)
    assert (code, made.verdict) == (0, "within_tolerance")
    assert made.restoration.packages == "those of the present Python: --no-venv"
    assert [(one.input, one.recorded, one.here) for one in made.restoration.differences] == [("tiny", "1.0", "1.1")]


def test_packages_that_no_index_has_any_more(locked: tuple[Bench, Run, Path]) -> None:
    bench, _, index = locked
    shutil.rmtree(bench.root / "cache")
    shutil.move(index, index.with_name("gone"))
    try:
        with pytest.raises(DataError) as caught:
            bench.reproduce()
    finally:
        shutil.move(index.with_name("gone"), index)
    assert (caught.value.exit_code, caught.value.reason_code) == (7, "environment_failed")
    assert bench.left() == []


def test_another_lock_than_the_recorded_one_is_refused(locked: tuple[Bench, Run, Path]) -> None:
    bench, run, _ = locked
    rows = [{"path": one.path, "kind": one.kind, "digest": one.digest} for one in run.dependencies]
    for row in rows:
        row["digest"] = "sha256:" + "0" * 64 if row["kind"] == "lock" else row["digest"]
    with pytest.raises(Refused, match="does not fit its commit") as caught:
        bench.dry(changed(run, dependencies=rows, input_digest="sha256:" + "0" * 64))
    assert "requirements.txt" in caught.value.why


def test_frozen_stages_folders_and_overrides(tmp_path: Path) -> None:
    """What DVC will not make anew comes by its digest; a folder comes with all that is in it; `lr` as it was set."""
    remote = tmp_path / "remote"
    parts = {"one.csv": b"one\n", "sub/two.csv": b"two\n"}
    made = [{"md5": hashlib.md5(data).hexdigest(), "relpath": name} for name, data in parts.items()]
    listing = json.dumps(made).encode()
    folder, frozen = hashlib.md5(listing).hexdigest(), hashlib.md5(b"frozen\n").hexdigest()
    read = 'word = "".join(path.read_text() for path in sorted(pathlib.Path("data/many").rglob("*.csv")))\n'
    pipeline = str(FILES["dvc.yaml"]).replace("extra.py]", "extra.py, data/many, p.txt]")
    files = {
        "dvc.yaml": pipeline + "  prep:\n    cmd: touch never\n    frozen: true\n    outs: [p.txt]\n",
        "dvc.lock": "schema: '2.0'\nstages:\n  prep:\n    cmd: touch never\n    outs:\n    - path: p.txt\n"
        f"      hash: md5\n      md5: {frozen}\n      size: 7\n",
        "extra.py": read,
        "data/many.dvc": f"outs:\n- md5: {folder}.dir\n  size: 8\n  nfiles: 2\n  hash: md5\n  path: many\n",
        "data/.gitignore": "/raw.csv\n/many\n",
    }
    origin = origin_of(tmp_path)
    for data in (*parts.values(), b"frozen\n"):
        store(remote, data)
    store(remote, listing).rename(remote / "files" / "md5" / folder[:2] / f"{folder[2:]}.dir")
    bench, run = Bench.make(origin, tmp_path / "a", files, overrides={"lr": 0.25}, dvc_config=_config(remote))
    assert {one.name: one.outcome for one in run.stages} == {"prep": "cached", "train": "executed"}
    shutil.rmtree(bench.clone / ".dvc" / "cache")
    code, again = bench.reproduce()
    assert (code, again.verdict) == (0, "identical")
    assert (again.restoration.overrides, again.restoration.params["lr"]) == ({"lr": 0.25}, 0.25)
    assert {one.path: (one.digest, one.source) for one in again.restoration.data if one.path != "data/raw.csv"} == {
        "data/many": (f"md5:{folder}.dir", "store"),
        "p.txt": (f"md5:{frozen}", "store"),
    }
    assert again.restoration.notes == ["frozen in dvc.yaml, so not run again: prep"]
    assert not (bench.clone / "never").exists()


def _config(remote: Path) -> str:
    return f"[core]\n    remote = store\n['remote \"store\"']\n    url = {remote}\n"
