"""The demo's tour: steps one after another and side by side, and which workflow runs belong to which step."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from trackside.demo.tour import EvidenceMissing, Tour, topics
from trackside.demo.world import World
from trackside.sandbox.server import Sandbox

WAIT = 60
"""Seconds after which a test that hangs is given up."""


@pytest.fixture
def tour(sandbox: Sandbox, tmp_path: Path) -> tuple[Tour, list[str]]:
    said: list[str] = []
    return Tour(cast(World, SimpleNamespace(sandbox=sandbox)), tmp_path, said.append), said


def test_lanes_go_side_by_side_and_their_steps_in_order(tour: tuple[Tour, list[str]]) -> None:
    tour_, said = tour
    meeting = threading.Barrier(2)
    done: list[str] = []

    def meet(name: str) -> dict[str, Any]:
        meeting.wait(WAIT)  # breaks, and fails the step, where the other lane has to wait for this one
        done.append(name)
        return {"tag": name}

    tour_.step("first", lambda: {"tag": "first"})
    tour_.together(
        [("a1", lambda: meet("a1")), ("a2", lambda: meet("a2"))],
        [("b1", lambda: meet("b1")), ("b2", lambda: meet("b2"))],
    )
    assert {one.name for one in tour_.steps} == {"first", "a1", "a2", "b1", "b2"}
    assert done.index("a1") < done.index("a2")
    assert done.index("b1") < done.index("b2")
    summary = tour_.summary(1.0)
    assert [one["evidence"]["tag"] for one in summary["steps"]] == [one.name for one in tour_.steps]
    assert sum(line.startswith("▶ ") for line in said) == sum(line.startswith("✓ ") for line in said) == 5


def test_the_first_error_ends_every_lane(tour: tuple[Tour, list[str]]) -> None:
    tour_, _ = tour
    broken: list[threading.Thread] = []
    both = threading.Barrier(2)
    later: list[str] = []

    def fail() -> dict[str, Any]:
        broken.append(threading.current_thread())
        both.wait(WAIT)
        raise EvidenceMissing("no tag")

    def outlast() -> dict[str, Any]:
        both.wait(WAIT)
        broken[0].join(WAIT)
        return {"tag": "kept"}

    def never() -> dict[str, Any]:
        later.append("done")
        return {}

    with pytest.raises(EvidenceMissing, match="no tag"):
        tour_.together([("fails", fail), ("after it", never)], [("outlasts it", outlast), ("beside it", never)])
    assert not later
    assert [one["name"] for one in tour_.summary(1.0)["steps"]] == ["outlasts it"]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"event": "push", "sha": "c1"}, {"commit c1"}),
        ({"event": "workflow_dispatch", "sha": "c1"}, set()),
        ({"event": "pull_request_target", "pull_numbers": [3]}, {"#3"}),
        ({"inputs": {"pull-request": "3", "commit": "c2", "comment": ""}}, {"#3", "commit c2"}),
        ({"event": "issue_comment", "sha": "c1", "event_payload": {"comment": {"id": 9}}}, {"comment 9"}),
        ({"inputs": {"comment": "9", "model": "#4"}}, {"comment 9"}),
    ],
)
def test_a_run_belongs_to_what_started_it(changes: dict[str, Any], wanted: set[str]) -> None:
    run = {"id": 7, "event": "", "sha": "", "inputs": {}, "event_payload": {}, "pull_numbers": []}
    assert topics(run | changes) == {"run 7"} | wanted
