"""Promotion, rollback and deprecation at the edge: who asks, the lock, the tags as they are under it, one new tag."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from trackside.command.evidence import Asked, by_hand, moment, read_again
from trackside.command.words import NOT, STARTED, refused, reply
from trackside.config.load import load as load_config
from trackside.config.model import CONFIG_FILE, Config, Model, StagePolicy
from trackside.documents.release import Release
from trackside.documents.result import Result
from trackside.errors import ConfigError, ForgeError, NotFound, Refused, TracksideError
from trackside.forge.operations import Applied, CreateTag, MarkDeployed, Operation, React
from trackside.registry.facts import Evidence, facts_of
from trackside.registry.locks import Held, LockPorts, claim, free, wanted
from trackside.registry.promote import (
    BEFORE,
    TASKS,
    Change,
    Task,
    Wish,
    change,
    deprecation,
    done_before,
    holds,
    mine,
    named,
    need_seen,
    need_stage,
    need_unmoved,
    target,
)
from trackside.registry.read import TagReader, record
from trackside.registry.released import Out, need_out, need_same
from trackside.registry.requirements import Attested, judged
from trackside.registry.stage_tags import StageTags
from trackside.registry.state import Event
from trackside.registry.tags import version_tag
from trackside.registry.versions import Version, parse

TRIES = 3
"""How often a number that another tool took meanwhile is counted anew."""
RE_RUN = timedelta(days=31)
"""So long after it began may a workflow run be run again; GitHub allows 30 days."""

_DONE: Mapping[Task, str] = {"promote": "promoted", "rollback": "rolled_back", "deprecate": "deprecated"}


class Ports(TagReader, LockPorts, Evidence, Protocol):
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
    attested: Callable[[Release, bytes], Attested | None]
    asked: Asked | None = None
    applied: list[Applied] = field(default_factory=list)

    def apply(self, *operations: Operation) -> tuple[Applied, ...]:
        done = self.forge.apply(operations)
        self.applied += done
        return done


def run_promotion(
    dispatch: Dispatch, forge: Ports, attested: Callable[[Release, bytes], Attested | None]
) -> tuple[Result, list[Applied]]:
    """Promote, roll back or deprecate, as the comment says that the dispatch names; without one, as its inputs say.

    Who asked by a comment is told why it is not done. Run again, it finds what it did and adds nothing.

    Args:
        attested: the verified attestation of a release with this statement, for stages that ask for one.

    Raises:
        ConfigError: the policy cannot be read, or the dispatch is for something else.
        DataError: the tags contradict each other (`registry_ambiguous`).
        ToolError: signatures cannot be verified here.
        ForgeError: GitHub or the network failed.
    """
    work = Work(dispatch=dispatch, forge=forge, attested=attested)
    try:
        result = _promote(work)
    except TracksideError as error:
        asked = work.asked
        if asked is not None and not isinstance(error, ForgeError):  # that may pass: the job can be run again
            work.apply(*refused(asked.issue, asked.comment, asked.author, error))
        if not isinstance(error, Refused):
            raise
        result = Result(
            command=dispatch.inputs.get("task", "promote"),
            decision="refused",
            reason_code=error.reason_code,
            message=error.message,
            values={"exit-code": error.exit_code},
        )
    return result, work.applied


def _promote(work: Work) -> Result:
    forge = work.forge
    branch = forge.default_branch()
    tip = forge.head_of(branch)
    raw = forge.file(CONFIG_FILE, tip)
    if raw is None:
        raise ConfigError(f"{branch} has no {CONFIG_FILE}", reason_code="not_configured")
    config = load_config(raw.decode("utf-8", "replace"))
    wish = _wish(work, config)
    stages = {wish.stage}
    if wish.task == "deprecate":  # no stage may be given to the version meanwhile
        stages = {*wish.model.promotion, *StageTags(forge, wish.model.name).state.stages(wish.model.name)}
    with _locked(work, wish, sorted(stages), tree=forge.commit(tip).tree):
        made, outcome = _under_lock(work, wish, config, branch)
    return _told(work, wish, made, outcome)


def _wish(work: Work, config: Config) -> Wish:
    """Who asks for what; arguments come from the comment itself where one is named."""
    inputs = {name: value.strip() for name, value in work.dispatch.inputs.items()}
    task: Task = next((one for one in TASKS if one == inputs.get("task")), "promote")
    comment = inputs.get("comment", "")
    if comment:
        asked = read_again(comment, work.forge, config, now=work.dispatch.now, names=(task,))
        work.asked = asked
        said, actor = asked.command, asked.author
        name, stage, version, reason = said.model, said.stage, said.version, said.reason
    else:
        actor, reason = work.dispatch.actor, ""
        name, stage, version = (inputs.get(one, "") for one in ("model", "stage", "version"))
        by_hand(task, actor, work.forge, config)
    model = _model(config, name)
    if task != "deprecate":
        need_stage(model, stage)
    return Wish(
        task=task,
        model=model,
        stage="" if task == "deprecate" else stage,
        actor=actor,
        version=version.removeprefix("v"),
        reason=(reason or inputs.get("reason", ""))[:300],
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


@contextmanager
def _locked(work: Work, wish: Wish, stages: list[str], *, tree: str) -> Iterator[None]:
    """The locks of the stages, taken in one order by everybody, so that of two at least one gets all. Each ends by
    itself, should giving it back fail."""
    forge, dispatch = work.forge, work.dispatch
    held: list[Held] = []
    try:
        for stage in stages:
            lock = wanted(
                model=wish.model.name,
                stage=stage,
                owner=dispatch.run,
                actor=wish.actor,
                reason=f"{wish.task} {wish.model.name} {wish.version or ''}".strip(),
                now=dispatch.now,
                url=dispatch.url,
            )
            held.append(claim(forge, lock, tree=tree))
        yield
    finally:
        for one in reversed(held):
            with suppress(ForgeError):
                free(forge, one)


def _under_lock(work: Work, wish: Wish, config: Config, branch: str) -> tuple[Change, str]:
    """Decide on the tags as they are now, then write; a number that was taken by another tool is counted anew."""
    for left in reversed(range(TRIES)):
        tags = StageTags(work.forge, wish.model.name)
        made = _deprecated(tags, wish) if wish.task == "deprecate" else _decided(work, tags, wish, config, branch)
        if made.tag is None:
            _show(work, tags, wish)
            return made, "unchanged"
        (applied,) = work.apply(made.tag)
        if applied.outcome != "failed":
            _show(work, tags, wish, made)
            return made, applied.outcome
        if applied.reason_code != "tag_taken" or not left:
            return made, applied.outcome
    raise AssertionError("the last try returns")


def _decided(work: Work, tags: StageTags, wish: Wish, config: Config, branch: str) -> Change:
    forge, name, stage = work.forge, wish.model.name, wish.stage
    gate, back = need_stage(wish.model, stage), wish.task == "rollback"
    written = moment(work.asked.at) if work.asked is not None else None
    recent = tags.recent(stage, written or work.dispatch.now - RE_RUN, every=written is not None)
    again = done_before(recent, wish)
    made = tags.state.version_of(again) if again is not None else None
    if again is not None and made is not None:
        return Change(version=made, before=parse(again.trailers.get(BEFORE, "")), name=again.name)
    version = target(tags.before(stage) if back else tags.holder(stage), wish)
    event = _tag(tags, name, version)
    if holds(tags.state, wish, version):
        return Change(version=version, before=version)
    out: Out | None = None
    if back:  # it was in the stage before, which must be quick to get back to
        gate = StagePolicy(stage=stage, branch=gate.branch)
        need_unmoved(tags.state, wish, version, event.commit)
        release = record(forge, name, version, branch=config.data_branch)
        if release is not None:
            need_same(release, event)
        changed = next((one.date for one in recent if mine(one)), "")
    else:
        out = need_out(forge, name, version, event, branch=config.data_branch)
        changed = "" if wish.version else out.there.published_at if out is not None else event.date or "unknown"
    if written is not None and changed:
        need_seen(wish, version, written, moment(changed))
    facts = facts_of(
        forge,
        tags,
        gate,
        version=version,
        commit=event.commit,
        branch=branch,
        data_branch=config.data_branch,
        out=out,
        run=work.dispatch.run,
        attested=work.attested,
    )
    evidence = judged(config, wish.model, gate, facts, actor=wish.actor)
    return change(tags.state, wish, version, commit=event.commit, evidence=evidence)


def _deprecated(tags: StageTags, wish: Wish) -> Change:
    name = wish.model.name
    state = tags.state
    version = parse(wish.version) if wish.version else None
    about = [one for one in state.events_of(name) if one.tag.action in ("deregister", "deprecate")]
    tags.read([one for one in about if one.tag.version == version])
    again = done_before([one for one in tags.state.events_of(name) if one.tag.version == version], wish)
    if again is not None:
        return Change(version=version, name=again.name)
    gone = version is not None and version in tags.state.deregistered(name)
    newest = version if gone and version is not None else named(tags.state, wish)
    for stage in state.stages(name) if version is not None else ():
        tags.holder(stage)
    return deprecation(tags.state, wish, version, commit=_tag(tags, name, newest).commit)


def _tag(tags: StageTags, model: str, version: Version) -> Event:
    """A version's tag, read."""
    event = tags.version(version)
    if event is None:
        raise NotFound(f"there is no tag {version_tag(model, version)}", reason_code="version_unknown")
    return event


