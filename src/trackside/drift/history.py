"""Checks over time: how long drift has held, since when each column has moved, and whether to propose retraining."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from trackside.config.model import DriftPolicy
from trackside.documents.verdict import Test, Verdict

SILENT = ("insufficient_data", "invalid_data")
"""Checks that could not be made: they neither count nor break a streak."""
MAIN = ("ks", "wasserstein", "chi2", "metric", "missing", "new levels")
"""Tests whose effect is followed over time, the first of a column that exists."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A column's effect on one day."""

    as_of: str
    effect: float
    alarm: bool


def news(verdict: Verdict) -> tuple[str, ...]:
    """Columns whose drift counts for retraining: what is usual for the season does not."""
    if verdict.verdict != "drift":
        return ()
    found = dict.fromkeys(test.column for test in verdict.tests if test.alarm and test.kind == "drift")
    usual = {name for name, course in verdict.courses.items() if course.kind == "seasonal"}
    return tuple(name for name in (found or dict.fromkeys(verdict.moved)) if name not in usual)


def streak(verdict: Verdict, earlier: Sequence[Verdict]) -> int:
    """Checks in a row that found drift, this one included: in one column at least that is the same in all of them.

    Only those against the same version count: a new model starts anew. A check that could not be made keeps the count
    of those before it. Drift that is usual for the season is none.

    Args:
        earlier: verdicts of earlier days, newest first.
    """
    return len(_row(verdict, earlier))


def began(verdict: Verdict, earlier: Sequence[Verdict]) -> str:
    """The first day of that row; empty where no check of it found drift."""
    days = _row(verdict, earlier)
    return days[-1] if days else ""


def _row(verdict: Verdict, earlier: Sequence[Verdict]) -> list[str]:
    """Days of the checks in a row that found drift in one column at least, the same in all; newest first."""
    days: list[str] = []
    held: set[str] | None = None
    for one in _made(verdict, earlier):
        if not _found(one):
            break
        held = set(news(one)) if held is None else held & set(news(one))
        if not held and one.moved:
            break
        days.append(one.as_of)
    return days


def _made(verdict: Verdict, earlier: Sequence[Verdict]) -> Iterator[Verdict]:
    """Checks of the same version that could be made, newest first."""
    for one in (verdict, *earlier):
        if one.reference.version != verdict.reference.version:
            return
        if one.verdict not in SILENT:
            yield one


def _found(verdict: Verdict) -> bool:
    return verdict.verdict == "drift" and (not verdict.courses or bool(news(verdict)))


def of_last(verdict: Verdict, earlier: Sequence[Verdict], within: int) -> tuple[int, int]:
    """Checks that found drift among the last `within` that could be made, and how many there are so far.

    Of the columns that drifted today the one counts that did most often.
    """
    last = list(islice(_made(verdict, earlier), within))
    counts = Counter(name for one in last if _found(one) for name in news(one))
    return max((counts[name] for name in news(verdict)), default=0), len(last)


def proposes(verdict: Verdict, policy: DriftPolicy, earlier: Sequence[Verdict] = ()) -> bool:
    """Whether drift has held long enough to retrain; the cool-down is the proposal's own matter."""
    retrain = policy.retrain
    if retrain is None or not _found(verdict):
        return False
    if retrain.within:
        return of_last(verdict, earlier, retrain.within)[0] >= retrain.after
    return verdict.streak >= retrain.after


def main_tests(verdict: Verdict) -> dict[str, Test]:
    """By column, the test that is followed over time."""
    rank = {name: at for at, name in enumerate(MAIN)}
    found: dict[str, Test] = {}
    for test in verdict.tests:
        if test.effect is None or test.test not in rank or test.segment:
            continue
        if test.column not in found or rank[test.test] < rank[found[test.column].test]:
            found[test.column] = test
    return found


def main_test(verdict: Verdict, column: str) -> Test | None:
    """The test of a column that is followed over time."""
    return main_tests(verdict).get(column)


def courses(verdicts: Sequence[Verdict]) -> dict[str, list[Point]]:
    """By column, its effect over the days, in the order given; days without its test are left out."""
    made: dict[str, list[Point]] = {}
    for one in verdicts:
        for column, test in main_tests(one).items():
            made.setdefault(column, []).append(Point(as_of=one.as_of, effect=test.effect or 0.0, alarm=test.alarm))
    return made


def since(column: str, verdict: Verdict, earlier: Sequence[Verdict]) -> str:
    """The first day of the checks in a row in which a column alarmed, against the same version."""
    first = verdict.as_of
    for one in earlier:
        if one.reference.version != verdict.reference.version:
            break
        if one.verdict in SILENT:
            continue
        if column not in one.moved:
            break
        first = one.as_of
    return first
