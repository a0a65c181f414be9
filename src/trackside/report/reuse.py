"""The report of a recorded run that answers a pull request's inputs, as the plan publishes it."""

from __future__ import annotations

import msgspec

from trackside.config.model import Model
from trackside.documents.run import Run
from trackside.plan.facts import Facts, Published
from trackside.report.build import build_report
from trackside.report.check import conclusion, notes
from trackside.report.render import render_comment


def reused(run: Run, baseline: Run | None, model: Model, facts: Facts) -> Published:
    """Judge a recorded run by today's policy and this pull request's baseline; nothing is executed.

    A run of this very subject is shown as it was reported, so that planning again changes nothing.
    """
    subject = facts.subject
    source = subject.source()
    shown = run if run.source == source else msgspec.structs.replace(run, restored_from=run.id, source=source)
    report = build_report(
        shown,
        model=model,
        config=facts.config,
        baseline=baseline,
        baseline_note="" if baseline else "No run is recorded for the base's inputs.",
        policy_changes=list(facts.policy_changes),
    )
    body = render_comment(report, config=facts.config)
    return Published(
        passed=report.gate == "passed",
        conclusion=conclusion(report),
        title=report.headline[:250],
        summary=body,
        body=body,
        annotations=tuple(notes(report, facts.config)),
    )
