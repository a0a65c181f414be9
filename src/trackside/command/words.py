"""Replies to commands: one comment for each comment that asks, found again by its marker."""

from __future__ import annotations

from trackside.errors import TracksideError
from trackside.forge.operations import React, UpsertComment
from trackside.plan.words import fenced

SEEN, STARTED, NOT = "eyes", "rocket", "confused"
"""Reactions to a command: looked at, followed, not followed."""


def reply_marker(comment_id: int) -> str:
    """First line of the reply to a comment."""
    return f"<!-- trackside:reply comment={comment_id} -->"


def reply(issue: int, comment_id: int, author: str, text: str) -> UpsertComment:
    """The reply; `text` is Markdown whose foreign parts are escaped. It names the author without a ping."""
    marker = reply_marker(comment_id)
    return UpsertComment(issue=issue, marker=marker, body=f"{marker}\n**{author}:** {text}\n")


def refusal(error: TracksideError) -> str:
    """Why a command is not followed, as Markdown."""
    parts = [fenced(error.message + (f"\n{error.why}" if error.why else ""))]
    if error.remedy:
        parts += ["What to do:", fenced(error.remedy)]
    if error.link:
        parts.append(f"More: {error.link}")
    return "\n\n".join(["not done.", *parts])


def refused(issue: int, comment_id: int, author: str, error: TracksideError) -> list[React | UpsertComment]:
    """What a later job writes when it does not follow a command that was passed on to it."""
    return [
        React(comment_id=comment_id, content=NOT, instead_of=STARTED),
        reply(issue, comment_id, author, refusal(error)),
    ]
