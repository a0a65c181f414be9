"""What a project says of its models: trackside.yaml, `.gto`, the artifacts of dvc.yaml, also hostile ones."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.models.artifacts import LONGEST, Described, Project, project

GTO = "types: [model, dataset]\nstages: [dev, staging, prod]\n"
DVC = """\
stages: {train: {cmd: python train.py}}
artifacts:
  delay:
    path: models/delay.skops
    type: model
    desc: |
      Is a flight late
      by 15 minutes?
    labels: [tabular, flights]
  raw: data/raw.csv
  remote: {path: s3://bucket/model.bin}
"""
POLICY = """\
version: 1
models:
  delay:
    path: models/delay.skops
    metrics: {auc: {file: metrics.json, direction: max}}
    promotion: [canary, prod]
    card: {description: Delays., tags: [own]}
"""


def read_of(**files: str | bytes) -> Project:
    named = {name.replace("__", "/").replace("_", "."): text for name, text in files.items()}
    asked: list[str] = []

    def read(path: str) -> bytes | None:
        asked.append(path)
        text = named.get(path.removeprefix("."), named.get(path))
        return text.encode() if isinstance(text, str) else text

    found = project(read, ["delay", "sub/one=fare", "../out=x", "/abs=y", "a/../b=z", "sub/one=other"])
    assert not [path for path in asked if ".." in path or path.startswith("/")]
    return found


def test_a_project_of_gto_is_understood() -> None:
    found = read_of(gto=GTO, dvc_yaml=DVC, sub__one__dvc_yaml="artifacts: {fare: {path: ./fare.pkl, type: model}}")
    assert found.stages == ("dev", "staging", "prod")
    assert found.types == ("model", "dataset")
    assert found.problems == ()
    assert found.of("delay") == Described(
        path="models/delay.skops",
        type="model",
        description="Is a flight late by 15 minutes?",
        labels=("tabular", "flights"),
        stages=("dev", "staging", "prod"),
        said_by="dvc.yaml",
    )
    assert found.of("raw").path == "data/raw.csv"
    assert found.of("remote").path == "s3://bucket/model.bin"
    assert found.of("sub/one=fare").path == "sub/one/fare.pkl"
    assert found.of("unheard") == Described(stages=("dev", "staging", "prod"))


def test_the_policy_comes_first_and_artifacts_fill_what_it_lacks() -> None:
    found = read_of(gto=GTO, dvc_yaml=DVC, trackside_yaml=POLICY).of("delay")
    assert (found.description, found.type, found.labels) == ("Delays.", "model", ("own",))
    assert found.stages == ("canary", "prod")
    assert found.said_by == "trackside.yaml"


def test_nothing_said_is_no_problem() -> None:
    assert read_of() == Project()
    assert read_of(gto="", dvc_yaml="stages: {}\n") == Project()


BROKEN = (
    *(
        "[",
        "a: b: c",
        "\t- x",
        "- 1\n- 2",
        "plain",
        "!!python/object/apply:os.system ['true']",
        "&a [*a]",
        "a: 1\na: 2",
    ),
    *("artifacts: 5", "artifacts: [1]", "artifacts: {1: {}}", "artifacts: {x: [1]}", "artifacts: {x: {path: {}}}"),
    *("artifacts: {x: {path: ../../etc/passwd}}", "artifacts: {x: {labels: {a: b}, desc: [1], type: null}}"),
    *(
        "plain",
        "stages: {a: b}",
        "stages: [[1], {}, null, x]",
        "\0",
        "\ufeffstages: [x]",
        b"\xff\xfe\x00",
        "x" * 5_000_000,
    ),
    "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: &d [*c,*c]\ne: &e [*d,*d]\nstages: *e",
    "artifacts: {x: {desc: '" + "y" * 9_000 + "'}}",
)


@pytest.mark.parametrize("name", ["gto", "dvc_yaml", "trackside_yaml"])
def test_damaged_files_are_told_and_count_as_absent(name: str) -> None:
    told = 0
    for text in BROKEN:
        found = read_of(**{name: text})
        told += bool(found.problems)
        for one in found.models.values():
            assert len(one.description) <= LONGEST
            assert "\n" not in one.description + one.path + one.type
    print(f"{len(BROKEN)} files as {name}, {told} told of")
    assert told >= 8


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_told_of(data: bytes) -> None:
    for name in ("gto", "dvc_yaml", "trackside_yaml"):
        assert isinstance(read_of(**{name: data}), Project)
