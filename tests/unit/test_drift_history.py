"""Checks over time: rows of drift, since when, snoozes, and what a damaged data branch does."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from trackside.config.load import load as load_config
from trackside.config.model import DriftPolicy, RetrainPolicy
from trackside.documents.codec import dump
from trackside.documents.verdict import Kind, Verdict, Window
from trackside.documents.verdict import Test as Found
from trackside.drift import render
from trackside.drift.course import classified
from trackside.drift.history import SILENT, began, courses, news, of_last, proposes, since, streak
from trackside.drift.scan import Scan
from trackside.drift.seasons import Seasons, of_reference
from trackside.drift.verdict import ORDER
from trackside.errors import ConfigError, DataError
from trackside.store import drift as store
from trackside.tables.table import open_table

NOW = datetime(2026, 3, 20, tzinfo=UTC)
SHORT: dict[str, Kind] = {"d": "drift", "o": "ok", "w": "warning", "i": "invalid_data", "n": "insufficient_data"}


def made(day: int, kind: Kind, version: str = "1.0.0", **more: Any) -> Verdict:
    moved = ["x"] if kind == "drift" else []
    return Verdict(
        model="delay",
        verdict=kind,
        reason_code="drift_found",
        as_of=(date(2026, 1, 1) + timedelta(days=day)).isoformat(),
        checked_at="2026-03-01T00:00:00Z",
        reference=Window(source="r", rows=10, version=version),
        current=Window(source="c", rows=10),
        **{"moved": moved, **more},
    )


def row(kinds: str) -> tuple[Verdict, list[Verdict]]:
    """The last verdict, and those before it, newest first."""
    all_of_them = [made(at, SHORT[kind]) for at, kind in enumerate(kinds)]
    return all_of_them[-1], all_of_them[-2::-1]


@pytest.mark.parametrize(
    ("kinds", "count", "first"),
    [
        ("d", 1, "2026-01-01"),
        ("ddd", 3, "2026-01-01"),
        ("dod", 1, "2026-01-03"),
        ("dwd", 1, "2026-01-03"),
        ("dinid", 2, "2026-01-01"),
        ("ddi", 2, "2026-01-01"),
        ("ddo", 0, ""),
        ("i", 0, ""),
        ("oddn", 2, "2026-01-02"),
    ],
)
def test_rows_of_drift(kinds: str, count: int, first: str) -> None:
    verdict, earlier = row(kinds)
    assert (streak(verdict, earlier), began(verdict, earlier)) == (count, first)


def test_another_version_starts_a_new_row() -> None:
    earlier = [made(2, "drift", "1.1.0"), made(1, "drift", "1.0.0")]
    assert streak(made(3, "drift", "1.1.0"), earlier) == 2
    assert since("x", made(3, "drift", "1.1.0"), earlier) == "2026-01-03"


@given(kinds=st.text("dowin", min_size=1, max_size=40))
def test_the_row_is_what_a_person_would_count(kinds: str) -> None:
    verdict, earlier = row(kinds)
    counted = 0
    for kind in reversed([SHORT[one] for one in kinds]):
        if kind not in (*SILENT, "drift"):
            break
        counted += kind == "drift"
    assert streak(verdict, earlier) == counted
    assert (counted > 0) == bool(began(verdict, earlier))


def test_when_retraining_is_proposed() -> None:
    policy = DriftPolicy(reference="r", current="c", retrain=RetrainPolicy(after=3))
    for kind in ORDER:
        for count in (0, 2, 3, 9):
            assert proposes(made(1, kind, streak=count), policy) == (kind == "drift" and count >= 3)
    assert not proposes(made(1, "drift", streak=9), DriftPolicy(reference="r", current="c"))


def test_a_columns_course_leaves_out_days_without_it() -> None:
    def effect(value: float) -> list[Found]:
        return [Found(heading="features", column="x", test="ks", effect=value, alarm=value > 0.1)]

    days = [made(0, "ok", tests=effect(0.02)), made(1, "invalid_data"), made(2, "drift", tests=effect(0.2))]
    assert [(one.as_of[-2:], one.effect, one.alarm) for one in courses(days)["x"]] == [
        ("01", 0.02, False),
        ("03", 0.2, True),
    ]


# Policy

WRITTEN = "version: 1\nmodels:\n  d:\n    path: m\n    drift:\n      reference: a.parquet\n      current: b\n"


@pytest.mark.parametrize(
    ("line", "found"),
    [("{}", (2, 0)), ("{after: 4}", (4, 0)), ("{after: 3 of 5}", (3, 5)), ("{after: 5 of 5}", (5, 5))],
)
def test_persistence_is_written_as_people_say_it(line: str, found: tuple[int, int]) -> None:
    policy = load_config(f"{WRITTEN}      retrain: {line}\n").models[0].drift
    assert policy is not None
    assert policy.retrain is not None
    assert (policy.retrain.after, policy.retrain.within) == found


@pytest.mark.parametrize(
    ("lines", "where", "words"),
    [
        (["retrain: {after: 6 of 5}"], 8, "6 of 5 checks can never be"),
        (["retrain: {after: 3 of 999}"], 8, "3 of 999 checks can never be"),
        (["retrain: {after: 0 of 5}"], 8, "after"),
        (["retrain: {after: often}"], 8, "after"),
        (["labels: l.csv"], 8, "joined on a key"),
        (["key: id", "labels: l.csv"], 9, "joined on a key"),
        (["labels-query: SELECT 1"], 8, "needs `labels`"),
        (["decision: 1.5"], 8, "decision"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_stands(lines: list[str], where: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(WRITTEN + "".join(f"      {line}\n" for line in lines))
    assert caught.value.line == where


# Courses


def days(
    effects: Sequence[float | None], *, threshold: float = 0.05, first: str = "2026-01-05", step: int = 1
) -> list[Verdict]:
    """A day each, newest first, judged in turn: alarms above 1.4 times the threshold; None for a day that is missing.

    Negative effects are of a mean that fell. The first day is a Monday.
    """
    verdicts: list[Verdict] = []
    for at, effect in enumerate(effects):
        if effect is None:
            continue
        size, alarm = abs(effect), abs(effect) > 1.4 * threshold
        test = Found(
            heading="features", column="x", test="ks", effect=size, low=max(0.0, size - 0.02), high=size + 0.02,
            threshold=threshold, alarm=alarm, kind="drift" if alarm else "ok", extra={"mean_shift": effect},
        )  # fmt: skip
        one = made(0, "drift" if alarm else "ok", tests=[test])
        as_of = (date.fromisoformat(first) + timedelta(days=at * step)).isoformat()
        one = structs.replace(one, as_of=as_of, moved=["x"] if alarm else [])
        verdicts.insert(0, structs.replace(one, courses=classified(one, verdicts)))
    return verdicts


def course_of(effects: Sequence[float | None], **more: Any) -> str:
    found = days(effects, **more)[0].courses.get("x")
    return f"{found.kind}: {found.evidence}" if found else ""


QUIET = [0.02, 0.03, 0.02, 0.025, 0.02, 0.03, 0.02]


@pytest.mark.parametrize(
    ("effects", "course"),
    [
        ([*QUIET], ""),
        ([0.3], "one-off: the first check against this version"),
        ([*QUIET, 0.3], "one-off: none of the 7 checks before"),
        ([*QUIET, 0.3, 0.02], "one-off: alarmed on 2026-01-12 alone; 0.02 today"),
        ([*QUIET, 0.3, 0.02, 0.02], ""),
        ([*QUIET, 0.3, 0.31], "persistent: 2 checks in a row since 2026-01-12"),
        ([0.3, 0.3, 0.3, 0.3, 0.3, 0.3], "persistent: 6 checks in a row since 2026-01-05"),
        ([*QUIET, 0.3, 0.31, 0.3, 0.29], "step: 4 checks in a row since 2026-01-12; 0.02357 before"),
        ([*QUIET, 0.3, None, None, 0.31, 0.29], "step: 3 checks in a row since 2026-01-12; 0.02357 before"),
        ([*QUIET, *(0.02 + 0.01 * at for at in range(20))], "trend: 15 checks in a row since 2026-01-17; 0.02 → 0.21"),
        ([*QUIET, -0.3, 0.3], "one-off: 1 of the 8 checks before found it"),
        ([*QUIET, 0.3, 0.02, 0.3, 0.02, 0.3], "persistent: comes and goes: 2 of the 6 checks before"),
    ],
)  # fmt: skip
def test_how_drift_runs(effects: list[float | None], course: str) -> None:
    found = course_of(effects)
    assert found.startswith(course)
    assert bool(found) == bool(course)


WEEK = [0.02, 0.02, 0.02, 0.02, 0.02, 0.3, 0.3]
"""Saturdays and Sundays are off."""


def test_a_week_is_known_by_its_second_weekend() -> None:
    verdicts = days([*WEEK, *WEEK])[::-1]
    assert [(one.as_of, one.courses["x"].kind) for one in verdicts if one.courses.get("x")] == [
        ("2026-01-10", "one-off"),
        ("2026-01-11", "persistent"),
        ("2026-01-17", "seasonal"),
        ("2026-01-18", "seasonal"),
    ]
    assert verdicts[-1].courses["x"].evidence == "Sundays show it: 0.3 on 1 of them before, 0.02 on other days"
    assert [streak(one, verdicts[:at][::-1]) for at, one in enumerate(verdicts)] == [*[0] * 5, 1, 2, *[0] * 7]


@pytest.mark.parametrize(
    ("effects", "kind"),
    [
        ([*WEEK, *WEEK, 0.02, 0.02, 0.02, 0.02, 0.02, 0.5], "one-off"),
        ([*WEEK, *WEEK, 0.02, 0.02, 0.02, 0.02, 0.02, -0.3], "one-off"),
        ([*WEEK, *WEEK, 0.3], "one-off"),
        ([*WEEK, *WEEK, 0.02, 0.02, 0.02, 0.02, 0.02, 0.31], "seasonal"),
        ([0.3] * 30, "persistent"),
    ],
)
def test_what_a_season_does_not_cover(effects: list[float | None], kind: str) -> None:
    """More than usual, the other way, on another day; and what is always there is no season."""
    assert course_of(effects).partition(":")[0] == kind


def test_a_step_does_not_become_its_own_season() -> None:
    """Sixty days after it, every weekday has shown it; still it counts."""
    verdicts = days([*QUIET, *QUIET, *[0.3] * 60])
    assert verdicts[0].courses["x"].kind in ("step", "persistent")
    assert streak(verdicts[0], verdicts[1:]) == 60


def test_the_time_of_year_is_known_from_the_year_before() -> None:
    year = [0.3 if 150 <= day < 240 else 0.02 for day in range(365)]
    verdicts = days([*year, *year[:200]], first="2024-01-01")
    found = verdicts[0].courses["x"]
    assert found.kind == "seasonal"
    assert found.evidence.startswith("the time around 18 July shows it: 0.3 to 0.3 on 3 of them before, 0.02 on")
    assert streak(verdicts[0], verdicts[1:]) == 0


def test_monthly_checks_know_last_years_month() -> None:
    year = [0.02] * 9 + [0.3] + [0.02] * 2
    assert course_of([*year, *year[:10]], step=30, first="2024-01-05").startswith("seasonal: the time around")


def test_drift_that_is_usual_proposes_nothing() -> None:
    policy = DriftPolicy(reference="r", current="c", retrain=RetrainPolicy(after=1))
    verdicts = days([*WEEK, *WEEK])
    newest = structs.replace(verdicts[0], streak=streak(verdicts[0], verdicts[1:]))
    assert newest.verdict == "drift"
    assert news(newest) == ()
    assert not proposes(newest, policy, verdicts[1:])
    first = verdicts[-6]
    assert news(first) == ("x",)
    assert proposes(structs.replace(first, streak=1), policy, verdicts[-5:])


def test_seasonal_columns_do_not_hide_others() -> None:
    usual = days([*WEEK, *WEEK])[0]
    other = structs.replace(usual.tests[0], column="y")
    both = structs.replace(usual, tests=[*usual.tests, other], moved=["x", "y"])
    assert news(both) == ("y",)


@given(kinds=st.text("dowin", min_size=1, max_size=30), k=st.integers(1, 6), more=st.integers(0, 6))
def test_k_of_m_is_what_a_person_would_count(kinds: str, k: int, more: int) -> None:
    verdict, earlier = row(kinds)
    made_ones = [SHORT[one] for one in reversed(kinds) if SHORT[one] not in SILENT]
    count = made_ones[: k + more].count("drift") if SHORT[kinds[-1]] == "drift" else 0
    assert of_last(verdict, earlier, k + more) == (count, len(made_ones[: k + more]))
    policy = DriftPolicy(reference="r", current="c", retrain=RetrainPolicy(after=k, within=k + more))
    assert proposes(verdict, policy, earlier) == (SHORT[kinds[-1]] == "drift" and count >= k)


def test_drift_holds_in_a_column_not_by_turns() -> None:
    """A row has a column that drifted at every check of it; of the last ones the column counts that did most often."""
    names = [["a"], ["a", "b"], ["b", "c"], ["c"], ["c"]]
    verdicts = [made(4 - at, "drift", moved=moved) for at, moved in enumerate(names)]
    assert [streak(one, verdicts[at + 1 :]) for at, one in enumerate(verdicts)] == [2, 2, 3, 2, 1]
    assert began(verdicts[0], verdicts[1:]) == "2026-01-04"
    assert [of_last(one, verdicts[at + 1 :], 4)[0] for at, one in enumerate(verdicts)] == [2, 2, 3, 2, 1]


def test_another_version_does_not_count_for_k_of_m() -> None:
    earlier = [made(2, "drift", "1.1.0"), made(1, "drift", "1.0.0"), made(0, "drift", "1.0.0")]
    assert of_last(made(3, "drift", "1.1.0"), earlier, 5) == (2, 2)


@settings(max_examples=150, deadline=None)
@given(
    effects=st.lists(
        st.one_of(st.none(), st.sampled_from([0.0, 0.02, 0.07, 0.3, -0.3, 1.0, 1e300, float("nan"), float("inf")])),
        max_size=40,
    )
)
def test_any_course_is_one_of_the_kinds(effects: list[float | None]) -> None:
    for one in days(effects):
        for found in one.courses.values():
            assert found.kind in ("one-off", "persistent", "seasonal", "trend", "step")
            assert found.evidence


def test_categories_that_move_to_other_levels_are_no_season() -> None:
    """The same size of an effect on two Sundays, the second time in other levels."""

    def levels(one: Verdict, shares: list[float]) -> Verdict:
        shape = {"kind": "levels", "names": ["a", "b", "c"], "reference": [0.4, 0.3, 0.3], "current": shares}
        return structs.replace(one, shapes={"x": shape}, courses={})

    verdicts = days([*WEEK, *WEEK])
    alike = [levels(verdicts[0], [0.2, 0.5, 0.3]), *(levels(one, [0.2, 0.5, 0.3]) for one in verdicts[1:])]
    assert classified(alike[0], alike[1:])["x"].kind == "seasonal"
    unlike = [levels(verdicts[0], [0.6, 0.1, 0.3]), *alike[1:]]
    assert classified(unlike[0], unlike[1:])["x"].kind != "seasonal"


# Seasons of the reference


def test_a_reference_with_times_tells_its_seasons(tmp_path: Path) -> None:
    """A year of rows, hours of weekends later by 3 and of July by 5: each cell's effect is that of its rows."""
    rng = np.random.default_rng(0)
    seconds = rng.integers(0, 366 * 86_400, 60_000) + int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
    at = [datetime.fromtimestamp(int(one), UTC) for one in seconds]
    hour = 10.0 + np.array([3.0 * (one.weekday() >= 5) + 5.0 * (one.month == 7) for one in at])
    for times in (pa.array(seconds * 1_000_000, pa.timestamp("us")), pa.array([one.isoformat() for one in at])):
        pq.write_table(
            pa.table({"at": times, "hour": hour, "late": rng.integers(0, 2, 60_000)}), tmp_path / "r.parquet"
        )

        def judged(scan: Scan) -> list[Found]:
            mean = scan.columns["hour"].numbers.mean
            assert scan.columns["late"].rows == scan.rows
            return [
                Found(
                    heading="features",
                    column="hour",
                    test="ks",
                    effect=abs(mean - 11.3),
                    extra={"mean_shift": mean - 11.3},
                )
            ]

        found = of_reference(open_table([tmp_path / "r.parquet"]), {"hour": "number", "late": "category"}, "at", judged)
        assert len(found.cells) == 84
        again = Seasons.from_document(json.loads(json.dumps(found.to_document())))
        same = again.around(date(2025, 7, 19), "ks", "hour")  # a Saturday
        assert same == pytest.approx([10 + 8 - 11.3, 10 + 3 - 11.3], abs=1e-3)
        assert again.around(date(2025, 3, 4), "ks", "hour") == pytest.approx([-1.3, -1.3], abs=1e-3)
        assert again.around(date(2025, 3, 4), "chi2", "hour") == []


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"cells": [], "tests": []},
        {"cells": [[1]], "tests": {}},
        {"cells": [[1, 2]], "tests": {"ks": {"x": [1, 2]}}},
    ],
)
def test_damaged_seasons_are_none(document: object) -> None:
    assert Seasons.from_document(document).around(date(2026, 1, 1), "ks", "x") == []


