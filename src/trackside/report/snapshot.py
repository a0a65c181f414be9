"""What one commit says about its models: metrics, parameters, data and plots, read from git without a checkout."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trackside.config.model import Model
from trackside.documents.run import Dependency, Direction, Metric
from trackside.errors import ConfigError, NotFound, ToolError
from trackside.report import values
from trackside.system.process import Processes

Request = tuple[str, str]
"""Revision and path. An empty revision is the working tree."""
Read = Callable[[Sequence[Request]], list[bytes | None]]
"""Contents in order; None where there is no such file."""

MAX_FILE = 4 * 1024 * 1024
MAX_FILES = 200
_REVISION = re.compile(r"[A-Za-z0-9@][A-Za-z0-9@^~{}._/-]*")
_TEMPLATE = re.compile(r"\$\{\s*([A-Za-z0-9_.\-]+)\s*\}")


@dataclass(frozen=True, kw_only=True)
class GitMetrics:
    """Metrics, parameters, data and plot files of one commit; `commit` is empty for the working tree."""

    commit: str
    metrics: tuple[Metric, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    dependencies: tuple[Dependency, ...] = ()
    plots: dict[str, str] = field(default_factory=dict)


def git_reader(repository: Path, processes: Processes) -> Read:
    """Reads any number of files of any commits by one `git cat-file --batch`.

    Raises (when read):
        ConfigError: not a revision.
        NotFound: no such commit, and the remote has none either.
    """

    def read(requests: Sequence[Request]) -> list[bytes | None]:
        revisions = list(dict.fromkeys(revision for revision, _ in requests if revision))
        for revision in revisions:
            if not _REVISION.fullmatch(revision) or ".." in revision:
                raise ConfigError(f"not a revision: {revision[:100]!r}")
        known = {revision: revision for revision in revisions}
        found, blobs = _batch(repository, processes, revisions, known, requests)
        missing = [revision for revision in revisions if revision not in found]
        if missing:
            known |= {revision: _fetch(repository, processes, revision) for revision in missing}
            found, blobs = _batch(repository, processes, revisions, known, requests)
        return [blob if revision else _file(repository, path) for (revision, path), blob in blobs]

    return read


def _batch(
    repository: Path,
    processes: Processes,
    revisions: Sequence[str],
    known: dict[str, str],
    requests: Sequence[Request],
) -> tuple[set[str], list[tuple[Request, bytes | None]]]:
    """Which revisions exist, and the content of every request, from one process."""
    asked = [(revision, path) for revision, path in requests if revision and "\n" not in path]
    names = [f"{known[revision]}^{{commit}}" for revision in revisions]
    names += [f"{known[revision]}:{path}" for revision, path in asked]
    if not names:
        return set(), [(request, None) for request in requests]
    lines = "".join(f"{name}\n" for name in names).encode()
    out = processes.run(["git", "-C", repository, "cat-file", "--batch"], input=lines, timeout=120).stdout
    contents = list(_objects(out, len(names)))
    found = {revision for revision, content in zip(revisions, contents, strict=False) if content is not None}
    by_request = dict(zip(asked, contents[len(revisions) :], strict=True))
    return found, [(request, by_request.get(request)) for request in requests]


def _objects(out: bytes, count: int) -> Iterator[bytes | None]:
    """Commits and files in git's answer; None for what is missing, a folder, or larger than `MAX_FILE`."""
    at = 0
    for _ in range(count):
        end = out.index(b"\n", at)
        header, at = out[at:end].rsplit(b" ", 2), end + 1
        if not header[-1].isdigit():
            yield None
            continue
        size = int(header[-1])
        readable = header[1] in (b"commit", b"blob") and size <= MAX_FILE
        yield out[at : at + size] if readable else None
        at += size + 1


def _fetch(repository: Path, processes: Processes, revision: str) -> str:
    """Bring a commit that a shallow clone lacks, and say under which name it is known."""
    try:
        processes.run(
            ["git", "-C", repository, "fetch", "--quiet", "--no-tags", "--depth=1", "--", "origin", revision],
            timeout=300,
        )
        return processes.run(["git", "-C", repository, "rev-parse", "FETCH_HEAD"], timeout=60).text.strip()
    except ToolError as error:
        raise NotFound(
            f"this clone has no commit {revision!r}, and its remote gave none",
            why=error.log.strip()[-300:],
            remedy="name a full commit SHA or a branch of the remote",
        ) from error


def _file(root: Path, path: str) -> bytes | None:
    """A file of the working tree; None outside of it."""
    try:
        target = (root / path).resolve()
        if not target.is_relative_to(root.resolve()) or target.stat().st_size > MAX_FILE:
            return None
        return target.read_bytes()
    except (OSError, ValueError):
        return None


