"""What a run's model learnt from, and what only its other stages read (an evaluation): told by its lock files."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

from trackside.documents.run import Run
from trackside.errors import ConfigError
from trackside.plan.graph import Outs
from trackside.plan.objects import ancestors
from trackside.plan.paths import is_url
from trackside.train.lock import Entry, entries, lock_of, outputs, texts_of

_DIGESTS = re.compile(r"(?m)^ +(?:md5|size|nfiles): \S+\n")
"""Lines by which the lock files of one pipeline differ; without them they are read once, not for every run."""


class Purposes:
    """What the inputs and outputs of runs were for; each run's lock files are read once, and only when asked for."""

    def __init__(self, runs: Mapping[str, Run]) -> None:
        self._runs = runs
        self._known: dict[str, frozenset[str] | None] = {}

    def of(self, run: str, path: str, kind: str = "") -> Literal["learnt", "judged", "unknown"]:
        """What the run (by the id of its node) did with a path: `judged` is whatever its model did not learn from."""
        if kind == "lock" or run not in self._runs:  # packages go into everything
            return "unknown"
        if run not in self._known:
            self._known[run] = learnt(self._runs[run])
        paths = self._known[run]
        return "unknown" if paths is None else "learnt" if covers(paths, path) else "judged"


def learnt(run: Run) -> frozenset[str] | None:
    """Paths that the stages which made the model read, and those before them; with the model itself.

    None where the lock files do not tell for certain: then everything that the run read may have been learnt from.
    """
    models = [one.path for one in run.artifacts if one.role == "model"]
    names = tuple(sorted({stage.name for stage in run.stages}))
    texts = {path: _DIGESTS.sub("", text) for path, text in texts_of(run.restore).items()}
    found = _stages(tuple(sorted(texts.items())), names) if models and names else None
    if found is None:
        return None
    reads, outs = found
    if not all(outs.covering(path) for path in models):
        return None
    known = {one.path for one in run.dependencies}
    for path in {path for paths in reads.values() for path in paths}:
        if not outs.makers([path]) and not covers(known, path):
            return None  # a working folder that the lock file does not name would look like this
    waiting, seen = outs.makers(models), set()
    read: set[str] = set(models)
    while waiting:
        stage = waiting.pop()
        if stage not in seen:
            seen.add(stage)
            read.update(reads[stage])
            waiting += outs.makers(reads[stage])
    return frozenset(read)


@lru_cache(maxsize=512)
def _stages(
    texts: tuple[tuple[str, str], ...], names: tuple[str, ...]
) -> tuple[Mapping[str, Sequence[str]], Outs] | None:
    """What each stage reads and who makes what; None where a stage is missing, or two make the same."""
    found = entries(dict(texts), names)
    if len(found) != len(names):
        return None
    try:
        outs = Outs({name: tuple(outputs(entry, _folder(name))) for name, entry in found.items()})
    except ConfigError:
        return None
    return {name: _paths(entry, "deps", _folder(name)) for name, entry in found.items()}, outs


def covers(known: Collection[str], path: str) -> bool:
    """Whether a path, something above it or something inside it is known."""
    if is_url(path):
        return path in known
    return any(one in known for one in ancestors(path)) or any(one.startswith(f"{path}/") for one in known)


def _folder(stage: str) -> str:
    return posixpath.dirname(lock_of(stage)[0])


def _paths(entry: Entry, key: str, folder: str) -> tuple[str, ...]:
    rows: Iterable[object] = entry.get(key) or ()
    names = [str(row.get("path", "")) for row in rows if isinstance(row, dict)]
    return tuple(one if is_url(one) else posixpath.normpath(posixpath.join(folder, one)) for one in names)
