"""The tags of a model over the API, read only as far as a question needs: each tag object costs a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from trackside.command.evidence import moment
from trackside.forge.model import TagObject
from trackside.registry.promote import below, ever, mine
from trackside.registry.read import TagReader
from trackside.registry.state import Event, RegistryState, fold
from trackside.registry.tags import read as read_tag
from trackside.registry.versions import Version, parse

MOST = 20
"""So many changes of a stage are looked at where fewer do: each costs a call."""


class StageTags:
    """The names of all tags of a model, and the objects of those that were asked about, newest first."""

    def __init__(self, reader: TagReader, model: str) -> None:
        self._reader, self._model = reader, model
        self._refs = [ref for ref in reader.tags(model) if (tag := read_tag(ref.name)) and tag.model == model]
        self._objects: dict[str, TagObject] = {}
        self.state = fold(self._refs)

    def holder(self, stage: str) -> RegistryState:
        """Enough to tell who holds a stage."""
        return self._until(stage, lambda: self._plain(stage))

    def ever(self, stage: str, version: Version) -> frozenset[Version]:
        """Versions that have held a stage: all that is needed to tell whether this one has."""
        self._until(stage, lambda: version in ever(self.state, self._model, stage))
        return ever(self.state, self._model, stage)

    def before(self, stage: str) -> RegistryState:
        """Enough to tell what a rollback of a stage leads to."""
        return self._until(stage, lambda: self._plain(stage) and not below(self.state, self._model, stage)[1])

    def recent(self, stage: str, since: datetime, *, every: bool = False) -> tuple[Event, ...]:
        """A stage's tags, newest first: back to the first of ours from before `since`, whose date is GitHub's.

        Of more than `MOST` none is read any more; with `every`, from there on anybody's date is believed instead.
        """
        seen: list[Event] = []
        for name in [one.name for one in self.state.history(self._model, stage)]:
            self.read([one for one in self.state.history(self._model, stage) if one.name == name])
            seen += [one for one in self.state.history(self._model, stage) if one.name == name]
            many = len(seen) >= MOST
            if (many and not every) or ((many or mine(seen[-1])) and moment(seen[-1].date) < since):
                break
        return tuple(seen)

    def version(self, version: Version) -> Event | None:
        """The tag that registered a version, with its commit."""
        event = self.state.version_event(self._model, version)
        if event is not None:
            self.read([event])
        return self.state.version_event(self._model, version)

    def read(self, events: Sequence[Event]) -> None:
        """Read the objects of events; those of lightweight tags are none."""
        wanted = [one for one in events if one.annotated and one.name not in self._objects]
        for one in wanted:
            self._objects[one.name] = self._reader.tag_object(one.object)
        if wanted:
            self.state = fold(self._refs, self._objects)

    def _until(self, stage: str, enough: Callable[[], bool]) -> RegistryState:
        """Read a stage's tags from the newest on, each time twice as many, until they tell."""
        many = 1
        while True:
            history = self.state.history(self._model, stage)
            self.read(history[:many])
            self._find_versions(stage, many)
            if many >= len(history) or enough():
                return self.state
            many *= 2

    def _plain(self, stage: str) -> bool:
        """Whether the newest tag alone tells who holds the stage, and was read: an assignment of a version that is in
        use, with a number of its own.
        """
        newest, *rest = self.state.history(self._model, stage)
        alone = not rest or rest[0].tag.counter != newest.tag.counter
        version = self.state.version_of(newest)
        return alone and newest.tag.counter is not None and version in self.state.versions(self._model)

    def _find_versions(self, stage: str, many: int) -> None:
        """For stage tags of other tools, which name no version: version tags, highest first, until one is found at the
        same commit.
        """
        looked = self.state.history(self._model, stage)[:many]
        for commit in {one.commit for one in looked if one.commit and parse(one.trailers.get("Version", "")) is None}:
            for version in sorted(self.state.taken(self._model), reverse=True):
                event = self.version(version)
                if event is not None and event.commit == commit:
                    break
