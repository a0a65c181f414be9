"""How often a drift check cries over nothing, and how surely it finds what matters: the study behind the thresholds.

Prints the table of docs/drift-accuracy.md and exits with 1 where a figure is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from accuracy_world import Column, Rng, columns, counted, normal, of_levels
from scipy import stats

from trackside.config.model import DriftPolicy
from trackside.drift.scan import Scan
from trackside.drift.verdict import Judged, Reference, judge
from trackside.sketch.column import Sketch

POLICY = DriftPolicy(reference="r", current="c")
SIZES = (
    (200, 200), (500, 200), (200, 2000), (1000, 1000), (5000, 1000), (1000, 20_000),
    (10_000, 10_000), (100_000, 10_000), (20_000, 200_000), (1_000_000, 1_000_000),
)  # fmt: skip
"""Rows of the reference and of the current data."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table. `share` of `cases` alarmed; [`low`, `high`] is the exact 95 % interval of that rate."""

    name: str
    reference: int
    current: int
    alarms: int
    cases: int
    target: str
    met: bool
    what: dict[str, int]

    @property
    def share(self) -> float:
        return self.alarms / self.cases

    @property
    def interval(self) -> tuple[float, float]:
        low = stats.beta.ppf(0.025, self.alarms, self.cases - self.alarms + 1) if self.alarms else 0.0
        return float(low), upper(self.alarms, self.cases)


def upper(alarms: int, cases: int) -> float:
    """One-sided exact 95 % bound of a rate (Clopper & Pearson 1934)."""
    return float(stats.beta.ppf(0.95, alarms + 1, cases - alarms)) if alarms < cases else 1.0


def check(before: dict[str, Sketch], now: dict[str, Sketch], rows: int) -> Judged:
    """A check of two tables that are sketched already."""
    reference = Reference(columns=before, roles=dict.fromkeys(before, "feature"))
    return judge(reference, Scan(rows=rows, columns=now), POLICY, brief=True)


def tables(rng: Rng, n: int, m: int, moved: Sequence[Column] = ()) -> tuple[dict[str, Sketch], dict[str, Sketch]]:
    """A reference of thirty columns and current data, of which the columns of the same name as `moved` are its."""
    known = columns()
    other = {one.name: one for one in moved}
    before = {one.name: one.draw(rng, n) for one in known}
    return before, {one.name: other.get(one.name, one).draw(rng, m) for one in known}


def nothing(seed: int, n: int, m: int, cases: int) -> Counter[str]:
    """How many checks of unchanged data alarm, as "any", and which tests do."""
    rng = np.random.default_rng(seed)
    found: Counter[str] = Counter()
    for _ in range(cases):
        alarmed = [test for test in check(*tables(rng, n, m), m).tests if test.alarm]
        found["any"] += bool(alarmed)
        found.update(f"{test.test} of {test.column}" for test in alarmed)
    return found


MOVES: dict[str, Column] = {
    "a shift of .25 σ": Column(name="normal", quantile=lambda u: normal(u) + 0.25),
    "a rate of 10 % becomes 17.5 % (0 or 1)": Column(
        name="0 or 1, 10 %", quantile=lambda u: (u < 0.175).astype(np.float64)
    ),
    "a rate of 10 % becomes 17.5 % (truths)": Column(
        name="truth", kind="boolean", shares=np.array([0.825, 0.175]), missing=0.05
    ),
    "a new level of 2 %": of_levels("20 levels", np.append(np.full(20, 0.98 / 20), 0.02), missing=0.02),
    "missing 2 % become 6 %": Column(name="normal, missing", quantile=normal, missing=0.06),
    "a deviation half as large again": Column(name="normal", quantile=lambda u: 1.5 * normal(u)),
    "a twentieth is a constant": Column(name="normal", quantile=lambda u: np.where(u < 0.05, 4.0, normal(u))),
    "a level of 5 % is gone": of_levels("20 levels", np.append(np.ones(19), 0.0), missing=0.02),
    "half of the zeros are values": Column(
        name="half zeros",
        quantile=lambda u: np.where(u < 0.25, 0.0, -np.log1p(-np.clip((u - 0.25) / 0.75, 0, 1 - 1e-16))),
    ),
}
POWER: tuple[tuple[str, int, float | None], ...] = (
    ("a shift of .25 σ", 2000, 0.95),
    ("a shift of .25 σ", 1000, None),
    ("a shift of .25 σ", 1001, None),
    ("a rate of 10 % becomes 17.5 % (0 or 1)", 2000, 0.95),
    ("a rate of 10 % becomes 17.5 % (0 or 1)", 1000, None),
    ("a rate of 10 % becomes 17.5 % (0 or 1)", 1001, None),
    ("a rate of 10 % becomes 17.5 % (truths)", 2000, 0.95),
    ("a new level of 2 %", 10_000, 0.95),
    ("a new level of 2 %", 1000, None),
    ("a new level of 2 %", 1001, None),
    ("missing 2 % become 6 %", 10_000, 0.95),
    ("missing 2 % become 6 %", 1000, None),
    ("missing 2 % become 6 %", 1001, None),
    ("a deviation half as large again", 2000, None),
    ("a twentieth is a constant", 10_000, None),
    ("a level of 5 % is gone", 10_000, None),
    ("half of the zeros are values", 2000, None),
)
"""What moved, rows of either side, and the least share of checks that must find it."""


