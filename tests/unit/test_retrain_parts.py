"""When retraining is due, what it changes and what it says: the pure parts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.config.model import RetrainPolicy
from trackside.documents.proposal import Changed, Proposal
from trackside.documents.verdict import Kind, Verdict, Window
from trackside.documents.verdict import Test as Row
from trackside.errors import ConfigError
from trackside.forge.model import Pull
from trackside.retrain.body import Words, body, heading, message
from trackside.retrain.change import set_params
from trackside.retrain.decide import Facts, branch_of, decide

NOW = datetime(2026, 3, 31, 4, 43, tzinfo=UTC)
POLICY = RetrainPolicy(after=2, cooldown_days=7)


def verdict(kind: Kind = "drift", *, streak: int = 0, day: int = 0, **more: Any) -> Verdict:
    as_of = (NOW - timedelta(days=day)).date().isoformat()
    fields: dict[str, Any] = {
        "model": "delay", "verdict": kind, "reason_code": "x", "as_of": as_of, "checked_at": "2026-03-31T04:43:00Z",
        "reference": Window(source="profile", rows=5000, version="1.0.0"), "current": Window(source="prod", rows=1234),
        "moved": ["hour"] if kind == "drift" else [], "streak": streak,
    }  # fmt: skip
    return Verdict(**{**fields, **more})


def pull(state: str = "open", *, merged: bool = False, days: int = 1, number: int = 7) -> Pull:
    closed = "" if state == "open" else (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Pull(
        number=number, title="t", state=state, draft=False, author="bot", head_repo="a/b", head_ref=branch_of("delay"),
        head_sha="0" * 40, base_repo="a/b", base_ref="main", base_sha="1" * 40, merge_sha="", mergeable=None,
        merged=merged, closed_at=closed,
    )  # fmt: skip


def proposal(days: int) -> Proposal:
    at = (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Proposal(
        model="delay", pull_request=7, branch="b", base="c", as_of="2026-03-01", why="drift", proposed_at=at,
        refreshed_at=at,
    )  # fmt: skip


def facts(**more: Any) -> Facts:
    fields: dict[str, Any] = {
        "model": "delay", "policy": POLICY, "history": [verdict(streak=2), verdict(streak=1, day=1)], "pulls": [],
        "last": None, "snoozed_until": "", "now": NOW,
    }  # fmt: skip
    return Facts(**{**fields, **more})


CASES: tuple[tuple[Mapping[str, Any], str, str], ...] = (
    ({}, "propose", "drift_persists"),
    ({"policy": None}, "skip", "retrain_not_configured"),
    ({"history": []}, "skip", "no_drift"),
    ({"history": [verdict("ok"), verdict(streak=9, day=1)]}, "skip", "no_drift"),
    ({"history": [verdict("insufficient_data"), verdict(streak=9, day=1)]}, "skip", "no_drift"),
    ({"history": [verdict(streak=1)]}, "skip", "drift_not_persistent"),
    ({"history": [verdict(streak=1), verdict("ok", day=1)]}, "skip", "drift_not_persistent"),
    ({"history": [verdict(), verdict("insufficient_data", day=1), verdict(day=2)]}, "propose", "drift_persists"),
    ({"history": [verdict(streak=2)]}, "propose", "drift_persists"),
    ({"pulls": [pull()]}, "refresh", "drift_goes_on"),
    ({"pulls": [pull()], "history": [verdict("ok")]}, "skip", "no_drift"),
    ({"pulls": [pull()], "last": proposal(1)}, "refresh", "drift_goes_on"),
    ({"pulls": [pull("closed")]}, "skip", "retrain_declined"),
    ({"pulls": [pull("closed", days=8)]}, "propose", "drift_persists"),
    ({"pulls": [pull("closed", merged=True)]}, "skip", "cooldown"),
    ({"pulls": [pull("closed", merged=True, days=8)]}, "propose", "drift_persists"),
    ({"pulls": [pull("closed", days=8)], "last": proposal(3)}, "skip", "retrain_declined"),
    ({"last": proposal(6)}, "skip", "cooldown"),
    ({"last": proposal(7)}, "propose", "drift_persists"),
    ({"last": proposal(1), "policy": RetrainPolicy(after=2, cooldown_days=0)}, "propose", "drift_persists"),
    ({"snoozed_until": "2026-04-01T00:00:00Z"}, "skip", "snoozed"),
    ({"snoozed_until": "2026-03-31T00:00:00Z"}, "propose", "drift_persists"),
    ({"snoozed_until": "soon"}, "propose", "drift_persists"),
    ({"snoozed_until": "2026-04-01T00:00:00Z", "pulls": [pull()]}, "skip", "snoozed"),
    ({"asked": True, "history": []}, "propose", "retrain_asked"),
    ({"asked": True, "pulls": [pull()]}, "refresh", "retrain_asked"),
    ({"asked": True, "snoozed_until": "2026-04-01T00:00:00Z", "last": proposal(1)}, "propose", "retrain_asked"),
    ({"asked": True, "pulls": [pull("closed")]}, "propose", "retrain_asked"),
)


@pytest.mark.parametrize(("changes", "action", "code"), CASES)
def test_when_it_is_due(changes: Mapping[str, Any], action: str, code: str) -> None:
    made = decide(facts(**changes))
    assert (made.action, made.reason_code) == (action, code)
    assert (made.action == "refresh") == (made.pull > 0 and made.action != "skip")


def test_never_two_and_never_against_a_pause() -> None:
    """Every combination: an open one is never joined by another, and a snooze is broken by a person alone."""
    count = 0
    histories = [[], [verdict(streak=1)], [verdict(streak=5)], [verdict("ok")]]
    for history, open_, closed, snoozed, asked in itertools.product(histories, *[(False, True)] * 4):
        pulls = ([pull(number=9)] if open_ else []) + ([pull("closed", number=8)] if closed else [])
        until = "2026-04-02T00:00:00Z" if snoozed else ""
        made = decide(facts(history=history, pulls=pulls, snoozed_until=until, asked=asked))
        assert made.action != "propose" or not open_
        assert made.action == "skip" or asked or not snoozed
        assert made.action == "skip" or asked or (history and history[0].verdict == "drift")
        count += 1
    print(f"{count} combinations")
    assert count == 64


# What it changes

PARAMS = """\
# months
prepare: {train_to: 3, until: 2026-01-01, note: "x"}   # both ends
train:
  rate: 0.1
  deep: false
