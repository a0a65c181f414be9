"""Promotion and rollback at the edge: who asks, the lock, the tags as they are under it, one new tag, the answer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from trackside.command.evidence import Asked, by_hand, read_again
from trackside.command.words import NOT, STARTED, refused, reply
from trackside.config.load import load as load_config
from trackside.config.model import CONFIG_FILE, Config, Model
from trackside.documents.result import Result
from trackside.errors import ConfigError, ForgeError, NotFound, Refused
from trackside.forge.model import TagObject
from trackside.forge.operations import Applied, Operation, React
from trackside.forge.ports import Forge
from trackside.registry.locks import LockPorts, claim, free, wanted
from trackside.registry.promote import Change, Wish, change, done_before, target
from trackside.registry.read import TagReader, record
from trackside.registry.state import RegistryState, fold
from trackside.registry.tags import version_tag
from trackside.registry.versions import Version

if TYPE_CHECKING:
    from trackside.app import Context

HISTORY = 20
"""How many changes of a stage are looked at, newest first: each costs a call."""
TRIES = 3
"""How often a number that another tool took meanwhile is counted anew."""


class Ports(TagReader, LockPorts, Forge, Protocol):
    """What promoting needs; `forge.github.GithubForge` is one."""


@dataclass(frozen=True, kw_only=True)
class Dispatch:
    """How the workflow was started: `inputs` of the dispatch, `actor` as GitHub says, `run` its id, `url` its page."""

    inputs: Mapping[str, str]
    actor: str
    run: str
    url: str
    now: datetime


@dataclass
class Work:
    """One promotion on its way; `applied` collects what was written, `asked` is the comment that holds good."""

    dispatch: Dispatch
    forge: Ports
    asked: Asked | None = None
    applied: list[Applied] = field(default_factory=list)

    def apply(self, *operations: Operation) -> tuple[Applied, ...]:
        done = self.forge.apply(operations)
        self.applied += done
        return done


def run_promotion(dispatch: Dispatch, forge: Ports) -> tuple[Result, list[Applied]]:
    """Promote or roll back, as the comment says that the dispatch names; without one, as its inputs say.

    A refusal is answered where a comment asked. Run again, it finds what it did and adds nothing.

    Raises:
        ConfigError: the policy cannot be read, or the dispatch is for something else.
        ForgeError: GitHub or the network failed.
    """
    work = Work(dispatch=dispatch, forge=forge)
    try:
        result = _promote(work)
    except Refused as error:
        asked = work.asked
        if asked is not None:
            work.apply(*refused(asked.issue, asked.comment, asked.author, error))
        result = Result(
            command=dispatch.inputs.get("task", "promote"),
            decision="refused",
            reason_code=error.reason_code,
            message=error.message,
            values={"exit-code": error.exit_code},
        )
    return result, work.applied


def _promote(work: Work) -> Result:
    forge, dispatch = work.forge, work.dispatch
    branch = forge.default_branch()
    tip = forge.head_of(branch)
    raw = forge.file(CONFIG_FILE, tip)
    if raw is None:
        raise ConfigError(f"{branch} has no {CONFIG_FILE}", reason_code="not_configured")
    config = load_config(raw.decode("utf-8", "replace"))
    wish = _wish(work, config)
    lock = wanted(
        model=wish.model.name,
        stage=wish.stage,
        owner=dispatch.run,
        actor=wish.actor,
        reason=f"{wish.task} {wish.model.name} {wish.version or ''}".strip(),
        now=dispatch.now,
        url=dispatch.url,
    )
    held = claim(forge, lock, tree=forge.commit(tip).tree)
    try:
        made, outcome = _under_lock(work, wish, branch, config.data_branch)
    finally:
        with suppress(ForgeError):  # it ends by itself
            free(forge, held)
    return _told(work, wish, made, outcome)


def _wish(work: Work, config: Config) -> Wish:
    """Who asks for what; arguments come from the comment itself where one is named."""
    inputs = {name: value.strip() for name, value in work.dispatch.inputs.items()}
    task: Literal["promote", "rollback"] = "rollback" if inputs.get("task") == "rollback" else "promote"
    comment = inputs.get("comment", "")
    if comment:
        asked = read_again(comment, work.forge, config, now=work.dispatch.now, names=(task,))
        work.asked = asked
        said, actor = asked.command, asked.author
        name, stage, version = said.model, said.stage, said.version
    else:
        actor = work.dispatch.actor
        name, stage, version = (inputs.get(one, "") for one in ("model", "stage", "version"))
        by_hand(task, actor, work.forge, config)
    model = _model(config, name)
    if stage not in model.promotion:
        raise Refused(
            f"{name} has no stage {stage[:60]!r}",
            remedy="stages of its promotion: " + ", ".join(model.promotion),
            link="commands.md",
            reason_code="stage_unknown",
        )
    return Wish(
        task=task,
        model=model,
        stage=stage,
        actor=actor,
        version=version.removeprefix("v"),
        reason=inputs.get("reason", "")[:300],
        comment=comment,
        run=work.dispatch.run,
    )


def _model(config: Config, name: str) -> Model:
    found = config.model(name)
    if found is None:
        raise Refused(
            f"{CONFIG_FILE} has no model {name[:100]!r}",
            remedy="known models: " + ", ".join(one.name for one in config.models),
            reason_code="model_unknown",
        )
    return found


def _under_lock(work: Work, wish: Wish, branch: str, data_branch: str) -> tuple[Change, str]:
    """Decide on the tags as they are now, then write; a number that was taken by another tool is counted anew."""
    for left in reversed(range(TRIES)):
        made = _decided(work.forge, wish, branch, data_branch)
        if made.tag is None:
            return made, "unchanged"
        (applied,) = work.apply(made.tag)
        if applied.outcome != "failed" or applied.reason_code != "tag_taken" or not left:
            return made, applied.outcome
    raise AssertionError("the last try returns")


def _decided(forge: Ports, wish: Wish, branch: str, data_branch: str) -> Change:
    name = wish.model.name
    at = wish.model.promotion.index(wish.stage)
    before = wish.model.promotion[at - 1 : at] if at else ()
    state = read_stages(forge, name, (wish.stage, *before))
    again = done_before(state, wish)
    if again is not None:
        version = state.version_of(again)
        if version is not None:
            return Change(version=version, before=None, name=again.name)
    version = target(state, wish)
    commit = _commit(forge, state, name, version)
    released = record(forge, name, version, branch=data_branch) if wish.task == "promote" else None
    if released is not None and (released.state, released.commit) != ("published", commit):  # other tools leave none
        raise Refused(
            f"{name} v{version} is not released",
            why="its tag is not the release's" if released.commit != commit else "its files are not all there yet",
            remedy="re-run the job `register` of the commit's release.yml, then ask again",
            link="releases.md",
            reason_code="release_missing",
        )
    return change(state, wish, version, commit=commit, on_default=forge.contains(branch, commit))


def read_stages(reader: TagReader, model: str, stages: tuple[str, ...]) -> RegistryState:
    """The registry's tags of a model, with the objects of the newest `HISTORY` changes of each stage."""
    refs = [ref for ref in reader.tags(model) if ref.name.startswith((f"{model}@", f"{model}#"))]
    objects: dict[str, TagObject] = {}
    seen = fold(refs)
    for stage in stages:
        for event in seen.history(model, stage)[:HISTORY]:
            objects[event.name] = reader.tag_object(event.object)
    found = fold(refs, objects)
    looked = [one for stage in stages for one in found.history(model, stage) if one.name in objects]
    if any(one.tag.action == "assign" and found.version_of(one) is None for one in looked):
        # Another tool's tags name no version: the version tag at the same commit tells.
        for ref in refs:
            if ref.annotated and ref.name.startswith(f"{model}@v"):
                objects.setdefault(ref.name, reader.tag_object(ref.object))
    return fold(refs, objects)


