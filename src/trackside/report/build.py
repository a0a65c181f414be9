"""A run and its baseline → the Report document: verdicts, gate, headline, differences. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from trackside.config.model import Config, Model
from trackside.documents.codec import to_builtins
from trackside.documents.report import Gate, MetricRow, Report, ValueRow
from trackside.documents.run import Comparison, Direction, Metric, Money, Run, Status, Usage
from trackside.report import text
from trackside.report.diff import data_rows, metric_rows, value_rows
from trackside.report.plots import plots_of
from trackside.report.snapshot import GitMetrics
from trackside.report.values import flatten
from trackside.report.verdict import BLOCKING, gate_of

Baseline = Run | GitMetrics | None

ENDINGS: Mapping[Status, str] = {
    "succeeded": "training succeeded",
    "failed": "training failed",
    "cancelled": "training was cancelled",
    "timed_out": "training ran past its time limit",
}


def build_report(
    run: Run,
    *,
    model: Model,
    config: Config | None = None,
    baseline: Baseline = None,
    baseline_note: str = "",
    policy_changes: Sequence[str] = (),
    extra_plots: Mapping[str, str] | None = None,
) -> Report:
    """Everything a reader needs to decide.

    Args:
        run: what was trained (or found again).
        model: its policy, from the default branch: directions, bounds, tolerances.
        config: gives the price of a GPU hour, where the run does not state its cost.
        baseline: a recorded run, metrics tracked in git, or nothing.
        baseline_note: why there is no (better) baseline.
        policy_changes: policy keys that the pull request edits.
        extra_plots: plot files by path beside those in the run.
    """
    comparison = _comparison(run.comparison, baseline)
    before = _metrics(baseline, comparison)
    anew = _anew(baseline, comparison)
    rows = metric_rows(before, run.metrics, model.metrics, comparison)
    if run.status != "succeeded" and not run.metrics:
        rows = []
    gate = gate_of(rows, status=run.status, experiment=run.experiment)
    return Report(
        model=run.model,
        gate=gate,
        headline=headline(run, rows, gate, compared=before is not None),
        reason_code=_reason(run, gate),
        run=run.id,
        status=run.status,
        input_digest=run.input_digest,
        baseline=describe(baseline),
        baseline_note=" ".join(part for part in (anew, baseline_note) if part),
        baseline_run=baseline.id if isinstance(baseline, Run) else "",
        experiment=run.experiment,
        overrides=run.overrides,
        restored_from=run.restored_from,
        source=run.source,
        trigger=run.trigger,
        metrics=_directed(rows, run.metrics),
        params=value_rows(flatten(baseline.params), flatten(run.params)) if baseline is not None else [],
        data=data_rows(baseline.dependencies, run.dependencies) if isinstance(baseline, Run) else _data(baseline, run),
        environment=_environment(baseline, run),
        plots=plots_of(_plots(baseline), {**_plots(run), **(extra_plots or {})}),
        comparison=comparison,
        stages=run.stages,
        usage=_priced(run.usage, config),
        hardware=run.hardware,
        software=run.environment,
        policy_changes=list(policy_changes),
        log_tail=run.log_tail,
    )


def describe(baseline: Baseline) -> str:
    """Where the baseline comes from, in words."""
    if isinstance(baseline, Run):
        commit = baseline.source.commit[:12]
        return f"run {baseline.id}" + (f" of {commit}" if commit else "")
    if baseline is not None:
        return f"metrics tracked in git at {baseline.commit[:12]}" if baseline.commit else "the working tree"
    return ""


def _metrics(baseline: Baseline, comparison: Comparison | None) -> list[Metric] | None:
    """The baseline's metrics; those that its model was given anew, on this run's data, stand for its own run's."""
    if baseline is None:
        return None
    anew = {(one.name, one.file): one for one in comparison.champion} if comparison else {}
    return [anew.get((one.name, one.file), one) for one in baseline.metrics]


def _anew(baseline: Baseline, comparison: Comparison | None) -> str:
    """That the baseline's figures are on this run's data, and what they were on its own."""
    if comparison is None or not comparison.champion or baseline is None:
        return ""
    judged = {(one.name, one.file) for one in comparison.champion}
    old = [f"{one.name} {text.number(one.value)}" for one in baseline.metrics if (one.name, one.file) in judged]
    return "The baseline's model (the champion) was judged anew on this run's data, and its figures here are those." + (
        f" In its own run it had {', '.join(old[:10])}." if old else ""
    )


