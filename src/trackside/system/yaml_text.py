"""Single values of a YAML text replaced where they stand: every other byte, comments and layout included, stays.

Values are read as YAML 1.2 (core schema plus dates), as DVC, Kustomize and Helm do: `yes` is text, `010` is ten and
`1e-3` a number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import yaml

from trackside.errors import ConfigError

MAX_BYTES = 4 * 1024 * 1024
Key = str | int

_PROPERTIES = re.compile(r"(?:[&!][^\s,\[\]{}]*\s+)+")
_NUMBER = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|0o[0-7]+|0x[0-9a-fA-F]+")


class Loader(yaml.SafeLoader):
    """YAML 1.2 scalars. Raises ConfigError for a key that a mapping has twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [one.value for one, _ in node.value if isinstance(one, yaml.ScalarNode) and one.value != "<<"]
        twice = next((one for one in keys if keys.count(one) > 1), None)
        if twice is not None:
            raise ConfigError(f"the key {twice!r} is there twice", line=node.start_mark.line + 1)
        return super().construct_mapping(node, deep)


def _int(loader: Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
     "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("timestamp", r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "0123456789"),
    ("merge", r"<<", "<"),
):  # fmt: skip
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))
Loader.add_constructor("tag:yaml.org,2002:int", _int)


@dataclass(frozen=True, kw_only=True)
class Spot:
    """Where a value stands: characters `start` to `end`. `style` is as PyYAML names it: None for plain text."""

    start: int
    end: int
    line: int
    style: str | None
    alias: bool = False


