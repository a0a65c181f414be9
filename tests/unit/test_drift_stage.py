"""The drift stage over real HTTP with real git: verdicts on the data branch, one issue, streaks, snoozes, re-runs."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from drift_world import POLICY, Watched, rows, table_bytes
from sweeps import broken, cases, noted
from trackside.documents.codec import load
from trackside.documents.verdict import Verdict
from trackside.drift.render import marker
from trackside.errors import ConfigError, Refused, TracksideError
from trackside.forge.github import GithubForge
from trackside.forge.operations import UpsertIssue
from trackside.sandbox.server import Sandbox


@pytest.fixture
def place(sandbox: Sandbox, repo: str, tmp_path: Path) -> Watched:
    made = Watched(sandbox, repo, tmp_path)
    made.start()
    return made


def days(first: str, count: int) -> list[str]:
    start = date.fromisoformat(first)
    return [(start + timedelta(days=at)).isoformat() for at in range(count)]


def test_drift_is_written_down_told_and_proposed(place: Watched) -> None:
    place.release()
    for day, how in zip(days("2026-03-01", 4), ({}, {"shift": 0.6}, {"shift": 0.6}, {}), strict=True):
        place.produce(day, **how)

    first = place.check("2026-03-01")
    assert (first.decision, first.reason_code) == ("done", "drift_none")
    assert first.values == {"verdict": {"delay": "ok"}, "propose": [], "as-of": "2026-03-01", "exit-code": 0}
    assert place.issues() == []
    assert json.loads(place.data()["heartbeat/drift.json"])["at"] == "2026-03-01T00:00:00Z"

    second = place.check("2026-03-02")
    assert second.values["verdict"] == {"delay": "drift"}
    assert second.values["propose"] == []
    (issue,) = place.issues("open")
    assert issue["title"].startswith("Drift: delay: drift in ")
    assert issue["body"].startswith("<!-- trackside:drift model=delay -->")
    assert "`temperature`" in issue["body"]
    assert "/drift snooze 30d delay" in issue["body"]

    third = place.check("2026-03-03")
    assert third.values["propose"] == ["delay"]
    assert place.verdict("2026-03-03").streak == 2
    assert [one["number"] for one in place.issues("open")] == [issue["number"]]
    assert "2 checks in a row, since 2026-03-02" in place.issues("open")[0]["body"]
    assert place.calls <= 60

    fourth = place.check("2026-03-04")
    assert fourth.values == {"verdict": {"delay": "ok"}, "propose": [], "as-of": "2026-03-04", "exit-code": 0}
    assert place.issues("open") == []
    assert sorted(path for path in place.data() if path.startswith("drift/")) == [
        f"drift/delay/{day}.json" for day in days("2026-03-01", 4)
    ]
    verdict = place.verdict("2026-03-02")
    assert (verdict.reference.version, verdict.commit) == ("1.0.0", place.commit)
    assert verdict.current.rows == 2000
    assert "temperature" in verdict.shapes
    folder = place.folder / "out/delay"
    assert load(Verdict, (folder / "verdict.json").read_bytes()) == place.verdict("2026-03-04")
    assert (folder / "report.html").stat().st_size < 1_000_000
    assert len(place.summaries) == 4


def test_a_check_again_changes_nothing(place: Watched) -> None:
    place.release()
    place.produce("2026-03-01", shift=0.6)
    place.check("2026-03-01")
    before, issues = place.tip(), place.issues()
    again = place.check("2026-03-01")
    assert again.values["verdict"] == {"delay": "drift"}
    assert place.tip() == before
    assert place.issues() == issues
    place.produce("2026-03-01")
    place.check("2026-03-01")
    assert place.verdict("2026-03-01").verdict == "ok"
    assert place.issues("open") == []


def test_data_that_cannot_be_judged_neither_counts_nor_breaks_a_streak(place: Watched) -> None:
    place.release()
    kinds = {}
    for at, day in enumerate(days("2026-03-01", 5)):
        if at in (0, 4):
            place.produce(day, shift=0.6)
        elif at == 1:
            place.produce(day, shift=0.6, count=20)
        elif at == 2:
            (place.checkout / f"production/{day}.parquet").write_bytes(b"PAR1 and no more")
        kinds[day] = place.check(day)
    codes = [place.verdict(day).reason_code for day in kinds]
    assert codes == ["drift_found", "drift_insufficient", "table_unreadable", "current_missing", "drift_found"]
    assert [result.values["exit-code"] for result in kinds.values()] == [0, 7, 7, 7, 0]
    assert [place.verdict(day).streak for day in kinds] == [1, 1, 1, 1, 2]
    assert [result.values["propose"] for result in kinds.values()] == [[], [], [], [], ["delay"]]


def test_a_snooze_silences_but_the_history_goes_on(place: Watched) -> None:
    place.release()
    for day in days("2026-03-01", 8):
        place.produce(day, shift=0.6)
    place.clock.at = place.clock.at.replace(day=1)
    place.snooze(5)
    quiet = [place.check(day) for day in days("2026-03-01", 5)]
    assert all(result.values["propose"] == [] for result in quiet)
    assert place.issues() == []
    assert place.verdict("2026-03-05").streak == 5
    assert place.check("2026-03-07").values["propose"] == ["delay"]
    assert len(place.issues("open")) == 1


def test_a_new_version_starts_anew(place: Watched) -> None:
    place.release()
    for day in days("2026-03-01", 3):
        place.produce(day, shift=0.6)
    place.check("2026-03-01")
    place.release("1.1.0")
    assert place.check("2026-03-02").values["propose"] == []
    assert place.verdict("2026-03-02").reference.version == "1.1.0"
    place.promote("1.0.0", "prod", 1)
    place.check("2026-03-03")
    assert place.verdict("2026-03-03").reference.version == "1.0.0"


def test_an_older_day_is_only_written_down(place: Watched) -> None:
    place.release()
    for day in days("2026-03-01", 3):
        place.produce(day, shift=0.6 if day != "2026-03-03" else 0.0)
    place.check("2026-03-03")
    late = place.check(as_of="2026-03-02")
    assert late.values["verdict"] == {"delay": "drift"}
    assert place.verdict("2026-03-02").verdict == "drift"
    assert place.issues() == []


def test_a_check_run_instead_of_an_issue(place: Watched) -> None:
    place.start(POLICY.replace("label: label", "label: label\n      notify: check"))
    place.release()
    place.produce("2026-03-01", shift=0.6)
    place.produce("2026-03-02")
    for day in days("2026-03-01", 2):
        place.check(day)
    found = place.sandbox.state.list("check_run", place.repo, head_sha=place.commit)
    assert [(one["name"], one["conclusion"]) for one in found] == [
        ("trackside drift / delay", "failure"),
        ("trackside drift / delay", "success"),
    ]
    assert place.issues() == []


def test_nothing_to_compare_with(place: Watched) -> None:
    place.produce("2026-03-01")
    result = place.check("2026-03-01")
    assert (result.decision, result.reason_code, result.values["propose"]) == ("skipped", "release_missing", [])
    place.release(profile=False)
    assert place.check("2026-03-01").reason_code == "reference_missing"
    assert not [path for path in place.data() if path.startswith("drift/")]


def test_wrong_wishes_are_explained(place: Watched) -> None:
    place.release()
    for wish, error in (
        ({"model": "other"}, "no model"),
        ({"as_of": "yesterday"}, "no date"),
        ({"as_of": "2026-03-02"}, "has not come yet"),
        ({"fail_on": "sometimes"}, "fail-on"),
    ):
        with pytest.raises(ConfigError, match=error):
            place.check("2026-03-01", **wish)
    with pytest.raises(Refused):
        place.check("2026-03-01", comment="4711")


def test_a_comment_is_read_again(place: Watched) -> None:
    place.release()
    place.produce("2026-03-01")
    hub, ada = place.sandbox.hub, {"login": "ada", "kind": "user"}
    issue = hub.new_issue(place.repo, title="Is it still right?", body="", actor=ada)
    place.clock.at = datetime.now(UTC)
    asked, other = (hub.add_comment(place.repo, issue, text, ada)["id"] for text in ("/drift check delay", "/help"))
    told = place.check(as_of="2026-03-01", model="delay", comment=str(asked))
    assert told.ids == {"comment": str(asked)}
    assert told.values["verdict"] == {"delay": "ok"}
    for wish in ({"comment": str(other), "model": "delay"}, {"comment": str(asked)}):
        with pytest.raises(Refused):
            place.check(as_of="2026-03-01", **wish)
    hub.set_role(place.repo, "ada", "read")
    with pytest.raises(Refused, match="needs the role"):
        place.check(as_of="2026-03-01", model="delay", comment=str(asked))


def test_dry_run_writes_nothing(place: Watched) -> None:
    place.release()
    place.produce("2026-03-01", shift=0.6)
    before = place.tip()
    assert place.check("2026-03-01", dry_run=True).values["verdict"] == {"delay": "drift"}
    assert place.tip() == before
    assert place.issues() == []


def test_fail_on(place: Watched) -> None:
    place.release()
    place.produce("2026-03-01", shift=0.6)
    codes = [place.check("2026-03-01", fail_on=one).values["exit-code"] for one in ("drift", "invalid", "never")]
    assert codes == [1, 0, 0]
    codes = [place.check("2026-03-02", fail_on=one).values["exit-code"] for one in ("drift", "invalid", "never")]
    assert codes == [7, 7, 0]


def test_one_model_in_trouble_does_not_stop_the_other(place: Watched) -> None:
    second = POLICY.partition("models:\n")[2].replace("delay:", "other:").replace("{date}", "{DATE}")
    place.start(POLICY + second)
    place.release()
    place.release(model="other")
    place.produce("2026-03-01", shift=0.6)
    place.produce("2026-03-02", shift=0.6)
    for day in days("2026-03-01", 2):
        result = place.check(day)
    assert (result.decision, result.reason_code, result.values["exit-code"]) == ("failed", "config_invalid", 2)
    assert "no date placeholder" in result.message
    assert any(line.startswith("error: drift other: '{DATE}'") for line in place.said)
    assert result.values["propose"] == ["delay"]
    assert place.verdict("2026-03-02").streak == 2


def test_any_fault_at_any_call_is_mended_by_a_second_run(place: Watched) -> None:
    """A day of drift whose check is broken at each of its calls in turn, then repeated: one verdict, one open issue."""
    place.release()
    shown = table_bytes(rows(place.rng, 300, shift=0.9))
    day = iter(days("2026-04-01", 400))

    def prepare() -> str:
        """A day with drift, and no open issue of the days before."""
        now = next(day)
        (place.checkout / "production").mkdir(exist_ok=True)
        (place.checkout / f"production/{now}.parquet").write_bytes(shown)
        with place.forge() as forge:
            forge.apply([UpsertIssue(marker=marker("delay"), title="t", body="b", open=False)])
        return now

    first = prepare()
    forge = place.forge()
    methods = noted(forge)
    place.check(first, forge)
    (issue,) = place.issues("open")
    expected = issue["title"], place.verdict(first).moved
    swept = list(cases(methods))
    for case in swept:
        now = prepare()
        broken(case, place.sandbox, place.forge(), lambda forge, now=now: attempt(place, now, forge))  # type: ignore[misc]
        place.check(now)
        (issue,) = place.issues("open")
        assert (issue["title"], place.verdict(now).moved) == expected, case
        assert f"As of {now}" in issue["body"], case
    print(f"{len(swept)} faults at {len(methods)} calls of a drift check")
    assert len(swept) >= 2 * len(methods) >= 30


def attempt(place: Watched, day: str, forge: GithubForge) -> None:
    """A check that may fail."""
    with contextlib.suppress(TracksideError):
        place.check(day, forge)