def _directed(rows: list[MetricRow], metrics: Sequence[Metric]) -> list[MetricRow]:
    """Rows outside of the policy show the direction that the run noted; it judges nothing."""
    known: dict[tuple[str, str], Direction] = {(one.name, one.file): one.direction for one in metrics}
    return [
        row
        if row.gated or row.direction != "none"
        else msgspec.structs.replace(row, direction=known.get((row.name, row.file), "none"))
        for row in rows
    ]


def _comparison(found: Comparison | None, baseline: Baseline) -> Comparison | None:
    """Only a comparison with this very baseline counts."""
    if found is None or not isinstance(baseline, Run) or found.baseline_run != baseline.id:
        return None
    return found


def _data(baseline: GitMetrics | None, run: Run) -> list[Any]:
    """Git knows the data of a baseline, not its code."""
    if baseline is None:
        return []
    return data_rows(baseline.dependencies, [one for one in run.dependencies if one.kind in ("data", "external")])


def _plots(side: Baseline) -> dict[str, str]:
    if isinstance(side, GitMetrics):
        return dict(side.plots)
    if side is None:
        return {}
    paths = {one.path for one in side.artifacts if one.role == "plots"}
    return {
        path: content
        for path, content in side.restore.files.items()
        if any(path == plot or path.startswith(f"{plot.rstrip('/')}/") for plot in paths)
    }


def _environment(baseline: Baseline, run: Run) -> list[ValueRow]:
    if not isinstance(baseline, Run):
        return []
    return value_rows(_surroundings(baseline), _surroundings(run))


def _surroundings(run: Run) -> dict[str, Any]:
    software = flatten({"environment": to_builtins(run.environment)})
    machine = {name: value for name, value in to_builtins(run.hardware).items() if name not in ("gpus", "runner")}
    machine["gpus"] = ", ".join(gpu.name for gpu in run.hardware.gpus)
    return {**{name.removeprefix("environment."): value for name, value in software.items()}, **machine}


def _priced(usage: Usage, config: Config | None) -> Usage:
    """GPU hours times the configured price, where the run does not state its cost."""
    price = config.train.gpu_hour_price if config else None
    if usage.cost is not None or price is None or usage.gpu_seconds <= 0:
        return usage
    amount = usage.gpu_seconds / 3600 * price.amount
    return msgspec.structs.replace(usage, cost=Money(amount=amount, currency=price.currency))


def _reason(run: Run, gate: Gate) -> str:
    if run.status != "succeeded":
        return run.reason_code
    if run.experiment:
        return "experiment"
    return "gate_passed" if gate == "passed" else "gate_failed"


def headline(run: Run, rows: Sequence[MetricRow], gate: Gate, *, compared: bool) -> str:
    """One line: better or not, by how much."""
    if run.status != "succeeded":
        failing = next((stage for stage in run.stages if stage.outcome == "failed"), None)
        code = f" with exit code {failing.exit_code}" if failing and failing.exit_code is not None else ""
        return ENDINGS[run.status] + (f" in stage {failing.name}{code}" if failing else "")
    blocking = [row for row in rows if row.gated and row.verdict in BLOCKING]
    judged = [row for row in rows if row.gated and row.direction != "none"] or list(rows)
    if gate == "failed" or blocking:
        more = f" (and {len(blocking) - 1} more)" if len(blocking) > 1 else ""
        return f"{text.sentence(blocking[0])}{more}"
    if not judged:
        return "no metrics"
    if not compared:
        return f"no baseline to compare with; {text.sentence(judged[0])}"
    unclear = [row for row in judged if row.verdict == "inconclusive"]
    better = [row for row in judged if row.verdict == "improved"]
    if better:
        also = f"; {unclear[0].name} is not clear" if unclear else ""
        return f"better: {text.sentence(better[0])}{also}"
    if unclear:
        return f"not clear: {text.sentence(unclear[0])}"
    return f"no relevant change: {text.sentence(judged[0])}"
