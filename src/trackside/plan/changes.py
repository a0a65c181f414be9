"""What differs: inputs of two trees, and the policy that a pull request edits."""

from __future__ import annotations

from typing import Any

import yaml

from trackside.plan.pipeline import PipelineInputs, ResolvedStage


def changed_inputs(before: PipelineInputs | None, now: PipelineInputs) -> list[str]:
    """Names of parameters, dependencies and stages that differ, sorted by kind and name."""
    if before is None:
        return []
    old, new = _params(before), _params(now)
    params = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    olds = {(d.kind, d.path): d.digest for d in before.dependencies}
    news = {(d.kind, d.path): d.digest for d in now.dependencies}
    paths = {key[1] for key in olds.keys() | news.keys() if olds.get(key) != news.get(key)}
    old_stages, new_stages = _stages(before), _stages(now)
    stages = {n for n in old_stages.keys() | new_stages.keys() if old_stages.get(n) != new_stages.get(n)}
    return [*sorted(f"parameter {n}" for n in params), *sorted(paths), *sorted(f"stage {n}" for n in stages)]


def _params(inputs: PipelineInputs) -> dict[str, tuple[str, Any]]:
    """By name; the type counts: 1 is not 1.0."""
    return {name: (type(value).__name__, value) for name, value in inputs.params.items()}


def _stages(inputs: PipelineInputs) -> dict[str, tuple[Any, ...]]:
    def key(stage: ResolvedStage) -> tuple[Any, ...]:
        made = {*stage.outs, *stage.metrics, *stage.plots}
        return stage.cmd, stage.wdir, frozenset(stage.deps), frozenset(made), stage.always_changed

    return {stage.name: key(stage) for stage in inputs.stages}


def policy_changes(before: str | None, after: str | None) -> list[str]:
    """Dotted keys of `trackside.yaml` that differ between two texts, both of which have been checked by `load`."""
    if before == after:
        return []
    if before is None or after is None:
        return ["trackside.yaml is added" if before is None else "trackside.yaml is removed"]
    old, new = _flat(yaml.safe_load(before)), _flat(yaml.safe_load(after))
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {prefix: (type(value).__name__, value)}
    made: dict[str, Any] = {}
    for key, item in value.items():
        made.update(_flat(item, f"{prefix}.{key}" if prefix else str(key)))
    return made
