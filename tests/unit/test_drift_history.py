"""Checks over time: rows of drift, since when, snoozes, and what a damaged data branch does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.config.model import DriftPolicy, RetrainPolicy
from trackside.documents.codec import dump
from trackside.documents.verdict import Kind, Verdict, Window
from trackside.documents.verdict import Test as Found
from trackside.drift import render
from trackside.drift.history import SILENT, began, courses, proposes, since, streak
from trackside.drift.verdict import ORDER
from trackside.errors import DataError
from trackside.store import drift as store

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
