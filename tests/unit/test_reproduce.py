"""`trackside reproduce` on real pipelines: identical, another package, chance, and what people read."""

from __future__ import annotations

from pathlib import Path

import pytest
from reproduce_samples import Bench, changed, origin_of

from trackside.documents.codec import load
from trackside.documents.reproduction import Reproduction
from trackside.documents.run import Run
from trackside.errors import ConfigError
from trackside.reproduce import show


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return origin_of(tmp_path_factory.mktemp("origin"))


@pytest.fixture(scope="module")
def plain(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, Run]:
    """A run whose `dvc.lock` is committed and whose outputs are in the clone's cache: DVC itself would do nothing."""
    bench, run = Bench.make(origin, tmp_path_factory.mktemp("plain") / "a")
    bench.git("add", "-f", "dvc.lock")
    bench.git("commit", "-q", "-m", "lock")
    return bench, changed(run, source={"commit": bench.git("rev-parse", "HEAD")})


def test_bit_identical_and_nothing_is_touched(plain: tuple[Bench, Run]) -> None:
    bench, run = plain
    before = bench.snapshot()
    code, made = bench.reproduce(run, twice=True)
    assert (code, made.verdict, made.reason_code, made.cause) == (0, "identical", "reproduced", "none")
    assert [(one.name, one.outcome, one.same) for one in made.stages] == [("train", "executed", True)]
    assert made.stages[0].seconds > 0
    assert made.stages[0].recorded_seconds == run.stages[0].seconds
    assert {(one.path, one.status) for one in made.outputs} == {
        ("model.bin", "identical"),
        ("metrics.json", "identical"),
    }
    assert next((one.name, one.tolerance, one.status) for one in made.metrics) == ("roc_auc", 0.003, "identical")
    assert (made.second, made.explanation, made.kept) == (None, [], "")
    restored = made.restoration
    assert (restored.run, restored.commit, restored.code) == (run.id, run.source.commit, "this clone")
    assert [(one.path, one.source, one.size) for one in restored.data] == [("data/raw.csv", "cache", 6)]
    assert restored.params == {"lr": 0.1, "seed": 7}
    assert restored.seeds == {"seed": 7}
    assert bench.snapshot() == before
    assert bench.left() == []
    assert not (bench.clone / ".trackside").exists()


def test_a_dry_run_trains_nothing_and_tells_what_it_would(plain: tuple[Bench, Run]) -> None:
    bench, run = plain
    made = bench.dry(changed(run, environment={"python": "3.99.1", "installed": []}, hardware={"cpu": "Abacus"}))
    assert [(one.path, one.digest, one.size, one.source) for one in made.data] == [
        ("data/raw.csv", next(d.digest for d in run.dependencies if d.kind == "data"), 6, "cache")
    ]
    assert {one.input: one.recorded for one in made.differences if one.input in ("Python", "CPU")} == {
        "Python": "3.99.1",
        "CPU": "Abacus",
    }
    assert made.packages == "those of the present Python: no lock is recorded"
    text = show.restoration(made)
    assert "nothing was trained" in text
    assert "this clone's cache" in text
    assert bench.left() == []


def test_another_python_and_a_folder_that_is_kept(plain: tuple[Bench, Run], tmp_path: Path) -> None:
    """The record says another Python and a model of other bytes: both are named, in the text and in what is kept."""
    bench, run = plain
    rows = [{"path": one.path, "role": one.role, "digest": one.digest, "size": one.size} for one in run.artifacts]
    rows[0]["digest"] = "sha256:" + "0" * 64
    text = bench.text(changed(run, artifacts=rows, environment={"python": "2.7.18"}), keep=tmp_path / "kept")
    assert "train · 0:00:0" in text
    assert f"kept: {tmp_path / 'kept'}" in text
    assert "every metric is within the policy's tolerance" in text
    assert "may explain it: Python; --twice tells them from chance" in text
    again = load(Run, (tmp_path / "kept" / "run.json").read_bytes())
    made = load(Reproduction, (tmp_path / "kept" / "reproduction.json").read_bytes())
    assert (made.again, made.verdict, made.cause) == (again.id, "within_tolerance", "unknown")
    assert "Python" in [one.input for one in made.restoration.differences]
    assert (tmp_path / "kept" / "checkout" / "model.bin").is_file()
    with pytest.raises(ConfigError, match="is not empty"):
        bench.reproduce(run, keep=tmp_path / "kept")
