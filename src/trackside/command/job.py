"""The gate's job: one comment in, a reaction and at most one started workflow out. No checkout, nothing is run."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trackside.command.evidence import lacking, permitted
from trackside.command.gate import Decided, GateFacts, Workflows, decide
from trackside.command.parse import Command, Ignore, Reply, parse
from trackside.command.table import needed, row
from trackside.command.words import NOT, SEEN, STARTED, refusal, reply, reply_marker
from trackside.config.load import load as load_config
from trackside.config.model import CONFIG_FILE, Config
from trackside.documents.codec import dump
from trackside.documents.result import Decision, Result
from trackside.errors import ConfigError, ForgeError, NotFound, Refused, TracksideError
from trackside.event.model import CommentEvent, Event
from trackside.forge.model import Pull, Push, WorkflowRun
from trackside.forge.operations import Applied, Operation, React
from trackside.forge.ports import Forge

if TYPE_CHECKING:
    from trackside.app import Context


@dataclass
class Gate:
    """One comment on its way through. `again`: the job is run again; `applied` collects what was written."""

    event: CommentEvent
    forge: Forge
    now: datetime
    workflows: Workflows
    dry_run: bool = False
    again: bool = False
    applied: list[Applied] = field(default_factory=list)

    def apply(self, *operations: Operation) -> list[Applied]:
        done = list(self.forge.apply(operations, dry_run=self.dry_run))
        self.applied += done
        return done

    def answer(self, reaction: str, text: str = "") -> None:
        """The last reaction, and a reply where there is something to say, or something else was said before."""
        event = self.event
        self.apply(React(comment_id=event.comment_id, content=reaction, instead_of=SEEN))
        if self.again:
            other = NOT if reaction == STARTED else STARTED
            self.apply(React(comment_id=event.comment_id, content=reaction, instead_of=other))
            mark = reply_marker(event.comment_id)
            said = any(one.body.startswith(mark) for one in self.forge.comments(event.number) if one.bot)
            text = text or ("done, at the second try." if said else "")
        if text:
            self.apply(reply(event.number, event.comment_id, event.author, text))


def run_gate(
    event: Event,
    forge: Forge,
    *,
    now: datetime,
    workflows: Workflows | None = None,
    dry_run: bool = False,
    again: bool = False,
) -> tuple[Result, list[Applied]]:
    """Follow, refuse or ignore a comment. Whatever goes wrong is told to its author, where GitHub still takes it.

    Args:
        again: the job is run again, so that an answer may stand there already.
    """
    ignored = _ignored(event)
    if ignored or not isinstance(event, CommentEvent):
        return Result(command="command", decision="skipped", reason_code="command_ignored", message=ignored), []
    gate = Gate(event=event, forge=forge, now=now, workflows=workflows or Workflows(), dry_run=dry_run, again=again)
    (seen,) = gate.apply(React(comment_id=event.comment_id, content=SEEN))
    if seen.reason_code == "not_found":
        return _result(gate, "skipped", "comment_gone", "the comment is gone"), gate.applied
    try:
        result = _follow(gate)
    except Refused as error:
        gate.answer(NOT, refusal(error))
        result = _result(gate, "refused", error.reason_code, error.message)
    except TracksideError as error:
        with suppress(ForgeError):
            gate.answer(NOT, refusal(error))
        result = _result(gate, "failed", error.reason_code, error.message, exit_code=error.exit_code)
    return result, gate.applied


def _ignored(event: Event) -> str:
    """Why an event is nobody's command; empty for what may be one."""
    if not isinstance(event, CommentEvent):
        return f"nothing to do for {event.name}"
    if event.action != "created":
        return "only new comments are commands"
    if event.bot or not event.author or event.author.endswith("[bot]"):
        return "bots give no commands"
    said = parse(event.body, None)
    return said.why if isinstance(said, Ignore) else ""