def test_the_days_that_tell_a_season_are_read() -> None:
    """Of three years of daily verdicts: the last two months, these weeks of earlier years, a seventh of last year."""
    first = date(2023, 1, 1)
    paths = [f"drift/delay/{first + timedelta(days=day)}.json" for day in range(1100)]
    chosen = store.seasons(
        "delay", ["drift/other/2025-12-01.json", "drift/delay/2025-02-30.json", *paths], "2026-01-01"
    )
    assert {f"drift/delay/2025-12-{day:02}.json" for day in range(1, 32)} <= set(chosen)
    assert {f"drift/delay/{year}-01-{day:02}.json" for day in range(1, 14) for year in (2024, 2025)} <= set(chosen)
    assert not any("/2024-06-" in path for path in chosen)
    assert all("delay" in path for path in chosen)
    assert len(chosen) < 200


# The data branch


def files(verdicts: Sequence[Verdict]) -> dict[str, bytes]:
    return {store.verdict_path(one.model, one.as_of): dump(one) for one in verdicts}


def test_a_damaged_branch_costs_only_what_is_damaged() -> None:
    good = files([made(0, "drift"), made(1, "ok")])
    bad = {
        "drift/delay/2026-01-05.json": b"{",
        "drift/delay/2026-01-06.json": dump(made(1, "drift")),
        "drift/delay/snooze.json": b"[]",
        "drift/delay/readme.txt": b"x",
        "drift/other/2026-01-07.json": dump(made(6, "drift")),
    }
    found = store.history("delay", good | bad)
    assert [one.as_of for one in found.verdicts] == ["2026-01-01", "2026-01-02"]
    assert found.snooze is None
    assert len(found.problems) == 3


