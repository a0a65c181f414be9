"""Logs of jobs: steps, folded groups, annotations and ANSI colours → plain structures and safe HTML."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from markupsafe import Markup, escape

MAX_LINES = 20_000
"""Lines shown of one job; what is older is left out and counted."""

_COMMAND = re.compile(
    r"^(?:##\[(?P<old>\w+)\]|::(?P<new>[\w-]+)(?: (?P<fields>[^:]*(?::(?!:)[^:]*)*))?::)(?P<text>.*)$"
)
_LEVELS = {"error", "warning", "notice", "debug", "command"}
_SILENT = {"add-mask", "set-output", "save-state", "add-matcher", "remove-matcher", "echo", "stop-commands"}
_SGR = re.compile(r"\x1b\[([0-9;]*)m")
_OTHER_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-ln-z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9]|[=>])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(kw_only=True)
class Line:
    """One line: level (`""`, `error`, `warning`, `notice`, `debug`, `command`), number from 1, HTML, place it names."""

    number: int
    level: str
    html: Markup
    place: str = ""


@dataclass(kw_only=True)
class Group:
    """Lines that fold under a title; without a title they stand open."""

    title: Markup | None
    lines: list[Line] = field(default_factory=list)


@dataclass(kw_only=True)
class Section:
    """The log of one step; `name` is empty before the first step."""

    name: str
    groups: list[Group] = field(default_factory=list)

    def add(self, line: Line) -> None:
        if not self.groups:
            self.groups.append(Group(title=None))
        self.groups[-1].lines.append(line)


def read(text: str) -> tuple[list[Section], int]:
    """Sections of a log and the number of older lines left out."""
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    dropped = max(0, len(lines) - MAX_LINES)
    sections = [Section(name="")]
    for number, raw in enumerate(lines[dropped:], dropped + 1):
        _take(sections, raw.rstrip("\r"), number)
    return [one for one in sections if one.name or one.groups], dropped


def _take(sections: list[Section], raw: str, number: int) -> None:
    section = sections[-1]
    found = _COMMAND.match(raw)
    word = (found["old"] or found["new"]).lower() if found else ""
    words = found["text"] if found else raw
    if word == "step":
        sections.append(Section(name=words))
    elif word == "group":
        section.groups.append(Group(title=ansi(words)))
    elif word == "endgroup":
        section.groups.append(Group(title=None))
    elif word in _LEVELS and found:
        line = Line(number=number, level=word, html=ansi(_unescaped(words)), place=_place(found["fields"] or ""))
        section.add(line)
    elif word not in _SILENT:
        section.add(Line(number=number, level="", html=ansi(raw)))


def _unescaped(text: str) -> str:
    """Workflow commands escape `%`, CR and LF."""
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


def _place(fields: str) -> str:
    """`file:line` of an annotation."""
    known = dict(part.partition("=")[::2] for part in fields.split(",") if "=" in part)
    known = {name.strip(): _unescaped(value).replace("%3A", ":").replace("%2C", ",") for name, value in known.items()}
    return ":".join(known[name] for name in ("file", "line") if known.get(name))


def ansi(text: str) -> Markup:
    """Text with SGR colours as spans; every other control sequence is dropped, everything else escaped."""
    text = _OTHER_ESCAPES.sub("", text)
    made: list[Markup] = []
    classes: dict[str, str] = {}
    last = 0
    for found in [*_SGR.finditer(text), None]:
        piece = _CONTROL.sub("", text[last : found.start() if found else len(text)].split("\r")[-1])
        if piece and classes:
            made.append(Markup('<span class="{}">{}</span>').format(" ".join(classes.values()), piece))
        elif piece:
            made.append(escape(piece))
        if found:
            _change(classes, [int(code) for code in found[1].split(";") if code] or [0])
            last = found.end()
    return Markup("").join(made)


def _change(classes: dict[str, str], codes: list[int]) -> None:
    at = 0
    while at < len(codes):
        code = codes[at]
        if code == 0:
            classes.clear()
        elif code in (1, 2, 3, 4):
            classes[f"style{code}"] = f"a-{('bold', 'dim', 'italic', 'under')[code - 1]}"
        elif code == 22:
            classes.pop("style1", None)
            classes.pop("style2", None)
        elif code in (38, 48):
            # 256 or true colours: the first sixteen have classes, the others keep the default.
            if codes[at + 1 : at + 2] == [5] and at + 2 < len(codes) and codes[at + 2] < 16:
                classes["fg" if code == 38 else "bg"] = f"a-{'fg' if code == 38 else 'bg'}{codes[at + 2]}"
            at += 2 if codes[at + 1 : at + 2] == [5] else 4
        elif code in (39, 49):
            classes.pop("fg" if code == 39 else "bg", None)
        else:
            for start, name, offset in ((30, "fg", 0), (90, "fg", 8), (40, "bg", 0), (100, "bg", 8)):
                if start <= code < start + 8:
                    classes[name] = f"a-{name}{code - start + offset}"
        at += 1
