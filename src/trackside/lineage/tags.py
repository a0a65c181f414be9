"""What the registry's tags say of versions and of their time in stages, for the graph: pure."""

from __future__ import annotations

from collections.abc import Iterator

from trackside.lineage.graph import Holding, Registered
from trackside.registry.state import Event, RegistryState
from trackside.registry.versions import Version


def registered(state: RegistryState) -> Iterator[Registered]:
    """Every version that was ever registered, also those that are out of use."""
    for model in state.models():
        gone = state.deregistered(model)
        for version in (*state.versions(model), *gone):
            event = state.version_event(model, version)
            if event is not None:
                yield Registered(
                    model=model,
                    version=str(version),
                    tag=event.name,
                    commit=event.commit,
                    run=event.trailers.get("Run-Id", ""),
                    out_of_use=version in gone,
                )


def holdings(state: RegistryState) -> Iterator[Holding]:
    """Each time that a version was in a stage; giving it the stage that it has does not begin another."""
    for model in state.models():
        for stage in state.stages(model):
            now = state.holder_event(model, stage)
            holder = None if now is None else state.version_of(now)
            yield from _earlier(state, model, stage, holder)
            if now is not None and holder is not None:
                yield _holding(now, holder)


def _earlier(state: RegistryState, model: str, stage: str, holder: Version | None) -> Iterator[Holding]:
    since: tuple[Event, Version] | None = None
    for event in reversed(state.history(model, stage)):
        version = state.version_of(event)
        if since is not None and version != since[1]:
            yield _holding(*since, until=event.name)
            since = None
        if version is not None and since is None:
            since = (event, version)
    if since is not None and since[1] != holder:  # it was taken out of use
        gone = state.deregistered(model).get(since[1])
        yield _holding(*since, until=gone.name if gone is not None else since[0].name)


def _holding(event: Event, version: Version, *, until: str = "") -> Holding:
    return Holding(
        model=event.tag.model,
        stage=event.tag.stage,
        version=str(version),
        tag=event.name,
        date=event.date,
        until=until,
        actor=event.trailers.get("Actor", event.tagger),
    )


def doubts(state: RegistryState) -> Iterator[str]:
    """What leaves it open who is in a stage."""
    for problem in state.problems():
        if problem.ambiguous and problem.stage:
            yield f"who is in a stage cannot be told ({problem.tag}): {problem.message}"
