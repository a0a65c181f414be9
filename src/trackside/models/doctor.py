"""What is wrong with a registry: pure, from its tags, its records, the releases, and the clone one stands in."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from trackside.models.checks import annotated, at, damaged, drafts, lightweight, versions
from trackside.models.finding import Facts, Fetch, Finding, Level, TakeTag
from trackside.registry.state import RegistryState
from trackside.registry.tags import read
from trackside.store.layout import FETCH_DATA


def findings(facts: Facts) -> tuple[Finding, ...]:
    """All that is wrong, the clone first, then model by model: the same for the same facts."""
    made = [*_clone(facts), *damaged(facts), *versions(facts), *drafts(facts), *_stages(facts), *_deployed(facts)]
    return tuple({repr(one): one for one in made}.values())


# The clone


def _clone(facts: Facts) -> Iterator[Finding]:
    clone = facts.clone
    if clone is None:
        return
    server = {one.name: one.object for one in facts.state.events}
    lacks = tuple(sorted(set(server) - set(clone.tags)))
    if clone.shallow:
        yield Finding(
            code="clone_shallow",
            subject="clone",
            what="this clone holds only a part of the history",
            remedy="git fetch --tags --unshallow origin",
            repair=Fetch(tags=lacks, unshallow=True),
        )
    if clone.lacks and not clone.shallow:
        yield Finding(
            code="clone_tagless", subject="clone", what=clone.lacks, remedy="git fetch --tags origin", repair=Fetch()
        )
    if lacks:
        yield Finding(
            code="clone_tagless",
            subject="clone",
            what=f"this clone lacks {len(lacks)} of the {len(server)} tags of the registry, such as {lacks[0]}",
            why="tags were not fetched, as with --no-tags or a depth, or are newer than the last fetch",
            remedy="git fetch --tags origin",
            repair=Fetch(tags=lacks, unshallow=clone.shallow),
        )
    elif clone.server_data and clone.data != clone.server_data:
        yield Finding(
            code="clone_behind",
            subject="clone",
            what="this clone's copy of the data branch is not the server's",
            why="somebody wrote to it since the last fetch: what is newer is not seen here",
            remedy=FETCH_DATA,
            level="note",
            repair=Fetch(unshallow=clone.shallow),
        )
    for name, ours in sorted(clone.tags.items()):
        theirs = server.get(name, "")
        if theirs and theirs != ours:
            yield Finding(
                code="tag_differs_here",
                subject=name,
                what=f"{name} is {ours[:12]} in this clone and {theirs[:12]} at the server",
                why="it was moved or made again; git never replaces a tag that a clone has",
                remedy=f"git fetch --force origin refs/tags/{name}:refs/tags/{name}",
                repair=TakeTag(name=name, ours=ours, theirs=theirs),
            )
        elif not theirs:
            yield Finding(
                code="tag_only_here",
                subject=name,
                what=f"{name} is in this clone alone",
                why="it was never pushed, lost a race, or was deleted at the server",
                remedy=f"git push origin refs/tags/{name}, or git tag --delete {name}",
            )


# Stages


def _stages(facts: Facts) -> Iterator[Finding]:
    state = facts.state
    records = {one.tag for one in facts.records if one.state == "published"}
    for model in state.models():
        events = {one.name: one for one in state.events_of(model)}
        for one in state.problems(model):
            if one.code == "lightweight":
                event = events[one.tag]
                if event.name not in records:
                    yield lightweight(event, annotated(state, event))
                continue
            past = bool(one.stage) and not one.ambiguous and one.tag not in _newest(state, model, one.stage)
            level: Level = "note" if past else "problem"
            yield Finding(code=one.code, subject=one.tag, what=one.message, remedy=one.remedy, level=level)
        for stage in state.stages(model):
            yield from _clock(state, model, stage)
        yield from _gaps(state, model)


def _newest(state: RegistryState, model: str, stage: str) -> tuple[str, ...]:
    """The tags that tell who holds the stage; what is wrong with older ones is history."""
    now = state.holder_event(model, stage)
    return (state.history(model, stage)[0].name, *([now.name] if now else []))


def _clock(state: RegistryState, model: str, stage: str) -> Iterator[Finding]:
    dated = [one for one in state.history(model, stage) if one.annotated and one.date]
    if len(dated) < 2:
        return
    last = max(dated, key=lambda one: at(one.date))
    top = dated[0]
    others = [one for one in dated if at(one.date) == at(last.date)]
    if all(state.version_of(one) == state.version_of(top) for one in others):
        return
    yield Finding(
        code="clock_disorder",
        subject=top.name,
        what=f"by its date {last.name} is the newest of {stage}, by its number {top.name}, which counts",
        why="a clock was wrong, or two tags were made within one second",
        remedy="nothing for Trackside, which counts; GTO, which goes by dates, may name another version",
        level="note",
    )


def _gaps(state: RegistryState, model: str) -> Iterator[Finding]:
    """Numbers that no tag has, though each is given once, one after the other; the last ones leave no gap."""
    named = {one.tag.counter: one.name for one in state.events_of(model) if one.tag.counter is not None}
    gaps = [(first + 1, last - 1) for first, last in pairwise([0, *sorted(named)]) if last - first > 1]
    if gaps:
        said = ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in gaps[:10])
        yield Finding(
            code="counter_gap",
            subject=named[gaps[0][1] + 1],
            what=f"no tag of {model} has the number {said}",
            why="a tag was deleted at the server, or another tool left numbers out",
            remedy="look whether GitHub's deployments name it; what does not hold good any more: /promote says it anew",
            level="note",
        )


def _deployed(facts: Facts) -> Iterator[Finding]:
    """Stage tags against what was deployed by them: who deletes or moves a tag does not think of its deployment."""
    state = facts.state
    if facts.deployments is None:
        yield Finding(
            code="deployments_unasked",
            subject="clone",
            what="GitHub's deployments were not looked at, so a stage tag that was deleted or moved may go unseen",
            remedy="use a token that may read deployments",
            level="note",
        )
    for one in {one.tag: one for one in reversed(facts.deployments or ())}.values():
        tag = read(one.tag)
        if tag is None or tag.action != "assign" or one.environment != f"{tag.model}/{tag.stage}":
            continue
        history = state.history(tag.model, tag.stage)
        event = next((event for event in history if event.name == one.tag), None)
        again = f"if nobody meant it, say what holds good: /promote {tag.model}@v{one.version or 'X.Y.Z'} {tag.stage}"
        if event is None:
            newer = [event for event in history if (event.tag.counter or 0) > (tag.counter or 0)]
            yield Finding(
                code="stage_tag_missing",
                subject=one.tag,
                what=f"{one.tag} was deployed at {one.commit[:12]}, and the tag is gone",
                why="somebody deleted it at the server",
                remedy=again,
                level="note" if newer else "problem",
            )
            continue
        version = state.version_of(event)
        if event.commit != one.commit or (version and one.version and str(version) != one.version):
            yield Finding(
                code="stage_tag_moved",
                subject=one.tag,
                what=f"{one.tag} is v{version} at {event.commit[:12]}, deployed v{one.version} at {one.commit[:12]}",
                why="tags of stages never move: somebody moved it by force",
                remedy=again,
                level="problem" if one.tag in _newest(state, tag.model, tag.stage) else "note",
            )
