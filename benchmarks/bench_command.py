"""A `/train` comment: the shipped gate, by act, until the run that it dispatched is there."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from measure import Figure, figure

from loop_world import PLAN, POLICY, SOURCE, Repo, World, params

COMMAND = ".github/workflows/command.yml"
TARGET = 3.0
CALLS = 8
ROUNDS = 7
LIMIT = 120.0


def measure(*, quick: bool) -> list[Figure]:
    """One pull request, commented on again and again; what is started is cancelled at once.

    Raises:
        RuntimeError: nothing was started.
    """
    walls: list[float] = []
    calls: list[int] = []
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name))
        world.sandbox.start()
        world.dispatcher.start()
        try:
            policy = POLICY.replace("train:\n", "train:\n  on: command\n").encode()
            gate = (SOURCE / "workflows/command.yml").read_bytes()
            repo = world.repo({"trackside.yaml": policy, COMMAND: gate})
            number = repo.pull("asked", params(0.8))
            time.sleep(1.1)  # a push of the comment's own second vouches for nothing
            for turn in range(1 if quick else ROUNDS + 1):
                wall = until_started(repo, number)
                if turn or quick:  # the first one warms caches up
                    walls.append(wall)
                    calls.append(len(repo.calls(repo.runs(COMMAND)[-1], "gate")))
        finally:
            world.sandbox.stop()
    return [
        figure("/train comment, until the dispatched run is there", walls, "s", TARGET, note="with the job's set-up"),
        Figure(
            name="the same, API calls of the gate",
            value=max(calls),
            unit="",
            bound=CALLS,
            spread=f"the most of n = {len(calls)}",
        ),
    ]


def until_started(repo: Repo, number: int) -> float:
    """Wall seconds from the comment to the run that the gate dispatched."""
    there = len(asked(repo))
    started = time.perf_counter()
    repo.hub.add_comment(repo.name, number, "/train", repo.person())
    while len(asked(repo)) == there:
        if time.perf_counter() - started > LIMIT:
            raise RuntimeError(f"nothing was started after {LIMIT:.0f} s\n{repo.logs()}")
        time.sleep(0.01)
    wall = time.perf_counter() - started
    repo.dispatcher.cancel(repo.name, asked(repo)[-1]["id"])
    repo.settle()
    return wall


def asked(repo: Repo) -> list[dict[str, Any]]:
    return [one for one in repo.runs(PLAN) if one["event"] == "workflow_dispatch"]
