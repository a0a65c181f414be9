"""Years of daily checks: seasons are told from change, and what is proposed is counted.

Thirty columns, ten each without a season, with a week, with a week and a year. A day is a sample of 1,000 rows; the
effect is Kolmogorov-Smirnov's D against the whole year before, judged as a check judges it. The longer study, with
the engine itself reading tables, is `benchmarks/drift/year.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import kolmogorov, ndtr

from trackside.config.model import DriftPolicy, RetrainPolicy
from trackside.documents.proposal import Proposal
from trackside.documents.verdict import Test as Found
from trackside.documents.verdict import Verdict, Window
from trackside.drift.check import Asked, check
from trackside.drift.course import classified
from trackside.drift.history import streak
from trackside.drift.profile import build
from trackside.drift.seasons import Seasons
from trackside.retrain.decide import Facts, decide
from trackside.store import drift as store
from trackside.tables.sources import Data

COLUMNS, ROWS, THRESHOLD, ALPHA = 30, 1000, 0.05, 0.05
FIRST = date(2024, 1, 1)
GRID = np.linspace(-4, 4, 65)
Shift = Callable[..., np.ndarray]
"""Day → change of each column's mean in σ, shape (30,), beside the season."""


def season(day: int) -> np.ndarray:
    """σ by which each column's mean is off on a day."""
    at = FIRST + timedelta(days=day)
    week = (0.5 if at.weekday() >= 5 else 0.0) * np.where(np.arange(COLUMNS) % 2, -1, 1)
    year = 0.6 * np.sin(2 * np.pi * (at.timetuple().tm_yday / 365.25 + np.arange(COLUMNS) / COLUMNS))
    kind = np.arange(COLUMNS) // 10
    return np.where(kind >= 1, week, 0.0) + np.where(kind == 2, year, 0.0)


@dataclass
class Year:
    """Runs checks day by day, each reading the history that its stage would read from the data branch."""

    shift: Shift
    seed: int
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    seasons: Seasons | None = None

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        every = np.stack([season(day) for day in range(-366, 0)])
        self.reference = ndtr(GRID[None, None, :] - every[:, :, None]).mean(axis=0)
        self.noise = np.zeros(COLUMNS)

    def effects(self, day: int) -> tuple[np.ndarray, np.ndarray]:
        """D of every column, and the way its mean moved. Days wander a little of themselves, as real ones do."""
        self.noise = 0.5 * self.noise + self.rng.normal(0, 0.03, COLUMNS)
        means = season(day) + self.noise + self.shift(day)
        ends = ndtr(GRID[None, :] - means[:, None])
        shares = np.diff(ends, prepend=0.0, append=1.0, axis=1)
        counts = self.rng.multinomial(ROWS, shares / shares.sum(axis=1, keepdims=True))
        apart = np.cumsum(counts, axis=1)[:, :-1] / ROWS - self.reference
        return np.abs(apart).max(axis=1), -np.sign(apart.sum(axis=1))

    def check(self, day: int) -> Verdict:
        apart, way = self.effects(day)
        reach = np.sqrt(np.log(2 / ALPHA) / 2 / ROWS)
        p = kolmogorov(np.maximum(0.0, apart - THRESHOLD) * np.sqrt(ROWS))
        order = np.argsort(p)
        q = np.empty(COLUMNS)
        q[order] = np.minimum.accumulate((p[order] * COLUMNS / np.arange(1, COLUMNS + 1))[::-1])[::-1]
        alarm = (apart - reach > THRESHOLD) & (q < ALPHA)
        tests = [
            Found(
                heading="features", column=f"x{at}", test="ks", effect=float(apart[at]),
                low=float(max(0.0, apart[at] - reach)), high=float(apart[at] + reach), threshold=THRESHOLD,
                alarm=bool(alarm[at]), kind="drift" if alarm[at] else "ok", extra={"mean_shift": float(way[at])},
            )
            for at in range(COLUMNS)
        ]  # fmt: skip
        as_of = (FIRST + timedelta(days=day)).isoformat()
        return Verdict(
            model="m", verdict="drift" if alarm.any() else "ok", reason_code="drift_found", as_of=as_of,
            checked_at=f"{as_of}T04:00:00Z", reference=Window(source="r", rows=10**6, version="1.0.0"),
            current=Window(source="c", rows=ROWS), tests=tests,
            moved=[test.column for test in tests if test.alarm],
        )  # fmt: skip

    def known(self) -> Seasons:
        """The seasons of the reference, whose rows are those of the year before."""
        cells: dict[tuple[int, int], list[np.ndarray]] = {}
        for day in range(-366, 0):
            at = FIRST + timedelta(days=day)
            self.noise = 0.5 * self.noise + self.rng.normal(0, 0.03, COLUMNS)
            cells.setdefault((at.weekday(), at.month), []).append(ndtr(GRID - (season(day) + self.noise)[:, None]))
        names = sorted(cells)
        apart = np.stack([np.mean(cells[name], axis=0) for name in names]) - self.reference
        signed = -np.abs(apart).max(axis=2) * np.sign(apart.sum(axis=2))
        return Seasons(cells=tuple(names), effects={("ks", f"x{at}"): signed[:, at].tolist() for at in range(COLUMNS)})

    def run(self, days: range) -> None:
        for day in days:
            verdict = self.check(day)
            earlier = read(self.verdicts, verdict.as_of)
            verdict = msgspec.structs.replace(verdict, courses=classified(verdict, earlier, self.seasons))
            verdict = msgspec.structs.replace(verdict, streak=streak(verdict, earlier))
            self.verdicts[verdict.as_of] = verdict