def _follow(gate: Gate) -> Result:
    event, forge = gate.event, gate.forge
    branch = event.default_branch or forge.default_branch()
    config = _policy(forge, branch)
    said = parse(event.body, config)
    name = said.name if isinstance(said, Command | Reply) and said.name else "help"
    role = forge.role(event.author)
    if not permitted(role, needed(name, config.commands)):
        raise lacking(event.author, role, name, config)
    if not isinstance(said, Command):
        text = said.text if isinstance(said, Reply) else said.why
        gate.answer(NOT, text)
        return _result(gate, "refused", said.reason_code if isinstance(said, Reply) else "command_ignored", text)
    pull, push, active = _look(said, gate)
    decided = decide(
        GateFacts(
            command=said,
            config=config,
            issue=event.number,
            comment=event.comment_id,
            author=event.author,
            at=event.created_at,
            url=event.url,
            default_branch=branch,
            now=gate.now,
            workflows=gate.workflows,
            pull=pull,
            push=push,
            active=active,
        )
    )
    return _carried_out(gate, decided)


def _policy(forge: Forge, branch: str) -> Config:
    raw = forge.file(CONFIG_FILE, branch)
    if raw is None:
        raise ConfigError(f"the default branch has no {CONFIG_FILE}", link="commands.md", reason_code="not_configured")
    return load_config(raw.decode("utf-8", "replace"))


def _look(said: Command, gate: Gate) -> tuple[Pull | None, Push | None, tuple[WorkflowRun, ...]]:
    """What the command's decision needs beside the policy; each look-up costs a call."""
    event, forge = gate.event, gate.forge
    if row(said.name).where != "pull request" or not event.on_pull:
        return None, None, ()
    pull = forge.pull(event.number)
    vouched = said.name != "train" or said.sha or pull.from_fork or pull.state != "open"
    push = None if vouched else forge.last_push(pull.head_ref)
    active: list[WorkflowRun] = []
    for workflow in (gate.workflows.plan, gate.workflows.train) if said.name == "cancel" else ():
        try:
            active += forge.runs(workflow, active=True)
        except NotFound:  # a workflow that is not there runs nothing
            continue
    return pull, push, tuple(active)


def _carried_out(gate: Gate, decided: Decided) -> Result:
    """Write, then say how it went. What was not started is said in the reply and fails the job."""
    done = gate.apply(*decided.operations)
    if any(one.reason_code == "timed_out" for one in done):
        # It may have been done. A second time does no harm: what is started finds what the first one did.
        done = gate.apply(*decided.operations)
    failed = next((one for one in done if one.outcome == "failed"), None)
    if failed is not None:
        gate.answer(NOT, refusal(TracksideError(failed.error)))
        return _result(gate, "failed", failed.reason_code or "forge_failed", failed.error)
    gate.answer(STARTED, decided.reply)
    return _result(gate, "done", decided.reason_code, decided.message)


def _result(gate: Gate, decision: Decision, code: str, message: str, *, exit_code: int | None = None) -> Result:
    kept = [one for one in gate.applied if one.id and not isinstance(one.operation, React)]
    return Result(
        command="command",
        decision=decision,
        reason_code=code,
        message=message[:4000],
        ids={"comment": str(gate.event.comment_id)} | {type(one.operation).__name__: str(one.id) for one in kept},
        urls={type(one.operation).__name__: one.url for one in kept if one.url},
        values={} if exit_code is None else {"exit-code": exit_code},
    )


def stage_command(context: Context) -> Result:
    """`actions/command`: follow the comment that started this workflow."""
    import msgspec

    from trackside.stages import event_of, forge_of, tell
    from trackside.system.clock import SystemClock

    forge = forge_of(context, "command")
    names = {name: context.value(f"{name}-workflow", "command") for name in ("plan", "train", "release", "drift")}
    result, applied = run_gate(
        event_of(context),
        forge,
        now=SystemClock().now(),
        workflows=Workflows(**names),
        dry_run=context.flag("dry-run", "command"),
        again=context.env.get("GITHUB_RUN_ATTEMPT", "1") != "1",
    )
    tell(context, applied)
    context.say(result.message)
    result = msgspec.structs.replace(
        result,
        api_calls=forge.calls,
        values=result.values | {"run-url": result.urls.get("DispatchWorkflow", "")},
    )
    write_result(result, Path(context.value("out", "command")))
    return result


def write_result(result: Result, folder: Path) -> None:
    """The document for the artifact `trackside-result`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_bytes(dump(result))
