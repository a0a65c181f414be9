"""What a report says in words: how it stands, why, and what the reader should do about it."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trackside.config.model import Config, Position
from trackside.documents.report import MetricRow, Report
from trackside.report import text
from trackside.report.verdict import BLOCKING

Level = Literal["NOTE", "TIP", "WARNING", "CAUTION"]

WORDS: Mapping[str, str] = {
    "failed_bound": "breaks a limit",
    "regressed": "worse",
    "gone": "missing",
    "inconclusive": "not clear",
    "improved": "better",
    "changed": "changed",
    "new": "new",
    "unchanged": "unchanged",
}
SIGNS: Mapping[str, str] = {
    "failed_bound": "❌",
    "regressed": "❌",
    "gone": "❌",
    "inconclusive": "⚠️",
    "improved": "✅",
    "changed": "▫️",
    "new": "▫️",
    "unchanged": "▫️",
}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A piece of a sentence: plain words of ours, or somebody's `name` to be shown in code type."""

    words: str = ""
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """`level` is that of GitHub's alerts."""

    level: Level
    parts: tuple[Part, ...]


def sign(report: Report) -> str:
    """One symbol for the whole report."""
    if report.experiment:
        return "🧪"
    if report.gate == "failed":
        return "❌"
    return "⚠️" if any(row.gated and row.verdict == "inconclusive" for row in report.metrics) else "✅"


def counts(report: Report) -> str:
    """`2 better, 1 unchanged`, of the judged metrics, worst first."""
    judged = [row for row in report.metrics if row.gated]
    found: Counter[str] = Counter(row.verdict for row in judged or report.metrics)
    return ", ".join(f"{found[verdict]} {word}" for verdict, word in WORDS.items() if found[verdict])


def standing(report: Report) -> str:
    """How the check stands, in words."""
    if report.experiment:
        return "Experiment: decides nothing"
    if report.status != "succeeded":
        return "Gate failed: there is no model"
    return "Gate passed" if report.gate == "passed" else "Gate failed"


def row_sign(row: MetricRow) -> str:
    """A symbol a row; a verdict that does not block gets no red cross."""
    return SIGNS[row.verdict] if row.gated or row.verdict not in BLOCKING else "▫️"


def advise(report: Report, config: Config | None = None) -> list[Advice]:
    """What to do, most urgent first."""
    if report.status != "succeeded":
        return [_failed(report)]
    made = [_blocking(row, report, config) for row in report.metrics if row.gated and row.verdict in BLOCKING][:5]
    unclear = [row for row in report.metrics if row.gated and row.verdict == "inconclusive"][:3]
    for row in unclear:
        rows = f" from {report.comparison.rows:,} rows" if report.comparison else ""
        made.append(
            Advice(
                level="WARNING",
                parts=(
                    Part(name=row.name),
                    Part(
                        words=f" may have got worse: the interval{rows} ({text.interval(row)}) reaches past "
                        "the tolerance. It does not block; evaluate on more rows, or decide by hand."
                    ),
                ),
            )
        )
    if report.policy_changes:
        parts = [Part(words="This pull request edits the policy, which counts only once it is merged: ")]
        for index, key in enumerate(report.policy_changes[:10]):
            parts += [Part(words=", ")] if index else []
            parts.append(Part(name=key))
        made.append(Advice(level="NOTE", parts=tuple(parts)))
    return made


def _failed(report: Report) -> Advice:
    failing = next((stage for stage in report.stages if stage.outcome == "failed"), None)
    if report.status == "cancelled":
        return Advice(level="WARNING", parts=(Part(words="The run was cancelled. Re-run the job to train again."),))
    if report.status == "timed_out":
        words = "Training was stopped at its time limit. Make it shorter, or raise train.timeout-minutes in the policy."
        return Advice(level="CAUTION", parts=(Part(words=words),))
    if failing is None:
        return Advice(level="CAUTION", parts=(Part(words="Nothing was trained; the log below and the job say why."),))
    return Advice(
        level="CAUTION",
        parts=(
            Part(words="Stage "),
            Part(name=failing.name),
            Part(words=" failed; its last lines are below. To see it yourself: "),
            Part(name=f"dvc repro {shlex.quote(failing.name)}"),
        ),
    )


