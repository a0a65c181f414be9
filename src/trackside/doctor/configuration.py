"""`trackside.yaml`: valid, of models that stages write, with places of new data that can be worked out."""

from __future__ import annotations

from datetime import date

from trackside.adopt.scan import scan
from trackside.config.model import CONFIG_FILE, Config
from trackside.doctor.place import Place
from trackside.doctor.table import Findings, found
from trackside.errors import ConfigError


def check(place: Place) -> Findings:
    policy = place.policy
    if policy is None:
        yield found("configuration.file", "error", f"there is no {CONFIG_FILE}")
        return
    if isinstance(policy, ConfigError):
        yield found("configuration.file", "error", policy.message, remedy=policy.remedy)
        return
    names = ", ".join(model.name for model in policy.models)
    yield found("configuration.file", "ok", f"{CONFIG_FILE} is valid; models: {names}")
    if place.here:
        yield from _models(place, policy)
    yield from _drift(policy)


def _models(place: Place, policy: Config) -> Findings:
    try:
        tree = scan(place.root)
    except ConfigError as error:
        yield found("configuration.model", "error", error.message, remedy=error.remedy)
        return
    outs = {out for stage in tree.stages for out in stage.outs}
    names = {stage.name for stage in tree.stages}
    for model in policy.models:
        lost = [one for one in model.stages if not any(n == one or n.startswith(f"{one}@") for n in names)]
        if not names:
            yield found("configuration.model", "error", "there is no pipeline: no dvc.yaml with stages")
            return
        if lost and not tree.notes:
            yield found("configuration.model", "error", f"{model.name}: dvc.yaml has no stage {', '.join(lost)}")
        elif model.path in outs:
            yield found("configuration.model", "ok", f"{model.name}: a stage writes {model.path}")
        elif tree.notes:
            yield found("configuration.model", "unknown", f"{model.name}: {tree.notes[0]}")
        else:
            yield found("configuration.model", "error", f"{model.name}: no stage writes {model.path}")


def _drift(policy: Config) -> Findings:
    from trackside.tables.placeholders import fill
    from trackside.tables.sources import scheme_of

    for model in policy.models:
        if model.drift is None:
            continue
        given = [model.drift.current, model.drift.query]
        given += [
            one for one in (model.drift.retrain.params.values() if model.drift.retrain else ()) if isinstance(one, str)
        ]
        try:
            filled = [fill(text, date(2026, 1, 31)) for text in given]
            scheme_of(*filled[:2])
        except ConfigError as error:
            yield found("configuration.drift", "error", f"{model.name}: {error.message}", remedy=error.remedy)
            continue
        yield found("configuration.drift", "ok", f"{model.name}: new data of 2026-01-31 is {filled[0]}")
