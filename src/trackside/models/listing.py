"""`trackside models list`: one row a model. Reads tags and the files that describe models, no record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from trackside.models.artifacts import Described, Project, project
from trackside.models.layout import age, columns, emit, stamp, table
from trackside.models.which import NONE_YET, latest, undecided, unexplained, unknown_model
from trackside.registry.state import RegistryState
from trackside.registry.versions import Version

if TYPE_CHECKING:
    from trackside.app import Context
    from trackside.models.source import Source

SCHEMA = "trackside.models/1"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A model. `stages` are those that are held, in the project's order, each with its version."""

    model: str
    latest: str
    greatest: str
    versions: int
    stages: tuple[tuple[str, str], ...]
    registered_at: str
    deprecated: bool
    problems: int
    said: Described


def rows(
    state: RegistryState, said: Project, models: Iterable[str], recorded: Mapping[str, Set[Version]] | None = None
) -> list[Row]:
    """One row for each of the models that tags know; `recorded` are the versions of each that have a record."""
    return [_row(state, said.of(model), model, (recorded or {}).get(model, frozenset())) for model in models]


def _row(state: RegistryState, said: Described, model: str, recorded: Set[Version]) -> Row:
    newest, versions = latest(state, model), state.versions(model)
    event = state.version_event(model, newest) if newest is not None else None
    held = ((stage, holder_text(state, model, stage)) for stage in stage_order(state, said, model))
    return Row(
        model=model,
        latest=f"v{newest}" if newest is not None else "",
        greatest=f"v{versions[-1]}" if versions else "",
        versions=len(versions),
        stages=tuple((stage, text) for stage, text in held if text),
        registered_at=event.date if event is not None else "",
        deprecated=state.deprecated(model) is not None,
        problems=len(state.problems(model)) + len(unexplained(state, model, recorded)),
        said=said,
    )


def stage_order(state: RegistryState, said: Described, model: str) -> tuple[str, ...]:
    """Stages as the project orders them, then those that only tags know."""
    return tuple(dict.fromkeys((*said.stages, *state.stages(model))))


def holder_text(state: RegistryState, model: str, stage: str) -> str:
    """`v1.2.0`; `?` where the tags leave it open, empty where nothing is in the stage."""
    if undecided(state, model, stage) is not None:
        return "?"
    version = state.holder(model, stage)
    return f"v{version}" if version is not None else ""


def list_models(context: Context, source: Source, model: str, now: datetime) -> int:
    """Print the table, or the document: of one model, or of all.

    Raises:
        NotFound: no tag names the model.
    """
    state = source.state(model)
    if model and not state.events_of(model):
        raise unknown_model(source.state(), model)
    models = (model,) if model else state.models()
    said = project(source.text, models)
    found = rows(state, said, models, source.recorded(model))
    warn(said.problems)
    if context.json:
        emit(context, document(source.repository, found))
        return 0
    if not found:
        context.say(f"no models yet: {NONE_YET}")
        return 0
    context.say(shown(found, now, columns(context)))
    wrong = sum(one.problems for one in found)
    if wrong:
        context.say(f"\n{wrong} problem{'s' if wrong > 1 else ''} of tags: trackside models doctor")
    return 0


def shown(found: Sequence[Row], now: datetime, room: int) -> str:
    """The table for people, at most `room` characters wide (0: as wide as it gets)."""
    cells = [
        [
            one.model,
            one.latest + (f" of {one.versions}" if one.versions > 1 else ""),
            ", ".join(f"{stage} {version}" for stage, version in one.stages) or "-",
            age(one.registered_at, now),
            one.said.type,
            ("DEPRECATED " if one.deprecated else "") + one.said.description,
        ]
        for one in found
    ]
    head = ["MODEL", "LATEST", "STAGES", "AGE", "TYPE", "DESCRIPTION"]
    return table(head, cells, room=room, shrink={5: 24, 2: 16, 0: 12})


def document(repository: str, found: Sequence[Row]) -> dict[str, Any]:
    """The rows for tools."""
    return {
        "schema": SCHEMA,
        "repository": repository,
        "models": [
            {
                "model": one.model,
                "latest": one.latest,
                "greatest": one.greatest,
                "versions": one.versions,
                "stages": dict(one.stages),
                "registered_at": stamp(one.registered_at),
                "deprecated": one.deprecated,
                "problems": one.problems,
                "type": one.said.type,
                "description": one.said.description,
                "path": one.said.path,
                "labels": list(one.said.labels),
                "described_by": one.said.said_by,
            }
            for one in found
        ],
    }


def warn(problems: Iterable[str]) -> None:
    """Lines on standard error, as for other commands on recorded things."""
    import sys

    from trackside.system.text import inert

    for text in problems:
        print(inert(f"warning: {text}"), file=sys.stderr)