def read(verdicts: Mapping[str, Verdict], as_of: str) -> list[Verdict]:
    """What the stage reads of the data branch, newest first."""
    paths = {store.verdict_path("m", one): one for one in verdicts if one < as_of}
    kept = {*store.wanted("m", paths, 29), *store.seasons("m", paths, as_of)} & set(paths)
    return [verdicts[paths[path]] for path in sorted(kept, reverse=True)]


def proposed(verdicts: Mapping[str, Verdict], policy: RetrainPolicy, days: range) -> list[int]:
    """Days on which retraining is proposed. Whoever is asked closes it at once, which is the worst case: only the
    cool-down keeps the next one back.
    """
    made: list[int] = []
    for day in days:
        as_of = (FIRST + timedelta(days=day)).isoformat()
        last = None
        if made:
            at = (FIRST + timedelta(days=made[-1])).isoformat() + "T00:00:00Z"
            last = Proposal(
                model="m", pull_request=1, branch="b", base="c", as_of=at[:10], why="drift", proposed_at=at,
                refreshed_at=at,
            )  # fmt: skip
        history = [verdicts[as_of], *(verdicts[one] for one in sorted(verdicts, reverse=True) if one < as_of)][:29]
        now = datetime.combine(FIRST + timedelta(days=day), datetime.min.time(), tzinfo=UTC)
        facts = Facts(model="m", policy=policy, history=history, pulls=[], last=last, snoozed_until="", now=now)
        if decide(facts).action == "propose":
            made.append(day)
    return made


def still(_: int) -> np.ndarray:
    return np.zeros(COLUMNS)


POLICIES = (RetrainPolicy(after=2), RetrainPolicy(after=3, within=5))
NAMES = ["2 in a row", "3 of 5"]


@pytest.fixture(scope="module")
def recorded() -> dict[str, Verdict]:
    """Two years of seasons without change."""
    years = Year(still, seed=1)
    years.run(range(731))
    return years.verdicts


@pytest.mark.parametrize("policy", POLICIES, ids=NAMES)
def test_a_year_of_seasons_proposes_once_at_most(policy: RetrainPolicy, recorded: dict[str, Verdict]) -> None:
    """After a year on record, a year of weeks and seasons without change."""
    made = proposed(recorded, policy, range(366, 731))
    second = [one for as_of, one in recorded.items() if as_of >= "2025"]
    found = [course.kind for one in second for course in one.courses.values()]
    alarms = sum(one.verdict == "drift" for one in second)
    print(
        f"{len(second)} days, {alarms} with drift: {len(made)} proposals;"
        f" {found.count('seasonal')} of {len(found)} courses seasonal"
    )
    assert len(second) == 365
    assert alarms > 200, "the seasons are to be strong enough to alarm"
    assert len(made) <= 1


def test_the_first_year_is_as_quiet_where_the_reference_tells_its_seasons() -> None:
    """No history at all; the reference has a column of times."""
    year = Year(still, seed=7)
    year.seasons = Seasons.from_document(json.loads(json.dumps(year.known().to_document())))
    year.run(range(366))
    alarms = sum(one.verdict == "drift" for one in year.verdicts.values())
    made = {name: proposed(year.verdicts, policy, range(366)) for name, policy in zip(NAMES, POLICIES, strict=True)}
    print(f"366 days, {alarms} with drift: proposed on days {made}")
    assert alarms > 200
    assert all(len(found) <= 1 for found in made.values())


