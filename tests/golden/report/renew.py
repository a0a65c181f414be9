"""Writes the expected reports beside their inputs: `PYTHONPATH=src:tests python tests/golden/report/renew.py`."""

from __future__ import annotations

from pathlib import Path

import report_samples as samples
from trackside.documents.codec import dump
from trackside.documents.report import Report
from trackside.documents.run import Run
from trackside.report.build import build_report
from trackside.report.render import render_comment, render_html

HERE = Path(__file__).parent
CASES = ("better", "worse", "failed", "experiment", "inconclusive", "first")


def case(name: str) -> tuple[Run, Report]:
    """A run and its report; `first` is a run without any baseline."""
    first = name == "first"
    run: Run = samples.better(comparison=None) if first else getattr(samples, name)()
    report = build_report(
        run,
        model=samples.MODEL,
        config=samples.CONFIG,
        baseline=None if first else samples.baseline(),
        baseline_note="No run is recorded for the base's inputs." if first else "",
        policy_changes=["models.delay.metrics.roc_auc.min"] if name == "worse" else [],
    )
    return run, report


def files(name: str) -> dict[str, bytes]:
    run, report = case(name)
    return {
        f"{name}.run.json": dump(run),
        f"{name}.report.json": dump(report),
        f"{name}.comment.md": render_comment(report, config=samples.CONFIG).encode(),
        f"{name}.html": render_html(report, config=samples.CONFIG).encode(),
    }


if __name__ == "__main__":
    for one in CASES:
        for path, data in files(one).items():
            (HERE / path).write_bytes(data)
