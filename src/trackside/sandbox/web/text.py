"""Small words of the pages: times, sizes, durations, states."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote

from trackside.sandbox.state import Doc

FAILED = frozenset({"failure", "error", "cancelled", "timed_out", "action_required", "startup_failure"})
PASSED = frozenset({"success", "neutral", "skipped"})
_WORDS = {
    "success": ("✓", "good", "successful"),
    "neutral": ("■", "muted", "neutral"),
    "skipped": ("⊘", "muted", "skipped"),
    "cancelled": ("⊘", "muted", "cancelled"),
    "failure": ("✕", "bad", "failed"),
    "error": ("✕", "bad", "failed"),
    "timed_out": ("✕", "bad", "timed out"),
    "startup_failure": ("✕", "bad", "failed to start"),
    "action_required": ("!", "warn", "action required"),
    "in_progress": ("●", "warn", "in progress"),
    "queued": ("○", "warn", "queued"),
    "waiting": ("○", "warn", "waiting"),
    "pending": ("○", "warn", "pending"),
    "requested": ("○", "warn", "requested"),
}


def outcome(doc: Doc) -> str:
    """The one word for a run, job, step or check: its conclusion, or its status before there is one."""
    return str(doc.get("conclusion") or doc.get("status") or "queued")


def sign(word: str) -> dict[str, str]:
    """Glyph, colour class and words of an outcome."""
    glyph, colour, words = _WORDS.get(word, ("○", "warn", word))
    return {"glyph": glyph, "colour": colour, "words": words}


def when(moment: str | None) -> str:
    """`2026-11-21T06:00:00Z` as `21 Nov 2026, 06:00 UTC`."""
    parsed = _moment(moment)
    return parsed.strftime("%-d %b %Y, %H:%M UTC") if parsed else ""


def _moment(moment: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(moment) if moment else None
    except ValueError:
        return None


def took(doc: Doc) -> str:
    """Time between start and end, as `1m 5s`; empty while either is missing."""
    start, end = _moment(doc.get("started_at")), _moment(doc.get("completed_at"))
    if not start or not end:
        return ""
    seconds = max(0, int((end - start).total_seconds()))
    hours, minutes, rest = seconds // 3600, seconds // 60 % 60, seconds % 60
    parts = [(hours, "h"), (minutes, "m"), (rest, "s")]
    shown = [f"{count}{unit}" for count, unit in parts if count]
    return " ".join(shown) or "0s"


def size(count: int) -> str:
    """Bytes with a decimal unit."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return ""


def path(value: Any) -> str:
    """A path for an address: everything but slashes is quoted."""
    return quote(str(value), safe="/")


def segment(value: Any) -> str:
    """One step of a path for an address: slashes are quoted too."""
    return quote(str(value), safe="")


def short(sha: str) -> str:
    """The first seven characters."""
    return sha[:7]


def subject(message: str) -> str:
    """First line of a commit message."""
    return message.split("\n", 1)[0]


def plural(count: int, word: str) -> str:
    """`1 check`, `2 checks`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


FILTERS: dict[str, Callable[..., Any]] = {
    "outcome": outcome, "sign": sign, "when": when, "took": took, "size": size, "path": path, "segment": segment,
    "short": short, "subject": subject, "plural": plural,
}  # fmt: skip
