"""A look at a work tree: DVC stages and what they write, lock files, remotes. Nothing in it is executed."""

from __future__ import annotations

import configparser
import itertools
import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trackside.errors import ConfigError
from trackside.plan.paths import inside, is_url

MAX_ENTRIES = 50_000
MAX_DEPTH = 8
MAX_FILE = 2 * 1024 * 1024
MAX_EXPANDED = 100
_SKIPPED = frozenset({"node_modules", "__pycache__", "build", "dist", "site-packages", "venv", "env"})
_TEMPLATE = re.compile(r"(?<!\\)\$\{\s*([^${}]+?)\s*\}")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of a `dvc.yaml`; all paths are from the repository's root."""

    name: str
    cmd: str = ""
    deps: tuple[str, ...] = ()
    outs: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    """Dotted names, with `file:` before those of another file than `params.yaml`."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """What was found. `locks` are hash-pinned requirements files, `scripts` Python files that seem to train.

    `remote` is the URL of DVC's default remote; `notes` say what could not be read.
    """

    root: Path
    dvc: bool = False
    pipelines: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    locks: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    remote: str = ""
    notes: tuple[str, ...] = ()


def scan(root: Path) -> Tree:
    """Read a work tree. Raises ConfigError for a `dvc.yaml` that is no YAML."""
    files = sorted(_files(root))
    notes: list[str] = []
    pipelines = [path for path in files if posixpath.basename(path) == "dvc.yaml"]
    stages = [stage for path in pipelines for stage in _stages(root, path, notes)]
    return Tree(
        root=root,
        dvc=(root / ".dvc").is_dir(),
        pipelines=tuple(pipelines),
        stages=tuple(stages),
        locks=tuple(path for path in files if _is_lock(root, path)),
        scripts=tuple(path for path in files if re.search(r"(^|/)(train|fit)[\w-]*\.py$|(^|/)main\.py$", path)),
        remote=_remote(root),
        notes=tuple(dict.fromkeys(notes)),
    )


def _files(root: Path) -> Iterator[str]:
    """Paths of files; hidden folders, environments, links and what is deep down are left out."""
    seen = 0
    for folder, names, files in os.walk(root):
        here = Path(folder).relative_to(root).as_posix()
        depth = 0 if here == "." else here.count("/") + 1
        names[:] = sorted(
            name
            for name in names
            if not name.startswith(".")
            and name not in _SKIPPED
            and depth < MAX_DEPTH
            and not Path(folder, name).is_symlink()
            and not Path(folder, name, "pyvenv.cfg").exists()
        )
        for name in files:
            seen += 1
            if seen > MAX_ENTRIES:
                return
            path = name if here == "." else f"{here}/{name}"
            if all(ord(char) >= 32 and not 0xD800 <= ord(char) <= 0xDFFF for char in path):
                yield path


def text_of(root: Path, path: str) -> str:
    """A file's text; empty where it is missing, a link, or too large to be written by hand."""
    target = root / path
    if target.is_symlink() or not target.is_file() or target.stat().st_size > MAX_FILE:
        return ""
    return target.read_text(encoding="utf-8", errors="replace")


def _is_lock(root: Path, path: str) -> bool:
    name = posixpath.basename(path)
    return name.endswith(".txt") and ("require" in name or "lock" in name) and "--hash=" in text_of(root, path)