def moved(seed: int, name: str, n: int, cases: int) -> Counter[str]:
    """How many checks find a column that moved among 29 that did not; and how many alarm on one of those."""
    rng = np.random.default_rng(seed)
    found: Counter[str] = Counter()
    for _ in range(cases):
        judged = check(*tables(rng, n, n, [MOVES[name]]), n)
        found["any"] += MOVES[name].name in judged.moved
        found["another column"] += bool(set(judged.moved) - {MOVES[name].name})
        found.update(test.test for test in judged.tests if test.alarm)
    return found


def trifle(seed: int, n: int, cases: int) -> Counter[str]:
    """A shift of .02 σ in a million rows, by 8,000 cells of the normal distribution."""
    rng = np.random.default_rng(seed)
    edges = np.linspace(-6, 6, 8001)
    middle = (edges[1:] + edges[:-1]) / 2
    p, q = (np.diff(stats.norm.cdf(edges - shift)) for shift in (0.0, 0.02))
    found: Counter[str] = Counter()
    for _ in range(cases):
        before, now = (
            {"x": Sketch(kind="number", rows=n, numbers=counted(middle, rng.multinomial(n, one / one.sum())))}
            for one in (p, q)
        )
        found["any"] += bool(check(before, now, n).moved)
    return found


Task = tuple[Callable[..., "Counter[str]"], tuple[int | str, ...]]


def _work(task: Task) -> Counter[str]:
    return task[0](*task[1])


def spread(pool: ProcessPoolExecutor, task: Callable[..., Counter[str]], seed: int, *words: int | str) -> Counter[str]:
    """A task in parts of 25 cases, each with its own seed; the last word is the number of cases."""
    cases = int(words[-1])
    parts = [min(25, cases - at) for at in range(0, cases, 25)]
    work = [(task, (seed * 1_000_003 + at, *words[:-1], part)) for at, part in enumerate(parts)]
    found: Counter[str] = Counter()
    for one in pool.map(_work, work):
        found.update(one)
    return found


def study(cases: int, null: int) -> list[Row]:
    """All lines; `null` checks of unchanged data in total, `cases` of each thing that moved."""
    made: list[Row] = []
    with ProcessPoolExecutor(2) as pool:
        each = max(1, null // len(SIZES))
        for at, (n, m) in enumerate(SIZES):
            found = spread(pool, nothing, 7100 + at, n, m, each)
            made.append(_row("nothing", n, m, found, each, "", True))
        total = sum((Counter(row.what) for row in made), Counter({"any": sum(row.alarms for row in made)}))
        bound = upper(total["any"], each * len(SIZES))
        all_of = _row("nothing, all sizes", 0, 0, total, each * len(SIZES), "95 % bound ≤ 1 %", bound <= 0.01)
        made.append(all_of)
        for at, (name, n, least) in enumerate(POWER):
            found = spread(pool, moved, 7200 + at, name, n, cases)
            met = least is None or found["any"] >= least * cases
            made.append(_row(name, n, n, found, cases, f"≥ {least:.0%}" if least else "", met))
        for name in dict.fromkeys(name for name, n, _ in POWER if n == 1001):
            one, two = (row.share for row in made if row.name == name and row.current in (1000, 1001))
            made = [
                replace(row, target="≤ 10 points from 1,000", met=abs(one - two) <= 0.1)
                if row.name == name and row.current == 1001
                else row
                for row in made
            ]
        found = spread(pool, trifle, 7300, 1_000_000, max(1, cases // 2))
        made.append(_row("a shift of .02 σ", 10**6, 10**6, found, max(1, cases // 2), "none", not found["any"]))
    return made


def _row(name: str, n: int, m: int, found: Counter[str], cases: int, target: str, met: bool) -> Row:
    what = {key: count for key, count in sorted(found.items()) if key != "any" and count}
    print(f"{name} {n:,}/{m:,}: {found['any']} of {cases}; {what}", file=sys.stderr, flush=True)
    return Row(name=name, reference=n, current=m, alarms=found["any"], cases=cases, target=target, met=met, what=what)


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "| what moved | reference | current | checks | alarms | rate | 95 % bounds | target | |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | --- | --- |",
    ]
    for row in rows:
        sizes = f"{row.reference:,} | {row.current:,}" if row.current else " | "
        low, high = row.interval
        mark = ("met" if row.met else "missed") if row.target else ""
        lines.append(
            f"| {row.name} | {sizes} | {row.cases:,} | {row.alarms:,} | {100 * row.share:.1f} % "
            f"| {100 * low:.2f} to {100 * high:.2f} % | {row.target} | {mark} |"
        )
    return "\n".join(lines)


PAGE = """# How right a drift check is

Written by `make bench-accuracy` (`benchmarks/accuracy.py`), with the thresholds and the `alpha` of 0.05 that a check
has by default. Each check compares thirty columns: normal, skewed and heavy-tailed numbers (Cauchy, Pareto 1.2),
rounded ones and whole numbers with ties, 50 to 97 % zeros, 0 and 1, truths, 2 to 5,000 levels, equal and mostly rare,
and up to 80 % of values missing. Both sides are drawn anew for every check. An alarm is any test of any column,
warnings on data quality included; where something moved, an alarm on the column that did.

{table}

Bounds are exact (Clopper & Pearson 1934): the lower one at 97.5 %, the upper one at 95 %. Beyond 20,000 rows numbers
are drawn from a population of 8,000 values, so that counts can be drawn instead of rows.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, help="checks of each thing that moved")
    parser.add_argument("--null", type=int, default=4000, help="checks of unchanged data")
    parser.add_argument("--out", type=Path, metavar="PAGE", help="write the table there, as a page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args()
    started = time.monotonic()
    rows = study(arguments.cases, arguments.null)
    print(table(rows))
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    if arguments.out:
        arguments.out.write_text(PAGE.format(table=table(rows)))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False) + "\n")
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
