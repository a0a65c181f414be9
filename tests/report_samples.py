"""Runs for report tests: a flight delay model before and after a change."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

from trackside.config.load import load
from trackside.documents.run import (
    Artifact,
    Comparison,
    Dependency,
    Environment,
    Gpu,
    Hardware,
    Interval,
    Metric,
    Money,
    Restore,
    Run,
    SliceRow,
    Source,
    StageRun,
    Trigger,
    Usage,
)

POLICY = """\
version: 1
models:
  delay:
    path: models/delay.skops
    stages: [prepare, train, evaluate]
    metrics:
      roc_auc:
        file: metrics.json
        direction: max
        min: 0.66
        tolerance: 0.005
      log_loss: {file: metrics.json, direction: min, tolerance: 0.01}
      brier: {file: metrics.json, direction: min, tolerance: 0.002}
      rows: {file: metrics.json}
    predictions:
      file: eval/predictions.parquet
      slices: [carrier, origin]
train:
  gpu-hour-price: {amount: 2.5, currency: USD}
"""
CONFIG = load(POLICY)
MODEL = CONFIG.models[0]
BASE, HEAD, MERGE = "1" * 39 + "a", "2" * 39 + "b", "3" * 39 + "c"
DIGEST = "sha256:" + "d" * 64


def roc(power: float) -> str:
    """A ROC curve y = x ** power in DVC's form."""
    points = [index / 50 for index in range(51)]
    return json.dumps([{"fpr": x, "tpr": round(x**power, 4), "threshold": 1 - x} for x in points])


def calibration(bend: float) -> str:
    return "prob_pred,prob_true\n" + "".join(f"{p / 10},{p / 10 + bend * math.sin(p)}\n" for p in range(1, 9))


def confusion(right: int) -> str:
    pairs = [
        ("late", "late", right),
        ("late", "on time", 100 - right),
        ("on time", "late", 60),
        ("on time", "on time", 400),
    ]
    return json.dumps([{"actual": a, "predicted": b, "count": c} for a, b, c in pairs])


def baseline(**changes: Any) -> Run:
    """The run that is recorded for the base commit."""
    made = Run(
        id="b1a5e0000001",
        model="delay",
        status="succeeded",
        reason_code="done",
        input_digest="sha256:" + "b" * 64,
        source=Source(repository="acme/flights", commit=BASE, branch="main"),
        trigger=Trigger(event="workflow_dispatch", actor="octocat", workflow_run_id=11, attempt=1),
        started_at="2026-03-01T10:00:00Z",
        finished_at="2026-03-01T10:01:00Z",
        params={"train": {"learning_rate": 0.1, "trees": 200}, "prepare": {"months": [1, 2, 3]}, "seed": 7},
        stages=[StageRun(name=name, command=f"python {name}.py", outcome="executed", seconds=9.5) for name in STAGES],
        dependencies=[
            Dependency(path="data/flights.csv", kind="data", digest="md5:" + "1" * 32, size=29_000_000),
            Dependency(path="train.py", kind="code", digest="sha256:" + "4" * 64, size=2100),
        ],
        environment=Environment(
            python="3.12.4", os="Debian 12", kernel="6.1", architecture="x86_64", packages_digest="sha256:" + "5" * 64
        ),
        hardware=Hardware(cpu="AMD EPYC 7763", cores=8, gpus=[Gpu(index=0, name="NVIDIA L4")], driver="550.54"),
        usage=Usage(wall_seconds=31.0, gpu_seconds=31.0),
        metrics=metrics(0.6903, 0.5120, 0.1711),
        artifacts=[Artifact(path="plots", role="plots", digest="sha256:" + "6" * 64, size=900)],
        restore=Restore(
            files={
                "plots/roc.json": roc(0.45),
                "plots/calibration.csv": calibration(0.05),
                "plots/confusion.json": confusion(48),
            }
        ),
        trackside="0.1.0",
    )
    return msgspec.structs.replace(made, **changes)


STAGES = ("prepare", "train", "evaluate")


def metrics(auc: float, loss: float, brier: float) -> list[Metric]:
    return [
        Metric(name="roc_auc", value=auc, file="metrics.json", direction="max"),
        Metric(name="log_loss", value=loss, file="metrics.json", direction="min"),
        Metric(name="brier", value=brier, file="metrics.json", direction="min"),
        Metric(name="rows", value=27004.0, file="metrics.json"),
    ]


