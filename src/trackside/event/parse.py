"""Payload → event. Every field is checked here once; what follows can rely on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from trackside.errors import ConfigError, DataError
from trackside.event.model import (
    CommentEvent,
    DispatchEvent,
    Event,
    MergeGroupEvent,
    OtherEvent,
    PullRequestEvent,
    PushEvent,
    ReviewEvent,
    ScheduleEvent,
)

SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}/[A-Za-z0-9._-]{1,100}")
_LONGEST = 65_536 * 4
"""Characters of the longest text that is taken over: a comment body has at most 65,536, some of them astral."""


def parse_event(name: str, payload: object, context: Mapping[str, str]) -> Event:
    """The typed event.

    Args:
        name: the event's name (`GITHUB_EVENT_NAME`).
        payload: the JSON of `GITHUB_EVENT_PATH`, decoded.
        context: `GITHUB_SHA`, `GITHUB_REF`, `GITHUB_REPOSITORY` and `GITHUB_ACTOR`, for what the payload lacks.

    Raises:
        DataError: a field that this event must have is missing or malformed (`event_invalid`).
        ConfigError: the context lacks what the event needs.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,99}", name):
        raise ConfigError(f"not an event name: {name[:100]!r}", remedy="run this inside a GitHub Actions job")
    reader = _Reader(name, payload, context)
    make = _MAKERS.get(name)
    return make(reader) if make is not None else OtherEvent(**reader.origin(strict=False))


class _Reader:
    """Checked access by dotted path; a wrong type is a DataError that names the path."""

    def __init__(self, name: str, payload: object, context: Mapping[str, str]) -> None:
        if not isinstance(payload, Mapping):
            raise DataError(f"payload of {name} is not a JSON object", reason_code="event_invalid")
        self.name, self.payload, self.context = name, payload, context

    def fail(self, path: str, expected: str) -> DataError:
        return DataError(f"payload of {self.name}: {path} is not {expected}", reason_code="event_invalid")

    def get(self, path: str) -> Any:
        value: Any = self.payload
        for key in path.split("."):
            if not isinstance(value, Mapping):
                return None
            value = value.get(key)
        return value

    def text(self, path: str, *, optional: bool = False) -> str:
        value = self.get(path)
        if value is None and optional:
            return ""
        if not isinstance(value, str) or len(value) > _LONGEST:
            raise self.fail(path, "text")
        return value

    def sha(self, path: str) -> str:
        value = self.get(path)
        if not isinstance(value, str) or not SHA.fullmatch(value):
            raise self.fail(path, "a commit SHA")
        return value

    def number(self, path: str) -> int:
        value = self.get(path)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
            raise self.fail(path, "a positive number")
        return value

    def flag(self, path: str) -> bool:
        value = self.get(path)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.fail(path, "true or false")
        return value

    def repository(self, path: str) -> str:
        """`owner/name`, or nothing where the payload has none (a deleted fork, an organisation's event)."""
        value = self.get(path)
        if value is None:
            return ""
        if not isinstance(value, str) or not REPOSITORY.fullmatch(value):
            raise self.fail(path, "a repository name")
        return value

    def context_sha(self) -> str:
        value = self.context.get("GITHUB_SHA", "")
        if not SHA.fullmatch(value):
            raise ConfigError(
                f"GITHUB_SHA is not a commit SHA, which {self.name} needs",
                remedy="run this inside a GitHub Actions job",
            )
        return value

    def origin(self, *, strict: bool = True) -> dict[str, Any]:
        """What all events share; other events are not held to it, since nothing is decided on them."""
        try:
            repository = self.repository("repository.full_name")
            action = self.text("action", optional=True)
            actor = self.text("sender.login", optional=True) or self.context.get("GITHUB_ACTOR", "")
            default_branch = self.text("repository.default_branch", optional=True)
        except DataError:
            if strict:
                raise
            repository = action = actor = default_branch = ""
        return {
            "name": self.name,
            "action": action,
            "repository": repository or self.context.get("GITHUB_REPOSITORY", ""),
            "actor": actor,
            "default_branch": default_branch,
        }


