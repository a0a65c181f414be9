"""What a project says of its models: trackside.yaml, and for projects that came from GTO `.gto` and dvc.yaml.

.gto        types: [model, dataset]        the types and stages that the project knows
            stages: [dev, staging, prod]
dvc.yaml    artifacts:                     in any folder; those of a folder are named DIR=NAME by tags, DIR:NAME
              delay: {path: models/delay.skops, type: model, desc: …, labels: [tabular]}
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trackside.errors import ConfigError

GTO_FILE, PIPELINE, POLICY = ".gto", "dvc.yaml", "trackside.yaml"
LONGEST = 2_000
"""Characters kept of a description or any other word."""

Read = Callable[[str], "bytes | None"]
"""Path relative to the repository → content; None where there is none."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """What is said of one model; `stages` in order; `said_by` is the file that names it."""

    path: str = ""
    type: str = ""
    description: str = ""
    labels: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    said_by: str = ""


@dataclass(frozen=True, kw_only=True)
class Project:
    """All that is said; `problems` are files that could not be understood: they count as absent."""

    models: Mapping[str, Described] = field(default_factory=dict)
    stages: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def of(self, model: str) -> Described:
        """What is said of a model; stages of `.gto` hold for those that name none."""
        found = self.models.get(model, Described())
        return found if found.stages else replace(found, stages=self.stages)


def project(read: Read, models: Iterable[str] = ()) -> Project:
    """What the files of a repository say.

    Args:
        models: names that tags know: of those with a folder (`DIR=NAME`) that folder's dvc.yaml is read too.
    """
    problems: list[str] = []
    found: dict[str, Described] = {}
    folders = {"", *(name.partition("=")[0] for name in models if "=" in name)}
    for folder in sorted(folders):
        if _leads_out(folder):
            continue
        path = posixpath.join(folder, PIPELINE)
        raw = _mapping(read, path, problems).get("artifacts")
        for name, row in _items(raw):
            found[f"{folder}={name}" if folder else name] = _artifact(row, folder, path)
    gto = _mapping(read, GTO_FILE, problems)
    for name, own in _policy(read, problems).items():
        old = found.get(name, Described())
        found[name] = replace(
            own, type=old.type, labels=own.labels or old.labels, description=own.description or old.description
        )
    return Project(
        models=found, stages=_words(gto.get("stages")), types=_words(gto.get("types")), problems=tuple(problems)
    )


def _policy(read: Read, problems: list[str]) -> dict[str, Described]:
    data = read(POLICY)
    if data is None:
        return {}
    from trackside.config.load import load

    try:
        config = load(data.decode("utf-8", "replace"))
    except ConfigError as error:
        problems.append(error.message)
        return {}
    return {
        one.name: Described(
            path=one.path,
            description=_line(one.card.description),
            labels=one.card.tags,
            stages=tuple(str(stage) for stage in one.promotion),
            said_by=POLICY,
        )
        for one in config.models
    }


def _artifact(row: Any, folder: str, said_by: str) -> Described:
    """A row of `artifacts:`; its path is relative to the dvc.yaml, here to the repository."""
    values = row if isinstance(row, Mapping) else {"path": row}
    path = _line(values.get("path"))
    return Described(
        path=posixpath.normpath(posixpath.join(folder, path)) if path and "://" not in path else path,
        type=_line(values.get("type")),
        description=_line(values.get("desc")),
        labels=_words(values.get("labels")),
        said_by=said_by,
    )


def _mapping(read: Read, path: str, problems: list[str]) -> Mapping[str, Any]:
    """A YAML file's mapping; empty where there is none."""
    data = read(path)
    if data is None:
        return {}
    from trackside.system.yaml_text import load

    try:
        found = load(data.decode("utf-8", "replace"), file=path)
    except ConfigError as error:
        problems.append(error.message)
        return {}
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        problems.append(f"{path} is no mapping")
        return {}
    return found


def _items(raw: Any) -> list[tuple[str, Any]]:
    return [(name, row) for name, row in raw.items() if isinstance(name, str)] if isinstance(raw, Mapping) else []


def _words(raw: Any) -> tuple[str, ...]:
    rows = raw if isinstance(raw, list) else []
    return tuple(_line(one) for one in rows if isinstance(one, str | int | float))


def _line(raw: Any) -> str:
    """One line of text of a scalar; empty for anything else."""
    return " ".join(str(raw).split())[:LONGEST] if isinstance(raw, str | int | float) else ""


def _leads_out(folder: str) -> bool:
    return folder.startswith("/") or "\\" in folder or any(part in (".", "..") for part in folder.split("/"))