def better(**changes: Any) -> Run:
    """A pull request's run that improves the model."""
    made = msgspec.structs.replace(
        baseline(),
        id="c0ffee000002",
        input_digest=DIGEST,
        source=Source(
            repository="acme/flights",
            commit=MERGE,
            base_commit=BASE,
            head_commit=HEAD,
            head_repository="acme/flights",
            pull_request=7,
            branch="more-trees",
        ),
        trigger=Trigger(
            event="workflow_dispatch",
            actor="octocat",
            workflow_run_id=12,
            attempt=1,
            url="https://github.com/acme/flights/actions/runs/12",
        ),
        params={"train": {"learning_rate": 0.05, "trees": 600}, "prepare": {"months": [1, 2, 3]}, "seed": 7},
        dependencies=[
            Dependency(path="data/flights.csv", kind="data", digest="md5:" + "2" * 32, size=31_500_000),
            Dependency(path="train.py", kind="code", digest="sha256:" + "7" * 64, size=2260),
        ],
        environment=Environment(
            python="3.12.6", os="Debian 12", kernel="6.1", architecture="x86_64", packages_digest="sha256:" + "8" * 64
        ),
        usage=Usage(
            wall_seconds=88.0,
            gpu_seconds=88.0,
            gpu_energy_joules=5200.0,
            gpu_utilisation=0.81,
            peak_gpu_memory_bytes=3_400_000_000,
            cost=Money(amount=0.0611, currency="USD"),
        ),
        metrics=metrics(0.7051, 0.5013, 0.1705),
        restore=Restore(
            files={
                "plots/roc.json": roc(0.38),
                "plots/calibration.csv": calibration(0.02),
                "plots/confusion.json": confusion(57),
            }
        ),
        comparison=comparison(),
    )
    return msgspec.structs.replace(made, **changes)


def comparison() -> Comparison:
    method = "paired percentile bootstrap, 1000 resamples"
    rows = [
        ("roc_auc", 0.6903, 0.7051, 0.0112, 0.0185),
        ("log_loss", 0.5120, 0.5013, -0.0134, -0.0081),
        ("brier", 0.1711, 0.1705, -0.0011, -0.0001),
    ]
    slices = [
        ("carrier", "HA", 342, 0.71, 0.6421, -0.112, -0.021),
        ("origin", "EWR", 9800, 0.688, 0.701, 0.006, 0.02),
        ("carrier", "UA", 5100, 0.69, 0.705, 0.007, 0.023),
    ]
    return Comparison(
        baseline_run="b1a5e0000001",
        rows=27004,
        metrics=[
            Interval(metric=name, baseline=a, current=b, delta=b - a, low=low, high=high, n=27004, method=method)
            for name, a, b, low, high in rows
        ],
        slices=[
            SliceRow(column=c, value=v, metric="roc_auc", n=n, baseline=a, current=b, delta=b - a, low=low, high=high)
            for c, v, n, a, b, low, high in slices
        ],
    )


def worse() -> Run:
    """Breaks a bound and regresses."""
    return better(id="bad000000003", metrics=metrics(0.6412, 0.5601, 0.1720), comparison=None)


def failed() -> Run:
    """Stage train ended with an error."""
    stages = [
        StageRun(name="prepare", command="python prepare.py", outcome="executed", seconds=4.0),
        StageRun(name="train", command="python train.py", outcome="failed", seconds=2.5, exit_code=1),
        StageRun(name="evaluate", command="python evaluate.py", outcome="not_run"),
    ]
    log = 'Traceback (most recent call last):\n  File "train.py", line 12, in <module>\nValueError: ```no``` rows @x\n'
    return better(
        id="fa1100000004",
        status="failed",
        reason_code="stage_failed",
        metrics=[],
        comparison=None,
        stages=stages,
        restore=Restore(),
        log_tail=log,
        usage=Usage(wall_seconds=7.0),
    )


def experiment() -> Run:
    return better(id="e4e400000005", experiment=True, overrides={"train.learning_rate": 0.05, "train.trees": 600})


def inconclusive() -> Run:
    """Worse, but within what chance explains."""
    interval = Interval(
        metric="roc_auc",
        baseline=0.6903,
        current=0.6851,
        delta=-0.0052,
        low=-0.0139,
        high=0.0031,
        n=1200,
        method="paired percentile bootstrap, 1000 resamples",
    )
    return better(
        id="1c0000000006",
        metrics=metrics(0.6851, 0.5125, 0.1712),
        comparison=Comparison(baseline_run="b1a5e0000001", rows=1200, metrics=[interval]),
    )