def _remote(root: Path) -> str:
    """The address of DVC's default remote, as `.dvc/config` of the repository has it."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text_of(root, ".dvc/config"))
    except configparser.Error:
        return ""
    name = parser.get("core", "remote", fallback="")
    wanted = f'remote "{name}"'
    return next(
        (parser.get(section, "url", fallback="") for section in parser.sections() if section.strip("'") == wanted), ""
    )


def load_yaml(text: str, path: str) -> Any:
    """YAML as plain data. Raises ConfigError with the place of the mistake."""
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise ConfigError(f"not valid YAML: {error.problem}", file=path, line=line, column=column) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"not valid YAML: {error}", file=path) from error


def _stages(root: Path, path: str, notes: list[str]) -> Iterator[Stage]:
    loaded = load_yaml(text_of(root, path), path)
    data = loaded if isinstance(loaded, dict) else {}
    folder = posixpath.dirname(path)
    variables = _variables(root, folder, data.get("vars"))
    stages = data.get("stages")
    for name, raw in (stages if isinstance(stages, dict) else {}).items():
        full = str(name) if not folder else f"{path}:{name}"
        for suffix, body, more in _expanded(raw, variables):
            yield _stage(full + suffix, body, {**variables, **more}, folder, path, notes)
    for section in ("metrics",):  # written at the top of the file rather than by a stage
        top = _paths(data.get(section), variables, folder, path, notes)
        if top:
            yield Stage(name="", metrics=tuple(top))


def _variables(root: Path, folder: str, given: Any) -> dict[str, Any]:
    """What templates may name: `params.yaml` and `vars`, files among them read too."""
    made: dict[str, Any] = {}
    for one in ["params.yaml", *(given if isinstance(given, list) else [])]:
        if isinstance(one, dict):
            made.update(one)
        elif isinstance(one, str) and one.partition(":")[0].endswith((".yaml", ".yml", ".json")):
            try:
                path = inside(folder, one.partition(":")[0], file="dvc.yaml")
                loaded = load_yaml(text_of(root, path), path)
            except ConfigError:
                continue
            made.update(loaded if isinstance(loaded, dict) else {})
    return made


def _expanded(raw: Any, variables: Mapping[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """(suffix of the name, body, further variables) of what `foreach` or `matrix` makes, or of the stage itself."""
    if not isinstance(raw, dict):
        return
    if "foreach" in raw:
        items = _value(raw["foreach"], variables)
        pairs = items.items() if isinstance(items, dict) else enumerate(items if isinstance(items, list) else [])
        for key, item in itertools.islice(pairs, MAX_EXPANDED):
            suffix = key if isinstance(items, dict) or not _plain(item) else item
            yield f"@{suffix}", raw.get("do"), {"item": item, "key": key}
    elif isinstance(raw.get("matrix"), dict):
        axes = {str(name): _value(values, variables) for name, values in raw["matrix"].items()}
        lists = [values if isinstance(values, list) else [] for values in axes.values()]
        for chosen in itertools.islice(itertools.product(*lists), MAX_EXPANDED):
            names = [
                str(one) if _plain(one) else f"{axis}{lists[at].index(one)}"
                for at, (axis, one) in enumerate(zip(axes, chosen, strict=True))
            ]
            yield "@" + "-".join(names), raw, {"item": dict(zip(axes, chosen, strict=True))}
    else:
        yield "", raw, {}


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _stage(name: str, raw: Any, variables: Mapping[str, Any], folder: str, path: str, notes: list[str]) -> Stage:
    body = raw if isinstance(raw, dict) else {}
    wdir = filled(str(body.get("wdir") or "."), variables)
    base = posixpath.normpath(posixpath.join(folder, wdir))
    cmd = body.get("cmd")
    parts = {key: tuple(_paths(body.get(key), variables, base, path, notes)) for key in ("deps", "outs", "metrics")}
    commands = cmd if isinstance(cmd, list) else [cmd or ""]
    return Stage(
        name=name,
        cmd=filled(" && ".join(str(one) for one in commands), variables),
        params=_params(body.get("params")),
        **parts,
    )


def _params(given: Any) -> tuple[str, ...]:
    """Entries are names of `params.yaml`, or `{file: names}`; a file without names counts as a whole."""
    made: list[str] = []
    for one in given if isinstance(given, list) else []:
        if not isinstance(one, dict):
            made.append(str(one))
            continue
        for file, names in one.items():
            prefix = "" if file == "params.yaml" else f"{file}:"
            made += [f"{prefix}{name}" for name in names] if isinstance(names, list) and names else [f"{file}:"]
    return tuple(made)


def _paths(given: Any, variables: Mapping[str, Any], base: str, file: str, notes: list[str]) -> list[str]:
    """Paths of a list whose entries are texts or `{path: settings}`; addresses and what is outside are left out."""
    made: list[str] = []
    for one in given if isinstance(given, list) else []:
        text = filled(str(next(iter(one), "") if isinstance(one, dict) else one), variables)
        if is_url(text):
            continue
        if re.search(r"(?<!\\)\$\{", text):
            notes.append(f"{file}: {text!r} has a template that only DVC can fill in; it is left out")
            continue
        try:
            made.append(inside("" if base == "." else base, text.replace("\\${", "${"), file=file))
        except ConfigError as error:
            notes.append(f"{error.message}; it is left out")
    return made


def _value(given: Any, variables: Mapping[str, Any]) -> Any:
    found = _TEMPLATE.fullmatch(given.strip()) if isinstance(given, str) else None
    return _lookup(found[1], variables) if found else given


def _lookup(name: str, variables: Mapping[str, Any]) -> Any:
    value: Any = variables
    for key in name.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def filled(text: str, variables: Mapping[str, Any]) -> str:
    """Templates with plain values filled in; others stay as they are."""

    def one(match: re.Match[str]) -> str:
        found = _lookup(match[1], variables)
        return str(found) if _plain(found) else match[0]

    return _TEMPLATE.sub(one, text)
