"""`dvc.lock`: which stages a recorded run already answers for this checkout, and putting its entries back."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trackside.documents.run import Restore
from trackside.errors import DataError
from trackside.plan.graph import Outs
from trackside.plan.paths import is_url
from trackside.plan.pipeline import ResolvedStage
from trackside.report.values import parse
from trackside.train.dvc import Object
from trackside.train.state import write

Entry = Mapping[str, Any]
LOCK = "dvc.lock"


def lock_of(stage: str) -> tuple[str, str]:
    """The lock file that holds a stage, and its name there: `sub/dvc.yaml:train` → `sub/dvc.lock`, `train`."""
    file, colon, name = stage.partition("dvc.yaml:")
    return (file + LOCK, name) if colon and (not file or file.endswith("/")) else (LOCK, stage)


def entries(texts: Mapping[str, str], stages: Iterable[str]) -> dict[str, Entry]:
    """Lock entries of stages from lock files' texts; unreadable files have none."""
    tables: dict[str, Any] = {}
    for path, text in texts.items():
        try:
            found = parse(path, text.encode())
        except DataError:
            continue
        tables[path] = found.get("stages") if isinstance(found, dict) else None
    made = {}
    for stage in stages:
        path, name = lock_of(stage)
        table = tables.get(path)
        if isinstance(table, dict) and isinstance(table.get(name), dict):
            made[stage] = table[name]
    return made


def texts_of(restore: Restore) -> dict[str, str]:
    """A run's lock files by path."""
    made = {path: text for path, text in restore.files.items() if posixpath.basename(path) == LOCK}
    return {**made, LOCK: restore.dvc_lock} if restore.dvc_lock else made


def read_texts(workspace: Path, stages: Iterable[str]) -> dict[str, str]:
    """The checkout's lock files."""
    made = {}
    for path in sorted({lock_of(stage)[0] for stage in stages}):
        file = workspace / path
        if file.is_file() and not file.is_symlink():
            made[path] = file.read_text(encoding="utf-8", errors="replace")
    return made


def outputs(entry: Entry, wdir: str) -> dict[str, Object | None]:
    """A stage's outputs by path from the root; None for what DVC gives no md5 for (a URL)."""
    made: dict[str, Object | None] = {}
    for out in _rows(entry, "outs"):
        path = str(out.get("path", ""))
        made[path if is_url(path) else posixpath.normpath(posixpath.join(wdir, path))] = _object(out)
    return made


def _rows(entry: Entry, key: str) -> list[Mapping[str, Any]]:
    rows = entry.get(key)
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _object(row: Mapping[str, Any]) -> Object | None:
    md5 = row.get("md5")
    try:
        return Object(digest=f"md5:{md5}", legacy=row.get("hash") != "md5") if isinstance(md5, str) else None
    except DataError:
        return None


def answered(
    stages: Sequence[ResolvedStage], found: Mapping[str, Entry], unchanged: Callable[[str], bool], outs: Outs
) -> list[str]:
    """Stages whose entry was made from just these inputs, in order: a stage counts only if those before it do.

    Args:
        stages: in the order in which they run.
        found: lock entries by stage.
        unchanged: whether a dependency that no stage makes is what it was when the entries were made.
        outs: who makes what.
    """
    made: dict[str, str] = {}
    good: list[str] = []
    for stage in stages:
        entry = found.get(stage.name)
        if entry is None or stage.always_changed or not all(name in good for name in stage.upstream):
            continue
        if _command(entry.get("cmd")) != list(stage.cmd) or not _same_params(entry, stage):
            continue
        rows = {posixpath.normpath(posixpath.join(stage.wdir, str(r.get("path", "")))): r for r in _rows(entry, "deps")}
        if set(rows) != set(stage.deps):
            continue
        if not all(_same_dep(path, row, made, unchanged, outs) for path, row in rows.items()):
            continue
        results = outputs(entry, stage.wdir)
        if set(results) != {*stage.outs, *stage.metrics, *stage.plots} or None in results.values():
            continue
        made.update({path: obj.digest for path, obj in results.items() if obj is not None})
        good.append(stage.name)
    return good


def _same_dep(
    path: str, row: Mapping[str, Any], made: Mapping[str, str], unchanged: Callable[[str], bool], outs: Outs
) -> bool:
    """Whether a dependency is what it was. Part of an output (a file in a folder) is as good as the stage before."""
    if path in made:
        return bool(made[path] == f"md5:{row.get('md5')}")
    if outs.covering(path) or outs.below(path):
        return True
    return unchanged(path)


def _command(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _same_params(entry: Entry, stage: ResolvedStage) -> bool:
    recorded = entry.get("params")
    then = {
        posixpath.normpath(posixpath.join(stage.wdir, str(file))): values
        for file, values in (recorded.items() if isinstance(recorded, Mapping) else ())
    }
    return _plain(then) == _plain(stage.params)


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def put(workspace: Path, stages: Iterable[str], kept: Mapping[str, Entry]) -> None:
    """Give `stages` exactly the entries `kept` in the checkout's lock files; other stages keep theirs."""
    wanted: dict[str, list[str]] = {}
    for stage in stages:
        wanted.setdefault(lock_of(stage)[0], []).append(stage)
    for path, names in wanted.items():
        file = workspace / path
        table = _table(file)
        for name in names:
            table.pop(lock_of(name)[1], None)
        table.update({lock_of(name)[1]: dict(kept[name]) for name in names if name in kept})
        if table:
            write(file, _yaml({"schema": "2.0", "stages": table}))
        else:
            file.unlink(missing_ok=True)


def _table(file: Path) -> dict[str, Any]:
    if not file.is_file() or file.is_symlink():
        return {}
    try:
        found = parse(LOCK, file.read_bytes())
    except DataError:
        return {}
    table = found.get("stages") if isinstance(found, dict) else None
    return dict(table) if isinstance(table, dict) else {}


def _yaml(data: Any) -> bytes:
    """YAML as DVC writes it, so that digests which look like numbers stay text."""
    import io

    from ruamel.yaml import YAML

    stream = io.StringIO()
    writer = YAML()
    writer.default_flow_style = False
    writer.dump(data, stream)
    return stream.getvalue().encode()
