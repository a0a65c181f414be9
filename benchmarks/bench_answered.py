"""A pull request whose inputs a recorded run answers: shipped workflows, by act, until its check is green."""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

from measure import Figure, figure

from loop_world import MODEL, TRAIN, Repo, World, params

TARGET = 10.0
ROUNDS = 5
LIMIT = 240.0


def measure(*, quick: bool) -> list[Figure]:
    """Pull requests that change words only, in turn with some that want what another one has trained.

    Raises:
        RuntimeError: a check did not become green, or an exchange was off GitHub's description.
    """
    walls: list[float] = []
    cpus: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name))
        world.sandbox.start()
        world.dispatcher.start()
        try:
            repo = world.repo()
            repo.train_main()
            better = params(0.8)
            repo.pull("better", better)
            before = trainings(repo)
            for turn in range(2 if quick else 2 * ROUNDS + 1):
                words = {"README.md": f"# tiny, turn {turn}\n".encode()}
                wall, cpu = to_green(repo, f"turn{turn}", {**words, **(better if turn % 2 else {})})
                if turn:  # the first one warms caches up
                    walls.append(wall)
                    cpus.append(cpu)
            started = trainings(repo) - before
        finally:
            world.sandbox.stop()
    return [
        figure("pull request with answered inputs, until its check is green", walls, "s", TARGET),
        figure("pull request with answered inputs, CPU of its workflow", cpus, "s"),
        Figure(
            name="pull request with answered inputs, stages executed",
            value=started,
            unit="",
            bound=0,
            spread=f"n = {len(walls)}",
        ),
    ]


def to_green(repo: Repo, branch: str, files: dict[str, bytes]) -> tuple[float, float]:
    """Wall seconds from opening a pull request to its green check; CPU seconds of the workflow's processes."""
    repo.push(branch, dict(files))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    number = repo.hub.open_pull(repo.name, title=branch, head=branch, base="main", actor=repo.person())
    head = repo.head(number)
    while not any(one["conclusion"] == "success" for one in repo.checks(head)):
        if time.perf_counter() - started > LIMIT:
            raise RuntimeError(f"no green check after {LIMIT:.0f} s\n{repo.logs()}")
        time.sleep(0.02)
    wall = time.perf_counter() - started
    repo.settle()
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    check = repo.check(number)
    if (check["name"], check["conclusion"]) != (f"trackside / {MODEL}", "success"):
        raise RuntimeError(f"the check is {check['name']!r}: {check['conclusion']}")
    return wall, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def trainings(repo: Repo) -> int:
    """Stages whose commands ran, over all recorded runs, and training workflows: neither may grow."""
    ran = sum(stage.outcome == "executed" for run in repo.records().values() for stage in run.stages)
    return ran + len(repo.runs(TRAIN))
