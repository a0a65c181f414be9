"""A run against the same run trained again: verdicts, stages, and which recorded input explains a difference."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackside.config.model import MetricPolicy
from trackside.documents.reproduction import InputDifference
from trackside.documents.run import Artifact, Environment, Gpu, Hardware, Metric, Run, Source, StageRun, Trigger
from trackside.plan.pipeline import ResolvedStage
from trackside.reproduce.explain import cause_of, differences, sentences
from trackside.reproduce.judge import judge

POLICY = (MetricPolicy(name="auc", file="m.json", direction="max", tolerance=0.003),)
ENVIRONMENT = Environment(
    python="3.12.6",
    os="Debian 12",
    kernel="6.1",
    architecture="x86_64",
    container_image="python:3.12",
    lock_file="r.txt",
    lock_digest="sha256:" + "1" * 64,
    packages_digest="sha256:" + "2" * 64,
    packages=2,
    tools={"dvc": "3.67.1"},
    installed=["numpy==2.0.1", "scipy==1.14.0"],
    variables={"OMP_NUM_THREADS": "4"},
)
HARDWARE = Hardware(
    cpu="EPYC",
    cores=16,
    memory_bytes=2**36,
    gpus=[Gpu(index=0, name="H100")],
    driver="570.1",
    cuda="12.8",
    cudnn="9.1",
)


def run(files: dict[str, str] | None = None, metrics: dict[str, float | None] | None = None, **more: Any) -> Run:
    files = {"a": "1", "model": "2", "m.json": "3"} if files is None else files
    metrics = {"auc": 0.8} if metrics is None else metrics
    fields: dict[str, Any] = {
        "id": "0" * 12,
        "model": "delay",
        "status": "succeeded",
        "reason_code": "trained",
        "input_digest": "sha256:" + "0" * 64,
        "source": Source(repository="acme/flights", commit="a" * 40),
        "trigger": Trigger(event="workflow_dispatch"),
        "started_at": "",
        "finished_at": "",
        "environment": ENVIRONMENT,
        "hardware": HARDWARE,
        "stages": [StageRun(name=name, command="x", outcome="executed", seconds=2.0) for name in ("prep", "train")],
        "artifacts": [Artifact(path=path, role="data", digest=digest, size=1) for path, digest in files.items()],
        "metrics": [Metric(name=name, value=value, file="m.json") for name, value in metrics.items()],
    }
    return Run(**{**fields, **more})


def stage(name: str, outs: tuple[str, ...], upstream: tuple[str, ...] = ()) -> ResolvedStage:
    return ResolvedStage(
        name=name, wdir="", cmd=("x",), deps=(), outs=outs, metrics=(), plots=(), params={}, upstream=upstream
    )


@pytest.mark.parametrize(
    ("files", "metrics", "policies", "verdict"),
    [
        ({"model": "2"}, {"auc": 0.8}, POLICY, "identical"),
        ({"model": "2"}, {"auc": 0.1}, POLICY, "identical"),  # bytes decide first: metrics are read from them
        ({"model": "9"}, {"auc": 0.8}, POLICY, "within_tolerance"),
        ({"model": "9"}, {"auc": 0.803}, POLICY, "within_tolerance"),
        ({"model": "9"}, {"auc": 0.797}, POLICY, "within_tolerance"),
        ({"model": "9"}, {"auc": 0.8031}, POLICY, "differs"),
        ({"model": "9"}, {"auc": 0.7969}, POLICY, "differs"),
        ({"model": "9"}, {"auc": None}, POLICY, "differs"),
        ({"model": "9"}, {}, POLICY, "differs"),
        ({"model": "9"}, {"auc": 0.8}, (), "differs"),
        ({}, {"auc": 0.8}, POLICY, "differs"),
        ({"model": "2", "new": "1"}, {"auc": 0.8}, POLICY, "identical"),
        ({"model": "9"}, {"auc": 0.8, "seconds": 7.0}, POLICY, "within_tolerance"),
    ],
)
def test_verdicts(files: dict[str, str], metrics: dict[str, float | None], policies: Any, verdict: str) -> None:
    assert judge(run({"model": "2"}), run(files, metrics), policies).verdict == verdict


def test_rows_say_old_new_difference_and_tolerance() -> None:
    made = judge(
        run(metrics={"auc": 0.8, "n": 3.0, "nan": None}), run(metrics={"auc": 0.802, "n": 4.0, "nan": None}), POLICY
    )
    auc, n, nan = made.metrics
    assert (auc.recorded, auc.again, auc.tolerance, auc.status) == (0.8, 0.802, 0.003, "within_tolerance")
    assert auc.difference == pytest.approx(0.002)
    assert (n.status, n.difference, n.tolerance) == ("not_judged", 1.0, None)
    assert (nan.status, nan.difference) == ("identical", None)


def test_a_difference_is_traced_to_where_it_begins() -> None:
    stages = [
        stage("prep", ("a",)),
        stage("train", ("model",), ("prep",)),
        stage("evaluate", ("m.json",), ("train",)),
        stage("other", ("o",), ("prep",)),
        stage("silent", ()),
    ]
    files = {"a": "1", "model": "2", "m.json": "3", "o": "4"}
    made = judge(run(files), run({**files, "model": "9", "m.json": "9"}), stages=stages)
    assert [(one.name, one.same, one.origin) for one in made.stages] == [
        ("prep", True, False),
        ("train", False, True),
        ("evaluate", False, False),
        ("other", True, False),
        ("silent", None, False),
    ]
    assert made.origins == ["train"]
    both = judge(run(files), run({**files, "model": "9", "o": "9"}), stages=stages)
    assert both.origins == ["train", "other"]
    assert (made.stages[0].recorded_seconds, made.stages[0].outcome) == (2.0, "executed")


names = st.text("abcd/._", min_size=1, max_size=6)
digests = st.dictionaries(names, st.sampled_from(["sha256:1", "sha256:2"]), min_size=1, max_size=6)
values = st.one_of(st.none(), st.floats(-1e6, 1e6))


@given(files=digests, metrics=st.dictionaries(names, values, max_size=4), tolerance=st.floats(0, 1))
def test_a_run_is_identical_to_itself(
    files: dict[str, str], metrics: dict[str, float | None], tolerance: float
) -> None:
    one = run(files, metrics)
    policies = [MetricPolicy(name=name, file="m.json", tolerance=tolerance) for name in metrics]
    made = judge(one, one, policies)
    assert made.verdict == "identical"
    assert {row.status for row in (*made.outputs, *made.metrics)} == {"identical"}


@given(old=st.floats(-10, 10), new=st.floats(-10, 10), small=st.floats(0, 5), more=st.floats(0, 5))
def test_more_tolerance_never_hurts_and_both_directions_are_alike(
    old: float, new: float, small: float, more: float
) -> None:
    def verdict(then: float, now: float, tolerance: float) -> str:
        policy = MetricPolicy(name="auc", file="m.json", tolerance=tolerance)
        return judge(run({"m": "1"}, {"auc": then}), run({"m": "2"}, {"auc": now}), [policy]).verdict

    assert verdict(old, new, small) == verdict(new, old, small)
    if verdict(old, new, small) == "within_tolerance":
        assert verdict(old, new, small + more) == "within_tolerance"


CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("Python", "python", {"python": "3.11.2"}),
    ("lock", "package", {"lock_digest": "sha256:" + "9" * 64}),
    ("numpy", "package", {"installed": ["numpy==2.1.0", "scipy==1.14.0"]}),
    ("scipy", "package", {"installed": ["numpy==2.0.1"], "packages": 1}),
    ("packages", "package", {"installed": [], "packages_digest": "sha256:" + "9" * 64}),
    ("operating system", "system", {"os": "Ubuntu 24.04"}),
    ("kernel", "system", {"kernel": "6.8"}),
    ("architecture", "machine", {"architecture": "aarch64"}),
    ("container image", "system", {"container_image": "python:3.13"}),
    ("dvc", "tool", {"tools": {"dvc": "3.68"}}),
    ("OMP_NUM_THREADS", "variable", {"variables": {"OMP_NUM_THREADS": "8"}}),
    ("PYTHONHASHSEED", "variable", {"variables": {"OMP_NUM_THREADS": "4", "PYTHONHASHSEED": "0"}}),
    ("CPU", "machine", {"cpu": "Xeon"}),
    ("cores", "machine", {"cores": 2}),
    ("memory", "machine", {"memory_bytes": 2**34}),
    ("GPU", "machine", {"gpus": [Gpu(index=0, name="A100")]}),
    ("GPU", "machine", {"gpus": []}),
    ("CUDA driver", "machine", {"driver": "535.2"}),
    ("CUDA", "machine", {"cuda": "12.2"}),
    ("cuDNN", "machine", {"cudnn": "8.9"}),
]


def test_each_recorded_input_is_told_alone() -> None:
    recorded = run()
    assert differences(recorded, ENVIRONMENT, HARDWARE) == []
    for name, kind, change in CHANGES:
        software = {key: value for key, value in change.items() if hasattr(ENVIRONMENT, key)}
        machine = {key: value for key, value in change.items() if key not in software}
        (found,) = differences(
            recorded,
            msgspec.structs.replace(ENVIRONMENT, **software),
            msgspec.structs.replace(HARDWARE, **machine),
        )
        assert (found.input, found.kind) == (name, kind)
        assert found.matters == (name not in ("kernel", "memory", "dvc"))
    print(f"{len(CHANGES)} recorded inputs, each alone")


def test_what_one_side_does_not_know_is_no_difference() -> None:
    bare = Environment(python="", os="")
    assert differences(run(), bare, Hardware()) == []
    assert differences(run(environment=bare, hardware=Hardware()), ENVIRONMENT, HARDWARE) == []


def difference(name: str = "Python", *, matters: bool = True, kind: Any = "python") -> InputDifference:
    return InputDifference(kind=kind, input=name, recorded="1", here="2", matters=matters)


def test_every_combination_has_the_cause_that_can_be_told() -> None:
    verdicts = ("identical", "within_tolerance", "differs")
    seconds = (None, *verdicts)
    environments = ([], [difference()], [difference("kernel", matters=False)])
    count = 0
    for verdict, second, found, open_ in itertools.product(verdicts, seconds, environments, ([], ["what a URL held"])):
        cause = cause_of(verdict, second, found, open_)  # type: ignore[arg-type]
        matters = found == [difference()]
        if verdict == "identical":
            assert cause == "none"
        elif second in ("within_tolerance", "differs"):
            assert cause == "not_deterministic"
        elif second == "identical":
            assert cause == ("environment" if matters else "unrecorded")
        elif matters:
            assert cause == "unknown"
        else:
            assert cause == ("unrecorded" if open_ else "not_deterministic")
        said = sentences(cause, found, twice=second is not None, seeds={}, origins=["train"], unrecorded=open_)
        assert bool(said) == (verdict != "identical")
        assert not said or "begins in train" in said[0]
        if cause in ("unknown", "environment"):
            assert "Python" in said[1]
        if cause == "not_deterministic" and second is None:
            assert said[1] == "nothing recorded differs: the training is not deterministic"
        assert any("no seed is recorded" in one for one in said) == (cause not in ("none", "environment"))
        count += 1
    print(f"{count} combinations")
    assert count == 72


def test_many_packages_are_named_by_number() -> None:
    found = [difference(f"p{number}", kind="package") for number in range(40)]
    (said, _) = sentences("unknown", [difference(), *found], twice=False, seeds={}, origins=[], unrecorded=[])
    assert "Python, 40 packages" in said
    (said, _) = sentences("unknown", found[:2], twice=False, seeds={}, origins=[], unrecorded=[])
    assert "p0, p1;" in said
