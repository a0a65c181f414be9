"""Reports with no GitHub at all: two run documents, or two commits of a repository."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trackside.config.model import Config, Model
from trackside.documents.report import Report
from trackside.documents.run import Artifact, Environment, Restore, Run, Source, Trigger
from trackside.errors import ConfigError
from trackside.report import render
from trackside.report.build import build_report
from trackside.report.snapshot import GitMetrics, git_reader, snapshots
from trackside.system.process import Processes

Side = Run | str
"""A run, or a revision; an empty one is the working tree."""


def report_between(
    repository: Path,
    baseline: Side,
    current: Side,
    *,
    model: Model,
    processes: Processes,
    config: Config | None = None,
) -> Report:
    """One side against the other: what a run recorded, or what git tracks in a commit.

    Raises:
        ConfigError: not a revision.
        NotFound: a commit exists neither here nor at the remote.
        DataError: a tracked file cannot be read.
    """
    revisions = [side for side in (baseline, current) if isinstance(side, str)]
    found = snapshots(git_reader(repository, processes), revisions, model)
    old = found.pop(0) if isinstance(baseline, str) else baseline
    new = run_of(found.pop(0), model) if isinstance(current, str) else current
    note = "Compared with the metrics that git tracks, without intervals." if revisions else ""
    return build_report(new, model=model, config=config, baseline=old, baseline_note=note)


def run_of(snapshot: GitMetrics, model: Model) -> Run:
    """What a commit tells about a model, in the form of a run that nobody recorded."""
    return Run(
        id="",
        model=model.name,
        status="succeeded",
        reason_code="done",
        input_digest="",
        source=Source(repository="", commit=snapshot.commit, dirty=not snapshot.commit),
        trigger=Trigger(event="local"),
        started_at="",
        finished_at="",
        params=snapshot.params,
        dependencies=list(snapshot.dependencies),
        environment=Environment(python="", os=""),
        metrics=list(snapshot.metrics),
        artifacts=[
            Artifact(path=path, role="plots", digest="", size=len(text)) for path, text in snapshot.plots.items()
        ],
        restore=Restore(files=dict(snapshot.plots)),
    )


def write(
    report: Report, format: str, *, config: Config | None = None, templates: Mapping[str, str] | None = None
) -> str:
    """The report as `md`, `html` or `json`. Raises ConfigError for any other format."""
    if format == "json":
        return render.render_json(report)
    if format == "html":
        return render.render_html(report, config=config, templates=templates)
    if format == "md":
        return render.render_summary(report, config=config, templates=templates)
    raise ConfigError(f"no report format {format!r}", remedy="use md, html or json")
