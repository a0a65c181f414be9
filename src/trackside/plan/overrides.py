"""Parameters of an experiment: `{"train.lr": 0.01}` put over the values of a params file, name and type checked."""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Mapping
from typing import Any

from trackside.errors import ConfigError

DEFAULT_FILE = "params.yaml"
MAX_OVERRIDES = 100
LINK = "pipelines.md"


def by_file(overrides: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Overrides grouped by params file: `name` means `params.yaml`, `file:name` another one.

    Raises:
        ConfigError: too many, or a value that is no scalar and no list of scalars.
    """
    if len(overrides) > MAX_OVERRIDES:
        raise ConfigError(f"{len(overrides)} parameter overrides; at most {MAX_OVERRIDES}", link=LINK)
    grouped: dict[str, dict[str, Any]] = {}
    for key, value in overrides.items():
        file, colon, name = key.rpartition(":")
        if not name or (colon and not file) or len(key) > 400:
            raise ConfigError(f"not a parameter name: {key[:100]!r}", remedy="write `name=value`", link=LINK)
        flat = value if isinstance(value, list) else [value]
        if not all(item is None or isinstance(item, bool | int | float | str) for item in flat):
            raise ConfigError(f"{key}: only numbers, text, true/false and lists of them can be set", link=LINK)
        if any(isinstance(item, float) and not math.isfinite(item) for item in flat):
            raise ConfigError(f"{key}: the value must be finite", link=LINK)
        grouped.setdefault(file or DEFAULT_FILE, {})[name] = value
    return grouped


def apply(values: Any, changes: Mapping[str, Any], *, file: str) -> Any:
    """A copy of a params file's content with values replaced; `changes` has dotted names.

    Raises:
        ConfigError: a name that does not exist (with the nearest one that does), or a value of another type.
    """
    made = copy.deepcopy(values)
    for name, new in changes.items():
        *folders, last = name.split(".")
        node = made
        for folder in folders:
            node = node.get(folder) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node:
            known = list(names(made))
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            raise ConfigError(
                f"{file} has no parameter {name!r}",
                remedy=f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(known[:20]),
                link=LINK,
                reason_code="override_unknown",
            )
        node[last] = _typed(node[last], new, name=name, file=file)
    return made


def names(values: Any, prefix: str = "") -> list[str]:
    """Dotted names of all values that are not mappings."""
    if not isinstance(values, dict):
        return [prefix] if prefix else []
    found: list[str] = []
    for key, value in values.items():
        found += names(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def _typed(old: Any, new: Any, *, name: str, file: str) -> Any:
    """`new` as the type of `old`; a whole number may stand for a float, and anything replaces null."""
    if isinstance(old, float) and isinstance(new, int) and not isinstance(new, bool):
        return float(new)
    if old is None or type(old) is type(new):
        return new
    if isinstance(old, int) and not isinstance(old, bool) and isinstance(new, float) and new.is_integer():
        return int(new)
    raise ConfigError(
        f"{name} is {_kind(old)} in {file}, not {_kind(new)}",
        remedy=f"give {_kind(old)}, such as {old!r}"
        if not isinstance(old, dict)
        else f"set one of its parts: {name}.…",
        link=LINK,
        reason_code="override_type",
    )


def _kind(value: Any) -> str:
    kinds = {bool: "true/false", int: "a whole number", float: "a number", str: "text", list: "a list", dict: "a group"}
    return kinds.get(type(value), type(value).__name__)
