"""Who is told what of a verdict: an issue, a check run, an exit code. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trackside.config.model import DriftPolicy, Model
from trackside.documents.verdict import Verdict
from trackside.drift import render
from trackside.drift.history import proposes
from trackside.errors import DataError
from trackside.forge.operations import Operation, UpsertCheck, UpsertIssue
from trackside.report.escape import plain

CONCLUSIONS = {
    "ok": "success",
    "warning": "neutral",
    "drift": "failure",
    "insufficient_data": "neutral",
    "invalid_data": "failure",
}


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A model's verdict with what is on record for it. `quiet` is why nobody is told, empty if they are."""

    model: Model
    policy: DriftPolicy
    verdict: Verdict
    recorded: Verdict | None
    earlier: tuple[Verdict, ...]
    quiet: str = ""

    @property
    def proposes(self) -> bool:
        return not self.quiet and proposes(self.verdict, self.policy, self.earlier)


def told(one: Checked, tip: str) -> Operation | None:
    """The issue or check run that tells a verdict, as the policy asks; None where nobody is told."""
    if one.quiet:
        return None
    verdict = one.verdict
    words = render.markdown(verdict, one.earlier[: one.policy.history - 1], link=verdict.workflow_run)
    title = f"{one.model.name}: {plain(render.headline(verdict))}"
    if one.policy.notify == "check":
        return UpsertCheck(
            name=f"trackside drift / {one.model.name}",
            head_sha=tip,
            external_id=f"trackside:drift:{one.model.name}:{verdict.as_of}",
            title=title[:250],
            summary=words,
            conclusion=CONCLUSIONS[verdict.verdict],
            details_url=verdict.workflow_run,
        )
    if one.policy.notify != "issue" or verdict.verdict == "insufficient_data":
        return None  # an issue stays as it is: nothing new is known
    silence = "" if verdict.verdict == "ok" else f"\nTo silence this: `/drift snooze 30d {one.model.name}`\n"
    return UpsertIssue(
        marker=render.marker(one.model.name),
        title=f"Drift: {title}",
        body=words + silence,
        labels=("drift",),
        open=verdict.verdict != "ok",
    )


def exit_code(kinds: Mapping[str, str], fail_on: str) -> int:
    """0, or 7 where a model's data could not be judged, or 1 where drift was found and is to fail."""
    found = set(kinds.values())
    if fail_on != "never" and found & {"invalid_data", "insufficient_data"}:
        return DataError.exit_code
    return 1 if fail_on == "drift" and "drift" in found else 0
