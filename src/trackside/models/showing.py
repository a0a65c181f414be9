"""`trackside models show MODEL`: who is in which stage, and the versions with what they measured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from trackside.documents.image import Image
from trackside.documents.release import Release
from trackside.documents.run import Metric
from trackside.models.artifacts import Described, project
from trackside.models.history import actor, entry
from trackside.models.layout import age, columns, emit, printable, stamp, table, utc
from trackside.models.listing import holder_text, stage_order, warn
from trackside.models.which import undecided, unknown_model
from trackside.registry.binding import bond, holds_it
from trackside.registry.state import Event, RegistryState
from trackside.registry.versions import Version

if TYPE_CHECKING:
    from trackside.app import Context
    from trackside.models.source import Source

SCHEMA = "trackside.model/1"
ARROWS = {"max": "↑", "min": "↓"}
"""Which way is better."""
METRICS = 3
"""Columns of metrics at most."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A version: `live` is False where it was taken out of use; `before` is the version that it is compared with.

    `bare`: no version of the model has a record, as in a registry of tags alone. `odd`: why its record is left out.
    """

    version: Version
    event: Event
    live: bool
    stages: tuple[str, ...]
    release: Release | None
    image: Image | None
    before: Release | None
    bare: bool = False
    odd: str = ""

    @property
    def state(self) -> str:
        """What keeps it from being used; empty where nothing does."""
        if not self.live:
            return "deprecated"
        if self.odd:
            return self.odd
        if self.release is None:
            return "" if self.bare else "no release"
        return "" if self.release.state == "published" else self.release.state

    def metric(self, name: str) -> Metric | None:
        return _metric(self.release, name)

    def change(self, name: str) -> float | None:
        """Against the version before; None where one of them lacks it."""
        now, then = _metric(self.release, name), _metric(self.before, name)
        if now is None or then is None or now.value is None or then.value is None:
            return None
        return now.value - then.value


def _metric(release: Release | None, name: str) -> Metric | None:
    return next((one for one in release.metrics if one.name == name), None) if release is not None else None


def better(metric: Metric, change: float | None) -> str:
    """`better` or `worse` where it is known which way is better."""
    if not change or metric.direction == "none":
        return ""
    return "better" if (change > 0) == (metric.direction == "max") else "worse"


_ODD = {"bound": "", "unbound": "", "moved": "tag moved", "differs": "another record"}


def lines(
    source: Source,
    state: RegistryState,
    model: str,
    limit: int,
    highest: Version | None = None,
    *,
    check: bool = True,
) -> list[Line]:
    """The newest `limit` versions (0: all) from `highest` downwards, highest first, with their records.

    `check`: records that their tags do not bear out are left out, and so are images of something else.
    """
    gone = state.deregistered(model)
    live = set(state.versions(model))
    order = sorted((one for one in {*live, *gone} if highest is None or one <= highest), reverse=True)
    wanted = order[: limit + 1] if limit else order  # the one below tells what changed
    releases = source.releases_of(model, wanted)
    bare = not releases and not source.recorded(model).get(model)
    images = source.images_of(model, releases)
    if check:
        images = {one: image for one, image in images.items() if holds_it(image, releases[one])}
    events = {one: state.version_event(model, one) or gone[one] for one in wanted}
    odd = {one: _ODD[bond(events[one], releases[one]).state] for one in releases} if check else {}
    for one in (one for one, why in odd.items() if why):
        del releases[one]
        images.pop(one, None)
    held: dict[Version, list[str]] = {}
    for stage in state.stages(model):
        version = state.holder(model, stage)
        if version is not None and undecided(state, model, stage) is None:
            held.setdefault(version, []).append(stage)
    made = []
    for at, version in enumerate(wanted[:limit] if limit else wanted):
        before = next((releases[one] for one in wanted[at + 1 :] if one in releases), None)
        made.append(
            Line(
                version=version,
                event=events[version],
                live=version in live,
                stages=tuple(held.get(version, ())),
                release=releases.get(version),
                image=images.get(version),
                before=before,
                bare=bare,
                odd=odd.get(version, ""),
            )
        )
    return made


def show_model(context: Context, source: Source, model: str, limit: int, now: datetime) -> int:
    """Print a model: who is in which stage since when and by whom, and its versions.

    Raises:
        NotFound: no tag names the model.
    """
    state = source.state(model)
    if not state.events_of(model):
        raise unknown_model(source.state(), model)
    known = project(source.text, [model])
    said = known.of(model)
    made = lines(source, state, model, limit)
    doubts = unproven(context, source, made)
    warn((*known.problems, *(f"{one.path} is left out: {one.why}" for one in source.problems)))
    if context.json:
        emit(context, document(source.repository, state, model, said, made, doubts))
        return 0
    room = columns(context)
    context.say(heading(state, model, said))
    stages = stage_table(state, said, model, now, room)
    if stages:
        context.say("\n" + stages)
    if made:
        text = version_table(made, now, room)
        context.say("\n" + text + legend(text))
    total = len(state.versions(model)) + len(state.deregistered(model))
    if len(made) < total:
        context.say(f"\n{total - len(made)} older versions: -n 0 shows all")
    for problem in state.problems(model):
        context.say(f"\nproblem: {problem.message}\n    fix: {problem.remedy}")
    return 0


def unproven(context: Context, source: Source, made: Sequence[Line]) -> dict[Version, str]:
    """Versions with a record that only the data branch speaks for, and why; they are told on standard error."""
    from trackside.models.bound import doubt

    known = {one.version: one.release for one in made if one.release is not None}
    runs = source.runs_of(known)
    told = {
        one.version: doubt(context, one.event, one.release, runs.get(one.version))
        for one in made
        if one.release is not None
    }
    doubts = {version: why for version, why in told.items() if why}
    if doubts:
        version, why = next(iter(doubts.items()))
        more = f", and for {len(doubts) - 1} more" if len(doubts) > 1 else ""
        tag = known[version].tag
        warn([f"only the data branch speaks for the record of {tag}: {why}{more}; trackside models verify {tag}"])
    return doubts


def heading(state: RegistryState, model: str, said: Described) -> str:
    """Name, description, and what else the project says of it."""
    facts = [said.type, said.path, ", ".join(said.labels)]
    gone = state.deprecated(model)
    rows = [f"{model}: {said.description}" if said.description else model]
    if any(facts):
        rows.append("  " + " · ".join(one for one in facts if one))
    if gone is not None:
        why = gone.trailers.get("Reason", "")
        rows.append(f"  DEPRECATED {utc(gone.date)} by {actor(gone) or '?'}" + (f": {why}" if why else ""))
    return "\n".join(printable(row) for row in rows)


def stage_table(state: RegistryState, said: Described, model: str, now: datetime, room: int) -> str:
    """Who is in which stage, since when, by whom and why."""
    cells = []
    for stage in stage_order(state, said, model):
        event, doubt = state.holder_event(model, stage), undecided(state, model, stage)
        if doubt is not None:
            cells.append([stage, "?", "", "", doubt.message])
        elif event is None:
            cells.append([stage, "-", "", "", ""])
        else:
            why = entry(state, event).reason
            cells.append([stage, holder_text(state, model, stage), age(event.date, now), actor(event), why])
    head = ["STAGE", "VERSION", "SINCE", "PROMOTED BY", "WHY"]
    return table(head, cells, room=room, shrink={4: 16, 3: 8, 0: 8}, lines=0)


def version_table(made: Sequence[Line], now: datetime, room: int) -> str:
    """The versions, highest first; as many metrics as fit."""
    names = metric_names(made)
    while True:
        head = ["VERSION", "STAGES", *(_titled(made, name) for name in names), "AGE", "BY", "RUN", "IMAGE"]
        cells = [_cells(one, names, now) for one in made]
        shrink = {1: 9, len(head) - 3: 6}
        text = table(head, cells, room=room, shrink=shrink)
        if not room or len(names) <= 1 or max(len(line) for line in text.splitlines()) <= room:
            return text
        names = names[:-1]


def legend(text: str) -> str:
    """What the signs of a table mean, where it has them."""
    signs = [f"{sign} {word} is better" for sign, word in (("↑", "more"), ("↓", "less")) if sign in text]
    if re.search(r"\d [+-]\d", text):
        signs.append("+ - to the version before" + (", ! worse" if "!" in text else ""))
    return f"\n({'; '.join(signs)})" if signs else ""


def _cells(one: Line, names: Iterable[str], now: datetime) -> list[str]:
    release, image = one.release, one.image
    return [
        f"v{one.version}",
        ", ".join((*one.stages, *([one.state] if one.state else []))),
        *(_figure(one, name) for name in names),
        age(one.event.date, now),
        actor(one.event),
        release.run[:8] if release is not None else "",
        image.digest.removeprefix("sha256:")[:12] if image is not None else "",
    ]


def metric_names(made: Sequence[Line]) -> list[str]:
    """The metrics of most interest: those that have a direction, as the newest version orders them."""
    found: dict[str, bool] = {}
    for one in made:
        for metric in one.release.metrics if one.release is not None else ():
            found.setdefault(metric.name, metric.direction != "none")
    judged = [name for name, directed in found.items() if directed]
    return (judged or list(found))[:METRICS]


def _titled(made: Sequence[Line], name: str) -> str:
    metric = next((found for one in made if (found := one.metric(name)) is not None), None)
    arrow = ARROWS.get(metric.direction, "") if metric is not None else ""
    return f"{name} {arrow}".rstrip()


def _figure(one: Line, name: str) -> str:
    """`0.912 +0.01`, a change for the worse marked."""
    metric, change = one.metric(name), one.change(name)
    if metric is None or metric.value is None:
        return "-"
    text = f"{metric.value:.6g}"
    if change:
        text += f" {change:+.2g}" + ("!" if better(metric, change) == "worse" else "")
    return text


def document(
    repository: str,
    state: RegistryState,
    model: str,
    said: Described,
    made: Sequence[Line],
    doubts: Mapping[Version, str],
) -> dict[str, Any]:
    """The model for tools; `doubts` as `unproven` gives them."""
    gone = state.deprecated(model)
    stages = {}
    for stage in stage_order(state, said, model):
        held = holder_text(state, model, stage)
        event = state.holder_event(model, stage) if held != "?" else None
        stages[stage] = {
            "version": held,
            "tag": event.name if event is not None else "",
            "since": stamp(event.date) if event is not None else "",
            "actor": actor(event) if event is not None else "",
            "reason": event.trailers.get("Reason", "") if event is not None else "",
        }
    return {
        "schema": SCHEMA,
        "repository": repository,
        "model": model,
        "type": said.type,
        "description": said.description,
        "path": said.path,
        "labels": list(said.labels),
        "deprecated": gone.name if gone is not None else "",
        "stages": stages,
        "versions": [line_document(one, doubts.get(one.version, "")) for one in made],
        "problems": [
            {"code": one.code, "tag": one.tag, "message": one.message, "remedy": one.remedy}
            for one in state.problems(model)
        ],
    }


def line_document(one: Line, unproven: str = "") -> dict[str, Any]:
    """A version for tools; `change` of a metric is against the version before."""
    release, image = one.release, one.image
    return {
        "version": f"v{one.version}",
        "tag": one.event.name,
        "commit": one.event.commit,
        "registered_at": stamp(one.event.date),
        "actor": actor(one.event),
        "deprecated": not one.live,
        "stages": list(one.stages),
        "unproven": one.odd or unproven,
        "release": release.state if release is not None else "",
        "url": release.url if release is not None else "",
        "run": release.run if release is not None else "",
        "pull_request": release.pull_request if release is not None else None,
        "model_digest": release.model_digest if release is not None else "",
        "image": image.reference if image is not None else "",
        "image_digest": image.digest if image is not None else "",
        "metrics": [
            {
                "name": metric.name,
                "value": metric.value,
                "direction": metric.direction,
                "change": one.change(metric.name),
                "verdict": better(metric, one.change(metric.name)),
            }
            for metric in (release.metrics if release is not None else ())
        ],
    }
