"""The state of the registry: a pure fold of its tags, whatever their order; each model is indexed when first asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from trackside.errors import DataError
from trackside.forge.model import TagObject, TagRef
from trackside.registry.problems import Problem, found
from trackside.registry.story import MOST, Event, Story
from trackside.registry.tags import read
from trackside.registry.versions import Version

__all__ = ["Event", "Problem", "RegistryState", "fold"]


class RegistryState:
    """What the tags say. All answers are for names as in `trackside.yaml`; order is oldest first unless told."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._events: dict[str, list[Event]] = {}
        for one in events:
            self._events.setdefault(one.tag.model, []).append(one)
        self._stories: dict[str, Story] = {}
        self._problems: dict[str, tuple[Problem, ...]] = {}

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """Every event, model by model."""
        return tuple(event for model in self.models() for event in self.events_of(model))

    def models(self) -> tuple[str, ...]:
        return tuple(sorted(self._events))

    def events_of(self, model: str) -> tuple[Event, ...]:
        return self._of(model).events

    def versions(self, model: str) -> tuple[Version, ...]:
        """Registered versions, lowest first, without those that were deregistered."""
        return self._of(model).versions

    def taken(self, model: str) -> frozenset[Version]:
        """Every version whose name is used up, by whatever tag."""
        return frozenset(self._of(model).by_version)

    def version_event(self, model: str, version: Version) -> Event | None:
        """The tag that registered a version."""
        return self._of(model).registered(version)

    def deregistered(self, model: str) -> Mapping[Version, Event]:
        """Versions out of use, each with the tag that says so."""
        story = self._of(model)
        return {version: story.latest[version] for version in sorted(set(story.latest) - story.live, key=Version.key)}

    def deprecated(self, model: str) -> Event | None:
        """The tag that took the model as a whole out of use, unless something with a higher counter followed."""
        events = self._of(model).events
        return events[-1] if events and events[-1].tag.action == "deprecate" else None

    def stages(self, model: str) -> tuple[str, ...]:
        """Stages that a version was ever given."""
        return tuple(sorted(self._of(model).by_stage))

    def history(self, model: str, stage: str) -> tuple[Event, ...]:
        """What happened to a stage, newest first."""
        return tuple(reversed(self._of(model).by_stage.get(stage, ())))

    def version_of(self, event: Event) -> Version | None:
        """Which version a stage tag means: its trailer `Version`, else the version tag at its commit.

        None for an unassignment, for a version that was never registered, and where the objects that tell were not
        read (see `read.state`).
        """
        return self._of(event.tag.model).version_of(event) if event.tag.action == "assign" else None

    def holder_event(self, model: str, stage: str) -> Event | None:
        """The assignment by which the stage is held now. Its version may be unknown: see `version_of`, `problems`."""
        return self._of(model).holding(stage)

    def holder(self, model: str, stage: str) -> Version | None:
        """The version in a stage now."""
        now = self.holder_event(model, stage)
        return None if now is None else self.version_of(now)

    def previous_holder(self, model: str, stage: str) -> Version | None:
        """The version that was in the stage before the one that is (or, when it is empty, was last)."""
        told = (self.version_of(one) for one in self._of(model).held(stage))
        now = self.holder(model, stage)
        return next((version for version in told if version is not None and version != now), None)

    def stages_of(self, model: str, version: Version) -> tuple[str, ...]:
        """Stages that a version holds now."""
        return tuple(stage for stage in self.stages(model) if self.holder(model, stage) == version)

    def next_counter(self, model: str) -> int:
        """One above the highest counter of any tag of the model.

        Raises:
            DataError: a tag has the highest that there is (`counter_exhausted`).
        """
        top = self._of(model).top
        if top >= MOST:
            last = next(one.name for one in self.events_of(model) if one.tag.counter == top)
            raise DataError(
                f"no number is left for the next tag of {model}",
                why=f"{last} has the highest that there is",
                remedy=f"git push origin ':refs/tags/{last}' and, if it counted, repeat it with the next number",
                link="registry.md",
                reason_code="counter_exhausted",
            )
        return 1 + top

    def problems(self, model: str = "") -> tuple[Problem, ...]:
        """What is wrong with the tags of a model, or of all."""
        if not model:
            return tuple(problem for name in self.models() for problem in self.problems(name))
        if model not in self._problems:
            self._problems[model] = tuple(found(self._of(model)))
        return self._problems[model]

    def ambiguous(self, model: str, stage: str) -> Problem | None:
        """Why nobody can tell who holds the stage: `holder` is no answer then."""
        return next((one for one in self.problems(model) if one.stage == stage and one.ambiguous), None)

    def _of(self, model: str) -> Story:
        story = self._stories.get(model)
        if story is None:
            story = self._stories[model] = Story(self._events.get(model, ()))
        return story


def fold(refs: Iterable[TagRef], objects: Mapping[str, TagObject] | None = None) -> RegistryState:
    """Tags to state: pure, whatever the order of `refs`. `objects` are the tag objects that were read, by tag name."""
    known = objects or {}
    events = (event_of(ref, known.get(ref.name)) for ref in refs)
    return RegistryState(event for event in events if event is not None)


def event_of(ref: TagRef, seen: TagObject | None = None) -> Event | None:
    """A tag as an event, with what its object says where that was read; None for any other tag."""
    tag = read(ref.name)
    if tag is None:
        return None
    if seen is None:
        commit = "" if ref.annotated else ref.object
        return Event(tag=tag, name=ref.name, object=ref.object, annotated=ref.annotated, commit=commit)
    return Event(
        tag=tag,
        name=ref.name,
        object=ref.object,
        annotated=ref.annotated,
        commit=seen.commit,
        message=seen.message,
        tagger=seen.tagger,
        date=seen.date,
    )
