"""How a column's drift runs over the days: usual for the season, or one-off, persistent, a trend, a step. Pure.

The effect of today is held against those of the same season's earlier days: the same weekday of the last weeks, the
same time of earlier years. Only what they do not show is news, and only news counts for retraining.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from trackside.documents.verdict import Course, Test, Verdict
from trackside.drift.seasons import Seasons, signed
from trackside.drift.words import figure
from trackside.sketch.values import Floats

WEEKS = 8
"""Weeks back in which the same weekday is looked at."""
AROUND = 10
"""Days around the same date of earlier years."""
YEARS = 3
OTHERS = 4
"""Checks of other days that must be there to call a day's effect its season's."""
LATELY = 6
"""Checks of which two others make an alarm that comes and goes more than a single one."""
RECENT = 62
"""Days in which a trend or a step is looked for."""
FAR = 1e9
"""Effects beyond are drawn in, so that their squares are numbers."""
CLEAR = 3.0
"""Standard errors by which a slope must differ from 0 to be a trend."""
WEEKDAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


@dataclass(frozen=True, kw_only=True)
class Day:
    """A column's test on one day: signed `effect` with its interval (of numbers by the way their mean moved)."""

    at: date
    effect: float
    low: float
    high: float
    alarm: bool
    threshold: float
    version: str
    moved: tuple[tuple[str, float], ...] = ()
    """Of categories, by how much each level's share changed."""
    usual: bool = False
    """Whether it was found to be the season's."""


_Indexed = tuple[Verdict, dict[tuple[str, str], Test]]


def followed(verdict: Verdict) -> dict[str, Test]:
    """By column that drifted, the test that says so most surely; not those of single segments."""
    made: dict[str, Test] = {}
    for test in verdict.tests:
        if not test.alarm or test.kind != "drift" or test.segment or test.effect is None:
            continue
        if test.column not in made or _sure(test) > _sure(made[test.column]):
            made[test.column] = test
    return made


def _sure(test: Test) -> float:
    return (test.low if test.low is not None else test.effect or 0.0) / (test.threshold or 1.0)


def classified(verdict: Verdict, earlier: Sequence[Verdict], seasons: Seasons | None = None) -> dict[str, Course]:
    """The course of every column that drifted today, and of those that did at the last check alone.

    Args:
        earlier: verdicts of earlier days, newest first; days may be missing.
        seasons: of the reference itself.
    """
    today = followed(verdict)
    made = {}
    rows = [_indexed(one) for one in (verdict, *(earlier if today else ()))]
    for column, test in today.items():
        days = _days(column, test.test, rows)
        if days:
            known = seasons.around(days[0].at, test.test, column) if seasons is not None else []
            made[column] = course(days, known)
    last = next((one for one in earlier if one.verdict not in ("insufficient_data", "invalid_data")), None)
    if last is None or verdict.verdict in ("insufficient_data", "invalid_data"):
        return made
    for column, test in followed(last).items():
        was = last.courses.get(column)
        if column in today or was is None or was.kind != "one-off":
            continue
        days = _days(column, test.test, rows[:1])
        if days:
            words = f"alarmed on {last.as_of} alone; {figure(abs(days[0].effect))} today"
            made[column] = Course(kind="one-off", evidence=words)
    return made


def _indexed(verdict: Verdict) -> _Indexed:
    return verdict, {(row.column, row.test): row for row in verdict.tests if not row.segment}


def _days(column: str, name: str, verdicts: Sequence[_Indexed]) -> list[Day]:
    """A column's test over the days, in the order given."""
    made = []
    for one, tests in verdicts:
        test = tests.get((column, name))
        if test is None or test.effect is None or not math.isfinite(test.effect):
            continue
        try:
            at = date.fromisoformat(one.as_of)
        except ValueError:
            continue
        effect = signed(test)
        sign = math.copysign(1.0, effect)
        low = test.low if test.low is not None else test.effect
        high = test.high if test.high is not None else test.effect
        made.append(
            Day(
                at=at,
                effect=effect,
                low=min(sign * low, sign * high),
                high=max(sign * low, sign * high),
                alarm=test.alarm,
                threshold=test.threshold or 0.0,
                version=one.reference.version,
                moved=_moved(one, column),
                usual=column in one.courses and one.courses[column].kind == "seasonal",
            )
        )
    return made


