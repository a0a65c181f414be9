"""Years of daily checks by the engine itself: what is proposed where only seasons change, and how soon a step is.

Prints a table and exits with 1 where a target is missed. Thirty columns (twenty of numbers, ten of categories): ten
without a season, ten with a week (0.5 σ), ten with a week and a year (0.6 σ); days wander a little of themselves. The
reference is a table of the year before with a column of times; each day is a table of its own, counted and judged.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/unit"))
from test_drift_year import COLUMNS, FIRST, NAMES, POLICIES, proposed, read, season

from trackside.config.model import DriftPolicy
from trackside.documents.verdict import Verdict, Window
from trackside.drift.course import classified
from trackside.drift.history import streak
from trackside.drift.scan import Scan, scan
from trackside.drift.seasons import Seasons, of_reference
from trackside.drift.verdict import Reference, judge
from trackside.sketch.column import ColumnCounter
from trackside.sketch.values import Kind
from trackside.tables.table import open_table

POLICY = DriftPolicy(reference="r", current="c")
KINDS: dict[str, Kind] = {f"x{at}": "category" if at % 3 == 2 else "number" for at in range(COLUMNS)}
LEVELS = 12


class World:
    """Draws days. Columns of numbers are normal, skewed or rounded; categories tilt with the shift."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.noise = np.zeros(COLUMNS)

    def day(self, day: int, rows: int, extra: np.ndarray | None = None) -> dict[str, pa.Array]:
        self.noise = 0.5 * self.noise + self.rng.normal(0, 0.03, COLUMNS)
        means = season(day) + self.noise + (extra if extra is not None else 0.0)
        made = {}
        for at, (name, kind) in enumerate(KINDS.items()):
            if kind == "category":
                weights = np.exp(-np.arange(LEVELS) / 4 + means[at] * np.linspace(-1, 1, LEVELS))
                made[name] = pa.array(self.rng.choice(LEVELS, rows, p=weights / weights.sum()).astype(str))
            else:
                values = self.rng.normal(means[at], 1.0, rows)
                made[name] = pa.array(
                    np.exp(values / 2) if at % 4 == 0 else np.rint(8 * values) if at % 4 == 1 else values
                )
        return made


def reference(folder: Path, world: World, rows: int) -> tuple[Reference, Seasons]:
    """The year before as a table, read as a profile reads it."""
    tables = []
    for day in range(-366, 0):
        begin = int(datetime.combine(FIRST + timedelta(days=day), datetime.min.time(), tzinfo=UTC).timestamp())
        times = pa.array(np.full(rows, begin * 1_000_000), pa.timestamp("us"))
        tables.append(pa.table({**world.day(day, rows), "at": times}))
    path = folder / "reference.parquet"
    pq.write_table(pa.concat_tables(tables), path)
    table = open_table([path])
    made = Reference(columns=scan(table, KINDS).columns, roles=dict.fromkeys(KINDS, "feature"))
    return made, of_reference(table, KINDS, "at", lambda found: judge(made, found, POLICY).tests)


def check(known: Reference, day: int, columns: dict[str, pa.Array]) -> Verdict:
    """A day's verdict, without its course."""
    sketches = {}
    for name, array in columns.items():
        counter = ColumnCounter(KINDS[name])
        counter.add(array)
        sketches[name] = counter.done()
    rows = len(next(iter(columns.values())))
    found = judge(known, Scan(rows=rows, columns=sketches), POLICY)
    as_of = (FIRST + timedelta(days=day)).isoformat()
    return Verdict(
        model="m", verdict=found.kind, reason_code=found.reason_code, as_of=as_of, checked_at=f"{as_of}T04:00:00Z",
        reference=Window(source="r", rows=0, version="1.0.0"), current=Window(source="c", rows=rows),
        tests=list(found.tests), moved=list(found.moved), shapes=dict(found.shapes),
    )  # fmt: skip


def run(checks: Mapping[int, Verdict], seasons: Seasons | None) -> dict[str, Verdict]:
    """Checks day by day, each with the history that its stage would read."""
    made: dict[str, Verdict] = {}
    for one in checks.values():
        earlier = read(made, one.as_of)
        one = msgspec.structs.replace(one, courses=classified(one, earlier, seasons))
        made[one.as_of] = msgspec.structs.replace(one, streak=streak(one, earlier))
    return made


def steps(known: Reference, seasons: Seasons, rows: int, size: float, begins: range) -> dict[str, list[int]]:
    """Days from a step in one column to the proposal, by policy; 0 where there was none."""
    waits: dict[str, list[int]] = {name: [] for name in NAMES}
    for at, begin in enumerate(begins):
        column = (7 * at) % COLUMNS
        way = 1.0 if season(begin)[column] >= 0 else -1.0
        moved = np.where(np.arange(COLUMNS) == column, size * way, 0.0)
        days = range(begin - 3, begin + 6)

        world = World(1000 + at)
        checks = {day: check(known, day, world.day(day, rows, moved if day >= begin else None)) for day in days}
        verdicts = run(checks, seasons)
        for name, policy in zip(NAMES, POLICIES, strict=True):
            found = [day - begin + 1 for day in proposed(verdicts, policy, days) if day >= begin]
            waits[name].append(found[0] if found else 0)
    return waits


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000, help="a day")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a month instead of years: shows that it runs")
    arguments = parser.parse_args()
    begun, rows, length = time.process_time(), arguments.rows, 31 if arguments.quick else 366
    with tempfile.TemporaryDirectory() as folder:
        known, seasons = reference(Path(folder), World(arguments.seed), 300)
    lines, good = [], True
    world = World(arguments.seed + 1)
    checks = {day: check(known, day, world.day(day, rows)) for day in range(2 * length)}
    first, cold = run({day: checks[day] for day in range(length)}, seasons), run(checks, None)
    for name, verdicts, days, judged in (
        ("first year, seasons known from the reference", first, range(length), True),
        ("first year, nothing known", cold, range(length), False),
        ("second year, a year on record", cold, range(length, 2 * length), not arguments.quick),
    ):
        chosen = [verdicts[(FIRST + timedelta(days=day)).isoformat()] for day in days]
        alarms = sum(one.verdict == "drift" for one in chosen)
        counts = [len(proposed(verdicts, policy, days)) for policy in POLICIES]
        courses = [course.kind for one in chosen for course in one.courses.values()]
        good &= not judged or max(counts) <= 1
        lines.append(f"| {name} | {alarms} of {len(days)} | {' / '.join(map(str, counts))} | "
                     f"{courses.count('seasonal'):,} of {len(courses):,} |")  # fmt: skip
    print(f"| | days with drift | proposals ({' / '.join(NAMES)}) | seasonal courses |\n| --- | --- | --- | --- |")
    print("\n".join(lines))
    for size in (0.6, 0.3):
        waits = steps(known, seasons, rows, size, range(20, 350, 200 if arguments.quick else 16))
        for name, policy in zip(NAMES, POLICIES, strict=True):
            within = policy.within or policy.after
            found = sum(0 < wait <= within for wait in waits[name])
            good &= size < 0.6 or found >= 0.95 * len(waits[name])
            print(f"a step of {size} σ, {name}: {found} of {len(waits[name])} within {within} checks: {waits[name]}")
    print(f"{time.process_time() - begun:.0f} s CPU")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
