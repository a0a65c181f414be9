"""What a retraining branch changes: parameters in place, and imports of data brought to their newest revision."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trackside.config.model import RetrainPolicy
from trackside.documents.proposal import Changed
from trackside.errors import ConfigError, ToolError
from trackside.plan.overrides import apply, by_file
from trackside.plan.paths import inside
from trackside.system import yaml_text
from trackside.system.process import Processes
from trackside.tables.placeholders import fill

LINK = "retrain.md"
MAX_DVC_FILE = 1024 * 1024
UPDATE_SECONDS = 3 * 3600.0

Read = Callable[[str], bytes | None]
"""A file of the default branch's tip, or None."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """New contents by path, and what they change, row by row."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    rows: tuple[Changed, ...] = ()

    def __add__(self, other: Change) -> Change:
        return Change(files={**self.files, **other.files}, rows=self.rows + other.rows)


def set_params(policy: RetrainPolicy, read: Read, as_of: str) -> Change:
    """The params files with the policy's values, each in its place and everything else as it was.

    A text is filled with dates and read as the type that stands there: `{month-1}` may set a whole number.

    Raises:
        ConfigError: a placeholder, a file or a name that does not exist, or a value of another type.
    """
    files: dict[str, bytes] = {}
    rows: list[Changed] = []
    for file, wanted in by_file(policy.params).items():
        path = inside("", file, file="trackside.yaml")
        data = read(path)
        if data is None or not path.endswith((".yaml", ".yml")):
            raise ConfigError(
                f"drift.retrain.params names {path}, " + ("which is no YAML file" if data else "which is not there"),
                remedy="parameters of other files are written as `file.yaml:name`",
                link=LINK,
            )
        text = data.decode("utf-8", "replace")
        for name, value in wanted.items():
            text, row = _set(text, path, name, value, as_of)
            rows += [row] if row.before != row.after else []
        if text.encode() != data:
            files[path] = text.encode()
    return Change(files=files, rows=tuple(rows))


def _set(text: str, file: str, name: str, value: Any, as_of: str) -> tuple[str, Changed]:
    values = yaml_text.load(text, file=file)
    path = yaml_text.path_of(values, name)
    old = _at(values, path)
    new = fill(value, as_of) if isinstance(value, str) else value
    if isinstance(new, str) and not isinstance(old, str | None):
        new = yaml_text.load(new, file=f"drift.retrain.params.{name}")
    checked = apply(values, {name: new}, file=file)  # a name that does not exist, or another type, is told here
    text = yaml_text.replace(text, path, _at(checked, path), file=file)
    return text, Changed(kind="param", file=file, name=name, before=_shown(old), after=_shown(_at(checked, path)))


def _at(values: Any, path: Sequence[yaml_text.Key]) -> Any:
    """None also where there is nothing."""
    for key in path:
        try:
            values = values[key]
        except (LookupError, TypeError):
            return None
    return values


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


# Imports


def update_imports(
    policy: RetrainPolicy,
    read: Read,
    *,
    config: str,
    folder: Path,
    env: Mapping[str, str],
    processes: Processes,
) -> Change:
    """The policy's `.dvc` files at the newest revision of what they import; the data itself goes to the remote.

    DVC runs in an empty folder with the default branch's remotes: no checkout, no git, none of the repository's code.
    Data from a URL is streamed to the remote; that of another DVC or git repository stays there and is only pinned.

    Args:
        config: text of the default branch's `.dvc/config`.
        folder: an empty folder to work in.
        env: what DVC sees, the remote's credentials included.

    Raises:
        ConfigError: a file that is no import, or URLs without a default remote.
        ToolError: the source or the remote did not answer (`remote_failed`).
    """
    from trackside.train.dvc import remotes, room_config
    from trackside.train.state import write

    if not policy.update:
        return Change()
    room = folder / "room"
    shutil.rmtree(room, ignore_errors=True)
    found = remotes(config, room)
    write(room / ".dvc" / "config", room_config(found))
    total = Change()
    for name in policy.update:
        file = inside("", name, file="trackside.yaml")
        data = read(file)
        before = _import_of(file, data)
        if data is None or before is None:
            raise ConfigError(
                f"drift.retrain.update names {file}, which is no import of DVC",
                why="only what was imported has a newest revision",
                remedy=f"dvc import-url URL {file.removesuffix('.dvc')}",
                link=LINK,
            )
        if not before.repository and not found.default:
            raise ConfigError(
                f"{file} cannot be brought up to date: .dvc/config has no default remote to put the data",
                remedy="dvc remote add --default storage s3://…",
                link=LINK,
            )
        write(room / file, data)
        _update(room, file, before, folder=folder, env=env, processes=processes)
        after = (room / file).read_bytes()
        made = _import_of(file, after)
        if made is not None and made.shown != before.shown:
            row = Changed(kind="data", file=file, name=made.path, before=before.shown, after=made.shown)
            total += Change(files={file: after}, rows=(row,))
    shutil.rmtree(room, ignore_errors=True)
    return total


@dataclass(frozen=True, kw_only=True)
class _Import:
    """What a `.dvc` file imports; `shown` tells revisions apart."""

    path: str
    repository: bool
    shown: str


def _import_of(file: str, data: bytes | None) -> _Import | None:
    """None for a file that is missing or tracks data of its own."""
    if data is None or len(data) > MAX_DVC_FILE or not file.endswith(".dvc"):
        return None
    found = yaml_text.load(data.decode("utf-8", "replace"), file=file)
    deps = found.get("deps") if isinstance(found, dict) else None
    outs = found.get("outs") if isinstance(found, dict) else None
    if not isinstance(deps, list) or not isinstance(outs, list) or len(deps) != 1 or len(outs) != 1:
        return None
    dep, out = (one if isinstance(one, dict) else {} for one in (deps[0], outs[0]))
    repository = dep.get("repo")
    revision = str(repository.get("rev_lock", ""))[:12] if isinstance(repository, dict) else ""
    shown = " ".join(part for part in (str(out.get("md5") or ""), f"at {revision}" if revision else "") if part)
    return _Import(path=str(out.get("path", "")), repository=isinstance(repository, dict), shown=shown)


def _update(
    room: Path, file: str, before: _Import, *, folder: Path, env: Mapping[str, str], processes: Processes
) -> None:
    from trackside.train.dvc import argv, quiet
    from trackside.train.scrub import masked, secrets_of
    from trackside.train.state import scratch

    option = "--no-download" if before.repository else "--to-remote"
    done = processes.run(
        argv("update", option, file),
        cwd=room,
        env=quiet(env, scratch(folder, "dvc")),
        timeout=UPDATE_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        said = masked((done.stdout + done.stderr).decode("utf-8", "replace"), secrets_of(env))
        raise ToolError(
            f"dvc could not bring {file} to its newest revision",
            why=said.strip().rpartition("\n")[2][-300:],
            log=said[-4000:],
            remedy="check the import's source, the remote of .dvc/config and the credentials in TRACKSIDE_REMOTE_ENV",
            link=LINK,
            reason_code="remote_failed",
        )
