"""Events inside the sandbox: the REST and git sides emit, the workflow dispatcher listens."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class HookEvent:
    """One webhook-shaped event. `ref` and `sha` are what GITHUB_REF and GITHUB_SHA of its workflow runs will be.

    `token_kind` tells who caused it: `user`, `app` or `workflow` (GITHUB_TOKEN, which starts nothing but dispatches).
    """

    repo: str
    name: str
    action: str | None
    payload: dict[str, Any]
    ref: str
    sha: str
    sender: str
    token_kind: str = "user"  # noqa: S105 - a kind, not a secret
    workflow: str | None = None
    """For `workflow_dispatch`: the workflow file's path."""
    run_id: int | None = None
    """For `workflow_dispatch`: the id promised to the caller."""
    inputs: dict[str, str] = field(default_factory=dict)


Listener = Callable[[HookEvent], None]


class Bus:
    """Calls every listener in order, on the emitter's thread; listeners must return at once."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()

    def subscribe(self, listener: Listener) -> None:
        with self._lock:
            self._listeners.append(listener)

    def emit(self, event: HookEvent) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener(event)