"""


def changed(params: Mapping[str, str | int | float | bool], text: str = PARAMS, as_of: str = "2026-03-31") -> str:
    made = set_params(RetrainPolicy(params=params), {"params.yaml": text.encode()}.get, as_of)
    return made.files.get("params.yaml", text.encode()).decode()


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("prepare.train_to", "{month-1}", 'prepare: {train_to: 2, until: 2026-01-01, note: "x"}   # both ends'),
        ("prepare.until", "{date}", 'prepare: {train_to: 3, until: 2026-03-31, note: "x"}   # both ends'),
        ("prepare.note", "{yesterday}", 'prepare: {train_to: 3, until: 2026-01-01, note: "2026-03-30"}   # both ends'),
        (
            "prepare.note",
            "a \"b\" 'c'",
            'prepare: {train_to: 3, until: 2026-01-01, note: "a \\"b\\" \'c\'"}   # both ends',
        ),
        ("train.rate", 1, "  rate: 1.0"),
        ("train.deep", True, "  deep: true"),
        ("train.deep", "true", "  deep: true"),
    ],
)
def test_a_parameter_is_set_in_its_place(name: str, value: Any, line: str) -> None:
    old, new = PARAMS.splitlines(), changed({name: value}).splitlines()
    assert [(one) for one, other in zip(new, old, strict=True) if one != other] == [line]


def test_what_is_so_already_changes_nothing() -> None:
    made = set_params(RetrainPolicy(params={"prepare.train_to": 3}), {"params.yaml": PARAMS.encode()}.get, "2026-03-31")
    assert (made.files, made.rows) == ({}, ())


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"prepare.train_tu": 1}, "did you mean"),
        ({"prepare": 1}, "is a group"),
        ({"train.rate": "fast"}, "is a number"),
        ({"prepare.train_to": "{date}"}, "is a whole number"),
        ({"../x.yaml:a": 1}, "outside"),
        ({"x.json:a": 1}, "not there"),
        ({"prepare.train_to": "{moon}"}, "no date placeholder"),
    ],
)
def test_what_cannot_be_set_is_told(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        changed(params)
    assert words in error.value.render()


# What it says


def words(history: list[Verdict], **more: Any) -> Words:
    rows = [Changed(kind="param", file="params.yaml", name="prepare.train_to", before="3", after="4")]
    fields: dict[str, Any] = {
        "model": "delay", "history": history, "changes": rows, "as_of": "2026-03-31", "cooldown_days": 7,
        "starts_itself": False,
    }  # fmt: skip
    return Words(**{**fields, **more})


WORDS = ["@everyone", "#1", "<script>", "a|b", "`x`", "```", "]()", "<!--trackside:report-->", "https://e.test"]
NASTY = st.sampled_from([*WORDS, "\n# x", "\n- y", " ", "🦊"])


@given(st.lists(NASTY | st.text(max_size=30), min_size=1, max_size=4), NASTY | st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_names_of_strangers_are_shown_and_do_nothing(names: list[str], said: str) -> None:
    tests = [
        Row(
            heading="features",
            column=name,
            test=said,
            effect=1.0,
            low=0.5,
            high=2.0,
            alarm=True,
            kind="drift",
            sentence=said,
        )
        for name in names
    ]
    shapes = {
        name: {"kind": "levels", "names": [said, name], "reference": [0.5, 0.5], "current": [0.1, 0.9]}
        for name in names
    }
    found = verdict(streak=2, tests=tests, moved=names, shapes=shapes)
    rows = [Changed(kind="param", file="params.yaml", name=names[0], before=said, after=names[0])]
    made = body(words([found], changes=rows))
    for planted in ("@everyone", "<script>", "<!--"):
        assert planted not in made
    outside = made.split("```mermaid")[0]
    assert "```" not in outside, "a fence was opened by a name"
    evidence = [line for line in made.splitlines() if line.startswith("| ") and "**1**" in line]
    assert [line.count(" | ") for line in evidence] == [5] * len(names), "a name broke the table"


ODD_SHAPES: tuple[Any, ...] = (
    None,
    {},
    [],
    {"names": ["a"], "reference": [1], "current": []},
    {"names": ["a"], "reference": ["x"], "current": [1]},
    {"edges": [0, 1], "reference": [float("nan")], "current": [1.0]},
    {"names": [1] * 99, "reference": [0] * 99, "current": [0] * 99},
)


@pytest.mark.parametrize("shape", ODD_SHAPES)
def test_odd_shapes_draw_nothing(shape: Any) -> None:
    found = verdict(streak=2, shapes={"hour": shape})
    assert "mermaid" not in body(words([found]))


def test_who_opens_it_decides_what_starts_it() -> None:
    assert "was dispatched" in body(words([verdict(streak=2)]))
    assert "opened by an App" in body(words([verdict(streak=2)], starts_itself=True))
    assert "merged by itself" in body(words([verdict(streak=2)], auto_merge=True))
    asked = body(words([verdict("ok")], asked_by="ada", asked_url="https://github.test/c"))
    assert "Asked for by [`ada`](https://github.test/c)" in asked
    assert "no drift" in asked


def test_title_and_commit_say_what_changes() -> None:
    said = words([verdict(streak=2)])
    assert heading(said) == "Retrain delay on data of 2026-03-31"
    assert message(said).splitlines()[-1] == "- prepare.train_to in params.yaml: 3 → 4"
