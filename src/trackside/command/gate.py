"""Facts about a comment → what its command may do now; pure, so that the same facts give the same writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from trackside.command.evidence import bound
from trackside.command.parse import Command
from trackside.command.table import help_text, row
from trackside.config.model import Config
from trackside.errors import Refused
from trackside.forge.model import Pull, Push, WorkflowRun
from trackside.forge.operations import AddLabels, CancelRun, CommitFiles, DispatchWorkflow, Operation
from trackside.plan.titles import parse_title, plan_title
from trackside.registry.versions import BUMPS
from trackside.system.clock import rfc3339

RELEASE_LABEL = "release:"
"""Followed by the version step."""


@dataclass(frozen=True, kw_only=True)
class Workflows:
    """File names of the workflows that commands start."""

    plan: str = "pull-request.yml"
    train: str = "train.yml"
    release: str = "release.yml"
    drift: str = "drift.yml"


@dataclass(frozen=True, kw_only=True)
class GateFacts:
    """What deciding needs to know.

    `issue`, `comment`, `author`, `at` and `url` are of the comment; `pull` is known where the command needs a pull
    request, `push` where its commit must be vouched for, `active` (runs that have not ended) where runs are cancelled.
    """

    command: Command
    config: Config
    issue: int
    comment: int
    author: str
    at: str
    url: str
    default_branch: str
    now: datetime
    workflows: Workflows = Workflows()
    pull: Pull | None = None
    push: Push | None = None
    active: tuple[WorkflowRun, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Decided:
    """Writes, and what to say beside the reaction: nothing where `reply` is empty. It is Markdown."""

    reason_code: str
    message: str
    operations: tuple[Operation, ...] = ()
    reply: str = ""


def decide(facts: GateFacts) -> Decided:
    """What a command of somebody who may give it leads to.

    Raises:
        Refused: the pull request is not in the state for it, or its commit is not vouched for.
    """
    name = facts.command.name
    if row(name).where == "pull request" and facts.pull is None:
        raise Refused(f"/{name} is for pull requests", link="commands.md", reason_code="not_a_pull")
    return _DECIDERS[name](facts)


def _open(facts: GateFacts) -> Pull:
    pull = facts.pull
    if pull is None or pull.state != "open":
        raise Refused(f"pull request #{facts.issue} is not open", link="commands.md", reason_code="pull_closed")
    return pull


def _dispatch(facts: GateFacts, workflow: str, message: str, inputs: Mapping[str, str]) -> Decided:
    """The workflow reads the comment again: inputs beside its number only name the run."""
    given = {name: value for name, value in inputs.items() if value} | {"comment": str(facts.comment)}
    started = DispatchWorkflow(workflow=workflow, ref=facts.default_branch, inputs=given)
    return Decided(reason_code="dispatched", message=message, operations=(started,))


def _train(facts: GateFacts) -> Decided:
    pull = _open(facts)
    bound(facts.command, facts.at, pull, facts.push)
    what = f"train #{pull.number} at {pull.head_sha[:12]}"
    return _dispatch(facts, facts.workflows.plan, what, {"pull-request": str(pull.number)})


def _report(facts: GateFacts) -> Decided:
    pull = _open(facts)
    return _dispatch(facts, facts.workflows.plan, f"report on #{pull.number}", {"pull-request": str(pull.number)})


def _cancel(facts: GateFacts) -> Decided:
    ours = [run for run in facts.active if run.event == "workflow_dispatch" and _is_of(run.title, facts.issue)]
    why = f"asked for by {facts.author}"
    if not ours:
        return Decided(reason_code="nothing_runs", message="nothing runs", reply="nothing of this pull request runs.")
    listed = ", ".join(f"[{run.title}]({run.url})" if run.url else run.title for run in ours)
    return Decided(
        reason_code="cancelled",
        message=f"cancelled {len(ours)} runs",
        operations=tuple(CancelRun(run_id=run.id, why=why) for run in ours),
        reply=f"cancelled {listed}.",
    )


def _is_of(title: str, number: int) -> bool:
    trained = parse_title(title)
    return trained.pull == number if trained is not None else title == plan_title(number)


def _release(facts: GateFacts) -> Decided:
    pull, bump = facts.pull, facts.command.bump
    if pull is not None and pull.merged:
        inputs = {"task": "register", "bump": bump, "commit": pull.merge_sha}
        return _dispatch(facts, facts.workflows.release, f"register what #{pull.number} changed", inputs)
    pull = _open(facts)
    others = tuple(RELEASE_LABEL + one for one in BUMPS if one != bump)
    labels = AddLabels(issue=pull.number, add=(RELEASE_LABEL + bump,), remove=others)
    return Decided(
        reason_code="labelled", message=f"the merge of #{pull.number} is a {bump} version", operations=(labels,)
    )


def _stage(facts: GateFacts) -> Decided:
    said = facts.command
    inputs = {"task": said.name, "model": said.model, "version": said.version, "stage": said.stage}
    return _dispatch(facts, facts.workflows.release, f"{said.name} {said.model} {said.stage}".rstrip(), inputs)


def _drift(facts: GateFacts) -> Decided:
    if facts.command.action == "check":
        inputs = {"task": "check", "model": facts.command.model}
        return _dispatch(facts, facts.workflows.drift, "check for drift", inputs)
    return _snooze(facts)


def _snooze(facts: GateFacts) -> Decided:
    said = facts.command
    watched = [one.name for one in facts.config.models if one.drift is not None]
    models = [said.model] if said.model else watched
    until = rfc3339((facts.now + timedelta(seconds=said.seconds)).astimezone(UTC))
    note = {"schema": "trackside.snooze/1", "until": until, "by": facts.author, "why": facts.url}
    text = json.dumps(note, indent=1) + "\n" if said.seconds else None
    named = ", ".join(f"`{one}`" for one in models)
    told = f"until {until} no retraining of {named} is proposed." if said.seconds else f"{named}: not snoozed any more."
    commit = CommitFiles(
        branch=facts.config.data_branch,
        message=f"{'Snooze' if said.seconds else 'End the snooze of'} {', '.join(models)}",
        files={f"drift/{one}/snooze.json": text for one in models},
    )
    return Decided(reason_code="snoozed", message=told, operations=(commit,), reply=told)


def _retrain(facts: GateFacts) -> Decided:
    inputs = {"task": "retrain", "model": facts.command.model}
    return _dispatch(facts, facts.workflows.drift, f"retrain {facts.command.model}", inputs)


def _help(facts: GateFacts) -> Decided:
    return Decided(reason_code="helped", message="help", reply=help_text(facts.config.commands))


_DECIDERS: Mapping[str, Callable[[GateFacts], Decided]] = {
    "train": _train,
    "cancel": _cancel,
    "report": _report,
    "release": _release,
    "promote": _stage,
    "rollback": _stage,
    "deprecate": _stage,
    "drift": _drift,
    "retrain": _retrain,
    "help": _help,
}
