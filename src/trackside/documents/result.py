"""`trackside.result/1`: how a command ended; the same values go to `GITHUB_OUTPUT`."""

from __future__ import annotations

from typing import Any, Literal

from trackside.documents.codec import Document

Decision = Literal["done", "skipped", "refused", "failed"]
"""How a command ended."""


class Result(Document, frozen=True, kw_only=True):
    """`decision` and one `reason_code` of the closed list in `trackside.reasons`, with the ids and URLs it made."""

    schema: Literal["trackside.result/1"] = "trackside.result/1"
    command: str
    decision: Decision
    reason_code: str
    message: str = ""
    ids: dict[str, str] = {}
    urls: dict[str, str] = {}
    values: dict[str, Any] = {}
    api_calls: int = 0
