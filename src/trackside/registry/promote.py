"""Which tag gives a stage to a version, gives it back, or takes a version out of use: pure, from the tags there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from trackside.config.model import Model, StagePolicy
from trackside.errors import DataError, Refused
from trackside.forge.operations import CreateTag
from trackside.registry.state import Event, RegistryState
from trackside.registry.tags import Tag, message, stage_tag, version_tag
from trackside.registry.versions import Version, parse

Task = Literal["promote", "rollback", "deprecate"]
TASKS: tuple[Task, ...] = ("promote", "rollback", "deprecate")

LINK = "promotion.md"
ROLLED_BACK = "Rolled-Back"
"""Trailer of a stage tag that takes a promotion back: the version that was taken away."""
BEFORE = "Before"
"""Trailer of a stage tag: the version that held the stage until then."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What somebody who may asks for. `stage` is empty for a deprecation. `version` is empty for the latest, or for the
    model as a whole where it is to be deprecated; `comment` and `run` are ids, or empty.
    """

    task: Task
    model: Model
    stage: str
    actor: str
    version: str = ""
    reason: str = ""
    comment: str = ""
    run: str = ""


@dataclass(frozen=True, kw_only=True)
class Change:
    """The outcome: `tag` is None where nothing is left to do. `before` held the stage until now; `version` is None for
    a model as a whole.
    """

    version: Version | None
    before: Version | None = None
    tag: CreateTag | None = None
    name: str = ""
    evidence: Mapping[str, str] = field(default_factory=dict)


def target(state: RegistryState, wish: Wish) -> Version:
    """The version that is to hold the stage.

    Raises:
        Refused: no such stage (`stage_unknown`) or version (`version_unknown`), or one that is out of use
            (`version_deprecated`); no version before (`no_previous_version`).
        DataError: nobody can tell who held the stage (`registry_ambiguous`).
    """
    need_stage(wish.model, wish.stage)
    return _previous(state, wish) if wish.task == "rollback" else named(state, wish)


def need_stage(model: Model, stage: str) -> StagePolicy:
    """What a stage asks for. Raises Refused (`stage_unknown`) for one that the model has not."""
    gate = model.gate(stage)
    if gate is None:
        raise Refused(
            f"{model.name} has no stage {stage[:60]!r}",
            remedy="stages of its promotion: " + ", ".join(model.promotion),
            link=LINK,
            reason_code="stage_unknown",
        )
    return gate


def need_plain(state: RegistryState, model: str, stage: str) -> None:
    """Raises DataError (`registry_ambiguous`) where the tags leave open who holds a stage."""
    problem = state.ambiguous(model, stage)
    if problem is not None:
        raise DataError(
            problem.message,
            why=f"so nobody can tell what holds {stage} of {model}",
            remedy=f"/promote {model}@v… {stage}",
            link=LINK,
            reason_code="registry_ambiguous",
        )


def change(state: RegistryState, wish: Wish, version: Version, *, commit: str, evidence: Mapping[str, str]) -> Change:
    """The tag to create.

    Args:
        version: of `target`.
        commit: that the version's tag points at.
        evidence: what the policy was met by, as trailers.
    """
    name, before = wish.model.name, state.holder(wish.model.name, wish.stage)
    tag = stage_tag(name, wish.stage, state.next_counter(name))
    back = wish.task == "rollback"
    did = f"Give {wish.stage} of {name} {'back ' if back else ''}to v{version}"
    trailers = {
        "Version": str(version),
        **_who(wish),
        BEFORE: str(before or ""),
        ROLLED_BACK: str(before or "") if back else "",
        **evidence,
    }
    created = CreateTag(name=tag, commit=commit, message=message(did, trailers))
    return Change(version=version, before=before, tag=created, name=tag, evidence=evidence)


def holds(state: RegistryState, wish: Wish, version: Version) -> bool:
    """Whether the version is in the stage now, beyond doubt."""
    name, stage = wish.model.name, wish.stage
    return state.holder(name, stage) == version and state.ambiguous(name, stage) is None


def deprecation(state: RegistryState, wish: Wish, version: Version | None, *, commit: str) -> Change:
    """The tag that takes a version, or the whole model, out of use.

    Args:
        version: None for the model.
        commit: that the version's tag points at; for a model, that of its newest version.

    Raises:
        Refused: the version is in a stage (`version_in_stage`).
        DataError: nobody can tell whether it is (`registry_ambiguous`).
    """
    name, number = wish.model.name, state.next_counter(wish.model.name)
    if version is None:
        done = state.deprecated(name)
        tag = Tag(action="deprecate", model=name, counter=number)
    else:
        done = state.deregistered(name).get(version)
        for stage in state.stages(name):
            need_plain(state, name, stage)
        held = [stage for stage in state.stages(name) if state.holder(name, stage) == version]
        if held and done is None:
            raise Refused(
                f"{name} v{version} is in {', '.join(held)}",
                why="what is in use cannot be taken out of use",
                remedy=f"/rollback {name} {held[0]}, or promote another version; then ask again",
                link=LINK,
                reason_code="version_in_stage",
            )
        tag = Tag(action="deregister", model=name, version=version, counter=number)
    if done is not None:
        return Change(version=version, name=done.name)
    what = name if version is None else version_tag(name, version)
    trailers = {"Version": "" if version is None else str(version), **_who(wish)}
    created = CreateTag(name=str(tag), commit=commit, message=message(f"Take {what} out of use", trailers))
    return Change(version=version, tag=created, name=str(tag))


def _who(wish: Wish) -> dict[str, str]:
    return {"Actor": wish.actor, "Reason": wish.reason, "Comment": wish.comment, "Run": wish.run}


def done_before(events: Iterable[Event], wish: Wish) -> Event | None:
    """The tag that this very comment, or this very run, made already: a re-run must not do it again."""
    for event in events:
        said = event.trailers
        if (wish.comment and said.get("Comment") == wish.comment) or (wish.run and said.get("Run") == wish.run):
            return event
    return None


def mine(event: Event) -> bool:
    """Whether a workflow of ours made a tag: over the API, so that its date is GitHub's."""
    return bool(event.trailers.get("Run"))