@pytest.mark.parametrize("column", [0, 15, 25], ids=["no season", "week", "week and year"])
def test_a_step_is_proposed_where_only_the_reference_tells_the_season(column: int) -> None:
    waits = []
    for begins in (30, 120, 250):
        way = 1.0 if season(begins)[column] >= 0 else -1.0
        moved = np.where(np.arange(COLUMNS) == column, 0.6 * way, 0.0)
        year = Year(lambda day, moved=moved, begins=begins: moved if day >= begins else moved * 0.0, seed=begins)
        year.seasons = year.known()
        year.run(range(begins - 3, begins + 4))
        waits.append([day - begins + 1 for day in proposed(year.verdicts, POLICIES[0], range(begins - 3, begins + 4))])
    print(f"proposed on days {waits} of the step")
    assert waits == [[2], [2], [2]]


@pytest.mark.parametrize("column", [0, 15, 25], ids=["no season", "week", "week and year"])
def test_a_step_is_proposed_in_time(column: int, recorded: dict[str, Verdict]) -> None:
    """0.6 σ further off than the season, at four times of the year: within the checks that the policy asks for.

    Towards the reference's mean it would be no drift from the reference.
    """
    waits: dict[str, list[int]] = {name: [] for name in NAMES}
    for begins in (390, 470, 560, 650):
        way = 1.0 if season(begins)[column] >= 0 else -1.0
        moved = np.where(np.arange(COLUMNS) == column, 0.6 * way, 0.0)
        first = (FIRST + timedelta(days=begins)).isoformat()
        year = Year(
            lambda _, moved=moved: moved, seed=begins, verdicts={at: one for at, one in recorded.items() if at < first}
        )
        year.run(range(begins, begins + 5))
        for name, policy in zip(NAMES, POLICIES, strict=True):
            waits[name] += [day - begins + 1 for day in proposed(year.verdicts, policy, range(begins - 8, begins + 5))]
    print(f"proposed on days {waits} of the step")
    assert all(len(found) == 4 for found in waits.values())
    assert all(wait == 2 for wait in waits[NAMES[0]])
    assert all(3 <= wait <= 5 for wait in waits[NAMES[1]])


def test_a_profile_carries_the_seasons_to_the_first_check(tmp_path: Path) -> None:
    """From tables: a reference of a year, then a Saturday in July like those of the reference, and one unlike them."""
    rng = np.random.default_rng(3)

    def day(at: date, rows: int, more: float = 0.0) -> dict[str, pa.Array]:
        begin = int(datetime.combine(at, datetime.min.time(), tzinfo=UTC).timestamp())
        seconds = np.sort(rng.integers(begin, begin + 86_400, rows))
        late = 0.8 * (at.weekday() >= 5) + 0.8 * (at.month == 7) + more
        return {
            "at": pa.array(seconds * 1_000_000, pa.timestamp("us")),
            "load": pa.array(rng.normal(late, 1.0, rows)),
            "calm": pa.array(rng.normal(0.0, 1.0, rows)),
        }

    def write(name: str, tables: list[dict[str, pa.Array]]) -> Path:
        pq.write_table(pa.concat_tables([pa.table(one) for one in tables]), tmp_path / name)
        return tmp_path / name

    policy = DriftPolicy(reference="reference.parquet", current="current.parquet", time="at")
    days = [date(2025, 1, 1) + timedelta(days=at) for at in range(365)]
    profile = build(write("reference.parquet", [day(at, 60) for at in days]), policy, "m")
    assert len(profile.details["seasons"]["cells"]) == 84
    seasons = Seasons.from_document(profile.details["seasons"])
    found = {}
    for name, more in (("usual", 0.0), ("more", 0.8)):
        current = write(f"{name}.parquet", [day(date(2026, 7, 18), 2000, more)])
        verdict = check(
            profile, Data(source=name, files=(current,), digest=""), policy,
            Asked(model="m", as_of="2026-07-18", checked_at="2026-07-19T04:00:00Z"),
        )  # fmt: skip
        assert verdict.verdict == "drift"
        assert verdict.moved == ["load"]
        found[name] = classified(verdict, [], seasons)["load"]
    assert found["usual"].kind == "seasonal"
    assert found["usual"].evidence.startswith("the reference's Saturdays around July show it: ")
    assert found["more"].kind == "one-off"
