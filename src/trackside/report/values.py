"""Metrics, parameters and lock files → flat values: JSON, YAML 1.2 numbers and truths, TOML."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import yaml

from trackside.documents.run import Dependency, Direction, Metric
from trackside.errors import DataError

MAX_VALUES = 20_000
"""A file with more values than this is refused (YAML aliases can multiply a few lines without end)."""
MAX_DEPTH = 40

_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$")
_WHOLE = re.compile(r"^[-+]?([0-9][0-9_]*|0x[0-9a-fA-F_]+)$")
_TRUTH = re.compile(r"^(true|True|TRUE|false|False|FALSE)$")


class _Yaml(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads `1e-3` as a number and `on` as text, as DVC does."""


_Yaml.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if not tag.endswith((":bool", ":float", ":int", ":timestamp"))]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Yaml.add_implicit_resolver("tag:yaml.org,2002:int", _WHOLE, list("-+0123456789"))
_Yaml.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_Yaml.add_implicit_resolver("tag:yaml.org,2002:bool", _TRUTH, list("tTfF"))


def parse(path: str, data: bytes) -> Any:
    """Content of a values file by its ending (`.json`, `.toml`, else YAML).

    Raises:
        DataError: not readable as that format.
    """
    try:
        text = data.decode("utf-8-sig")
        if path.endswith(".json"):
            return json.loads(text)
        if path.endswith(".toml"):
            return tomllib.loads(text)
        return yaml.load(text, Loader=_Yaml)  # noqa: S506 - a safe loader with other number rules
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{path} cannot be read", why=str(error)[:500]) from error


def flatten(data: Any, *, path: str = "file") -> dict[str, Any]:
    """Leaves by dotted name, in file order. Lists are leaves.

    Raises:
        DataError: more than `MAX_VALUES` values or nested too deep.
    """
    made: dict[str, Any] = {}
    for name, value in _leaves(data, "", 0, path):
        made[name] = value
        if len(made) > MAX_VALUES:
            raise DataError(f"{path} has more than {MAX_VALUES:,} values")
    return made


def _leaves(data: Any, prefix: str, depth: int, path: str) -> Iterator[tuple[str, Any]]:
    if depth > MAX_DEPTH:
        raise DataError(f"{path} is nested deeper than {MAX_DEPTH} levels")
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key), depth + 1, path)
    elif prefix:
        yield prefix, data


def number(value: Any) -> float | None:
    """A finite number, or None; truth values are no numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        made = float(value)
    except OverflowError:
        return None
    return made if math.isfinite(made) else None


def metrics_of(path: str, data: bytes, direction: Callable[[str, str], Direction] | None = None) -> list[Metric]:
    """Numbers of a metrics file; `direction(name, path)` tells which way is better. Text and lists are left out.

    NaN and infinities become None: the metric exists, its value cannot be judged.

    Raises:
        DataError: not readable.
    """
    made = []
    for name, value in flatten(parse(path, data), path=path).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        way: Direction = direction(name, path) if direction else "none"
        made.append(Metric(name=name, value=number(value), file=path, direction=way))
    return made


def lock_dependencies(data: bytes, stages: Iterable[str] = ()) -> list[Dependency]:
    """Dependencies of `dvc.lock` that no stage of it makes, with DVC's digests; empty `stages` means all.

    Raises:
        DataError: not readable.
    """
    found = parse("dvc.lock", data)
    table = found.get("stages", {}) if isinstance(found, dict) else {}
    wanted = set(stages)
    rows = [(name, stage) for name, stage in table.items() if isinstance(stage, dict)]
    made_here = {out.get("path") for _, stage in rows for out in _entries(stage, "outs")}
    seen: dict[str, Dependency] = {}
    for name, stage in rows:
        if wanted and name not in wanted:
            continue
        for entry in _entries(stage, "deps"):
            path = str(entry.get("path", ""))
            if path and path not in made_here:
                seen[path] = dependency(path, entry)
    return [seen[path] for path in sorted(seen)]


def pointer_dependency(path: str, data: bytes) -> Dependency | None:
    """What a `.dvc` file beside `path` points to, or None when it has no output."""
    found = parse(path + ".dvc", data)
    outs = _entries(found, "outs") if isinstance(found, dict) else []
    return dependency(path, outs[0]) if outs else None


def dependency(path: str, entry: dict[str, Any]) -> Dependency:
    """An entry of `deps` or `outs`. Without a digest (external, not yet run) it is empty."""
    kind = next((key for key in ("md5", "etag", "checksum") if isinstance(entry.get(key), str)), "")
    return Dependency(
        path=path,
        kind="external" if "://" in path else "data",
        digest=f"{kind}:{entry[kind]}" if kind else "",
        size=_count(entry.get("size")),
        files=_count(entry.get("nfiles")),
    )


def _entries(stage: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = stage.get(key)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