def _commit(reader: TagReader, state: RegistryState, model: str, version: Version) -> str:
    event = state.version_event(model, version)
    if event is None:
        raise NotFound(f"there is no tag {version_tag(model, version)}", reason_code="version_unknown")
    return event.commit or reader.tag_object(event.object).commit


def _told(work: Work, wish: Wish, made: Change, outcome: str) -> Result:
    """The result, and the reply where a comment asked."""
    name, stage = wish.model.name, wish.stage
    failed = next((one for one in work.applied if one.outcome == "failed"), None) if outcome == "failed" else None
    if made.before == made.version:
        text = f"v{made.version} of `{name}` holds `{stage}` already."
    else:
        was = f", which v{made.before} held" if made.before is not None else ""
        text = f"v{made.version} of `{name}` holds `{stage}` now{was}. Tag `{made.name}`."
    if failed is not None:
        text = f"the tag `{made.name}` could not be made: {failed.reason_code}."
    if work.asked is not None:
        asked, well = work.asked, failed is None
        work.apply(
            React(comment_id=asked.comment, content=STARTED if well else NOT, instead_of=NOT if well else STARTED),
            reply(asked.issue, asked.comment, asked.author, text),
        )
    done = "rolled_back" if wish.task == "rollback" else "promoted"
    return Result(
        command=wish.task,
        decision="failed" if failed else "done",
        reason_code=(failed.reason_code or "forge_failed") if failed else done,
        message=failed.error if failed else text.replace("`", ""),
        ids={"model": name, "version": str(made.version), "stage": stage, "tag": made.name},
        values={"model": name, "version": str(made.version), "stage": stage, "tag": made.name},
    )


def stage_promote(context: Context) -> Result:
    """`actions/promote`: what the dispatch of release.yml with task promote or rollback asks for."""
    import msgspec

    from trackside.command.job import write_result
    from trackside.event.model import DispatchEvent
    from trackside.stages import event_of, forge_of, tell
    from trackside.system.clock import SystemClock

    forge = forge_of(context, "promote")
    event = event_of(context)
    if not isinstance(event, DispatchEvent) or event.inputs.get("task") not in ("promote", "rollback"):
        raise ConfigError("actions/promote is for workflow_dispatch with task promote or rollback", link="actions.md")
    run = context.need("GITHUB_RUN_ID")
    result, applied = run_promotion(
        Dispatch(
            inputs=event.inputs,
            actor=context.actor,
            run=run,
            url=f"{context.need('GITHUB_SERVER_URL')}/{forge.repository}/actions/runs/{run}",
            now=SystemClock().now(),
        ),
        forge,
    )
    tell(context, applied)
    context.say(result.message)
    result = msgspec.structs.replace(result, api_calls=forge.calls)
    write_result(result, Path(context.value("out", "promote")))
    return result
