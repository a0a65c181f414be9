"""Text as GitHub takes it: bounded, valid Unicode, every fence and fold that was open at the cut closed."""

from __future__ import annotations

import re

MAX_COMMENT = 65_536
"""Characters of a comment."""

MAX_OUTPUT = 65_535
"""Characters of a check run's summary, and of its text."""

NOTE = "\n\n… cut here: the rest is in the job summary and the artifact.\n"

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")


def clean(text: str) -> str:
    """Valid Unicode without NUL, which JSON could carry and GitHub refuses; line ends as GitHub keeps them."""
    sound = text.encode("utf-8", "replace").decode("utf-8")
    return sound.replace("\0", "\N{REPLACEMENT CHARACTER}").replace("\r\n", "\n")


def length(text: str) -> int:
    """Characters as GitHub may count them: UTF-16 code units, never fewer than code points."""
    return len(text) + sum(1 for char in text if ord(char) > 0xFFFF) if not text.isascii() else len(text)


def cut(text: str, limit: int) -> str:
    """At most `limit` characters (by `length`), whole lines where a line fits at all, with a note where it was cut."""
    text = clean(text)
    if length(text) <= limit:
        return text
    kept: list[str] = []
    used, fence, folds = 0, "", 0
    for line in text.split("\n"):
        now_fence, now_folds = _after(line, fence, folds)
        closing = length(_closing(now_fence, now_folds) + NOTE)
        room = limit - used - closing
        if length(line) + 1 > room:
            if not kept and not now_fence:
                kept.append(line[: max(0, (room - 1) // 2)])
            break
        kept.append(line)
        used += length(line) + 1
        fence, folds = now_fence, now_folds
    return "\n".join(kept) + _closing(fence, folds) + NOTE


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
