"""Text of strangers → GitHub Markdown that shows it as it is: no markup, no table break, no ping, no link.

Markup characters become entities, which Markdown never reads as structure. GitHub turns `@name`, `#12`, commit
names and addresses into links *after* that, in the finished text: a zero-width space inside them prevents it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from markupsafe import Markup

LIMIT = 200
"""Characters shown of one value."""
BREAK = "&#8203;"
_ENTITIES = {ord(sign): f"&#{ord(sign)};" for sign in "\\`*{}[]#|~!$^@"} | {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord('"'): "&quot;",
}
_SIMPLE = re.compile(r"[A-Za-z0-9 _.,:/+()%=\-]*[A-Za-z0-9_.,:/+()%=\-]")
_HEX = re.compile(r"[0-9a-fA-F]{6}(?=[0-9a-fA-F])")
"""Pieces too short to name a commit."""
_GH = re.compile(r"\b(GH)(-\d)", re.IGNORECASE)
_DOT = re.compile(r"\b(www)(\.)", re.IGNORECASE)
_EDGE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""Underscores that could open or close emphasis; those inside a word cannot."""
_START = re.compile(r"^( ?\d{0,9})([-+.)]|=(?! \S))(?![0-9])")
"""What would open a list, a heading or a rule at the start of a line, also behind a space."""
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.")


def plain(value: Any, limit: int = LIMIT) -> str:
    """One line without control, bidirectional or invisible characters, at most `limit` long."""
    text = re.sub(r"\s+", " ", str(value))
    text = "".join(
        sign for sign in text[: limit * 2] if unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Co", "Cn")
    )
    text = re.sub(r" {2,}", " ", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def inline(value: Any, limit: int = LIMIT) -> Markup:
    """Text in a sentence or a table cell."""
    text = plain(value, limit)
    text = _HEX.sub("\\g<0>\x00", text)
    text = _GH.sub("\\1\x00\\2", text)
    text = _DOT.sub("\\1\x00\\2", text)
    text = re.sub(r"([@#])(?=\S)", "\\1\x00", text)
    text = re.sub(r"(:)(?=[/\w+])", "\\1\x00", text)
    text = _EDGE.sub("\x01", text.translate(_ENTITIES))
    text = _START.sub(lambda match: f"{match[1]}&#{ord(match[2])};", text)
    return Markup(text.replace("\x01", "&#95;").replace("\x00", BREAK))  # noqa: S704 - every character is accounted for


def with_ids(value: Any, limit: int = LIMIT) -> Markup:
    """Like `inline`, with the names of commits and runs in code type."""
    parts = re.split(r"\b([0-9a-f]{7,64})\b", plain(value, limit))
    return Markup("").join(code(part) if index % 2 else inline(part) for index, part in enumerate(parts) if part)


def code(value: Any, limit: int = LIMIT) -> Markup:
    """A name or value in code type, also inside a table cell."""
    text = plain(value, limit).strip()
    if not text:
        return Markup("")
    if _SIMPLE.fullmatch(text):
        return Markup(f"`{text}`")  # noqa: S704 - only characters of the pattern above
    return Markup(f"<code>{inline(text, limit)}</code>")  # noqa: S704 - escaped just before


def fence(value: Any, language: str = "", *, limit: int = 6000, tail: bool = False) -> Markup:
    """A block of code that its content cannot close. `tail` keeps the end instead of the start."""
    text = clean_block(str(value))
    if len(text) > limit:
        text = "…" + text[-limit:] if tail else text[:limit] + "…"
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return Markup(f"{ticks}{language}\n{text}\n{ticks}")  # noqa: S704 - no content can end the fence


def clean_block(text: str) -> str:
    """Lines without terminal colours and control characters.

    A comment's marker in a log would make the comment look like another model's: it is broken up.
    """
    text = _ANSI.sub("", text.replace("\r\n", "\n"))
    lines = (line.rsplit("\r", 1)[-1] for line in text.split("\n"))
    kept = "\n".join(
        "".join(sign for sign in line if sign == "\t" or unicodedata.category(sign)[0] != "C") for line in lines
    )
    return kept.strip("\n").replace("<!--", "<\u200b!--")


def title(value: Any, limit: int = 60) -> Markup:
    """Words that a Mermaid string may hold; everything else becomes a space."""
    return Markup(" ".join(re.sub(r"[^A-Za-z0-9 _.,()-]", " ", plain(value, limit)).split()))  # noqa: S704 - white list