def test_snoozes_end() -> None:
    def snoozed(until: str) -> bool:
        data = {"drift/delay/snooze.json": dump(store.Snooze(until=until, by="ada"))}
        return store.history("delay", data).snoozed(NOW) is not None

    assert snoozed("2026-03-21T00:00:00Z")
    assert snoozed("2026-03-20T01:00:00+00:00")
    assert not snoozed("2026-03-20T00:00:00Z")
    assert not snoozed("2026-03-20T01:00:00+02:00")
    assert not snoozed("for ever")


@pytest.mark.parametrize("model", ["", "../x", "a/b", "a b", ".git", "x" * 101])
def test_no_name_leads_elsewhere(model: str) -> None:
    with pytest.raises(DataError):
        store.verdict_path(model, "2026-01-01")


@pytest.mark.parametrize("day", ["", "2026-1-1", "../../x", "2026-01-01.json", "２０２６-01-01"])
def test_no_day_leads_elsewhere(day: str) -> None:
    with pytest.raises(DataError):
        store.verdict_path("delay", day)


def test_the_newest_days_are_read() -> None:
    paths = [f"drift/delay/2026-01-{day:02}.json" for day in range(1, 31)]
    others = ["drift/other/2026-02-01.json", "heartbeat/drift.json", "drift/delay/2026-01-01.txt"]
    assert store.wanted("delay", [*others, *reversed(paths)], 3) == [*paths[-3:], "drift/delay/snooze.json"]


