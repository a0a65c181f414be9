"""Concurrency groups: one member goes, by default one waits, and who comes later may push others out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from trackside.sandbox.actions.values import ExpressionError
from trackside.sandbox.actions.workflow import resolved

MAX_QUEUE = 100
"""Members that wait with `queue: max`; one more is cancelled when it comes."""


class Member(Protocol):
    """A run or a job that can be in a group."""

    def cancel(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `concurrency:` says; the name ignores case."""

    name: str
    cancel_in_progress: bool = False
    keep_pending: bool = False


def settings(found: Any, contexts: dict[str, Any]) -> Settings | None:
    """Read a `concurrency:` value; None without one or with an empty name. Raises ExpressionError."""
    found = resolved(found, contexts)
    if not isinstance(found, dict):
        found = {"group": found}
    name = str(found.get("group") or "")
    if not name:
        return None
    queue = found.get("queue", "single")
    if queue not in ("single", "max"):
        raise ExpressionError(f"concurrency.queue is `{queue}`; use `single` or `max`")
    replaces = found.get("cancel-in-progress") is True or found.get("cancel-in-progress") == "true"
    if replaces and queue == "max":
        raise ExpressionError("concurrency.queue `max` cannot go with cancel-in-progress")
    return Settings(name=name, cancel_in_progress=replaces, keep_pending=queue == "max")


class Groups:
    """All groups of a sandbox. The first of a line goes, the others wait in order."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], list[Member]] = {}
        self._moved = threading.Condition()

    def enter(self, repo: str, group: Settings, member: Member) -> None:
        """Join the line and cancel whom the settings replace; never waits."""
        with self._moved:
            line = self._lines.setdefault((repo, group.name.lower()), [])
            ahead = list(line)
            line.append(member)
        out = ahead[:1] if group.cancel_in_progress else []
        out += ahead[1:] if not group.keep_pending else []
        if group.keep_pending and len(ahead) > MAX_QUEUE:
            out.append(member)
        for one in out:
            one.cancel()

    def goes(self, repo: str, group: Settings, member: Member) -> bool:
        """Whether it is this member's turn."""
        with self._moved:
            line = self._lines.get((repo, group.name.lower()), [])
            return bool(line) and line[0] is member

    def wait(self, repo: str, group: Settings, member: Member, given_up: Callable[[], bool]) -> bool:
        """Wait for the turn; False when `given_up()` became true first (ask `wake` to look again)."""
        with self._moved:
            self._moved.wait_for(lambda: given_up() or self.goes(repo, group, member))
            return self.goes(repo, group, member) and not given_up()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        with self._moved:
            self._moved.notify_all()

    def leave(self, repo: str, group: Settings, member: Member) -> None:
        """Give the place free; leaving twice is no error."""
        key = (repo, group.name.lower())
        with self._moved:
            line = self._lines.get(key, [])
            if member in line:
                line.remove(member)
            if not line:
                self._lines.pop(key, None)
            self._moved.notify_all()
