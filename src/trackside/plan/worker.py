"""The process in which DVC's own resolver reads a foreign tree: limited in time and memory, without any secret.

Request on standard input, answer on standard output, both JSON; see `trackside.plan.resolve` for the caller.
Only DVC's parser runs here: no stage, no plug-in and no Python file of the tree is executed.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import posixpath
import re
import resource
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from trackside.errors import ConfigError, TracksideError
from trackside.plan.objects import GitTree
from trackside.plan.overrides import apply
from trackside.plan.paths import inside
from trackside.system.process import Processes

CPU_SECONDS = 40
MEMORY_BYTES = 3 * 512 * 1024**2
MAX_FILE = 2 * 1024 * 1024
MAX_NODES = 60_000
MAX_TEMPLATES = 20_000
MAX_STAGES = 2_000
MAX_DVC_FILES = 5_000
MAX_ANSWER = 32 * 1024 * 1024
LINK = "pipelines.md"


class TreeFiles:
    """The few methods of a file system that DVC's resolver calls, over a commit's tree."""

    sep = "/"

    def __init__(self, tree: GitTree, overrides: Mapping[str, Mapping[str, Any]]) -> None:
        self._tree, self._overrides = tree, overrides
        self._texts: dict[str, str] = {}

    def join(self, *parts: str) -> str:
        return posixpath.join(*parts)

    def normpath(self, path: str) -> str:
        return posixpath.normpath(path)

    def suffix(self, path: str) -> str:
        return posixpath.splitext(path)[1]

    def relpath(self, path: str, start: str = "") -> str:
        return posixpath.relpath(path, start or ".")

    def exists(self, path: str) -> bool:
        return self._tree.resolve(path) is not None

    def isdir(self, path: str) -> bool:
        found = self._tree.resolve(path)
        return found is not None and self._tree.is_folder(found)

    def isfile(self, path: str) -> bool:
        found = self._tree.resolve(path)
        return found is not None and found in self._tree.entries

    @contextlib.contextmanager
    def open(self, path: str, mode: str = "r", encoding: str = "utf-8") -> Iterator[io.StringIO]:
        yield io.StringIO(self.text(path))

    def text(self, path: str) -> str:
        """A file's text, with overridden parameters put in. Raises ConfigError."""
        name = posixpath.normpath(path)
        if name not in self._texts:
            text = self._read(name)
            if name in self._overrides:
                text = _rewrite(name, text, self._overrides[name])
            self._texts[name] = text
        return self._texts[name]

    def _read(self, name: str) -> str:
        found = self._tree.resolve(name)
        if found is None or found not in self._tree.entries:
            raise ConfigError(f"{name} does not exist", link=LINK)
        if self._tree.entries[found].size > MAX_FILE:
            raise ConfigError(f"more than {MAX_FILE:,} bytes", file=name, link=LINK, reason_code="pipeline_too_large")
        try:
            text = self._tree.read([found])[found].decode("utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError("not UTF-8", file=name, link=LINK) from error
        if not name.endswith((".py", ".json", ".toml")):
            check_size(text, name)
        return text


def check_size(text: str, file: str) -> None:
    """Refuse YAML whose aliases make more than `MAX_NODES` entries, or contain themselves, before it is built."""
    try:
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError):
        return  # DVC's own parser words the error, with its position
    sizes: dict[int, int] = {}

    def size(node: yaml.Node | None) -> int:
        if node is None or isinstance(node, yaml.ScalarNode):
            return 1
        known = sizes.get(id(node))
        if known is not None:
            if known < 0:
                raise ConfigError("an alias contains itself", file=file, link=LINK)
            return known
        sizes[id(node)] = -1
        if isinstance(node, yaml.MappingNode):
            total = 1 + sum(size(key) + size(value) for key, value in node.value)
        else:
            total = 1 + sum(size(item) for item in node.value)
        if total > MAX_NODES:
            raise ConfigError(
                f"more than {MAX_NODES:,} entries, aliases multiplied out",
                file=file,
                link=LINK,
                reason_code="pipeline_too_large",
            )
        sizes[id(node)] = total
        return total

    try:
        size(root)
    except RecursionError as error:
        raise ConfigError("nested too deeply", file=file, link=LINK) from error


