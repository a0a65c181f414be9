"""What is wrong with a model's tags, each with the way out: pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from trackside.registry.story import Event, Story, counter
from trackside.registry.versions import Version, parse


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something about `tag` that a person should put right.

    `ambiguous`: who holds `stage`, or whether `version` is registered, cannot be told. Codes: `lightweight`,
    `counter_twice`, `counter_missing`, `stage_without_version`, `stage_of_unregistered`, `stage_of_deregistered`,
    `stage_commit_differs`, `version_moved`.
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
    """All problems of a model, those of a tag together, in the order of its events."""
    for event in story.events:
        if not event.annotated:
            yield _problem(
                event,
                "lightweight",
                f"{event.name} is a lightweight tag: it says neither who made it nor why, and GTO does not see it",
                _again(event.name, event.name, event.commit),
            )
    for events in (*story.by_version.values(), *story.by_stage.values()):
        yield from _numbers(story, events)
    for version, events in story.by_version.items():
        yield from _moved(version, events)
    for stage in story.by_stage:
        yield from _stage(story, stage)


def _numbers(story: Story, events: Sequence[Event]) -> Iterator[Problem]:
    """Counters that leave the order of two events open, and what that does to the answer."""
    for first, second in pairwise(events):
        if counter(first) != counter(second) or first.tag.counter is None or _same(story, first, second):
            continue
        turned = [second if one is first else first if one is second else one for one in events]
        yield _problem(
            second,
            "counter_twice",
            f"{first.name} and {second.name} have the same number: nothing says which came first",
            f"say what holds good by one more tag: {_next(story, second)}",
            ambiguous=_answer(story, turned) != _answer(story, events),
        )
    numbered = any(one.tag.counter is not None for one in events)
    for event in events:
        if event.tag.counter is not None or not numbered:
            continue
        last = [*(one for one in events if one is not event), event]
        if _possible(last) and _answer(story, last) != _answer(story, events):
            yield _problem(
                event,
                "counter_missing",
                f"{event.name} has no number, others of it have: it counts as the older one",
                f"if it is the newest, say so by one more tag: {_next(story, event)}",
            )


def _possible(events: Sequence[Event]) -> bool:
    """Whether nothing is taken back before it was done."""
    return events[0].tag.action in ("register", "assign")


def _same(story: Story, first: Event, second: Event) -> bool:
    one, other = first.tag, second.tag
    return one.action == other.action and story.version_of(first) == story.version_of(second)


def _answer(story: Story, events: Sequence[Event]) -> object:
    """What the events of one version or stage come to."""
    if events[0].tag.version is not None:
        return events[-1].tag.action
    now = story.play(events).now
    return None if now is None else (story.version_of(now) or now.commit)


def _moved(version: Version, events: Sequence[Event]) -> Iterator[Problem]:
    made = [one for one in events if one.tag.action == "register" and one.commit]
    for one in made[1:]:
        if one.commit != made[0].commit:
            yield _problem(
                one,
                "version_moved",
                f"v{version} was registered at {made[0].commit[:12]} and again at {one.commit[:12]}",
                "a version stays what it was: register a new one",
            )


def _stage(story: Story, stage: str) -> Iterator[Problem]:
    for event in story.by_stage[stage]:
        named = parse(event.trailers.get("Version", ""))
        version = story.version_of(event)
        if named is not None and version is None:
            yield _problem(
                event,
                "stage_of_unregistered",
                f"{event.name} gives {stage} to v{named}, which has no version tag",
                "git fetch --tags origin; if the tag is gone there too, register or promote again",
            )
        elif version is None and event.commit:
            yield _problem(
                event,
                "stage_without_version",
                f"{event.name} points at {event.commit[:12]}, where {event.tag.model} has no version",
                "git fetch --tags origin; if there is none, register that commit or promote another version",
            )
        elif version is not None and event.tag.action == "assign":
            yield from _meant(story, event, version, named=named is not None)


def _meant(story: Story, event: Event, version: Version, *, named: bool) -> Iterator[Problem]:
    made = story.registered(version)
    if named and made is not None and event.commit and made.commit and event.commit != made.commit:
        yield _problem(
            event,
            "stage_commit_differs",
            f"{event.name} names v{version}, but points at {event.commit[:12]} instead of {made.commit[:12]}",
            "compare the tag with GitHub's; promote the version again",
            version=version,
        )
    if version not in story.live:
        yield _problem(
            event,
            "stage_of_deregistered",
            f"{event.name} gives {event.tag.stage} to v{version}, which was deregistered: it counts no more",
            "promote a version that is registered",
            version=version,
        )


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
    what = f"#{tag.stage}" if tag.stage else f"@v{tag.version}"
    return _again(f"{tag.model}{what}{undo}#{story.top + 1}", event.name, event.commit)


def _again(name: str, old: str, commit: str) -> str:
    force = "-f " if name == old else ""
    return f"git tag {force}-a {name!r} -m 'WHY' {commit or repr(old + '^{}')} && git push {force}origin {name!r}"
