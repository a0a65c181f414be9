"""Current data that DVC tracks: found in `.dvc` files and `dvc.lock` of the checkout, fetched by digest."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackside.errors import DataError, ToolError
from trackside.tables.table import ending
from trackside.train.dvc import Object, members, remotes, there, transfer

if TYPE_CHECKING:
    from trackside.tables.sources import Places

LARGEST = 4 * 1024 * 1024


def tracked(target: str, places: Places) -> list[Path]:
    """Files of a target in DVC's cache, under their own names in `places.folder`; none where it is not tracked.

    `target` is a tracked path, its `.dvc` file, or a path inside a tracked folder.

    Raises:
        DataError: a `.dvc` file is damaged.
        ToolError: the remote failed, or lacks the data.
    """
    wanted = posixpath.normpath(target.removesuffix(".dvc"))
    for path, obj in _outputs(wanted, places.root):
        inner = "" if path == wanted else posixpath.relpath(wanted, path)
        return _fetched(path, obj, inner, places)
    return []


def _outputs(wanted: str, root: Path) -> Iterator[tuple[str, Object]]:
    """The tracked path that is the wanted one or holds it, with its content."""
    above = [wanted, *_parents(wanted)]
    for path in above:
        pointer = root / f"{path}.dvc"
        if pointer.is_file():
            yield from _rows(_yaml(pointer).get("outs"), posixpath.dirname(path), {path})
    for folder in dict.fromkeys(["", *(posixpath.dirname(one) for one in above)]):
        lock = root / folder / "dvc.lock"
        stages = _yaml(lock).get("stages") if lock.is_file() else None
        for stage in stages.values() if isinstance(stages, dict) else ():
            yield from _rows(stage.get("outs") if isinstance(stage, dict) else None, folder, set(above))


def _parents(path: str) -> list[str]:
    made = []
    while path := posixpath.dirname(path):
        made.append(path)
    return made


def _rows(outs: Any, folder: str, wanted: set[str]) -> Iterator[tuple[str, Object]]:
    for out in outs if isinstance(outs, list) else ():
        if not isinstance(out, dict) or not isinstance(out.get("path"), str) or not isinstance(out.get("md5"), str):
            continue
        path = posixpath.normpath(posixpath.join(folder, out["path"]))
        if path in wanted:
            yield path, Object(digest=f"md5:{out['md5']}", legacy=out.get("hash") != "md5")


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path.name} is too large")
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{path.name} cannot be read", why=str(error)[:300], link="drift.md") from error
    return found if isinstance(found, dict) else {}


def _fetched(path: str, obj: Object, inner: str, places: Places) -> list[Path]:
    config = places.root / ".dvc" / "config"
    found = remotes(config.read_text(encoding="utf-8") if config.is_file() else "", places.root)
    if not there(obj, found.cache):
        env = {**places.processes.env, **places.credentials}
        transfer("fetch", [obj], found, state=places.folder / "dvc", env=env, processes=places.processes)
    parts = members(obj, found.cache)
    if parts is None or not there(obj, found.cache):
        raise ToolError(
            f"the data remote lacks {path}",
            remedy="run `dvc push` where the data is",
            link="drift.md",
            reason_code="data_missing",
        )
    made = []
    for name, part in sorted(parts.items()):
        if name and inner and name != inner and not name.startswith(inner + "/"):
            continue
        link = places.folder / "files" / path / name if name else places.folder / "files" / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(part.path(found.cache).resolve())
        made.append(link)
    return [one for one in made if len(made) == 1 or ending(one.name)]