def _rewrite(name: str, text: str, changes: Mapping[str, Any]) -> str:
    suffix = posixpath.splitext(name)[1]
    if suffix == ".py":
        raise ConfigError(f"parameters of {name} cannot be overridden", remedy="move them to params.yaml", link=LINK)
    values = apply(_parse(name, text), changes, file=name)
    if suffix == ".json":
        return json.dumps(values)
    if suffix == ".toml":
        import tomlkit

        return tomlkit.dumps(values)
    from ruamel.yaml import YAML

    stream = io.StringIO()
    YAML(typ="safe", pure=True).dump(values, stream)
    return stream.getvalue()


def _parse(name: str, text: str) -> Any:
    from dvc.utils.serialize import PARSERS

    return PARSERS[posixpath.splitext(name)[1].lower()](text, name)


def read_tree(tree: GitTree, overrides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Every stage and every `.dvc` file of a tree as plain data. Raises ConfigError."""
    files = TreeFiles(tree, overrides)
    for name in overrides:
        if not files.isfile(name):
            raise ConfigError(f"params file {name} does not exist", link=LINK, reason_code="override_unknown")
    with _explained(".dvcignore"):
        ignored = _ignored(tree, files)
    stages: list[dict[str, Any]] = []
    tracked: list[dict[str, Any]] = []
    dvc_files = 0
    for path in tree.paths():
        name = posixpath.basename(path)
        if not (name == "dvc.yaml" or (name.endswith(".dvc") and name != ".dvc")) or ignored(path):
            continue
        with _explained(path):
            if name == "dvc.yaml":
                stages += _stages_of(path, files, limit=MAX_STAGES - len(stages))
            else:
                tracked += _tracked_by(path, _parse(path, files.text(path)))
        dvc_files += name != "dvc.yaml"
        if dvc_files > MAX_DVC_FILES:
            raise ConfigError(f"more than {MAX_DVC_FILES:,} .dvc files", link=LINK, reason_code="pipeline_too_large")
    return {"stages": stages, "tracked": tracked}


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """Every error names its file, and its line where the parser knows it.

    DVC, voluptuous, dpath and the parsers raise kinds of their own for wrong files.
    """
    try:
        yield
    except (TracksideError, MemoryError):
        raise
    except RecursionError as error:
        raise ConfigError("nested too deeply", file=path, link=LINK) from error
    except Exception as error:
        cause = error.__cause__ or error.__context__
        mark = getattr(cause, "problem_mark", None)
        words = re.sub(r"\x1b\[[0-9;]*m", "", str(error)) or type(error).__name__
        raise ConfigError(
            words[:2000] if mark is None else f"not valid YAML: {getattr(cause, 'problem', '')}",
            file=str(getattr(error, "path", path)) if mark is not None else path,
            line=mark.line + 1 if mark is not None else 0,
            column=mark.column + 1 if mark is not None else 0,
            remedy="`dvc stage list` shows it locally",
            link=LINK,
        ) from error


def _ignored(tree: GitTree, files: TreeFiles) -> Any:
    """Whether `.dvcignore` at the root hides a path; `.dvc/` is always hidden."""
    from pathspec import GitIgnoreSpec

    lines = files.text(".dvcignore").splitlines()[:1000] if files.isfile(".dvcignore") else []
    spec = GitIgnoreSpec.from_lines(["/.dvc/", *lines])
    return spec.match_file


def _stages_of(path: str, files: TreeFiles, *, limit: int) -> list[dict[str, Any]]:
    from types import SimpleNamespace

    from dvc.parsing import DataResolver, ForeachDefinition, MatrixDefinition
    from dvc.schema import COMPILED_MULTI_STAGE_SCHEMA

    text = files.text(path)
    if text.count("${") > MAX_TEMPLATES:
        raise ConfigError(
            f"more than {MAX_TEMPLATES:,} templates", file=path, link=LINK, reason_code="pipeline_too_large"
        )
    data = _parse(path, text)
    COMPILED_MULTI_STAGE_SCHEMA(data)
    folder = posixpath.dirname(path)
    resolver = DataResolver(SimpleNamespace(fs=files, config={}), folder, data)
    count = 0
    for definition in resolver.definitions.values():
        if isinstance(definition, MatrixDefinition):
            count += math.prod(len(values) for values in definition.resolved_iterable.values())
        else:
            count += len(definition.resolved_iterable) if isinstance(definition, ForeachDefinition) else 1
    if count > limit:
        raise ConfigError(f"more than {MAX_STAGES:,} stages", file=path, link=LINK, reason_code="pipeline_too_large")
    made = []
    for name in resolver.get_keys():
        body = resolver.resolve_one(name)[name]
        wdir = inside(folder, *_texts([body.get("wdir") or "."], path), file=path)
        outs = {kind: _texts(body.get(kind), path) for kind in ("outs", "metrics", "plots")}
        params, missing = _params_of(body.get("params") or [], wdir, files, path)
        made.append(
            {
                "name": name if path == "dvc.yaml" else f"{path}:{name}",
                "file": path,
                "wdir": wdir,
                "cmd": [str(line) for line in (body["cmd"] if isinstance(body["cmd"], list) else [body["cmd"]])],
                "deps": _texts(body.get("deps"), path),
                **outs,
                "params": params,
                "missing_params": missing,
                "variables": {file: dict(values) for file, values in resolver.tracked_vars.get(name, {}).items()},
                "frozen": _frozen(path, name, files) if body.get("frozen") else None,
                "always_changed": bool(body.get("always_changed")),
            }
        )
    return made


def _texts(items: Any, path: str) -> list[str]:
    """Paths, from a list whose entries may carry settings; a template can make anything of them."""
    made = []
    for item in items or []:
        name = next(iter(item), None) if isinstance(item, dict) else item
        if not isinstance(name, str):
            raise ConfigError(f"a path is not text: {str(name)[:100]!r}", file=path, link=LINK)
        made.append(name)
    return made


def _params_of(items: list[Any], wdir: str, files: TreeFiles, path: str) -> tuple[dict[str, Any], list[str]]:
    """Values by params file and name; an empty list of names means the whole file."""
    from dvc.dependency.param import read_param_file

    wanted: dict[str, list[str]] = {}
    whole = set()
    for item in items:
        for file, keys in (item if isinstance(item, dict) else {"params.yaml": [item]}).items():
            name = inside(wdir, str(file), file=path)
            if not keys:
                whole.add(name)
            wanted.setdefault(name, []).extend(str(key) for key in keys or [])
    found: dict[str, Any] = {}
    missing = []
    for name, keys in wanted.items():
        if not files.isfile(name):
            missing.append(name)
            continue
        found[name] = read_param_file(files, name, None if name in whole else keys, flatten=name not in whole)
        missing += [f"{name}:{key}" for key in keys if name not in whole and key not in found[name]]
    return found, missing


def _frozen(path: str, name: str, files: TreeFiles) -> list[Any]:
    """A frozen stage is not run: what `dvc.lock` says of its outputs is an input of those after it."""
    lock = posixpath.join(posixpath.dirname(path), "dvc.lock")
    if not files.isfile(lock):
        return []
    entry = (_parse(lock, files.text(lock)).get("stages") or {}).get(name) or {}
    return list(entry.get("outs") or [])


def _tracked_by(path: str, data: Any) -> list[dict[str, Any]]:
    if not isinstance(data, dict) or not isinstance(data.get("outs") or [], list):
        raise ConfigError("not a .dvc file", file=path, link=LINK)
    folder = inside(posixpath.dirname(path), str(data.get("wdir") or "."), file=path)
    made = []
    for out in data.get("outs") or []:
        if not isinstance(out, dict) or not isinstance(out.get("path"), str):
            raise ConfigError("an output has no path", file=path, link=LINK)
        made.append({"path": inside(folder, out["path"], file=path), "out": out, "deps": data.get("deps") or []})
    return made


def plain(value: Any) -> Any:
    """Values as JSON that any reader takes: dates as text, sets sorted, odd numbers and characters by name."""
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=repr)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 2**63 else hex(value)
    if isinstance(value, float):
        return float(value)
    return str(value).encode("utf-8", "backslashreplace").decode()


def _answer(tree: GitTree, overrides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    try:
        with _explained(""):
            return {"pipeline": plain(read_tree(tree, overrides))}
    except ConfigError as error:
        place = {"file": error.file, "line": error.line, "column": error.column}
        told = {"error": str(error), "remedy": error.remedy, "reason_code": error.reason_code, **place}
        return {key: plain(value) for key, value in told.items()}


def main() -> int:
    """Read the request, answer per job. Exits non-zero only when a limit was hit."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    logging.disable(logging.CRITICAL)
    import dvc.parsing  # noqa: F401 - not installed: end here, with a word that the caller knows

    request = json.load(sys.stdin)
    processes = Processes(request["env"])
    answers = []
    for job in request["jobs"]:
        tree = GitTree.open(Path(request["git_dir"]), job["commit"], processes)
        answers.append(_answer(tree, job["overrides"]))
    text = json.dumps(answers)
    if len(text) > MAX_ANSWER:
        text = "[]"
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
