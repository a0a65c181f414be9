"""Which tag gives a stage to a version, or back to its previous holder: pure, from what the registry's tags say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trackside.config.model import Model
from trackside.errors import Refused
from trackside.forge.operations import CreateTag
from trackside.registry.state import Event, RegistryState
from trackside.registry.tags import message, stage_tag
from trackside.registry.versions import Version, parse

LINK = "commands.md"
ROLLED_BACK = "Rolled-Back"
"""Trailer of a stage tag that takes a promotion back: the version that was taken away."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What somebody who may asks for. `version` is empty for the latest; `comment` and `run` are ids, or empty."""

    task: Literal["promote", "rollback"]
    model: Model
    stage: str
    actor: str
    version: str = ""
    reason: str = ""
    comment: str = ""
    run: str = ""


@dataclass(frozen=True, kw_only=True)
class Change:
    """The outcome: `tag` is None where nothing is left to do. `before` held the stage until now."""

    version: Version
    before: Version | None
    tag: CreateTag | None = None
    name: str = ""


def target(state: RegistryState, wish: Wish) -> Version:
    """The version that is to hold the stage.

    Raises:
        Refused: no such stage (`stage_unknown`) or version (`version_unknown`); no version before
            (`no_previous_version`); the stage before was never held (`stage_order`).
    """
    name, stages = wish.model.name, wish.model.promotion
    if wish.stage not in stages:
        raise Refused(
            f"{name} has no stage {wish.stage[:60]!r}",
            remedy="stages of its promotion: " + ", ".join(stages),
            link=LINK,
            reason_code="stage_unknown",
        )
    if wish.task == "rollback":
        return _previous(state, wish)
    version = _named(state, wish)
    at = stages.index(wish.stage)
    if at and version not in ever(state, name, stages[at - 1]):
        raise Refused(
            f"{name} v{version} has not been in {stages[at - 1]}, which comes before {wish.stage}",
            remedy=f"/promote {name}@v{version} {stages[at - 1]}",
            link=LINK,
            reason_code="stage_order",
        )
    return version


def change(state: RegistryState, wish: Wish, version: Version, *, commit: str, on_default: bool) -> Change:
    """The tag to create.

    Args:
        version: of `target`.
        commit: that the version's tag points at.
        on_default: whether the default branch holds that commit.

    Raises:
        Refused: it does not (`not_default_branch`).
    """
    name, before = wish.model.name, state.holder(wish.model.name, wish.stage)
    if before == version:
        return Change(version=version, before=before)
    if not on_default:
        raise Refused(
            f"{name} v{version} was made from {commit[:12]}, which is not on the default branch",
            why="only what was reviewed and merged holds a stage",
            link=LINK,
            reason_code="not_default_branch",
        )
    tag = stage_tag(name, wish.stage, state.next_counter(name))
    back = wish.task == "rollback"
    did = f"Give {wish.stage} of {name} {'back ' if back else ''}to v{version}"
    trailers = {
        "Version": str(version),
        "Actor": wish.actor,
        "Reason": wish.reason,
        "Comment": wish.comment,
        "Run": wish.run,
        ROLLED_BACK: str(before) if back and before is not None else "",
    }
    created = CreateTag(name=tag, commit=commit, message=message(did, trailers))
    return Change(version=version, before=before, tag=created, name=tag)


def done_before(state: RegistryState, wish: Wish) -> Event | None:
    """The tag that this very comment, or this very run, made already: a re-run must not do it again."""
    for event in state.history(wish.model.name, wish.stage):
        said = event.trailers
        if (wish.comment and said.get("Comment") == wish.comment) or (wish.run and said.get("Run") == wish.run):
            return event
    return None


def ever(state: RegistryState, model: str, stage: str) -> frozenset[Version]:
    """Every version that holds or has held a stage."""
    found = (state.version_of(one) for one in state.history(model, stage))
    return frozenset(one for one in found if one is not None)


def stack(state: RegistryState, model: str, stage: str) -> list[Version]:
    """Promotions that still count, the holder last: a rollback takes the last one away, so that a second rollback
    goes one further back instead of giving the stage to what was just taken from it."""
    held: list[Version] = []
    for event in reversed(state.history(model, stage)):
        version = state.version_of(event)
        if version is None:
            continue
        if event.trailers.get(ROLLED_BACK) and version in held:
            del held[len(held) - held[::-1].index(version) :]
        elif not held or held[-1] != version:
            held.append(version)
    return held


def _named(state: RegistryState, wish: Wish) -> Version:
    known = state.versions(wish.model.name)
    version = parse(wish.version) if wish.version else max(known, default=None)
    if version is None or version not in known:
        listed = ", ".join(f"v{one}" for one in known[-10:]) or "none yet: merge a trained pull request"
        raise Refused(
            f"{wish.model.name} has no version {wish.version[:60]}".rstrip(),
            remedy=f"versions: {listed}",
            link=LINK,
            reason_code="version_unknown",
        )
    return version


def _previous(state: RegistryState, wish: Wish) -> Version:
    """The version below the holder; for a stage that was emptied, the last that held it."""
    name = wish.model.name
    held = [one for one in stack(state, name, wish.stage) if one in state.versions(name)]
    now = state.holder(name, wish.stage)
    while held and now is not None and held[-1] == now:
        held.pop()
    if not held:
        raise Refused(
            f"no version held {wish.stage} of {name} before" + (f" v{now}" if now is not None else ""),
            remedy=f"/promote {name}@v… {wish.stage}",
            link=LINK,
            reason_code="no_previous_version",
        )
    return held[-1]