def load(text: str, *, file: str) -> Any:
    """The document as plain data. Raises ConfigError with file, line and column."""
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{file} is too large to edit: more than {MAX_BYTES:,} characters")
    try:
        return yaml.load(text, Loader)  # noqa: S506 - a safe loader
    except ConfigError as error:
        raise ConfigError(error.message, file=file) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise ConfigError(
            f"{error.problem or 'not YAML'}",
            file=file,
            line=mark.line + 1 if mark else 0,
            column=mark.column + 1 if mark else 0,
        ) from error
    except (yaml.YAMLError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ConfigError(f"cannot be read: {str(error)[:200]}", file=file) from error


def replace(text: str, path: Sequence[Key], new: Any, *, file: str) -> str:
    """The text with the scalar at `path` replaced by another scalar, in the old one's style where that can hold it.

    Args:
        path: keys of mappings and places in lists (from 0).
        new: text, number, true/false, date or null.

    Raises:
        ConfigError: nothing stands there, it is no single value, or it is shared by an anchor.
    """
    before = load(text, file=file)
    expected = changed(before, path, new, file=file)
    if expected == before and type(_at(before, path)) is type(new):
        return text
    spot = spots(text, file=file).get(tuple(path))
    name = dotted(path)
    if spot is None or spot.alias:
        raise ConfigError(
            f"{name} is not written out", file=file, why="it comes from an anchor or a merge key",
            remedy=f"write the value of {name} where it is used",
        )  # fmt: skip
    if spot.style in ("|", ">"):
        raise ConfigError(f"{name} is a block of text", file=file, line=spot.line, remedy="write it on one line")
    for written in _written(new, spot.style):
        gap = " " if spot.start == spot.end and text[spot.start - 1 : spot.start] in (":", "-", "?") else ""
        made = text[: spot.start] + gap + written + text[spot.end :]
        try:
            if same(load(made, file=file), expected):
                return made
        except ConfigError:
            continue
    raise ConfigError(
        f"{name} cannot be changed alone", file=file, line=spot.line, why="an anchor shares its value",
        remedy=f"write the value of {name} where it is used",
    )  # fmt: skip


def changed(data: Any, path: Sequence[Key], new: Any, *, file: str) -> Any:
    """A copy of plain data with one scalar replaced. Raises ConfigError where there is no scalar."""
    if not path:
        if isinstance(data, dict | list):
            raise ConfigError("only single values can be set, no groups or lists", file=file)
        return new
    key, rest = path[0], path[1:]
    if isinstance(data, dict) and key in data:
        return {**data, key: changed(data[key], rest, new, file=file)}
    if isinstance(data, list) and isinstance(key, int) and 0 <= key < len(data):
        return [*data[:key], changed(data[key], rest, new, file=file), *data[key + 1 :]]
    raise ConfigError(f"there is no {key!r}", file=file)


def _at(data: Any, path: Sequence[Key]) -> Any:
    for key in path:
        data = data[key]
    return data


def path_of(data: Any, name: str) -> tuple[Key, ...]:
    """`image.tags.0` as keys of `data`; a key that holds dots itself is found as well, the longest first."""
    return _path_of(data, name.split(".")) or tuple(name.split("."))


def _path_of(data: Any, parts: list[str]) -> tuple[Key, ...] | None:
    if not parts:
        return ()
    for count in range(len(parts), 0, -1):
        word = ".".join(parts[:count])
        key = _key_of(data, word)
        if key is not None:
            rest = _path_of(data[key], parts[count:])
            if rest is not None:
                return (key, *rest)
    return None


def _key_of(data: Any, word: str) -> Key | None:
    if isinstance(data, dict):
        return next((key for key in data if key == word or (isinstance(key, int) and str(key) == word)), None)
    if isinstance(data, list) and word.isascii() and word.isdigit() and int(word) < len(data):
        return int(word)
    return None


def dotted(path: Sequence[Key]) -> str:
    return ".".join(map(str, path))


def same(one: Any, other: Any) -> bool:
    """Equal in values and types, with NaN equal to itself."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and (one == other or (one != one and other != other))


def _written(new: Any, style: str | None) -> Iterator[str]:
    """Ways to write a scalar, the one like the old first; the caller takes the first that is read back right."""
    if isinstance(new, bool) or new is None:
        yield json.dumps(new)
    elif isinstance(new, float):
        text = repr(new)
        mantissa, exponent, power = text.partition("e")  # a dot, so that YAML 1.1 reads a number too
        text = f"{mantissa if '.' in mantissa or not exponent else mantissa + '.0'}{exponent}{power}"
        yield {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(text, text)
    elif isinstance(new, int | date):
        yield str(new)
    else:
        text = str(new)
        plain = [text] if text and text == text.strip() and text.isprintable() and not _NUMBER.fullmatch(text) else []
        plain = [one for one in plain if ": " not in one and " #" not in one]
        single = ["'" + text.replace("'", "''") + "'"] if text.isprintable() else []
        double = [_double(text)]
        yield from {"'": single + double, '"': double}.get(style or "", plain + double)


def _double(text: str) -> str:
    """Double quoted; JSON's escapes are YAML's, but for characters beyond the basic plane, which stay as they are."""
    shown = json.dumps(text, ensure_ascii=False)
    return "".join(
        c if c.isprintable() else f"\\u{ord(c):04x}" if ord(c) < 65536 else f"\\U{ord(c):08x}" for c in shown
    )


def spots(text: str, *, file: str) -> dict[tuple[Key, ...], Spot]:
    """Where the scalars of the (first) document stand, by path. Aliases and what hangs below them are marked."""
    found: dict[tuple[Key, ...], Spot] = {}
    try:
        _Walk(text, found).run()
    except (yaml.YAMLError, RecursionError, StopIteration) as error:
        raise ConfigError("cannot be read", file=file) from error
    return found


class _Walk:
    """The parser's events, with the path that each belongs to."""

    def __init__(self, text: str, found: dict[tuple[Key, ...], Spot]) -> None:
        self.text, self.found = text, found
        self.events = yaml.parse(text, Loader)

    def run(self) -> None:
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.node(next(self.events), ())
                return

    def node(self, event: Any, path: tuple[Key, ...]) -> None:
        if isinstance(event, yaml.SequenceStartEvent):
            for place, item in enumerate(self.until(yaml.SequenceEndEvent)):
                self.node(item, (*path, place))
        elif isinstance(event, yaml.MappingStartEvent):
            for key in self.until(yaml.MappingEndEvent):
                if isinstance(key, yaml.ScalarEvent):
                    self.node(next(self.events), (*path, self.key(key)))
                else:  # a key that is no scalar names nothing
                    self.skip(key)
                    self.skip(next(self.events))
        elif isinstance(event, yaml.ScalarEvent):
            self.found[path] = self.spot(event)
        else:
            at = event.start_mark
            self.found[path] = Spot(start=at.index, end=event.end_mark.index, line=at.line + 1, style=None, alias=True)

    def until(self, end: type) -> Iterator[Any]:
        while not isinstance(event := next(self.events), end):
            yield event

    def skip(self, event: Any) -> None:
        ends = {yaml.SequenceStartEvent: yaml.SequenceEndEvent, yaml.MappingStartEvent: yaml.MappingEndEvent}
        if type(event) in ends:
            for inner in self.until(ends[type(event)]):
                self.skip(inner)

    def key(self, event: Any) -> Key:
        made = yaml.load(self.text[event.start_mark.index : event.end_mark.index], Loader)  # noqa: S506 - a safe loader
        return made if isinstance(made, int) and not isinstance(made, bool) else str(event.value)

    def spot(self, event: Any) -> Spot:
        """An anchor belongs to the event, but not to the value; a tag goes with the value that it describes."""
        start, end = event.start_mark.index, event.end_mark.index
        lead = _PROPERTIES.match(self.text, start, end) if event.anchor else None
        style = None if event.tag and not lead else event.style
        return Spot(start=lead.end() if lead else start, end=end, line=event.start_mark.line + 1, style=style)