def snapshots(read: Read, revisions: Sequence[str], model: Model | None = None) -> list[GitMetrics]:
    """Two passes over all revisions at once: what the pipeline names, then the files it names.

    Args:
        read: from `git_reader`, or over the API.
        revisions: commits; empty for the working tree.
        model: its metrics files are read even where `dvc.yaml` does not name them, and its stages limit the data.

    Raises:
        DataError: a file of theirs cannot be read.
    """
    policy = sorted({rule.file for rule in model.metrics}) if model else []
    first = ["dvc.yaml", "dvc.lock", "params.yaml", *policy]
    have = _read(read, [(revision, path) for revision in revisions for path in first])
    wanted = []
    for revision in revisions:
        pipeline = _Pipeline.of(have.get((revision, "dvc.yaml")), have.get((revision, "params.yaml")))
        lock = have.get((revision, "dvc.lock"))
        tracked = [f"{one.path}.dvc" for one in values.lock_dependencies(lock)] if lock else []
        wanted.append((pipeline, [*pipeline.metrics, *pipeline.params, *pipeline.plots, *tracked][:MAX_FILES]))
    rest = [(revision, path) for revision, (_, paths) in zip(revisions, wanted, strict=True) for path in paths]
    have |= _read(read, [request for request in dict.fromkeys(rest) if request not in have])
    return [
        _snapshot(revision, pipeline, policy, have, model)
        for revision, (pipeline, _) in zip(revisions, wanted, strict=True)
    ]


def _read(read: Read, requests: Sequence[Request]) -> dict[Request, bytes | None]:
    return dict(zip(requests, read(requests), strict=True)) if requests else {}


def _snapshot(
    revision: str,
    pipeline: _Pipeline,
    policy: Sequence[str],
    have: dict[Request, bytes | None],
    model: Model | None,
) -> GitMetrics:
    metrics: list[Metric] = []
    for path in dict.fromkeys([*policy, *pipeline.metrics]):
        data = have.get((revision, path))
        if data is not None:
            metrics += values.metrics_of(path, data, direction_of(model))
    params: dict[str, Any] = {}
    for path in pipeline.params:
        data = have.get((revision, path))
        if data is not None:
            flat = values.flatten(values.parse(path, data), path=path)
            params |= flat if path == "params.yaml" else {f"{path}:{name}": value for name, value in flat.items()}
    return GitMetrics(
        commit=revision,
        metrics=tuple(metrics),
        params=params,
        dependencies=tuple(_dependencies(revision, have, model)),
        plots={
            path: data.decode("utf-8", "replace") for path in pipeline.plots if (data := have.get((revision, path)))
        },
    )


def _dependencies(revision: str, have: dict[Request, bytes | None], model: Model | None) -> Iterator[Dependency]:
    """Data of `dvc.lock`; a `.dvc` file beside it is newer than the lock of the last run."""
    lock = have.get((revision, "dvc.lock"))
    for one in values.lock_dependencies(lock, model.stages if model else ()) if lock else ():
        pointer = have.get((revision, f"{one.path}.dvc"))
        yield (values.pointer_dependency(one.path, pointer) if pointer else None) or one


def direction_of(model: Model | None) -> Callable[[str, str], Direction]:
    """Which way is better by the policy."""
    table: dict[tuple[str, str], Direction] = (
        {(rule.name, rule.file): rule.direction for rule in model.metrics} if model else {}
    )
    return lambda name, file: table.get((name, file), "none")


@dataclass(frozen=True, kw_only=True)
class _Pipeline:
    """Paths that `dvc.yaml` names; templates are filled from params.yaml, those that cannot be are left out."""

    metrics: tuple[str, ...] = ()
    params: tuple[str, ...] = ("params.yaml",)
    plots: tuple[str, ...] = ()

    @classmethod
    def of(cls, pipeline: bytes | None, params: bytes | None) -> _Pipeline:
        found = values.parse("dvc.yaml", pipeline) if pipeline else None
        if not isinstance(found, dict):
            return cls(params=("params.yaml",) if params else ())
        flat = values.flatten(values.parse("params.yaml", params), path="params.yaml") if params else {}
        stages = found.get("stages")
        sections = [("", found)]
        for stage in stages.values() if isinstance(stages, dict) else ():
            body = stage.get("do", stage) if isinstance(stage, dict) else None
            if isinstance(body, dict):
                sections.append((str(body.get("wdir", "")), body))

        def paths(key: str) -> Iterator[str]:
            for folder, section in sections:
                for name in _names(section.get(key), params=key == "params" and section is not found):
                    filled = _fill(posixpath.normpath(posixpath.join(folder, name)), flat)
                    if filled and not filled.startswith(("/", "..")):
                        yield filled

        return cls(
            metrics=tuple(dict.fromkeys(paths("metrics"))),
            params=tuple(dict.fromkeys(["params.yaml", *paths("params")])),
            plots=tuple(path for path in dict.fromkeys(paths("plots")) if path.endswith((".json", ".csv", ".tsv"))),
        )


def _names(section: Any, *, params: bool) -> Iterator[str]:
    """File names of a section; bare entries of a stage's `params` are keys of params.yaml, not files."""
    if isinstance(section, dict):
        section = [section]
    for entry in section if isinstance(section, list) else ():
        if isinstance(entry, str) and not params:
            yield entry
        elif isinstance(entry, dict):
            for name, settings in entry.items():
                drawn = settings.get("y") if isinstance(settings, dict) else None
                yield from (str(path) for path in drawn) if isinstance(drawn, dict) else (str(name),)


def _fill(path: str, flat: dict[str, Any]) -> str:
    made = _TEMPLATE.sub(lambda match: str(flat.get(match[1], match[0])), path)
    return "" if "${" in made else made
