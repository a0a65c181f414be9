"""One model's proposal: decide, change, propose, start its training, write it down; safe to repeat at any point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from trackside.config.model import Config, Model, RetrainPolicy
from trackside.documents.codec import dump, load
from trackside.documents.proposal import Proposal
from trackside.errors import DataError, ForgeError
from trackside.forge.operations import Applied, CommitFiles, DispatchWorkflow, ProposeChange
from trackside.plan.titles import plan_title
from trackside.report.marker import check_name
from trackside.retrain.body import Words, body, heading, message
from trackside.retrain.change import Change, set_params, update_imports
from trackside.retrain.decide import Decision, Facts, branch_of, decide
from trackside.store.drift import DriftHistory, history
from trackside.system.clock import Clock, SystemClock, rfc3339
from trackside.system.process import Processes
from trackside.train.scrub import scrubbed

if TYPE_CHECKING:
    from trackside.forge.github import GithubForge

LABELS = ("trackside", "retraining")


@dataclass(frozen=True, kw_only=True)
class RetrainJob:
    """One run of the stage.

    `forge` reads and writes as the job; `app` opens pull requests as an App, where one is configured. `models` are
    those that the check names as due, before any comment. `credentials` are those of the data remote; `page` is the
    repository's address for git, `token` what it is read with.
    """

    forge: GithubForge
    processes: Processes
    page: str
    token: str
    workdir: Path
    app: GithubForge | None = None
    models: tuple[str, ...] = ()
    credentials: Mapping[str, str] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)
    plan_workflow: str = "pull-request.yml"
    actor: str = ""
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Who wants what: `asked` by a person, for models by name, as of a date (empty: that of the newest verdict)."""

    models: tuple[str, ...]
    asked: bool = False
    by: str = ""
    comment: int = 0
    url: str = ""
    as_of: str = ""


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """What became of one model."""

    model: str
    decision: Decision
    proposal: Proposal | None = None
    applied: tuple[Applied, ...] = ()


def proposal_path(model: str) -> str:
    """Where the newest proposal of a model lies on the data branch."""
    return f"retrain/{model}.json"


