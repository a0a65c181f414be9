"""Text → Config: every error names file, line, column, what was expected and the nearest known key."""

from __future__ import annotations

import difflib
import re
import types
import typing
from pathlib import Path
from typing import Any

import msgspec
import yaml

from trackside.config import raw
from trackside.config.model import CONFIG_FILE, Config, Position
from trackside.config.valid import labels, persistence, to_config
from trackside.config.variables import refused
from trackside.errors import ConfigError

MAX_CHARACTERS = 256 * 1024
MAX_NODES = 20_000
MOST_CHECKS = 365
LINK = "configuration.md"

Positions = dict[str, Position]


def load_file(path: Path) -> Config:
    """A file of this machine. Raises ConfigError, also where it cannot be read."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        head = error.object[: error.start]
        line, column = head.count(b"\n") + 1, error.start - head.rfind(b"\n")
        raise ConfigError("not UTF-8", file=str(path), line=line, column=column, link=LINK) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", link=LINK) from error
    return load(text, file=str(path))


def load(text: str, *, file: str = CONFIG_FILE) -> Config:
    """Parse and check `trackside.yaml`.

    Raises:
        ConfigError: with the position of the first mistake.
    """
    plain, positions = _parse(text, file)
    _Checker(file, positions).check(plain, raw.RawConfig, "")
    valid = msgspec.convert(plain, raw.RawConfig)
    _check_meaning(valid, file, positions)
    return to_config(valid, file, positions)


def _parse(text: str, file: str) -> tuple[Any, Positions]:
    """YAML to plain data with the position of every key and list item; aliases are refused."""
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"more than {MAX_CHARACTERS:,} characters", file=file, link=LINK)
    positions: Positions = {}
    nodes = 0

    def plain(node: yaml.Node | None, path: str) -> Any:
        nonlocal nodes
        nodes += 1
        if node is None:
            return None
        if nodes > MAX_NODES:
            raise _at("too many entries (aliases multiply them)", node.start_mark, file)
        positions.setdefault(path, _position(node.start_mark))
        if isinstance(node, yaml.MappingNode):
            made: dict[str, Any] = {}
            for key_node, value_node in node.value:
                if not isinstance(key_node, yaml.ScalarNode):
                    raise _at("keys must be plain text", key_node.start_mark, file)
                key = key_node.value
                if key in made:
                    raise _at(f"key {key!r} appears twice", key_node.start_mark, file, remedy="keep one of the two")
                positions[_join(path, key)] = _position(key_node.start_mark)
                made[key] = plain(value_node, _join(path, key))
            return made
        if isinstance(node, yaml.SequenceNode):
            return [plain(item, f"{path}[{index}]") for index, item in enumerate(node.value)]
        return constructor.construct_object(node)

    try:
        loader = yaml.SafeLoader(text)
        constructor = yaml.constructor.SafeConstructor()
        root = loader.get_single_node()
        return plain(root, ""), positions
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _at(f"not valid YAML: {error.problem}", mark, file) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"not valid YAML: {error}", file=file, link=LINK) from error


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _position(mark: yaml.Mark) -> Position:
    return Position(line=mark.line + 1, column=mark.column + 1)


def _at(message: str, mark: yaml.Mark | None, file: str, *, remedy: str = "") -> ConfigError:
    where = _position(mark) if mark is not None else Position(line=1, column=1)
    return ConfigError(message, file=file, line=where.line, column=where.column, remedy=remedy, link=LINK)


class _Checker:
    """Walks plain data beside the raw types, so that every mistake has its own position."""

    def __init__(self, file: str, positions: Positions) -> None:
        self.file = file
        self.positions = positions

    def error(self, path: str, message: str, *, remedy: str = "") -> ConfigError:
        where = self.positions.get(path) or self.positions.get("") or Position(line=1, column=1)
        return ConfigError(message, file=self.file, line=where.line, column=where.column, remedy=remedy, link=LINK)

    def check(self, value: Any, kind: Any, path: str) -> None:
        kind, meta = _unwrap(kind)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            self._check_struct(value, kind, path)
        elif typing.get_origin(kind) is dict and _is_struct(typing.get_args(kind)[1]):
            self._check_named(value, typing.get_args(kind)[1], path, empty_ok=not (meta and meta.min_length))
        elif typing.get_origin(kind) is list and isinstance(value, list) and _sections(kind):
            self._check_items(value, typing.get_args(kind)[0], path)
        else:
            self._check_leaf(value, kind if meta is None else typing.Annotated[kind, meta], path)

    def _check_struct(self, value: Any, kind: type[msgspec.Struct], path: str) -> None:
        what = path or "the file"
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        if not isinstance(value, dict):
            known = ", ".join(fields)
            raise self.error(
                path, f"{what} must be a mapping with the keys {known}", remedy=f"{what}:\n  {next(iter(fields))}: …"
            )
        for key in value:
            if key not in fields:
                raise self._unknown(_join(path, key), key, list(fields))
        for name, field in fields.items():
            if name in value:
                self.check(value[name], field.type, _join(path, name))
            elif field.required:
                raise self.error(path, f"{what} lacks the key {name!r}", remedy=f"add `{name}: …`")

    def _check_named(self, value: Any, kind: type[msgspec.Struct], path: str, *, empty_ok: bool) -> None:
        if not isinstance(value, dict) or not (value or empty_ok):
            raise self.error(path, f"{path} must map names to settings")
        for name, settings in value.items():
            self.check(settings, kind, _join(path, name))

    def _check_items(self, value: list[Any], kind: Any, path: str) -> None:
        """A list of plain values or sections, each with its own position."""
        for index, item in enumerate(value):
            if isinstance(item, dict):
                self.check(item, kind, f"{path}[{index}]")
            else:
                self._check_leaf(item, kind, f"{path}[{index}]")

    def _check_leaf(self, value: Any, kind: Any, path: str) -> None:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise self.error(path, f"{path}: {error}") from error

    def _unknown(self, path: str, key: str, known: list[str]) -> ConfigError:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return self.error(path, f"unknown key {key!r}", remedy=remedy)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _sections(kind: Any) -> bool:
    """Whether items of a list type may be sections."""
    return _is_struct(_unwrap(typing.get_args(kind)[0])[0])


def _unwrap(kind: Any) -> tuple[Any, msgspec.Meta | None]:
    """The type behind `Annotated` and `| None`, with its constraints."""
    meta = None
    if typing.get_origin(kind) is typing.Annotated:
        kind, *extras = typing.get_args(kind)
        meta = next((extra for extra in extras if isinstance(extra, msgspec.Meta)), None)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        structs = [one for one in typing.get_args(kind) if _is_struct(one)]
        if structs:
            return structs[0], meta
    return kind, meta


def _check_meaning(config: raw.RawConfig, file: str, positions: Positions) -> None:
    """What types cannot say."""
    checker = _Checker(file, positions)
    for name, model in config.models.items():
        if not re.fullmatch(raw.NAME, name):
            raise checker.error(f"models.{name}", f"model name {name!r}: use letters, digits, - and _ (at most 100)")
        for metric, rule in model.metrics.items():
            where = f"models.{name}.metrics.{metric}"
            if rule.min is not None and rule.max is not None and rule.min > rule.max:
                raise checker.error(f"{where}.min", f"min {rule.min:g} is above max {rule.max:g}")
            if rule.tolerance and rule.direction == "none":
                raise checker.error(
                    f"{where}.tolerance",
                    "a tolerance needs a direction",
                    remedy="add `direction: max` or `direction: min`",
                )
        _check_promotion(checker, model.promotion, f"models.{name}.promotion")
        if model.drift is not None:
            _check_drift(checker, model.drift, f"models.{name}.drift")
    if not labels(config.train.runs_on):
        raise checker.error("train.runs-on", "train.runs-on names no label", remedy="runs-on: [self-hosted, gpu]")
    for index, variable in enumerate(config.train.pass_env):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable) or refused(variable):
            raise checker.error(
                f"train.pass-env[{index}]",
                f"{variable!r} may not be passed to stages: they run a pull request's code",
                remedy="pass credentials to the pull and push steps of train.yml instead",
            )


def _check_promotion(checker: _Checker, promotion: list[str | raw.RawPromotion], where: str) -> None:
    """Each stage once; a stage comes after stages that are listed before it."""
    names: list[str] = []
    for index, one in enumerate(promotion):
        stage = one if isinstance(one, str) else one.stage
        if stage in names:
            raise checker.error(f"{where}[{index}]", f"stage {stage!r} appears twice", remedy="keep one of the two")
        for after in labels(one.after or []) if isinstance(one, raw.RawPromotion) else ():
            if after not in names:
                known = f"stages before it: {', '.join(names)}" if names else "it is the first: leave `after` out"
                raise checker.error(
                    f"{where}[{index}].after", f"{stage} cannot come after {after!r}, which is not before", remedy=known
                )
        names.append(stage)


def _check_drift(checker: _Checker, drift: raw.RawDrift, where: str) -> None:
    """Labels that come apart need what joins them; `k of m` needs k ≤ m."""
    if drift.labels and not (drift.key and drift.label):
        raise checker.error(
            f"{where}.labels",
            "labels that arrive apart are joined on a key",
            remedy="add `key: COLUMN` (in both tables) and `label: COLUMN` (in the one with labels)",
        )
    if drift.labels_query and not drift.labels:
        raise checker.error(f"{where}.labels-query", "labels-query needs `labels`, an SQLAlchemy URL")
    least, of = persistence(drift.retrain.after) if drift.retrain else (0, 0)
    if of and not least <= of <= MOST_CHECKS:
        raise checker.error(
            f"{where}.retrain.after", f"{least} of {of} checks can never be", remedy="write `k of m` with k ≤ m ≤ 365"
        )
