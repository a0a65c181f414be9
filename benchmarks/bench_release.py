"""The merge of a trained pull request: shipped workflows, by act, until its release is public."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from measure import Figure, figure

from loop_world import SOURCE, Repo, World, executed, params

RELEASE = ".github/workflows/release.yml"
TARGET = 8.0
ROUNDS = 5
LIMIT = 240.0
CALLS, WRITES = 12, 12


def measure(*, quick: bool) -> list[Figure]:
    """Pull requests that improve the model, trained, then merged one after the other.

    Raises:
        RuntimeError: a release did not come.
    """
    walls: list[float] = []
    calls: list[int] = []
    writes: list[int] = []
    ran = 0
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name))
        world.sandbox.start()
        world.dispatcher.start()
        try:
            text = (SOURCE / "workflows/release.yml").read_text().partition("\n  image:")[0]
            repo = world.repo({RELEASE: text.encode()})
            for turn in range(1 if quick else ROUNDS + 1):
                number = repo.pull(f"turn{turn}", params(0.75 + turn / 100))
                before = stages(repo)
                wall = until_public(repo, number)
                repo.settle()
                ran += stages(repo) - before
                made = repo.calls(repo.runs(RELEASE)[-1], "register")
                if turn or quick:  # the first one warms caches up
                    walls.append(wall)
                    calls.append(len(made))
                    writes.append(sum(method != "GET" for method, _, _ in made))
        finally:
            world.sandbox.stop()
    return [
        figure("merge of a trained pull request, until its release is public", walls, "s", TARGET),
        Figure(name="the same, stages executed", value=ran, unit="", bound=0, spread=f"n = {len(walls)}"),
        Figure(
            name="the same, API calls", value=max(calls), unit="", bound=CALLS, spread=f"the most of n = {len(calls)}"
        ),
        Figure(
            name="the same, writes among them", value=max(writes), unit="", bound=WRITES, spread=f"n = {len(writes)}"
        ),
    ]


def until_public(repo: Repo, number: int) -> float:
    """Wall seconds from the merge to the public release."""
    there = len(public(repo))
    started = time.perf_counter()
    repo.hub.merge_pull(repo.name, number, repo.person())
    while len(public(repo)) == there:
        if time.perf_counter() - started > LIMIT:
            raise RuntimeError(f"no release after {LIMIT:.0f} s\n{repo.logs()}")
        time.sleep(0.02)
    return time.perf_counter() - started


def public(repo: Repo) -> list[dict[str, Any]]:
    return repo.state.list("release", repo.name, draft=False)


def stages(repo: Repo) -> int:
    return sum(len(executed(run)) for run in repo.records().values())
