"""What the sandbox's own tests share: plain calls, refusals, heard events, a clock that stands still."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from trackside.sandbox.bus import HookEvent
from trackside.sandbox.server import Sandbox

ALL = dict.fromkeys(("contents", "pull-requests", "issues", "checks", "statuses", "actions"), "write")
DISPATCHED = b"on: {workflow_dispatch: {inputs: {model: {required: true}}}}\njobs: {}\n"


class Api:
    """Calls below one repository with one token; the last answer's status, message and headers."""

    def __init__(self, sandbox: Sandbox, repo: str, token: str | None) -> None:
        self.base = f"{sandbox.api_url}/repos/{repo}"
        self.headers = {"Authorization": f"token {token}"} if token else {}

    def __call__(self, method: str, path: str, body: Any = None, **query: Any) -> requests.Response:
        url = path if path.startswith("http") else self.base + path
        return requests.request(method, url, json=body, params=query, headers=self.headers, timeout=20)


def refused(answer: requests.Response, status: int, text: str = "") -> None:
    assert answer.status_code == status, answer.text
    assert text in answer.text


def listen(sandbox: Sandbox) -> list[HookEvent]:
    seen: list[HookEvent] = []
    sandbox.bus.subscribe(seen.append)
    return seen


def head_of(sandbox: Sandbox, repo: str, number: int) -> str:
    return str(sandbox.hub.pull(repo, number)["head_sha"])


class StillClock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def add_run(sandbox: Sandbox, repo: str, **fields: Any) -> int:
    """A run document as the dispatcher writes it."""
    run_id = sandbox.state.next("id")
    now = sandbox.hub.now()
    doc = {
        "id": run_id, "run_number": 1, "attempt": 1, "workflow_path": ".github/workflows/train.yml",
        "workflow_name": "Train", "event": "workflow_dispatch", "event_payload": {}, "head_branch": "main",
        "head_sha": sandbox.hub.default_tip(repo)[1], "ref": "refs/heads/main", "actor": "ada",
        "triggering_actor": "ada", "token_kind": "user", "display_title": "train delay", "status": "completed",
        "conclusion": "success", "concurrency_group": None, "inputs": {}, "created_at": now, "started_at": now,
        "updated_at": now, "pull_numbers": [],
    }  # fmt: skip
    sandbox.state.put("run", repo, run_id, doc | fields)
    return run_id
