"""Report → the check run that decides whether the merge is allowed, with notes on the lines that decided it."""

from __future__ import annotations

from collections.abc import Iterator

from trackside.config.model import Config
from trackside.documents.report import MetricRow, Report
from trackside.forge.model import Annotation
from trackside.forge.operations import UpsertCheck
from trackside.report import text
from trackside.report.advice import position
from trackside.report.marker import check_name, external_id
from trackside.report.verdict import BLOCKING

MAX_ANNOTATIONS = 50
_STATUS = {"cancelled": "cancelled", "timed_out": "timed_out"}


def conclusion(report: Report) -> str:
    """GitHub's word for how a check ended."""
    if report.status in _STATUS:
        return _STATUS[report.status]
    return {"passed": "success", "failed": "failure", "neutral": "neutral"}[report.gate]


def check_run(report: Report, body: str, *, config: Config, head_sha: str) -> UpsertCheck | None:
    """The check on the head commit; None for an experiment, which decides nothing.

    Args:
        body: Markdown of the comment, shown as the summary.
        config: the policy with the lines where its bounds stand.
    """
    if report.experiment:
        return None
    return UpsertCheck(
        name=check_name(report.model),
        head_sha=head_sha,
        external_id=external_id(report.model, report.input_digest),
        title=report.headline[:250],
        summary=body,
        conclusion=conclusion(report),
        details_url=report.trigger.url,
        annotations=tuple(notes(report, config))[:MAX_ANNOTATIONS],
    )


def notes(report: Report, config: Config) -> Iterator[Annotation]:
    """A note on the configuration line behind every verdict that blocks or is not clear."""
    for row in report.metrics:
        if not row.gated or row.verdict not in {*BLOCKING, "inconclusive"}:
            continue
        where = position(config, report.model, row.name, _key(row))
        if where is None:
            continue
        blocks = row.verdict in BLOCKING
        yield Annotation(
            path=config.file,
            line=where.line,
            level="failure" if blocks else "warning",
            title=f"{report.model}: {row.name} {'fails the gate' if blocks else 'is not clear'}"[:250],
            message=text.sentence(row),
        )


def _key(row: MetricRow) -> str:
    """The setting that set the verdict."""
    if row.verdict == "failed_bound" and row.current is not None:
        return "max" if row.maximum is not None and row.current > row.maximum else "min"
    return "file" if row.verdict in ("gone", "failed_bound") else "tolerance"