def _pull_request(reader: _Reader) -> PullRequestEvent:
    return PullRequestEvent(
        **reader.origin(),
        number=reader.number("pull_request.number"),
        head_sha=reader.sha("pull_request.head.sha"),
        head_repository=reader.repository("pull_request.head.repo.full_name"),
        head_ref=reader.text("pull_request.head.ref"),
        base_sha=reader.sha("pull_request.base.sha"),
        base_ref=reader.text("pull_request.base.ref"),
        draft=reader.flag("pull_request.draft"),
        label=reader.text("label.name", optional=True),
    )


def _review(reader: _Reader) -> ReviewEvent:
    return ReviewEvent(
        **reader.origin(),
        number=reader.number("pull_request.number"),
        head_sha=reader.sha("pull_request.head.sha"),
    )


def _comment(reader: _Reader) -> CommentEvent:
    return CommentEvent(
        **reader.origin(),
        number=reader.number("issue.number"),
        on_pull=isinstance(reader.get("issue.pull_request"), Mapping),
        comment_id=reader.number("comment.id"),
        author=reader.text("comment.user.login", optional=True),
        body=reader.text("comment.body"),
        bot=reader.text("comment.user.type", optional=True) != "User",
        created_at=reader.text("comment.created_at", optional=True),
        url=reader.text("comment.html_url", optional=True),
    )


def _dispatch(reader: _Reader) -> DispatchEvent:
    raw = reader.get("inputs")
    if raw is None:
        raw = {}
    if not isinstance(raw, Mapping):
        raise reader.fail("inputs", "an object")
    inputs: dict[str, str] = {}
    for key, value in raw.items():
        if isinstance(value, bool):
            value = "true" if value else "false"
        elif isinstance(value, int | float):
            value = str(value)
        elif value is None:
            value = ""
        if not isinstance(key, str) or not isinstance(value, str) or len(value) > _LONGEST:
            raise reader.fail(f"inputs.{str(key)[:100]}", "text")
        inputs[key] = value
    return DispatchEvent(
        **reader.origin(),
        ref=reader.text("ref"),
        sha=reader.context_sha(),
        workflow=reader.text("workflow", optional=True),
        inputs=inputs,
    )


def _merge_group(reader: _Reader) -> MergeGroupEvent:
    return MergeGroupEvent(
        **reader.origin(),
        head_sha=reader.sha("merge_group.head_sha"),
        head_ref=reader.text("merge_group.head_ref"),
        base_sha=reader.sha("merge_group.base_sha"),
        base_ref=reader.text("merge_group.base_ref"),
    )


def _push(reader: _Reader) -> PushEvent:
    ref = reader.text("ref")
    return PushEvent(
        **reader.origin(),
        ref=ref,
        sha=reader.sha("after"),
        before=reader.sha("before"),
        branch=ref.removeprefix("refs/heads/") if ref.startswith("refs/heads/") else "",
        tag=ref.removeprefix("refs/tags/") if ref.startswith("refs/tags/") else "",
        deleted=reader.flag("deleted"),
    )


def _schedule(reader: _Reader) -> ScheduleEvent:
    return ScheduleEvent(**reader.origin(), cron=reader.text("schedule"), sha=reader.context_sha())


_MAKERS: dict[str, Callable[[_Reader], Event]] = {
    "issue_comment": _comment,
    "merge_group": _merge_group,
    "pull_request": _pull_request,
    "pull_request_review": _review,
    "pull_request_review_comment": _review,
    "pull_request_review_thread": _review,
    "pull_request_target": _pull_request,
    "push": _push,
    "schedule": _schedule,
    "workflow_dispatch": _dispatch,
}
