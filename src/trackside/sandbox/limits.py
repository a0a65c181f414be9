"""Rate limits: the primary one (requests an hour, told in headers) and the secondary one on content writes."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

from trackside.sandbox.problem import Problem
from trackside.sandbox.state import Doc
from trackside.system.clock import Clock

HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Requests an hour by kind of token; content writes (POST, PATCH, PUT, DELETE) a minute, None for no such limit."""

    user: int = 5000
    app: int = 5000
    workflow: int = 1000
    anonymous: int = 60
    writes_per_minute: int | None = None


class Meter:
    """Counts requests of each token (a workflow's jobs share their repository's budget)."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.limits, self._clock = limits, clock
        self._lock = threading.Lock()
        self._used: dict[str, tuple[int, int]] = {}
        self._writes: dict[str, list[float]] = {}

    @staticmethod
    def _who(actor: Doc | None) -> tuple[str, str]:
        if actor is None:
            return "anonymous", ""
        return str(actor["kind"]), str(actor["repo"] if actor["kind"] == "workflow" else actor["login"])

    def peek(self, actor: Doc | None) -> dict[str, int]:
        """`limit`, `used`, `remaining` and `reset` (UTC seconds) as they stand."""
        kind, name = self._who(actor)
        limit = int(getattr(self.limits, kind))
        hour = math.floor(self._clock.now().timestamp() / HOUR)
        with self._lock:
            start, used = self._used.get(f"{kind}:{name}", (hour, 0))
        used = used if start == hour else 0
        return {"limit": limit, "used": used, "remaining": max(0, limit - used), "reset": (hour + 1) * HOUR}

    def headers(self, actor: Doc | None) -> dict[str, str]:
        """The `x-ratelimit-*` headers of every answer."""
        return {f"x-ratelimit-{name}": str(value) for name, value in self.peek(actor).items()} | {
            "x-ratelimit-resource": "core"
        }

    def count(self, actor: Doc | None, method: str) -> None:
        """Count a request. Raises Problem 403 when a limit is reached; a refused request counts too."""
        kind, name = self._who(actor)
        key = f"{kind}:{name}"
        before = self.peek(actor)
        with self._lock:
            hour = before["reset"] // HOUR - 1
            self._used[key] = (hour, before["used"] + 1)
        if before["remaining"] == 0:
            raise Problem(403, f"API rate limit exceeded for {name or 'your address'}.")
        allowed = self.limits.writes_per_minute
        if allowed is not None and method != "GET":
            self._count_write(key, allowed)

    def _count_write(self, key: str, allowed: int) -> None:
        now = self._clock.now().timestamp()
        with self._lock:
            recent = [at for at in self._writes.get(key, []) if at > now - 60]
            if len(recent) >= allowed:
                wait = max(1, math.ceil(recent[0] + 60 - now))
                message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
                raise Problem(403, message, headers={"retry-after": str(wait)})
            self._writes[key] = [*recent, now]