class Proposing:
    """One model. `base` is the tip of the default branch `branch`, `files` what the data branch holds of it."""

    def __init__(
        self, job: RetrainJob, config: Config, model: Model, wish: Wish, branch: str, base: str, files: dict[str, bytes]
    ) -> None:
        self.job, self.config, self.model, self.wish, self.branch, self.base = job, config, model, wish, branch, base
        self.policy = model.drift.retrain if model.drift else None
        self.known: DriftHistory = history(model.name, files)
        self.verdicts = tuple(reversed(self.known.verdicts))
        self.last = _proposal(files.get(proposal_path(model.name)))
        self.now: datetime = job.clock.now()
        self.writer = job.app or job.forge

    def run(self) -> Retrained:
        name, snooze = self.model.name, self.known.snooze
        decision = decide(
            Facts(
                model=name,
                policy=self.policy,
                history=self.verdicts,
                pulls=self.job.forge.pulls_from(branch_of(name)),
                last=self.last,
                snoozed_until=snooze.until if snooze else "",
                now=self.now,
                asked=self.wish.asked,
            )
        )
        if decision.action == "skip" or self.policy is None:
            return Retrained(model=name, decision=decision)
        change = self.change(self.policy)
        if not change.files:
            skipped = Decision(
                action="skip",
                reason_code="nothing_to_propose",
                message="parameters and data of the default branch are the newest already",
                pull=decision.pull,
            )
            return Retrained(model=name, decision=skipped)
        return self.propose(decision, self.policy, change)

    @property
    def as_of(self) -> str:
        """The date that placeholders are filled with."""
        if self.wish.as_of:
            return self.wish.as_of
        return self.verdicts[0].as_of if self.verdicts else self.now.date().isoformat()

    def change(self, policy: RetrainPolicy) -> Change:
        def read(path: str) -> bytes | None:
            return self.job.forge.file(path, self.base)

        change = set_params(policy, read, self.as_of)
        if not policy.update:
            return change
        return change + update_imports(
            policy,
            read,
            config=(read(".dvc/config") or b"").decode("utf-8", "replace"),
            folder=self.job.workdir / f"update-{self.model.name}",
            env={**scrubbed(self.job.processes.env), **self.job.credentials},
            processes=self.job.processes,
        )

    def propose(self, decision: Decision, policy: RetrainPolicy, change: Change) -> Retrained:
        job, name = self.job, self.model.name
        words = Words(
            model=name,
            history=self.verdicts,
            changes=change.rows,
            as_of=self.as_of,
            cooldown_days=policy.cooldown_days,
            starts_itself=job.app is not None,
            auto_merge=policy.auto_merge,
            asked_by=self.wish.by,
            asked_url=self.wish.url,
        )
        operation = ProposeChange(
            branch=branch_of(name),
            base=self.branch,
            files=dict(change.files),
            message=message(words),
            title=heading(words),
            body=body(words),
            labels=LABELS,
            reviewers=policy.reviewers,
        )
        (proposed,) = self.writer.apply([operation], dry_run=job.dry_run)
        _worked(proposed)
        if job.dry_run:
            return Retrained(model=name, decision=decision, applied=(proposed,))
        number = int(proposed.id)
        proposal = self.proposal(number, proposed.url, change)
        applied = [proposed, *self.start(number)]
        known = CommitFiles(
            branch=self.config.data_branch,
            message=f"Retraining of {name} is proposed by #{number}",
            files={proposal_path(name): dump(proposal).decode()},
        )
        applied += job.forge.apply([known])
        for one in applied:
            _worked(one)
        return Retrained(model=name, decision=decision, proposal=proposal, applied=tuple(applied))

    def start(self, number: int) -> tuple[Applied, ...]:
        """Dispatch the plan of the pull request, unless its newest head has been planned or an App's events do it."""
        job = self.job
        if job.app is not None:
            return ()
        head = job.forge.head_of(branch_of(self.model.name))
        if job.forge.checks(head, name=check_name(self.model.name)):
            return ()
        started = DispatchWorkflow(
            workflow=job.plan_workflow,
            ref=self.branch,
            inputs={"pull-request": str(number), "comment": ""},
            unless_title=plan_title(number),
        )
        return job.forge.apply([started])

    def proposal(self, number: int, url: str, change: Change) -> Proposal:
        """The record; of one that is refreshed it keeps when it was opened, and why."""
        last = self.last if self.last is not None and self.last.pull_request == number else None
        now = rfc3339(self.now)
        made = Proposal(
            model=self.model.name,
            pull_request=number,
            branch=branch_of(self.model.name),
            base=self.base,
            as_of=self.as_of,
            why="asked" if self.wish.asked else "drift",
            proposed_at=last.proposed_at if last else now,
            refreshed_at=now,
            url=url,
            moved=list(self.verdicts[0].moved[:100]) if self.verdicts else [],
            changes=list(change.rows),
            by=self.wish.by,
            comment=self.wish.comment,
            starts_itself=self.job.app is not None,
        )
        if last is None:
            return made
        made = msgspec.structs.replace(made, why=last.why, by=last.by, comment=last.comment)
        same = msgspec.structs.replace(made, refreshed_at=last.refreshed_at) == last
        return last if same else made


def _proposal(data: bytes | None) -> Proposal | None:
    """The last one; a damaged record counts as none."""
    try:
        return load(Proposal, data, name="the last proposal") if data is not None else None
    except DataError:
        return None


def _worked(one: Applied) -> None:
    """Raises ForgeError for what was not done."""
    if one.outcome == "failed":
        text = one.error.removeprefix("error: ")
        raise ForgeError(text, reason_code=one.reason_code or "forge_failed")
