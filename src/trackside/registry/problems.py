"""What is wrong with a model's tags, each with the way out: pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from trackside.registry.story import MOST, Event, Story, counter
from trackside.registry.versions import Version, parse


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something about `tag` that a person should put right; it is told as long as it bears on what holds good now.

    `ambiguous`: who holds `stage`, or whether `version` is registered, cannot be told. Codes: `lightweight`,
    `counter_twice`, `counter_missing`, `stage_without_version`, `stage_of_unregistered`, `stage_of_deregistered`,
    `stage_commit_differs`, `version_moved`, `counter_too_large`.
    """

    code: str
    tag: str
    message: str
    remedy: str
    model: str
    stage: str = ""
    version: Version | None = None
    ambiguous: bool = False


def found(story: Story) -> Iterator[Problem]:
    """All problems of a model: of tags, of versions, of stages."""
    for event in story.events:
        if not event.annotated:
            yield _problem(
                event,
                "lightweight",
                f"{event.name} is a lightweight tag: it says neither who made it nor why, and GTO does not see it",
                _again(event.name, event.name, event.commit),
            )
    for event in story.void:
        yield Problem(
            code="counter_too_large",
            tag=event.name,
            message=f"the number of {event.name[:60]}… has more than {len(str(MOST))} digits: the tag does not count",
            remedy=f"git push origin ':refs/tags/{event.name}' && git tag -d '{event.name}'",
            model=event.tag.model,
        )
    for version, events in story.by_version.items():
        yield from _unordered(story, events)
        if version in story.live:
            yield from _moved(version, events)
    for stage, events in story.by_stage.items():
        yield from _unordered(story, events)
        yield from _held(story, stage)
    yield from _deprecated(story)


def _unordered(story: Story, events: Sequence[Event]) -> Iterator[Problem]:
    """What counters leave open about one version or stage, where that changes the answer."""
    if len(events) < 2:
        return
    for first, second in pairwise(events):
        if first.tag.counter is None or counter(first) != counter(second):
            continue
        turned = [second if one is first else first if one is second else one for one in events]
        if _answer(story, turned) != _answer(story, events):
            yield _problem(
                second,
                "counter_twice",
                f"{first.name} and {second.name} have the same number: nothing says which came first",
                f"say what holds good by one more tag: {_next(story, second)}",
                ambiguous=True,
            )
    unnumbered = [one for one in events if one.tag.counter is None and one.date]
    newest = max((_instant(one.date) for one in events if one.tag.counter is not None), default=0) if unnumbered else 0
    for event in unnumbered:
        if newest and _instant(event.date) > newest:
            last = [*(one for one in events if one is not event), event]
            if _answer(story, last) != _answer(story, events):
                yield _unnumbered(story, event)


def _answer(story: Story, events: Sequence[Event]) -> object:
    """What the events of one version or stage, in this order, come to."""
    if events[0].tag.version is not None:
        return events[-1].tag.action
    now = story.play(events)
    return None if now is None else (story.version_of(now) or now.commit)


def _deprecated(story: Story) -> Iterator[Problem]:
    """Tags without a counter that by their clocks came after the deprecation that holds."""
    last = story.events[-1] if story.events else None
    if last is None or last.tag.action != "deprecate":
        return
    for event in story.events[:-1]:
        if (event.tag.counter is None or last.tag.counter is None) and _instant(event.date) > _instant(last.date):
            yield _unnumbered(story, last if last.tag.counter is None else event)


def _unnumbered(story: Story, event: Event) -> Problem:
    side = "newer" if event.tag.action == "deprecate" else "older"
    return _problem(
        event,
        "counter_missing",
        f"{event.name} has no number: it counts as {side} than the others, but clocks say otherwise",
        f"say what holds good by one more tag: {_next(story, event)}",
    )


def _instant(date: str) -> float:
    """Seconds of an RFC 3339 time; of none, before all others. For doubts only: nothing is ordered by a clock."""
    try:
        return datetime.fromisoformat(date).timestamp() if date else -math.inf
    except (ValueError, OverflowError):
        return -math.inf


def _moved(version: Version, events: Sequence[Event]) -> Iterator[Problem]:
    made = [one for one in events if one.tag.action == "register" and one.commit]
    for one in made[1:]:
        if one.commit != made[0].commit:
            yield _problem(
                one,
                "version_moved",
                f"v{version} was registered at {made[0].commit[:12]} and again at {one.commit[:12]}",
                f"a version stays what it was: take it out of use (git tag -a '{one.tag.model}@v{version}!#N') "
                "and register a new one",
            )


def _held(story: Story, stage: str) -> Iterator[Problem]:
    """Whether the assignment that holds a stage now says of what."""
    now = story.holding(stage)
    gone = _gone(story, stage, now)
    if gone is not None:
        version = story.version_of(gone)
        yield _problem(
            gone,
            "stage_of_deregistered",
            f"{gone.name} gives {stage} to v{version}, which was deregistered: it counts no more",
            "promote a version that is registered",
            version=version,
        )
    if now is None:
        return
    named, version = parse(now.trailers.get("Version", "")), story.version_of(now)
    made = story.registered(version) if version is not None else None
    if named is not None and version is None:
        yield _problem(
            now,
            "stage_of_unregistered",
            f"{now.name} gives {stage} to v{named}, which has no version tag",
            "git fetch --tags origin; if the tag is gone there too, register or promote again",
            version=named,
        )
    elif version is None and now.commit:
        yield _problem(
            now,
            "stage_without_version",
            f"{now.name} points at {now.commit[:12]}, where {now.tag.model} has no version",
            "git fetch --tags origin; if there is none, register that commit or promote another version",
        )
    elif named is not None and made is not None and now.commit and made.commit not in ("", now.commit):
        yield _problem(
            now,
            "stage_commit_differs",
            f"{now.name} names v{version}, but points at {now.commit[:12]} instead of {made.commit[:12]}",
            "compare the tag with GitHub's; promote the version again",
            version=version,
        )


def _gone(story: Story, stage: str, now: Event | None) -> Event | None:
    """The assignment that would hold the stage if its version had not been deregistered."""
    for event in reversed(story.by_stage[stage]):
        if event is now or event.tag.action == "unassign":
            return None
        version = story.version_of(event)
        if version is not None and version not in story.live:
            return event
    return None


def _problem(
    event: Event, code: str, message: str, remedy: str, *, version: Version | None = None, ambiguous: bool = False
) -> Problem:
    tag = event.tag
    return Problem(
        code=code,
        tag=event.name,
        message=message,
        remedy=remedy,
        model=tag.model,
        stage=tag.stage,
        version=tag.version or version,
        ambiguous=ambiguous,
    )


def _next(story: Story, event: Event) -> str:
    """The command that repeats an event as the newest."""
    tag = event.tag
    undo = "!" if tag.action in ("deregister", "unassign") else ""
    what = f"#{tag.stage}" if tag.stage else f"@v{tag.version}" if tag.version else "@deprecated"
    return _again(f"{tag.model}{what}{undo}#{story.top + 1}", event.name, event.commit)


def _again(name: str, old: str, commit: str) -> str:
    force = "-f " if name == old else ""
    return f"git tag {force}-a '{name}' -m 'WHY' {commit or repr(old + '^{}')} && git push {force}origin '{name}'"