def _blocking(row: MetricRow, report: Report, config: Config | None) -> Advice:
    key = {"failed_bound": "max" if row.maximum is not None and (row.current or 0) > row.maximum else "min"}
    where = position(config, report.model, row.name, key.get(row.verdict, "tolerance"))
    place = f" ({config.file} line {where.line})" if config and where else ""
    if row.verdict == "gone":
        words = f" is {row.reason}. Let the evaluation write it, or take it out of the policy{place}."
    elif row.verdict == "regressed":
        words = f" is {row.reason}{place}. Improve the model; or accept it: a pull request that widens the tolerance."
    else:
        words = (
            f" = {text.number(row.current, text.decimals(row))} is {row.reason}{place}. "
            "Improve the model; the limit changes only by a pull request of its own."
        )
    return Advice(level="CAUTION", parts=(Part(name=row.name), Part(words=words)))


def position(config: Config | None, model: str, metric: str, key: str) -> Position | None:
    """Where the policy of a metric stands: the key itself, else the metric, else the model."""
    if config is None:
        return None
    places = (f"models.{model}.metrics.{metric}.{key}", f"models.{model}.metrics.{metric}", f"models.{model}")
    return next((config.positions[place] for place in places if place in config.positions), None)


def parameter_change(report: Report) -> str:
    """The overrides of an experiment as a change to params.yaml, with the old values where the baseline tells them."""
    before = {row.name: row.baseline for row in report.params}
    lines: list[str] = []
    path: list[str] = []
    for name in sorted(report.overrides):
        *parents, last = name.split(".")
        common = next(
            (i for i, (a, b) in enumerate(zip(path, parents, strict=False)) if a != b), min(len(path), len(parents))
        )
        lines += [f" {'  ' * depth}{parents[depth]}:" for depth in range(common, len(parents))]
        path = parents
        indent = "  " * len(parents)
        if before.get(name) is not None:
            lines.append(f"-{indent}{last}: {_setting(before[name])}")
        lines.append(f"+{indent}{last}: {_setting(report.overrides[name])}")
    return "\n".join(lines)


def reproduce(report: Report) -> str:
    """Commands that train the same again."""
    commit = report.source.commit or "HEAD"
    targets = " ".join(shlex.quote(stage.name) for stage in report.stages)
    lines = [f"git fetch origin {shlex.quote(commit)}", f"git checkout {shlex.quote(commit)}"]
    if report.overrides:
        settings = " ".join(
            f"-S {shlex.quote(f'{name}={_setting(value)}')}" for name, value in sorted(report.overrides.items())
        )
        return "\n".join([*lines, f"dvc exp run --pull {settings} {targets}".rstrip()])
    return "\n".join([*lines, f"dvc repro --pull {targets}".rstrip()])


def _setting(value: Any) -> str:
    """A value as YAML on one line."""
    simple = isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*", value)
    return str(value) if simple else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def effort(report: Report) -> list[str]:
    """What it took, in short phrases."""
    usage, made = report.usage, []
    if report.restored_from:
        return ["nothing was executed: a recorded run answers the same inputs"]
    if usage.wall_seconds:
        made.append(f"took {text.duration(usage.wall_seconds)}")
    gpus = Counter(gpu.name for gpu in report.hardware.gpus)
    made += [f"on {count} × {name}" if count > 1 else f"on {name}" for name, count in sorted(gpus.items())]
    if usage.gpu_seconds:
        made.append(f"{text.duration(usage.gpu_seconds)} of GPU time")
    if usage.gpu_utilisation is not None:
        made.append(f"{usage.gpu_utilisation * 100:.0f} % busy")
    if usage.gpu_energy_joules:
        made.append(f"{usage.gpu_energy_joules / 3600:.3g} Wh")
    if usage.peak_gpu_memory_bytes:
        made.append(f"{text.size(usage.peak_gpu_memory_bytes)} GPU memory at the peak")
    elif usage.peak_memory_bytes:
        made.append(f"{text.size(usage.peak_memory_bytes)} memory at the peak")
    if usage.cost is not None:
        made.append(f"cost {text.money(usage.cost)}")
    return made
