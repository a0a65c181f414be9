"""Two tables of 30 columns: exact, by profiles and against a stored profile, beside the peers and the read floor.

Every figure is of whole processes, the start of Python among it; those that are compared take turns.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from measure import CACHE, ROOT, Child, Figure, figure, machine_env, run_child, shown

HERE = ROOT / "benchmarks/drift"
SMALL, LARGE, TINY = 1_000_000, 10_000_000, 1_000
PEERS = {
    "Evidently 0.7.23": ("evidently", ["evidently==0.7.23", "pandas==2.3.3", "pyarrow==26.0.1"]),
    "NannyML 0.13.1": ("nannyml", ["nannyml==0.13.1", "statsmodels==0.15.0", "pyarrow==26.0.1"]),
    "whylogs 1.6.4": ("whylogs", ["whylogs[viz]==1.6.4", "numpy==1.26.4", "pandas==2.2.3", "pyarrow==17.0.0"]),
}
"""The requirements beside the peer itself are what its own ones leave open or miss."""


@dataclass
class Runs:
    """What the processes of one kind took."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)

    def add(self, one: Child) -> None:
        self.wall.append(one.wall)
        self.cpu.append(one.cpu)
        self.peak.append(one.peak)

    @property
    def middle(self) -> float:
        return statistics.median(self.wall)

    @property
    def said(self) -> str:
        return (
            f"{shown(statistics.median(self.cpu), 's')} CPU, {shown(max(self.peak), 'GB')}; "
            f"{shown(min(self.wall), 's')} to {shown(max(self.wall), 's')}, n = {len(self.wall)}"
        )


def measure(*, quick: bool, peers: bool = True) -> list[Figure]:
    """All figures; `quick` takes small tables, one round and no peers.

    Raises:
        RuntimeError: a process failed, or a verdict is not what the tables hold.
    """
    folder = CACHE / "drift"
    folder.mkdir(parents=True, exist_ok=True)
    small, large = (20_000, 200_000) if quick else (SMALL, LARGE)
    made: list[Figure] = []
    first = _ours(folder, small, rounds=1 if quick else 5)
    second = _ours(folder, large, rounds=1 if quick else 3)
    made += _small(first, small)
    made += _large(first, second, large / small, large)
    made += _start(folder, rounds=1 if quick else 7)
    if peers and not quick:
        made += _peers(folder, small, first["exact"])
    return made


def _many(rows: int) -> str:
    return f"{rows // 1_000_000}M" if rows >= 1_000_000 else f"{rows:,}"


def tables(folder: Path, rows: int) -> tuple[Path, Path]:
    """Made by a process of its own, once."""
    found = folder / f"{rows}-reference.parquet", folder / f"{rows}-current.parquet"
    if not all(path.exists() for path in found):
        subprocess.run([sys.executable, HERE / "tables.py", folder, str(rows)], check=True)
    return found


