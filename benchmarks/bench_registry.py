"""The registry at 100, 1,000 and 10,000 tags: `models list` and `models which`, side by side with `gto show`.

CPU is that of the whole process with git, which it starts. Tags are annotated and packed, as in a fresh clone.
"""

from __future__ import annotations

import itertools
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from measure import ROOT, Child, Figure, core_python, figure, machine_env, program, run_child

SIZES = (100, 1_000, 10_000)
ROUNDS = 7
MODELS = 10
STAGES = ("staging", "prod")
LIST, WHICH, MEMORY, FASTER, GROWTH = 0.6, 0.35, 0.045, 50.0, 12.0
SLOW = 5_000
"""From so many tags on GTO is run but once."""


def measure(*, quick: bool) -> list[Figure]:
    """Beside our figures those of GTO 1.10.1, of the same repositories in the same run."""
    sizes = SIZES[:1] if quick else SIZES
    python = core_python()
    env = machine_env(PYTHONPATH=str(ROOT / "src"))
    made: list[Figure] = []
    ours: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as name:
        for size in sizes:
            repo = Path(name) / f"r{size}"
            write(repo, size)
            top = size == SIZES[-1]
            rounds = 1 if quick else ROUNDS
            us = [python, "-P", "-m", "trackside", "models"]
            listed = children([*us, "list"], repo, env, rounds)
            which = children([*us, "which", "model-3#prod"], repo, env, rounds)
            assert which[0].stdout.decode().startswith("v"), which[0].stdout
            gto = children([program("gto"), "show"], repo, machine_env(), 1 if size > SLOW else rounds)
            ours[size] = statistics.median(one.cpu for one in listed)
            tags = f"{size:,} tags"
            made += [
                figure(f"{tags}: `models list`, CPU", [one.cpu for one in listed], "s", LIST if top else None),
                figure(f"{tags}: `models which model-3#prod`, CPU", cpus(which), "s", WHICH if top else None),
                figure(f"{tags}: `gto show`, CPU", cpus(gto), "s"),
                times(f"{tags}: `gto show` ÷ `models list`, CPU", gto, listed, FASTER if top else None),
            ]
            if top:
                made.append(figure(f"{tags}: `models list`, peak memory", peaks(listed), "GB", MEMORY))
                made.append(figure(f"{tags}: `models which`, peak memory", peaks(which), "GB"))
                made.append(figure(f"{tags}: `gto show`, peak memory", peaks(gto), "GB"))
    for small, large in itertools.pairwise(sizes):
        name = f"`models list`: growth from {small:,} to {large:,} tags"
        made.append(Figure(name=name, value=ours[large] / ours[small], unit="×", bound=GROWTH))
    return made


def children(argv: Sequence[str | Path], repo: Path, env: dict[str, str], rounds: int) -> list[Child]:
    """The first run, which warms caches up, is thrown away unless there is but one."""
    runs = [run_child(argv, cwd=repo, env=env) for _ in range(rounds + (rounds > 1))]
    return runs[-rounds:]


def cpus(runs: Sequence[Child]) -> list[float]:
    return [one.cpu for one in runs]


def peaks(runs: Sequence[Child]) -> list[float]:
    return [one.peak for one in runs]


def times(name: str, slow: Sequence[Child], fast: Sequence[Child], bound: float | None) -> Figure:
    value = statistics.median(cpus(slow)) / statistics.median(cpus(fast))
    return Figure(name=name, value=value, unit="×", bound=bound, higher=True)


def write(repo: Path, tags: int) -> None:
    """A repository whose models each have versions and promotions in turn, with messages as Trackside writes them."""
    subprocess.run(["git", "init", "-q", "-b", "main", repo], check=True)
    stream = "".join(_stream(tags)).encode()
    subprocess.run(["git", "-C", repo, "fast-import", "--quiet"], input=stream, check=True)
    subprocess.run(["git", "-C", repo, "pack-refs", "--all"], check=True)
    subprocess.run(["git", "-C", repo, "reset", "-q", "--hard", "main"], check=True)


def _stream(tags: int) -> Iterator[str]:
    """For git fast-import: of three tags of a model one is a version, two are promotions of it."""
    versions = [0] * MODELS
    counters = [0] * MODELS
    for number in range(tags):
        turn, model = divmod(number, MODELS)
        who = f"Ada <ada@example.org> {1_700_000_000 + 60 * number} +0000"
        kind = turn % 3
        if kind == 0:
            versions[model] += 1
            message = f"Register version {versions[model]}\n"
            yield f"commit refs/heads/main\nmark :{number + 1}\ncommitter {who}\ndata {len(message)}\n{message}\n"
        patch = versions[model]
        version = f"{patch // 400}.{patch // 20 % 20}.{patch % 20}"
        mark = (turn - kind) * MODELS + model + 1
        if kind == 0:
            name = f"model-{model}@v{version}"
            trailers = f"Run-Id: {number:012x}\nStatement-Sha256: {number:064x}\nModel-Sha256: {number:064x}"
        else:
            counters[model] += 1
            name = f"model-{model}#{STAGES[kind - 1]}#{counters[model]}"
            trailers = f"Version: {version}\nActor: ada\nReason: better on the newest month\nRun: {number}"
        text = f"What was done to model-{model}\n\n{trailers}\n"
        yield f"tag {name}\nfrom :{mark}\ntagger {who}\ndata {len(text)}\n{text}\n"
