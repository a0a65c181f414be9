"""When a retraining pull request is due: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from trackside.config.model import RetrainPolicy
from trackside.documents.proposal import Proposal
from trackside.documents.verdict import Verdict
from trackside.drift.history import news, of_last, streak
from trackside.forge.model import Pull

BRANCH = "trackside/retrain/"


def branch_of(model: str) -> str:
    """The one branch on which a model's retraining is proposed."""
    return BRANCH + model


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What deciding needs to know about one model.

    `history` are its verdicts, the newest first; `pulls` those of its branch, the newest first; `last` is what was
    proposed last. `snoozed_until` is empty or RFC 3339. `asked`: a person wants it now.
    """

    model: str
    policy: RetrainPolicy | None
    history: Sequence[Verdict]
    pulls: Sequence[Pull]
    last: Proposal | None
    snoozed_until: str
    now: datetime
    asked: bool = False


@dataclass(frozen=True, kw_only=True)
class Decision:
    """`pull` is the number of the open pull request, 0 where there is none; `until` when a skip may end."""

    action: Literal["propose", "refresh", "skip"]
    reason_code: str
    message: str
    pull: int = 0
    until: str = ""


def decide(facts: Facts) -> Decision:
    """Propose, refresh what is open, or wait. A person who asks neither waits for drift nor for a pause to end.

    The pause after a proposal counts from its opening, and again from when its pull request was closed or merged:
    a new model is judged by data that it has seen little of so far.
    """
    policy, name = facts.policy, facts.model
    if policy is None:
        return Decision(
            action="skip",
            reason_code="retrain_not_configured",
            message=f"trackside.yaml has no models.{name}.drift.retrain",
        )
    pull = next((one for one in facts.pulls if one.state == "open"), None)
    number = pull.number if pull else 0
    if facts.asked:
        action: Literal["propose", "refresh"] = "refresh" if pull else "propose"
        return Decision(action=action, reason_code="retrain_asked", message="asked for by a person", pull=number)
    until = _time(facts.snoozed_until)
    if until is not None and facts.now < until:
        return _skip("snoozed", f"snoozed until {facts.snoozed_until}", number, facts.snoozed_until)
    newest = facts.history[0] if facts.history else None
    if newest is None or newest.verdict != "drift":
        kind = newest.verdict if newest else "nothing yet"
        return _skip("no_drift", f"the newest check found {kind}", number)
    if pull is not None:
        return Decision(
            action="refresh", reason_code="drift_goes_on", message=f"#{number} is open and drift goes on", pull=number
        )
    if newest.courses and not news(newest):
        return _skip("drift_seasonal", f"usual for the season: {', '.join(newest.courses)[:200]}", 0)
    found, words = _held(newest, facts.history[1:], policy)
    if found < policy.after:
        of = f"{policy.after} of {policy.within}" if policy.within else f"{policy.after} in a row"
        return _skip("drift_not_persistent", f"{words} found drift; {of} are needed", 0)
    return _pause(facts, policy) or Decision(
        action="propose", reason_code="drift_persists", message=f"{words} found drift"
    )


def _held(newest: Verdict, earlier: Sequence[Verdict], policy: RetrainPolicy) -> tuple[int, str]:
    """Checks that count, and in words of which."""
    if policy.within:
        found, of = of_last(newest, earlier, policy.within)
        return found, f"{found} of the last {of} checks"
    row = max(newest.streak, streak(newest, earlier))
    return row, f"{row} check{'s' if row != 1 else ''} in a row"


def _pause(facts: Facts, policy: RetrainPolicy) -> Decision | None:
    """The skip of a cool-down that has not passed."""
    last = facts.pulls[0] if facts.pulls else None
    declined = last is not None and last.state == "closed" and not last.merged
    starts = [_time(facts.last.proposed_at if facts.last else ""), _time(last.closed_at if last else "")]
    start = max((one for one in starts if one is not None), default=None)
    if start is None:
        return None
    end = start + timedelta(days=policy.cooldown_days)
    if facts.now >= end:
        return None
    until = end.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if declined and last is not None:
        return _skip("retrain_declined", f"#{last.number} was closed without merging: nothing until {until}", 0, until)
    return _skip("cooldown", f"cool-down until {until}", 0, until)


def _skip(reason: str, message: str, pull: int, until: str = "") -> Decision:
    return Decision(action="skip", reason_code=reason, message=message, pull=pull, until=until)


def _time(text: str) -> datetime | None:
    """An RFC 3339 time; None for what is none."""
    try:
        made = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return made if made is None or made.tzinfo else made.replace(tzinfo=UTC)