def need_seen(wish: Wish, version: Version, at: datetime, since: datetime) -> None:
    """Raises Refused (`comment_old`) where a comment that names no version would be followed on what its author cannot
    have seen.

    Args:
        version: what it comes to now.
        at: when the comment was written; `since`: from when on it comes to that. GitHub counts whole seconds.
    """
    if since <= at:
        return
    name, stage = wish.model.name, wish.stage
    back = wish.task == "rollback"
    what = f"{stage} of {name} was changed" if back else f"{name} v{version} was released"
    again = f"/rollback {name} {stage}" if back else f"/promote {name}@v{version} {stage}"
    raise Refused(
        f"{what} after the comment was written",
        why="whoever wrote it cannot have meant that",
        remedy=f"if it is what you want: {again}",
        link=LINK,
        reason_code="comment_old",
    )


def need_unmoved(state: RegistryState, wish: Wish, version: Version, commit: str) -> None:
    """Raises Refused (`tag_moved`) where a version's tag is not at the commit that the stage was given with it."""
    past = state.history(wish.model.name, wish.stage)
    given = next((one for one in past if one.commit and state.version_of(one) == version), None)
    if given is not None and given.commit != commit:
        raise Refused(
            f"the tag of {wish.model.name} v{version} was moved",
            why=f"it is at {commit[:12]}; {given.name} gave it {wish.stage} at {given.commit[:12]}",
            remedy="trackside models doctor",
            link=LINK,
            reason_code="tag_moved",
        )


def ever(state: RegistryState, model: str, stage: str) -> frozenset[Version]:
    """Every version that holds or has held a stage."""
    found = (state.version_of(one) for one in state.history(model, stage))
    return frozenset(one for one in found if one is not None)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Promotions that still count, the holder last. `whole` is False where older tags, which were not read, may change
    the answer.
    """

    versions: list[Version]
    whole: bool


def stack(state: RegistryState, model: str, stage: str) -> Stack:
    """What a rollback goes back through: it takes the last promotion away, so that a second rollback goes one further
    back instead of giving the stage to what was just taken from it. Of tags that were not read nothing is known.
    """
    held: list[tuple[Version, str]] = []
    whole = True
    for event in reversed(state.history(model, stage)):
        version = state.version_of(event)
        if event.tag.action == "unassign":
            gone = parse(event.trailers.get("Version", ""))
            held = [one for one in held if (one[1] != event.commit if gone is None else one[0] != gone)]
        if version is None:
            continue
        names = [one for one, _ in held]
        if event.trailers.get(ROLLED_BACK) and version in names:
            del held[len(names) - names[::-1].index(version) :]
            continue
        whole = whole and not event.trailers.get(ROLLED_BACK)
        if not names or names[-1] != version:
            held.append((version, event.commit))
    return Stack(versions=[one for one, _ in held], whole=whole)


def below(state: RegistryState, model: str, stage: str) -> tuple[Version | None, bool]:
    """The version below the holder, and whether older tags could change that; for a stage that was emptied, the last
    that held it. Versions that are out of use are passed over.
    """
    found = stack(state, model, stage)
    held = [one for one in found.versions if one in state.versions(model)]
    now = state.holder(model, stage)
    while held and now is not None and held[-1] == now:
        held.pop()
    return (held[-1], not found.whole) if held else (None, True)


def named(state: RegistryState, wish: Wish) -> Version:
    """The version that was asked for. Raises Refused (`version_unknown`, `version_deprecated`)."""
    name = wish.model.name
    known = state.versions(name)
    version = parse(wish.version) if wish.version else max(known, default=None)
    if version is not None and version in known:
        return version
    gone = state.deregistered(name).get(version) if version is not None else None
    if gone is not None:
        raise Refused(
            f"{name} v{version} is out of use since the tag {gone.name}",
            remedy=f"ask for another version: {', '.join(f'v{one}' for one in known[-10:]) or 'there is none'}",
            link=LINK,
            reason_code="version_deprecated",
        )
    listed = ", ".join(f"v{one}" for one in known[-10:]) or "none yet: merge a trained pull request"
    raise Refused(
        f"{name} has no version {wish.version[:60]}".rstrip(),
        remedy=f"versions: {listed}",
        link=LINK,
        reason_code="version_unknown",
    )


def _previous(state: RegistryState, wish: Wish) -> Version:
    name = wish.model.name
    need_plain(state, name, wish.stage)
    version, _ = below(state, name, wish.stage)
    if version is None:
        now = state.holder(name, wish.stage)
        raise Refused(
            f"no version held {wish.stage} of {name} before" + (f" v{now}" if now is not None else ""),
            remedy=f"/promote {name}@v… {wish.stage}",
            link=LINK,
            reason_code="no_previous_version",
        )
    return version
