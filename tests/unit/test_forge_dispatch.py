"""Dispatches to servers that do not tell the run's id, or whose answer is lost, against the endpoints' rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from trackside.forge.client import Answer, Client, NoAnswer
from trackside.forge.github import SECONDS_BETWEEN_WRITES, GithubForge
from trackside.forge.operations import DispatchWorkflow
from trackside.forge.write import Writes

TITLE = "train delay for #7"


class Still:
    """A clock that only counts."""

    def __init__(self) -> None:
        self.asked = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 21, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.asked

    def sleep(self, seconds: float) -> None:
        self.asked += seconds


class Server:
    """Runs of one workflow. A run is listed only after `lag` look-ups."""

    def __init__(self, kind: str, lag: int = 0, lost: int = 0, arrives: bool = True) -> None:
        self.kind, self.lag, self.lost, self.arrives = kind, lag, lost, arrives
        self.runs: list[dict[str, Any]] = []
        self.posts = 0

    def __call__(self, method: str, path: str, query: Mapping[str, Any], body: Any) -> Answer:
        if method == "GET":
            shown = self.runs if self.lag <= 0 else []
            self.lag -= 1 if self.runs else 0
            return Answer(status=200, headers={}, text=json.dumps({"total_count": 0, "workflow_runs": shown}))
        self.posts += 1
        if self.kind == "refuses the field" and "return_run_details" in body:
            message = 'Invalid request.\n\n"return_run_details" is not a permitted key.'
            return Answer(status=422, headers={}, text=json.dumps({"message": message}))
        lost = self.lost > 0
        self.lost -= lost
        if self.arrives or not lost:
            self.add(body["inputs"]["title"])
        if lost:
            raise NoAnswer("connection reset")
        if self.kind == "tells":
            told = {"workflow_run_id": self.runs[-1]["id"], "html_url": self.runs[-1]["html_url"]}
            return Answer(status=200, headers={}, text=json.dumps(told))
        return Answer(status=204, headers={}, text="")

    def add(self, title: str) -> None:
        number = 100 + len(self.runs)
        run = {"id": number, "display_title": title, "path": "p", "event": "workflow_dispatch", "status": "queued"}
        more = {"conclusion": None, "head_sha": "a", "head_branch": "main", "html_url": f"https://x/{number}"}
        self.runs.append({**run, **more})


class Writer(Writes):
    def __init__(self, server: Server, clock: Still) -> None:
        self.client = Client("acme/flights", server, clock, max_rate_limit_wait=1)


def operation(title: str = TITLE) -> DispatchWorkflow:
    return DispatchWorkflow(workflow="train.yml", ref="main", inputs={"title": TITLE}, unless_title=title)


CASES = [
    # kind of server, look-ups until a run is listed, answers lost, whether lost ones arrived, posts
    ("tells", 0, 0, True, 1),
    ("silent", 0, 0, True, 1),
    ("silent", 3, 0, True, 1),
    ("refuses the field", 0, 0, True, 2),
    ("tells", 0, 1, True, 1),
    ("tells", 3, 1, True, 1),
    ("silent", 2, 1, True, 1),
    ("tells", 0, 1, False, 2),
    ("silent", 0, 2, False, 3),
]


def test_one_run_is_started_and_found() -> None:
    for kind, lag, lost, arrives, posts in CASES:
        server, clock = Server(kind, lag, lost, arrives), Still()
        applied = Writer(server, clock).apply([operation()])[0]
        case = (kind, lag, lost, arrives)
        assert (applied.outcome, applied.id, applied.url) == ("created", 100, "https://x/100"), case
        assert (len(server.runs), server.posts) == (1, posts), case
        assert clock.asked <= 10, case
    print(f"{len(CASES)} servers")
    assert len(CASES) == 9


def test_an_unknown_outcome_without_a_title_stays_an_error() -> None:
    server = Server("tells", lost=1)
    applied = Writer(server, Still()).apply([operation("")])[0]
    assert (applied.outcome, applied.reason_code, server.posts) == ("failed", "timed_out", 1)


def test_a_run_that_is_never_listed_has_no_id() -> None:
    server = Server("silent", lag=1000)
    applied = Writer(server, Still()).apply([operation()])[0]
    assert (applied.outcome, applied.id, server.posts) == ("created", 0, 1)


@pytest.mark.parametrize(
    ("url", "pause"),
    [
        ("https://api.github.com", SECONDS_BETWEEN_WRITES),
        ("https://ghe.acme.example/api/v3", SECONDS_BETWEEN_WRITES),
        ("http://127.0.0.1:8080/api/v3", 0),
        ("http://localhost/api/v3", 0),
        ("http://[::1]:8080/api/v3", 0),
    ],
)
def test_only_a_server_on_this_machine_is_not_paced(url: str, pause: float) -> None:
    with GithubForge("acme/flights", "t", url) as forge:
        settings = forge._connect().requester.kwargs
        assert settings["seconds_between_writes"] == pause
        assert settings["retry"] is None
