"""The plan stage for a dispatch: what a comment asks for, read again; or what a person asks for by hand."""

from __future__ import annotations

import re
from dataclasses import replace

from trackside.command.evidence import Asked, bind, read_again
from trackside.command.words import NOT, STARTED, refused, reply
from trackside.config.model import Config
from trackside.errors import ConfigError, NotFound, Refused
from trackside.event.model import DispatchEvent
from trackside.forge.model import Pull
from trackside.forge.operations import Operation, React
from trackside.plan.facts import Reporter, Request
from trackside.plan.stage import Planned, Ports, nothing, plan_pull
from trackside.report.escape import inline

_NUMBER = re.compile(r"[1-9][0-9]{0,14}")


def plan_asked(event: DispatchEvent, ports: Ports, *, report: Reporter, train_workflow: str) -> Planned:
    """Plan for a dispatch with the inputs `pull-request` and `comment`.

    Without a comment the pull request is planned as for an event: what the policy lets start by itself is started.

    Raises:
        ConfigError: `pull-request` is no number.
        ForgeError, ToolError: like `plan_event`.
    """
    number, comment = (event.inputs.get(name, "").strip() for name in ("pull-request", "comment"))
    if not _NUMBER.fullmatch(number):
        raise ConfigError("the input pull-request is not a number", link="commands.md")
    if not comment:
        return plan_pull(int(number), ports, report, train_workflow)
    heard: list[Asked] = []

    def ask(config: Config, pull: Pull) -> Request:
        asked = read_again(
            comment, ports.forge, config, now=ports.clock.now(), names=("train", "report"), issue=pull.number
        )
        heard.append(asked)
        if asked.command.name == "train":
            bind(asked, pull, ports.forge)
        return request_of(asked)

    try:
        planned = plan_pull(int(number), ports, report, train_workflow, ask=ask)
    except Refused as error:
        return _refused(error, int(number), comment, ports)
    if heard:
        return _answered(planned, heard[0])
    if planned.reason_code == "pull_closed":
        closed = Refused(planned.message, reason_code="pull_closed")
        return _refused(closed, int(number), comment, ports)
    return planned


def request_of(asked: Asked) -> Request:
    """What a comment asks of the plan."""
    said = asked.command
    return Request(
        kind="report" if said.name == "report" else "train",
        model=said.model,
        overrides=said.overrides,
        comment=asked.comment,
        author=asked.author,
    )


def _refused(error: Refused, number: int, comment: str, ports: Ports) -> Planned:
    """Nothing is started. The author is told, where the comment is one of this pull request."""
    operations: list[Operation] = []
    try:
        found = ports.forge.comment(int(comment))
        if found.issue == number and error.reason_code != "identity_mismatch":
            operations += refused(number, found.id, found.author, error)
    except (ValueError, NotFound):
        pass
    return replace(nothing(ports, error.reason_code, error.message), operations=operations, refused=True)


def _answered(planned: Planned, asked: Asked) -> Planned:
    """Where no model is trained or reported on, the comment's reaction says so; what no comment tells, a reply."""
    plans = planned.plan.models
    if not plans or any(one.decision not in ("refused", "failed") for one in plans):
        return planned
    answer: list[Operation] = [React(comment_id=asked.comment, content=NOT, instead_of=STARTED)]
    if asked.command.overrides or any(one.reason_code == "not_trained" for one in plans):
        text = "\n".join(f"- `{one.model}`: {inline(one.reason, 1000)}" for one in plans)
        answer.append(reply(asked.issue, asked.comment, asked.author, f"nothing was started.\n\n{text}"))
    return replace(planned, operations=[*planned.operations, *answer], refused=True)
