"""Tables that fit a terminal, and times as people say them; pure but for asking how wide the terminal is."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from trackside.app import Context

GAP = 2
LINES = 3
"""Lines of one cell at most."""
_STEPS = (
    (365.25 * 86400, "year"),
    (30.44 * 86400, "month"),
    (86400.0, "day"),
    (3600.0, "hour"),
    (60.0, "minute"),
)
SKEW = 300.0
"""Seconds that a clock may be ahead before a time counts as one that has not come yet."""


def columns(context: Context, stream: TextIO | None = None) -> int:
    """Characters of a line of the terminal; 0 where the output is no terminal: nothing is cut there.

    `stream`: default the output; for another one only a terminal counts, not what COLUMNS says.
    """
    said = context.env.get("COLUMNS", "") if stream is None else ""
    if said.isdecimal() and int(said[:9]) > 0:
        return max(int(said[:9]), 40)
    out = stream or context.out
    try:
        return max(os.get_terminal_size(out.fileno()).columns or 80, 40) if out.isatty() else 0
    except (OSError, ValueError):
        return 0


def emit(context: Context, document: Mapping[str, Any]) -> None:
    """A document for tools: names in order of their meaning, times in UTC, digests whole."""
    context.say(json.dumps(document, indent=2))


def printable(text: str) -> str:
    """One line that a terminal only shows: whatever steers it becomes a replacement character."""
    return "".join(
        char if char.isprintable() else " " if char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def width(text: str) -> int:
    """Cells that a text takes: two for wide characters of East Asia and emoji, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def clip(text: str, room: int) -> str:
    """At most `room` cells, with an ellipsis where it was cut."""
    if width(text) <= room:
        return text
    kept, used = "", 1
    for char in text:
        used += width(char)
        if used > room:
            break
        kept += char
    return kept.rstrip() + "…"


def wrapped(text: str, room: int, most: int = LINES) -> list[str]:
    """Lines of at most `room` cells, broken between words; of more than `most` (0: any number) the last one is cut."""
    lines: list[str] = []
    words = text.split(" ")
    while words:
        line = words.pop(0)
        while words and width(line) + 1 + width(words[0]) <= room:
            line += " " + words.pop(0)
        if len(lines) == most - 1 and words:
            line = " ".join([line, *words])
            words = []
        lines.append(clip(line, room))
    return lines


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    room: int = 0,
    right: Collection[int] = (),
    shrink: Mapping[int, int] | None = None,
    lines: int = LINES,
) -> str:
    """Aligned columns; those that stay empty are left out.

    Args:
        room: cells of a line; 0: as many as it takes.
        right: columns that stand to the right.
        shrink: columns that may be broken into lines, with their least width, the first one first.
        lines: of a cell at most; 0: as many as it takes.
    """
    head = [printable(cell) for cell in head]
    cells = [[printable(cell) for cell in row] for row in rows]
    kept = [at for at in range(len(head)) if any(row[at] for row in cells)]
    widths = {at: max(width(head[at]), *(width(row[at]) for row in cells)) for at in kept}
    if room:
        over = sum(widths.values()) + GAP * (len(kept) - 1) - room
        for at, least in (shrink or {}).items():
            if at in widths and over > 0:
                given = min(over, max(widths[at] - max(least, width(head[at])), 0))
                widths[at] -= given
                over -= given
    made = []
    for row in [list(head), *cells] if kept else []:
        parts = {at: wrapped(row[at], widths[at], lines) for at in kept}
        for number in range(max(len(one) for one in parts.values())):
            line = [(parts[at][number : number + 1] or [""])[0] for at in kept]
            made.append(
                (" " * GAP)
                .join(_padded(text, widths[at], at in right) for at, text in zip(kept, line, strict=True))
                .rstrip()
            )
    return "\n".join(made)


def _padded(text: str, room: int, right: bool) -> str:
    space = " " * max(room - width(text), 0)
    return space + text if right else text + space


def moment(text: str) -> datetime | None:
    """An RFC 3339 time; None for anything else."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def age(text: str, now: datetime) -> str:
    """`3 days` since a time; `ahead` for one that has not come: somebody's clock was wrong."""
    then = moment(text)
    if then is None:
        return ""
    seconds = (now - then).total_seconds()
    if seconds < -SKEW:
        return "ahead"
    for step, name in _STEPS:
        if seconds >= step:
            number = int(seconds // step)
            return f"{number} {name}" + ("s" if number > 1 else "")
    return "just now"


def utc(text: str) -> str:
    """`2026-11-21 06:00` in UTC; as it is where it is no time."""
    then = moment(text)
    return then.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if then is not None else text


def stamp(text: str) -> str:
    """A time for tools: UTC to the second, as everywhere in documents; as it is where it is no time."""
    then = moment(text)
    return then.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if then is not None else text


def size(number: int) -> str:
    """Bytes as `1.5 MB`: powers of ten, as file managers and GitHub show them."""
    value, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
