"""Text as GitHub takes it: bounded, valid Unicode, every fence and fold that was open at the cut closed."""

from __future__ import annotations

import re
from collections.abc import Callable

NOTE = "\n\n… cut here: the whole text was too long.\n"

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")


def valid(text: str) -> str:
    """Text that UTF-8 can carry: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def clean(text: str) -> str:
    """Valid text without NUL, which GitHub refuses; lines end in a line feed."""
    return valid(text).replace("\0", "\N{REPLACEMENT CHARACTER}").replace("\r\n", "\n").replace("\r", "\n")


def inert(text: str) -> str:
    """Text for a job's log or a terminal that neither obeys: the runner finds commands in `::` at a line's start and
    in `##[` anywhere, a terminal in control characters.
    """
    lines = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", clean(text)).replace("##[", "# #[").split("\n")
    return "\n".join(f"| {line}" if line.lstrip().startswith("::") else line for line in lines)


def length(text: str) -> int:
    """Characters as GitHub may count them: UTF-16 code units, never fewer than code points."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "replace")) // 2


def byte_length(text: str) -> int:
    """Bytes in UTF-8."""
    return len(text.encode("utf-8", "replace"))


def cut(text: str, limit: int, measure: Callable[[str], int] = length) -> str:
    """At most `limit` by `measure`, with a note where it was cut.

    Lines are kept whole. Only a text whose very first line is too long is cut within it. A `limit` too small for the
    note gives an empty text.
    """
    text = clean(text)
    if measure(text) <= limit:
        return text
    kept: list[str] = []
    used, fence, folds = 0, "", 0
    for line in text.split("\n"):
        now_fence, now_folds = _after(line, fence, folds)
        room = limit - used - measure(_closing(now_fence, now_folds) + NOTE)
        size = measure(line) + 1
        if size > room:
            if not kept and not now_fence and not now_folds:
                kept.append(_head(line, room, measure))
            break
        kept.append(line)
        used += size
        fence, folds = now_fence, now_folds
    done = "\n".join(kept) + _closing(fence, folds) + NOTE
    return done if measure(done) <= limit else ""


def _head(line: str, room: int, measure: Callable[[str], int]) -> str:
    """The longest beginning that measures less than `room`."""
    low, high = 0, len(line)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if measure(line[:middle]) < room else (low, middle - 1)
    return line[:low]


def _after(line: str, fence: str, folds: int) -> tuple[str, int]:
    """The open fence and the number of open `<details>` after a line."""
    found = _FENCE.fullmatch(line)
    if fence:
        closes = found and found[1][0] == fence[0] and len(found[1]) >= len(fence) and not found[2].strip()
        return ("" if closes else fence), folds
    if found and not (found[1][0] == "`" and "`" in found[2]):
        return found[1], folds
    lower = line.lower()
    return "", max(0, folds + lower.count("<details") - lower.count("</details>"))


def _closing(fence: str, folds: int) -> str:
    return (f"\n{fence}" if fence else "") + "\n\n</details>" * folds
