"""`trackside reproduce` where results differ: another package, chance, a stage that fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from reproduce_samples import FILES, Bench, origin_of, python_with

from trackside.errors import ToolError
from trackside.reproduce import show

TINY = "import tiny\nword, shift = tiny.WORD, tiny.SHIFT\n"
CHANCE = "import time\nword, shift = str(time.time_ns()), float(time.monotonic())\n"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return origin_of(tmp_path_factory.mktemp("origin"))


def test_another_package_is_what_explains_it(origin: Path, tmp_path: Path) -> None:
    """The same code with tiny 1.0 and 1.1, which is a little off; a second training here rules chance out."""
    bins = {
        version: python_with(tmp_path / f"py{version}", version, f"WORD, SHIFT = 'v{version}', {shift}\n")
        for version, shift in (("1.0", 0.0), ("1.1", 0.002))
    }
    bench, run = Bench.make(origin, tmp_path / "a", {"extra.py": TINY}, path=bins["1.0"])
    assert run.environment.installed == ["tiny==1.0"]
    bench.env["PATH"] = f"{bins['1.1']}:{bench.env['PATH']}"
    code, made = bench.reproduce(twice=True)
    assert (code, made.verdict, made.reason_code) == (0, "within_tolerance", "reproduced_within_tolerance")
    assert (made.cause, made.second) == ("environment", "identical")
    assert [(one.kind, one.input, one.recorded, one.here) for one in made.restoration.differences] == [
        ("package", "tiny", "1.0", "1.1")
    ]
    assert made.explanation == [
        "it begins in train: what that reads is as it was, what it makes is not",
        "two trainings here are alike, so the environment explains it: tiny",
    ]
    auc = made.metrics[0]
    assert (auc.status, auc.recorded, auc.tolerance) == ("within_tolerance", 0.6, 0.003)
    assert auc.difference == pytest.approx(0.002)
    assert {one.status for one in made.second_outputs} == {"identical"}
    assert bench.left() == []


def test_chance_is_told_from_the_environment(origin: Path, tmp_path: Path) -> None:
    """A stage without a seed whose score moves by more than the tolerance."""
    files = {"extra.py": CHANCE, "dvc.yaml": str(FILES["dvc.yaml"]).replace("[lr, seed]", "[lr]")}
    bench, run = Bench.make(origin, tmp_path / "a", files)
    assert run.seeds == {}
    code, made = bench.reproduce(twice=True)
    assert (code, made.verdict, made.reason_code) == (1, "differs", "not_reproduced")
    assert (made.cause, made.second, made.restoration.differences) == ("not_deterministic", "differs", [])
    assert made.explanation[1] == "two trainings here differ from each other: the training is not deterministic"
    assert "no seed is recorded" in made.explanation[2]
    text = show.reproduction(made)
    assert "differ; it begins here" in text
    assert "not reproduced" in text


def test_a_stage_that_fails_says_what_is_another_one_here(origin: Path, tmp_path: Path) -> None:
    bins = [python_with(tmp_path / name, "1.0", "WORD, SHIFT = 'x', 0.0\n") for name in ("with", "without")]
    bench, _ = Bench.make(origin, tmp_path / "a", {"extra.py": TINY}, path=bins[0])
    (gone,) = (tmp_path / "without").glob("lib/python*/site-packages/tiny-1.0.dist-info")
    shutil.rmtree(gone)
    (gone.parent / "tiny.py").unlink()
    bench.env["PATH"] = f"{bins[1]}:{bench.env['PATH']}"
    with pytest.raises(ToolError) as caught:
        bench.reproduce()
    assert (caught.value.exit_code, caught.value.reason_code) == (5, "stage_failed")
    assert caught.value.why.endswith("; tiny: recorded 1.0, here not installed")
    assert bench.left() == []