def _moved(verdict: Verdict, column: str) -> tuple[tuple[str, float], ...]:
    shape = verdict.shapes.get(column)
    if not isinstance(shape, dict) or shape.get("kind") not in ("levels", "values"):
        return ()
    names, before, now = (shape.get(part) for part in ("names", "reference", "current"))
    if not (isinstance(names, list) and isinstance(before, list) and isinstance(now, list)):
        return ()
    rows = zip(names, before, now, strict=False)
    return tuple((str(name), q - p) for name, p, q in rows if isinstance(p, int | float) and isinstance(q, int | float))


def course(days: Sequence[Day], known: Sequence[float] = ()) -> Course:
    """The course of a column that drifted today.

    Args:
        days: of the same test, newest first, today's among them; days may be missing.
        known: effects of today's season in the reference. No other season is asked: within the reference it is usual.
    """
    today, past = days[0], days[1:]
    words = _within(today, known)
    usual = f"the reference's {today.at:%A}s around {today.at:%B} show it: {words}" if words else season(today, past)
    if usual:
        return Course(kind="seasonal", evidence=usual)
    own = [day for day in past if day.version == today.version]
    row = [today]
    for day in own:
        if not day.alarm or day.usual or not _same_way(day, today):
            break
        row.append(day)
    quiet = [day for day in own[len(row) - 1 :] if (today.at - day.at).days <= RECENT]
    found = sum(day.alarm for day in quiet)
    if len(row) == 1:
        if not quiet:
            return Course(kind="one-off", evidence="the first check against this version")
        often = sum(day.alarm and not day.usual and _same_way(day, today) for day in quiet[:LATELY])
        if often >= 2:
            return Course(
                kind="persistent", evidence=f"comes and goes: {often} of the {len(quiet[:LATELY])} checks before"
            )
        words = (
            f"{found} of the {len(quiet)} checks before found it"
            if found
            else f"none of the {len(quiet)} checks before"
        )
        return Course(kind="one-off", evidence=words)
    return _shape_of(list(reversed(row)), list(reversed(quiet)))


def season(today: Day, past: Sequence[Day]) -> str:
    """Words where today's effect is what this weekday, or this time of the year, has shown before; else empty.

    Days of the row of alarms that today ends are left out: a step must not become its own baseline.
    """
    before = _before_row(today, past)
    weekday, around = WEEKDAYS[today.at.weekday()], f"{today.at.day} {today.at:%B}"
    recent = [day for day in before if (today.at - day.at).days <= 7 * WEEKS]
    same = [day for day in recent if day.at.weekday() == today.at.weekday()]
    others = [day for day in recent if day.at.weekday() != today.at.weekday()]
    words = _usual(today, _own(same, today), _own(others, today))
    if words:
        return f"{weekday} show it: {words}"
    years = [day for day in past if 366 - AROUND - 1 <= (today.at - day.at).days <= 366 * YEARS + AROUND]
    same = [day for day in years if _off(day.at, today.at) <= AROUND]
    others = [day for day in past if _off(day.at, today.at) > 3 * AROUND and (today.at - day.at).days > AROUND]
    of_weekday = [day for day in same if day.at.weekday() == today.at.weekday()]
    words = _usual(today, of_weekday if len(of_weekday) >= 2 else same, others)
    return f"the time around {around} shows it: {words}" if words else ""


def _before_row(today: Day, past: Sequence[Day]) -> list[Day]:
    for at, day in enumerate(past):
        if not day.alarm or not _same_way(day, today) or day.version != today.version:
            return list(past[at:])
    return []


def _own(days: Sequence[Day], today: Day) -> list[Day]:
    """Days against today's version; while it has none, those against the one before it."""
    own = [day for day in days if day.version == today.version]
    if own or not days:
        return own
    return [day for day in days if day.version == days[0].version]


def _off(one: date, other: date) -> int:
    """Days between two dates within the year, whichever way is shorter."""
    apart = abs(one.timetuple().tm_yday - other.timetuple().tm_yday)
    return min(apart, 365 - apart)


