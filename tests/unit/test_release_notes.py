"""Release notes: what they say of metrics that were measured on other data."""

from __future__ import annotations

import re
from dataclasses import replace

import msgspec

from report_samples import baseline as sample_run
from trackside.config.model import MetricPolicy, Model
from trackside.documents.release import Release
from trackside.documents.run import Comparison, Dependency, Metric
from trackside.registry.notes import Facts, notes


def metric(value: float) -> Metric:
    return Metric(name="roc_auc", value=value, file="metrics.json", direction="max")


def facts(champion: list[Metric], baseline: str = "old") -> Facts:
    """Version 1.1.0, whose 0.63 follows on 1.0.0's 0.66 on other data."""
    now = sample_run(metrics=[metric(0.63)], comparison=Comparison(baseline_run=baseline, rows=9, champion=champion))
    first = Release(model="delay", version="1.0.0", tag="delay@v1.0.0", commit="a" * 40, run="old", state="published")
    policy = MetricPolicy(name="roc_auc", file="metrics.json", direction="max", tolerance=0.003)
    return Facts(
        release=msgspec.structs.replace(first, version="1.1.0", tag="delay@v1.1.0", run=now.id),
        run=now,
        model=Model(name="delay", path="m", metrics=(policy,)),
        web_url="https://github.com/acme/flights",
        before=first,
        before_run=sample_run(metrics=[metric(0.66)]),
    )


def test_a_version_that_was_judged_anew_is_compared_on_the_same_data() -> None:
    text = notes(facts([metric(0.61)]))
    assert "0.61" in text
    assert "0.66" not in text
    assert "WARNING" not in text
    assert "those of its model on the data of 1.1.0" in text


def test_without_that_the_released_figures_stand() -> None:
    for other in (facts([]), facts([metric(0.61)], baseline="another run")):
        text = notes(other)
        assert "0.66" in text
        assert "WARNING" in text


def test_what_went_into_the_version_is_drawn() -> None:
    """The chart cannot be closed by a name, and draws a dozen inputs at most."""
    given = facts([])
    names = ["```\n# x", '"] --> n1', "https://evil.example", *(f"data/{n}.csv" for n in range(20))]
    reads = [Dependency(path=name, kind="data", digest=f"md5:{n:032x}") for n, name in enumerate(names)]
    text = notes(replace(given, run=msgspec.structs.replace(given.run, dependencies=reads)))
    (block,) = re.findall(r"### Where it came from\n\n```mermaid\n(.*?)```\n", text, re.DOTALL)
    lines = block.splitlines()
    assert lines[0] == "flowchart LR"
    assert sum("read by" in line for line in lines) == 12
    assert sum("released as" in line for line in lines) == 1
    assert all(re.fullmatch(r"  (n\d+|classDef) ?[A-Za-z0-9 .,/:|\-\[\](){}<>\"#;=]+", line) for line in lines[1:])
    assert "11 more inputs are not drawn." in text
    assert "Where it came from" not in notes(replace(given, run=msgspec.structs.replace(given.run, dependencies=[])))
