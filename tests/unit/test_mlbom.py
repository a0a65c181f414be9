"""The bill of materials, judged by the CycloneDX project's strict validator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.config.load import load
from trackside.config.model import Card, Model
from trackside.documents.release import Release
from trackside.documents.run import (
    Artifact,
    Comparison,
    Dependency,
    Environment,
    Interval,
    Metric,
    Run,
    SliceRow,
    Source,
    Trigger,
)
from trackside.errors import DataError
from trackside.trust.bom import bom, pinned

VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)
PAGE = "https://github.com/acme/flights"
STATEMENT = b"{}\n"
LOCK = """\
--index-url https://example.org
numpy==2.4.0 ; python_version >= "3.11" \\
    --hash=sha256:aa
scikit_learn[extra]==1.8.0
# scipy==1.0
-r more.txt
"""
POLICY = """\
version: 1
models:
  delay:
    path: model.bin
    card:
      description: Is a flight late?
      license: apache-2.0
      intended-use: Examples.
      limitations: Three airports.
      tags: [flights]
      task: tabular-classification
      architecture: gradient boosted trees
"""
RELEASE = Release(
    model="delay",
    version="1.2.0-rc.1",
    tag="delay@v1.2.0-rc.1",
    commit="d" * 40,
    run="0123456789ab",
    state="draft",
    created_at="2026-11-21T07:00:00Z",
)
RUN = Run(
    id="0123456789ab",
    model="delay",
    status="succeeded",
    reason_code="trained",
    input_digest="sha256:" + "1" * 64,
    source=Source(repository="acme/flights", commit="c" * 40, branch="try"),
    trigger=Trigger(event="workflow_dispatch", workflow_run_id=7, url="https://x.example/runs/7"),
    started_at="2026-11-21T06:00:00Z",
    finished_at="2026-11-21T06:10:00Z",
    params={"lr": 0.1, "deep": {"b": 1, "a": [1, 2]}, "name": "x"},
    seeds={"seed": 7},
    environment=Environment(python="3.12.1", os="Debian", lock_digest="sha256:" + "f" * 64),
    metrics=[Metric(name="auc", value=0.75, file="m.json"), Metric(name="nan", value=None, file="m.json")],
    artifacts=[
        Artifact(path="model.bin", role="model", digest="sha256:" + "a" * 64, size=3, dvc_digest="md5:" + "b" * 32)
    ],
    dependencies=[
        Dependency(path="data/raw", kind="data", digest="md5:" + "d" * 32 + ".dir", size=10, files=2),
        Dependency(path="data/one.csv", kind="data", digest="md5:" + "e" * 32, size=10),
        Dependency(path="train.py", kind="code", digest="sha256:" + "e" * 64),
        Dependency(path="s3://bucket/x", kind="external", digest="sha256:" + "0" * 64),
    ],
    comparison=Comparison(
        baseline_run="ba9876543210",
        rows=100,
        metrics=[Interval(metric="auc", baseline=0.7, current=0.75, delta=0.05, low=0.01, high=0.09, n=100)],
        slices=[
            SliceRow(column="origin", value="AMS", metric="auc", n=9, baseline=0.6, current=0.5, delta=-0.1),
            SliceRow(column="origin", value="new", metric="auc", n=3, baseline=None, current=None, delta=None),
        ],
    ),
)


def made(run: Run = RUN, policy: Model | None = None, release: Release = RELEASE, lock: str = LOCK) -> dict[str, Any]:
    policy = policy or load(POLICY).models[0]
    data = bom(release, run, policy, web_url=PAGE, statement=STATEMENT, lock=lock)
    assert data == bom(release, run, policy, web_url=PAGE, statement=STATEMENT, lock=lock)
    error = VALIDATOR.validate_str(data.decode())
    assert error is None, str(getattr(error, "data", error))[:400]
    found: dict[str, Any] = json.loads(data)
    refs = list(references(found))
    assert len(refs) == len(set(refs))
    assert {one for row in found["dependencies"] for one in row["dependsOn"]} <= set(refs)
    return found


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "bom-ref" in value:
            yield value["bom-ref"]
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


def test_says_what_the_version_is_made_of() -> None:
    found = made()
    root = found["metadata"]["component"]
    assert (root["type"], root["name"], root["version"]) == ("machine-learning-model", "delay", "1.2.0-rc.1")
    assert root["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}, {"alg": "MD5", "content": "b" * 32}]
    assert root["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert [one["uid"] for one in root["pedigree"]["commits"]] == ["c" * 40, "d" * 40]
    parts = {one["bom-ref"]: one for one in found["components"]}
    assert parts["data:data/one.csv"]["hashes"] == [{"alg": "MD5", "content": "e" * 32}]
    assert "hashes" not in parts["data:data/raw"]  # DVC's digest of a folder is no file's
    assert {"name": "trackside:digest", "value": "md5:" + "d" * 32 + ".dir"} in parts["data:data/raw"]["properties"]
    assert [one for one in parts if one.startswith("pkg:")] == ["pkg:pypi/numpy@2.4.0", "pkg:pypi/scikit-learn@1.8.0"]


def test_the_card_has_what_is_known_and_whose_interval_it_is() -> None:
    card = made()["metadata"]["component"]["modelCard"]
    assert card["modelParameters"]["task"] == "tabular-classification"
    assert card["modelParameters"]["modelArchitecture"] == "gradient boosted trees"
    assert {one["ref"] for one in card["modelParameters"]["datasets"]} == {
        *("data:data/raw", "data:data/one.csv", "external:s3://bucket/x"),
    }
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "auc", "value": "0.75"},
        {
            "type": "auc (difference to run ba9876543210)",
            "value": "0.05",
            "confidenceInterval": {"lowerBound": "0.01", "upperBound": "0.09"},
        },
        {"type": "auc", "value": "0.5", "slice": "origin=AMS"},
        {"type": "auc (difference to run ba9876543210)", "value": "-0.1", "slice": "origin=AMS"},
    ]
    assert card["considerations"] == {"useCases": ["Examples."], "technicalLimitations": ["Three airports."]}
    assert {"name": "trackside:param:deep", "value": '{"a":[1,2],"b":1}'} in card["properties"]


def test_of_nothing_more_than_a_model_it_is_still_valid() -> None:
    bare = msgspec.structs.replace(RUN, metrics=[], params={}, seeds={}, dependencies=[], comparison=None)
    card = made(bare, Model(name="delay", path="model.bin"), lock="")["metadata"]["component"].get("modelCard")
    assert card == {"quantitativeAnalysis": {"performanceMetrics": []}}
    with pytest.raises(DataError):
        made(msgspec.structs.replace(RUN, artifacts=[]))


def test_a_licence_without_a_known_name_is_kept_as_it_is_called() -> None:
    said = Model(name="delay", path="model.bin", card=Card(license="house rules"))
    assert made(policy=said)["metadata"]["component"]["licenses"] == [{"license": {"name": "house rules"}}]


def test_packages_are_those_that_are_pinned() -> None:
    assert pinned(LOCK) == [("numpy", "2.4.0"), ("scikit-learn", "1.8.0")]
    assert pinned("a==1 ; x\na==2 ; y\nb>=1\n") == [("a", "1"), ("a", "2")]


WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
CASES = 0


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=9, max_size=9), st.lists(WORDS.filter(bool), max_size=3, unique=True))
def test_hostile_names_and_values_stay_data(words: list[str], paths: list[str]) -> None:
    global CASES
    CASES += 1
    path, url, param, value, metric, level, said, licence, lock = words
    run = msgspec.structs.replace(
        RUN,
        artifacts=[Artifact(path=path, role="model", digest="sha256:" + "a" * 64, size=3, dvc_digest=url)],
        dependencies=[Dependency(path=one, kind="data", digest=url) for one in paths],
        trigger=Trigger(event="push", url="https://" + url),
        params={param: value},
        metrics=[Metric(name=metric, value=0.1, file="m")],
        comparison=Comparison(
            baseline_run=value,
            rows=1,
            slices=[SliceRow(column=level, value=said, metric=metric, n=1, baseline=0.1, current=0.2, delta=0.1)],
        ),
    )
    card = Card(description=said, license=licence, task=level, tags=(value,), limitations=said)
    made(run, Model(name="delay", path="x", card=card), lock=lock)


def test_enough_hostile_cases_ran() -> None:
    test_hostile_names_and_values_stay_data()
    print(f"{CASES} bills of materials with hostile names")
    assert CASES >= 60