def _usual(today: Day, same: Sequence[Day], others: Sequence[Day]) -> str:
    """Whether days of the same season show today's effect and enough others do not, in words."""
    unlike = [day for day in others if not day.alarm or not _same_way(day, today)]
    if len(others) < OTHERS or 4 * len(unlike) < len(others):
        return ""
    if 2 * sum(_same_way(day, today) for day in same) < len(same):
        return ""
    words = _within(today, [day.effect for day in same])
    rest = float(np.median([abs(day.effect) for day in unlike]))
    return f"{words} before, {figure(rest)} on other days" if words else ""


def _within(today: Day, effects: Sequence[float]) -> str:
    """Whether today's interval meets the range of a season's effects, widened by half of what matters, in words."""
    if not effects:
        return ""
    way = math.copysign(1.0, today.effect)
    found = sorted(way * effect for effect in effects)
    if len(found) >= 5:  # one odd day at either end is no season
        found = found[1:-1]
    margin = today.threshold / 2
    low, high = sorted((way * today.low, way * today.high))
    if found[-1] < today.threshold or low > found[-1] + margin or high < found[0] - margin:
        return ""
    span = figure(found[0]) if len(effects) == 1 else f"{figure(found[0])} to {figure(found[-1])}"
    return f"{span} on {len(effects)} of them"


def _same_way(one: Day, other: Day) -> bool:
    """Whether two days moved alike: numbers in the same direction, categories mostly in the same levels."""
    if one.effect * other.effect < 0:
        return False
    if one.moved and other.moved:
        shares = dict(other.moved)
        return sum(by * shares.get(name, 0.0) for name, by in one.moved) >= 0
    return True


def _shape_of(row: list[Day], before: list[Day]) -> Course:
    """Trend, step, or neither: by which of a line and a jump leaves less, over the row and as many days before.

    Args:
        row: days of the row of alarms, oldest first, two or more.
        before: checks before it, oldest first.
    """
    since = f"{len(row)} checks in a row since {row[0].at.isoformat()}"
    calm = [day for day in before if not day.alarm][-max(7, len(row)) :]
    window = [*calm, *row]
    if len(row) < 3 or len(window) < 6:
        return Course(kind="persistent", evidence=since)
    x = np.array([(day.at - window[0].at).days for day in window], dtype=np.float64)
    y = np.minimum(np.abs([day.effect for day in window]), FAR)
    slope, error, left = _line(x, y)
    jump = _jump(y)
    step = float(((y - jump) ** 2).sum())
    rise = slope * (x[-1] - x[0])
    if slope > CLEAR * error and left < step and rise >= row[-1].threshold / 2:
        return Course(
            kind="trend",
            evidence=f"{since}; {figure(y[0])} → {figure(y[-1])} in {x[-1] - x[0]:.0f} days, {figure(slope)} a day",
        )
    at = int(np.flatnonzero(np.diff(jump))[0]) + 1 if np.any(np.diff(jump)) else 0
    if len(calm) >= 3 and at and jump[-1] - jump[0] >= row[-1].threshold / 2:
        return Course(
            kind="step",
            evidence=f"{since}; {figure(jump[0])} before {window[at].at.isoformat()}, {figure(jump[-1])} from then on",
        )
    return Course(kind="persistent", evidence=since)


def _line(x: Floats, y: Floats) -> tuple[float, float, float]:
    """Least squares: slope, its standard error, and the sum of squares that is left."""
    spread = float(((x - x.mean()) ** 2).sum())
    if not spread:
        return 0.0, math.inf, float(((y - y.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    left = float(((y - y.mean() - slope * (x - x.mean())) ** 2).sum())
    return slope, math.sqrt(left / max(1, x.size - 2) / spread), left


def _jump(y: Floats) -> Floats:
    """The mean before and the mean after the one change that leaves the least squares, shape (n,)."""
    best, made = math.inf, np.full(y.size, y.mean())
    for at in range(1, y.size):
        left = float(((y[:at] - y[:at].mean()) ** 2).sum() + ((y[at:] - y[at:].mean()) ** 2).sum())
        if left < best:
            best = left
            made = np.concatenate((np.full(at, y[:at].mean()), np.full(y.size - at, y[at:].mean())))
    return made
