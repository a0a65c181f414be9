"""`trackside.report/1`: a run against its baseline, with a verdict per metric and one for the gate."""

from __future__ import annotations

from typing import Any, Literal

from trackside.documents.codec import Document
from trackside.documents.run import Comparison, Direction, Environment, Hardware, Part, Source, StageRun, Trigger, Usage

MetricVerdict = Literal["improved", "unchanged", "regressed", "failed_bound", "inconclusive", "changed", "new", "gone"]
"""`changed`: differs, but has no direction to judge by."""

Gate = Literal["passed", "failed", "neutral"]


class MetricRow(Part, frozen=True, kw_only=True):
    """One metric of both runs. `low`/`high` bound the difference where predictions exist."""

    name: str
    file: str
    direction: Direction
    baseline: float | None
    current: float | None
    delta: float | None
    verdict: MetricVerdict
    reason: str = ""
    low: float | None = None
    high: float | None = None
    tolerance: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    gated: bool = False


class ValueRow(Part, frozen=True, kw_only=True):
    """A parameter (or environment entry) of both runs; None where it does not exist."""

    name: str
    baseline: Any
    current: Any


class DataRow(Part, frozen=True, kw_only=True):
    """A dependency whose digest changed, appeared or vanished."""

    path: str
    kind: str
    baseline_digest: str
    current_digest: str
    baseline_size: int | None = None
    current_size: int | None = None


class Series(Part, frozen=True, kw_only=True):
    """One line of a chart: x and y of equal length, ascending in x."""

    name: str
    x: list[float]
    y: list[float]


class Plot(Part, frozen=True, kw_only=True):
    """A plot of both runs: `line` has series, `confusion` a matrix of counts per run (row actual, column predicted)."""

    title: str
    kind: Literal["line", "confusion"]
    x_label: str = ""
    y_label: str = ""
    series: list[Series] = []
    labels: list[str] = []
    baseline_matrix: list[list[float]] = []
    current_matrix: list[list[float]] = []


class Report(Document, frozen=True, kw_only=True):
    """Everything a template needs."""

    schema: Literal["trackside.report/1"] = "trackside.report/1"
    model: str
    gate: Gate
    headline: str
    reason_code: str
    run: str
    status: str
    input_digest: str
    baseline: str
    """Where the baseline comes from, in words; empty when there is none."""
    baseline_note: str = ""
    baseline_run: str = ""
    experiment: bool = False
    overrides: dict[str, Any] = {}
    restored_from: str = ""
    source: Source
    trigger: Trigger
    metrics: list[MetricRow] = []
    params: list[ValueRow] = []
    data: list[DataRow] = []
    environment: list[ValueRow] = []
    plots: list[Plot] = []
    comparison: Comparison | None = None
    stages: list[StageRun] = []
    usage: Usage = Usage()
    hardware: Hardware = Hardware()
    software: Environment | None = None
    policy_changes: list[str] = []
    log_tail: str = ""