def test_one_commit_a_check() -> None:
    old, new = made(0, "drift"), made(0, "drift", workflow_run="https://example.test/2", commit="c" * 40)
    other = made(1, "ok")
    commit = store.operations_for([(new, old), (other, None)], now=NOW)
    assert sorted(commit.files) == ["drift/delay/2026-01-02.json", "heartbeat/drift.json"]
    assert commit.message == "Drift check: delay drift, delay ok"


# Words of others


@settings(max_examples=150, deadline=None)
@given(
    column=st.text(min_size=1, max_size=60),
    sentence=st.text(max_size=300),
    problem=st.text(max_size=300),
    kind=st.sampled_from(ORDER),
)
def test_any_words_are_shown_as_words(column: str, sentence: str, problem: str, kind: Kind) -> None:
    """Names, sentences and errors may hold anything: no markup, no ping, no table break comes of it."""
    test = Found(heading="features", column=column, test="ks", effect=0.2, alarm=True, kind="drift", sentence=sentence)
    shapes = {
        column: {"kind": "levels", "names": [column, sentence], "reference": [0.5, 0.5], "current": [0.1, 0.9]},
        "other": {"kind": "steps", "edges": "none"},
    }
    verdict = made(3, kind, tests=[test], moved=[column], problems=[problem], shapes=shapes)
    page, text = render.page(verdict, [made(1, "drift")]), render.markdown(verdict, [made(1, "drift")])
    tags = set(re.findall(r"<([a-z/!]+)", text.lower()))
    assert tags <= {"br", "code", "/code"}, tags
    assert set(re.findall(r"<(script|img|iframe|a|form|input|object|link)\b", page.lower())) == set()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "<br>" in line]
    assert len(rows) == 1
    assert rows[0].count("|") == 6
    assert text.count("\n| ---") == 1