def _show(work: Work, tags: StageTags, wish: Wish, made: Change | None = None) -> None:
    """Let GitHub's deployments show who holds the stage now: after a new tag that, else whoever does. A failure is told
    and changes nothing: the tag is the truth, and the next run of this job or of the stage shows it.
    """
    name, stage = wish.model.name, wish.stage
    if wish.task == "deprecate":
        return
    if made is not None and made.tag is not None:
        tag, commit, version = made.name, made.tag.commit, made.version
    else:
        event = tags.holder(stage).holder_event(name, stage)
        if event is None:
            return
        tag, commit, version = event.name, event.commit, tags.state.version_of(event)
    server = work.dispatch.url.partition("/actions/")[0]
    work.apply(
        MarkDeployed(
            environment=f"{name}/{stage}",
            tag=tag,
            commit=commit,
            description=f"v{version} of {name} holds {stage}",
            facts={"model": name, "version": str(version), "stage": stage, "actor": wish.actor},
            log_url=work.dispatch.url,
            page=f"{server}/releases/tag/{version_tag(name, str(version))}",
        )
    )


def _told(work: Work, wish: Wish, made: Change, outcome: str) -> Result:
    """The result, and the reply where a comment asked."""
    name, stage = wish.model.name, wish.stage
    bad = [one for one in work.applied if one.outcome == "failed"]
    failed = next((one for one in bad if isinstance(one.operation, CreateTag)), None) if outcome == "failed" else None
    unseen = next((one for one in bad if isinstance(one.operation, MarkDeployed)), None)
    text = _text(wish, made)
    if failed is not None:
        text = f"the tag `{made.name}` could not be made: {failed.reason_code}."
    elif unseen is not None:
        text += f" GitHub's deployments do not show it yet ({unseen.reason_code}): re-run the job to add it."
    if work.asked is not None:
        asked, well = work.asked, failed is None
        work.apply(
            React(comment_id=asked.comment, content=STARTED if well else NOT, instead_of=NOT if well else STARTED),
            reply(asked.issue, asked.comment, asked.author, text),
        )
    facts = {"model": name, "version": str(made.version or ""), "stage": stage, "tag": made.name}
    return Result(
        command=wish.task,
        decision="failed" if failed else "done",
        reason_code=(failed.reason_code or "forge_failed") if failed else _DONE[wish.task],
        message=failed.error if failed else text.replace("`", ""),
        ids=facts,
        values=facts,
    )


def _text(wish: Wish, made: Change) -> str:
    """What was done, as Markdown."""
    name, stage = wish.model.name, wish.stage
    if wish.task == "deprecate":
        what = f"v{made.version} of `{name}`" if made.version is not None else f"`{name}`"
        return f"{what} is out of use. Tag `{made.name}`."
    if made.before == made.version:
        return f"v{made.version} of `{name}` holds `{stage}` already."
    was = f", which v{made.before} held" if made.before is not None else ""
    return f"v{made.version} of `{name}` holds `{stage}` now{was}. Tag `{made.name}`."