def _trackside(*words: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", "trackside", "drift", *words]


def _run(folder: Path, argv: Sequence[str | Path]) -> Child:
    return run_child(argv, cwd=folder, env=machine_env(PYTHONPATH=str(ROOT / "src")))


def _ours(folder: Path, rows: int, rounds: int) -> dict[str, Runs]:
    """The floor and Trackside's three ways, turn by turn, after one turn that warms the page cache up."""
    reference, current = tables(folder, rows)
    profile = folder / f"{rows}.json"
    (folder / "trackside.yaml").write_text(
        "version: 1\nmodels: {bench: {path: model.bin, drift: {reference: reference.parquet, current: c.parquet}}}\n"
    )
    _run(folder, _trackside("profile", "--reference", reference, "--out", profile, "--quiet"))
    ways: dict[str, list[str | Path]] = {
        "floor": [sys.executable, HERE / "floor.py", reference, current],
        "exact": _trackside("compare", reference, current, "--exact", "--json"),
        "profiles": _trackside("compare", reference, current, "--no-exact", "--json"),
        "stored": _trackside("compare", profile, current, "--json"),
    }
    made = {name: Runs() for name in ways}
    for turn in range(rounds + 1):
        for name, argv in ways.items():
            done = _run(folder, argv)
            if turn or rounds == 1:
                made[name].add(done)
            if name != "floor":
                _right(name, json.loads(done.stdout))
    return made


def _right(name: str, verdict: dict[str, object]) -> None:
    """The three columns that moved, and no other."""
    moved = sorted(verdict["moved"]) if isinstance(verdict["moved"], list) else []
    if moved != ["c03", "n00", "n11"]:
        raise RuntimeError(f"{name} finds {moved} instead of the three columns that moved")


def _small(runs: dict[str, Runs], rows: int) -> list[Figure]:
    what = f"{_many(rows)} + {_many(rows)} rows × 30 columns"
    floor = runs["floor"]
    made = [
        Figure(
            name=f"{what}: stream all columns with pyarrow (the floor)", value=floor.middle, unit="s", spread=floor.said
        )
    ]
    for name in ("exact", "profiles", "stored"):
        made.append(Figure(name=f"{what}: {WORDS[name]}", value=runs[name].middle, unit="s", spread=runs[name].said))
    made.append(
        Figure(name=f"{what}, exact: times the floor", value=runs["exact"].middle / floor.middle, unit="×", bound=6.5)
    )
    made.append(Figure(name=f"{what}, exact: peak memory", value=max(runs["exact"].peak), unit="GB", bound=0.5))
    return made


WORDS = {"exact": "exact", "profiles": "by profiles of both", "stored": "current data against a stored profile"}


def _large(small: dict[str, Runs], runs: dict[str, Runs], grown: float, rows: int) -> list[Figure]:
    what = f"{_many(rows)} + {_many(rows)} rows × 30 columns"
    floor = runs["floor"]
    made = [
        Figure(
            name=f"{what}: stream all columns with pyarrow (the floor)", value=floor.middle, unit="s", spread=floor.said
        )
    ]
    for name in ("exact", "profiles", "stored"):
        made.append(Figure(name=f"{what}: {WORDS[name]}", value=runs[name].middle, unit="s", spread=runs[name].said))
    for name, times, memory in (("exact", 2.5, 1.2), ("profiles", 1.5, 0.6)):
        made.append(
            Figure(
                name=f"{what}, {WORDS[name]}: times the floor",
                value=runs[name].middle / floor.middle,
                unit="×",
                bound=times,
            )
        )
        made.append(
            Figure(name=f"{what}, {WORDS[name]}: peak memory", value=max(runs[name].peak), unit="GB", bound=memory)
        )
    made.append(
        Figure(
            name=f"{what}: stored profile ÷ two files",
            value=runs["stored"].middle / runs["profiles"].middle,
            unit="×",
            bound=0.7,
        )
    )
    for name in ("exact", "profiles"):
        ratio = runs[name].middle / small[name].middle
        made.append(
            Figure(name=f"{WORDS[name]}: growth with {grown:.0f} times the rows", value=ratio, unit="×", bound=11)
        )
    return made


def _start(folder: Path, rounds: int) -> list[Figure]:
    """`drift check` on 1,000 rows in a project, imports and all."""
    reference, current = tables(folder, TINY)
    project = folder / "project"
    project.mkdir(exist_ok=True)
    shutil.copy(reference, project / "reference.parquet")
    shutil.copy(current, project / "current.parquet")
    (project / "trackside.yaml").write_text(
        "version: 1\nmodels:\n  bench:\n    path: model.bin\n"
        "    drift: {reference: reference.parquet, current: current.parquet}\n"
    )
    made: list[float] = []
    for turn in range(rounds + 1):
        done = _run(project, _trackside("check", "--fail-on", "never"))
        made += [done.cpu] if turn else []
    return [figure("`drift check` on 1,000 rows, start and imports: CPU", made, "s", 1.5)]


def _peers(folder: Path, rows: int, ours: Runs) -> list[Figure]:
    """Each peer once, in an environment of its own."""
    reference, current = tables(folder, rows)
    made: list[Figure] = []
    for name, (program, requirements) in PEERS.items():
        python = environment(program, requirements)
        done = Runs()
        done.add(_run(folder, [python, "-W", "ignore", HERE / f"peer_{program}.py", reference, current]))
        what = f"{name}, {_many(rows)} + {_many(rows)} rows"
        made.append(Figure(name=what, value=done.middle, unit="s", spread=done.said))
        made.append(
            Figure(
                name=f"{what}: times as long as Trackside, exact",
                value=done.middle / ours.middle,
                unit="×",
                bound=50.0 if program == "evidently" else None,
                higher=True,
            )
        )
    return made


def environment(name: str, requirements: list[str], install: Callable[..., object] = subprocess.run) -> Path:
    """Python of a virtual environment with these packages, kept between runs."""
    place = CACHE / "peers" / name
    python = place / "bin/python"
    mark = place / "requirements.txt"
    if mark.is_file() and mark.read_text().split() == requirements:
        return python
    uv = Path(sys.executable).with_name("uv")
    install([uv, "venv", "--quiet", "--clear", "--python", sys.executable, place], check=True)
    install([uv, "pip", "install", "--quiet", "--python", python, *requirements], check=True)
    mark.write_text("\n".join(requirements) + "\n")
    return python
