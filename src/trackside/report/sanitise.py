"""A run document from a job that ran a pull request's code → the same within bounds and without control characters."""

from __future__ import annotations

import unicodedata
from typing import Any

from trackside.documents.codec import from_builtins, to_builtins
from trackside.documents.run import Run
from trackside.report.escape import clean_block

MAX_TEXT = 2000
MAX_LOG = 20_000
MAX_NAME = 300
MAX_ITEMS = 10_000
MAX_DEPTH = 20
EXACT = "restore"
"""The part that must stay byte for byte: it is compared by digest when it is used."""


def bounded(run: Run) -> Run:
    """Text cut to `MAX_TEXT`, names to `MAX_NAME`, the log to its last `MAX_LOG`; lists to `MAX_ITEMS`."""
    plain = to_builtins(run)
    made = {name: value if name == EXACT else _bound(value, 0) for name, value in plain.items()}
    made["log_tail"] = clean_block(run.log_tail)[-MAX_LOG:]
    return from_builtins(Run, made)


def _bound(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return line(value, MAX_TEXT)
    if depth > MAX_DEPTH:
        return None
    if isinstance(value, dict):
        kept = list(value.items())[:MAX_ITEMS]
        return {line(str(key), MAX_NAME): _bound(one, depth + 1) for key, one in kept}
    if isinstance(value, list):
        return [_bound(one, depth + 1) for one in value[:MAX_ITEMS]]
    return value


def line(text: str, limit: int) -> str:
    """Without control characters (new lines become spaces), at most `limit` characters."""
    kept = "".join(" " if sign in "\n\r\t" else sign for sign in text if sign in "\n\r\t" or not _hidden(sign))
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def _hidden(sign: str) -> bool:
    return unicodedata.category(sign) in ("Cc", "Cs")
