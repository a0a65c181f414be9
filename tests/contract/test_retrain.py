"""Retraining over real HTTP, git and DVC: one pull request, the newest content, and silence where it was asked for."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import ENV, user
from retrain_world import ADA, BRANCH, DATA, MAIN, PARAMS, POLICY, Drifting, dispatching
from sweeps import broken, cases, noted
from trackside.app import Context, run_stage
from trackside.documents.codec import load
from trackside.documents.proposal import Proposal
from trackside.documents.result import Result
from trackside.errors import ConfigError, ForgeError, Refused, TracksideError
from trackside.forge.github import GithubForge
from trackside.sandbox.server import Sandbox
from trackside.system.clock import SystemClock

NO_DATA = POLICY.replace("        update: [data/raw.csv.dvc]\n", "")


@pytest.fixture
def world(sandbox: Sandbox, repo: str, tmp_path: Path) -> Iterator[Drifting]:
    with dispatching(sandbox):
        made = Drifting(sandbox, repo, tmp_path)
        made.start()
        yield made


@pytest.fixture
def quick(sandbox: Sandbox, repo: str, tmp_path: Path) -> Iterator[Drifting]:
    """Without imported data: nothing but parameters."""
    with dispatching(sandbox):
        made = Drifting(sandbox, repo, tmp_path, policy=NO_DATA)
        made.start()
        yield made


def test_drift_that_lasts_becomes_a_pull_request_that_trains(world: Drifting) -> None:
    world.check(streak=1)
    assert world.night().reason_code == "drift_not_persistent"
    world.clock.at += timedelta(days=1)
    world.check(streak=2)
    result = world.night()
    assert (result.decision, result.reason_code) == ("done", "drift_persists"), result
    (pull,) = world.pulls()
    about = world.sandbox.hub.issue(world.repo, pull["number"])
    assert about["title"] == "Retrain delay on data of 2026-01-11"
    assert (sorted(about["labels"]), pull["reviewers"]) == (["retraining", "trackside"], ["ada"])
    expected = PARAMS.replace("2025-12-31 ", "2026-01-11 ").replace("test_month: 1", "test_month: 12")
    assert world.file("params.yaml").decode() == expected
    data = b"a,b\n1,2\n"
    md5 = hashlib.md5(data).hexdigest()
    assert yaml.safe_load(world.file("data/raw.csv.dvc"))["outs"][0]["md5"] == md5
    assert (world.remote / "files/md5" / md5[:2] / md5[2:]).read_bytes() == data
    assert [run["display_title"] for run in world.plans()] == [f"plan #{pull['number']}"]
    proposal = world.proposal()
    assert proposal is not None
    assert (proposal.pull_request, proposal.why, proposal.moved) == (pull["number"], "drift", ["hour"])
    assert [(row.name, row.before, row.after) for row in proposal.changes][:2] == [
        ("prepare.train_to", "2025-12-31", "2026-01-11"),
        ("prepare.test_month", "1", "12"),
    ]
    writes = [one for one in world.sandbox.calls if one.method != "GET" and world.repo in one.path]
    print(f"{result.api_calls} API calls, {len(writes)} writes with those of the check before")
    assert result.api_calls <= 40
    assert 0 < len(writes) <= 20


def test_the_text_shows_evidence_changes_and_how_to_be_silent(quick: Drifting) -> None:
    quick.check(streak=2)
    quick.night()
    body = quick.sandbox.hub.issue(quick.repo, quick.pulls()[0]["number"])["body"]
    for words in (
        "| `hour` | ks | **0.31** (0.27 to 0.35) | 0.1 | <0.001 | later hours |",
        "xychart-beta",
        "bar [0.70000, 0.30000]",
        "| `prepare.train_to` in `params.yaml` | `2025-12-31` | `2026-01-10` |",
        "/drift snooze 30d",
        "was dispatched",
        "🔴",
    ):
        assert words in body, words


def test_thirty_nights_with_a_moving_default_branch_are_one_pull_request(world: Drifting) -> None:
    nights, heads, started = 30, set[str](), 0
    gitconfig = (world.folder / "home" / ".gitconfig").read_bytes()
    number = 0
    for night in range(nights):
        world.clock.at += timedelta(days=1)
        data = b"a,b\n" + b"1,2\n" * (night + 1)
        world.land(data)
        main = world.push({"notes.txt": f"night {night}\n".encode()})
        world.check(streak=night + 1)
        result = world.night()
        if night == 0:
            assert (result.reason_code, world.pulls()) == ("drift_not_persistent", [])
            continue
        assert result.decision == "done", result
        (pull,) = world.pulls()
        assert number in (0, pull["number"]), "a second pull request was opened"
        number = pull["number"]
        tip = world.sandbox.hub.bare(world.repo).commit(world.tip(BRANCH) or "")
        assert list(tip.parents) == [main], "the branch is not the default branch plus one commit"
        assert world.file("notes.txt") == f"night {night}\n".encode()
        assert f"train_to: {world.clock.at.date()} " in world.file("params.yaml").decode()
        assert yaml.safe_load(world.file("data/raw.csv.dvc"))["outs"][0]["md5"] == hashlib.md5(data).hexdigest()
        assert pull["head_sha"] == world.tip(BRANCH)
        heads.add(pull["head_sha"])
        started += world.finish()
    assert world.pulls("closed") == []
    assert (world.folder / "home" / ".gitconfig").read_bytes() == gitconfig
    assert world.sandbox.hub.bare(world.repo).sha("refs/heads/master") is None
    print(f"{nights} nights: 1 pull request, {len(heads)} heads, {started} plans started")
    assert (len(heads), started) == (nights - 1, nights - 1)


def test_none_while_snoozed(quick: Drifting) -> None:
    nights = 30
    quick.snooze(nights + 1)
    for night in range(nights):
        quick.clock.at += timedelta(days=1)
        quick.push({"notes.txt": f"night {night}\n".encode()})
        quick.check(streak=night + 1)
        assert quick.night().reason_code == "snoozed"
    assert (quick.pulls(), quick.tip(BRANCH), quick.plans()) == ([], None, [])
    quick.clock.at += timedelta(days=3)
    quick.check(streak=nights + 1)
    assert quick.night().reason_code == "drift_persists"
    print(f"{nights} nights snoozed")
    assert len(quick.pulls()) == 1


def test_closing_without_merging_is_a_snooze_for_the_cool_down(quick: Drifting) -> None:
    """The hub's clock tells when it was closed, so the nights are counted from there."""
    quick.clock.at = quick.sandbox.hub.clock.now()
    quick.check(streak=2)
    quick.night()
    (pull,) = quick.pulls()
    quick.sandbox.hub.set_state(quick.repo, pull["number"], "closed", ADA)
    codes = []
    for night in range(10):
        quick.clock.at += timedelta(days=1)
        quick.check(streak=night + 3)
        codes.append(quick.night().reason_code)
    print(codes)
    assert codes[:6] == ["retrain_declined"] * 6
    assert "drift_persists" in codes[6:8]
    assert codes[-1] == "drift_goes_on"
    assert (len(quick.pulls()), len(quick.pulls("closed"))) == (1, 1)


def test_unchanged_content_pushes_nothing(quick: Drifting) -> None:
    quick.check(streak=2)
    quick.night()
    quick.finish()
    before = (quick.tip(BRANCH), quick.tip(DATA), len(quick.plans()))
    result = quick.night()
    assert result.reason_code == "drift_goes_on"
    assert (quick.tip(BRANCH), quick.tip(DATA), len(quick.plans())) == before


def test_what_the_default_branch_holds_already_is_not_proposed(quick: Drifting) -> None:
    text = PARAMS.replace("2025-12-31 ", "2026-01-10 ").replace("test_month: 1", "test_month: 12")
    quick.push({"params.yaml": text.encode()})
    quick.check(streak=2)
    result = quick.night()
    assert (result.decision, result.reason_code) == ("skipped", "nothing_to_propose")
    assert quick.tip(BRANCH) is None


# A person asks


def comment(world: Drifting, text: str, login: str = "ada") -> str:
    number = world.sandbox.hub.open_issue(world.repo, title="x", body="", actor=ADA)["number"]
    return str(world.sandbox.hub.add_comment(world.repo, number, text, user(login))["id"])


def test_a_person_neither_waits_for_drift_nor_for_a_pause(quick: Drifting) -> None:
    quick.clock.at = quick.sandbox.hub.clock.now()
    quick.check("ok")
    quick.snooze(3)
    result = quick.asked(comment=comment(quick, "/retrain delay"))
    assert (result.decision, result.reason_code) == ("done", "retrain_asked")
    (pull,) = quick.pulls()
    assert "Asked for by [`ada`](" in quick.sandbox.hub.issue(quick.repo, pull["number"])["body"]
    again = quick.asked()
    assert (again.decision, len(quick.pulls())) == ("done", 1)
    proposal = quick.proposal()
    assert proposal is not None
    assert (proposal.why, proposal.by) == ("asked", "ada")


@pytest.mark.parametrize(
    ("text", "login", "actor", "code"),
    [
        ("/retrain delay", "mallory", "ada", "permission_missing"),
        ("/drift check", "ada", "ada", "identity_mismatch"),
        ("hello", "ada", "ada", "identity_mismatch"),
        ("", "", "github-actions[bot]", "refused"),
        ("", "", "", "refused"),
        ("", "", "mallory", "permission_missing"),
    ],
)
def test_nobody_else_starts_it(quick: Drifting, text: str, login: str, actor: str, code: str) -> None:
    quick.clock.at = quick.sandbox.hub.clock.now()
    quick.check(streak=2)
    inputs = {"comment": comment(quick, text, login)} if text else {}
    with pytest.raises(Refused) as refused:
        quick.asked(actor=actor, **inputs)
    assert (refused.value.reason_code, quick.pulls()) == (code, [])


def test_an_app_opens_it_and_dispatches_nothing(quick: Drifting) -> None:
    quick.sandbox.hub.add_user("ml-app[bot]", "Bot")
    held = {"contents": "write", "pull-requests": "write"}
    quick.sandbox.hub.add_token("ghs_ml", "ml-app[bot]", "app", held, quick.repo)
    quick.check(streak=2)
    with GithubForge(quick.repo, "ghs_ml", quick.sandbox.api_url, quick.clock) as app:
        assert quick.night(app=app).decision == "done"
    (pull,) = quick.pulls()
    about = quick.sandbox.hub.issue(quick.repo, pull["number"])
    assert about["user"] == "ml-app[bot]"
    assert "opened by an App" in about["body"]
    assert [run["event"] for run in quick.plans() if run["event"] == "workflow_dispatch"] == []


def test_the_action_reads_its_inputs_and_leaves_its_documents(quick: Drifting, tmp_path: Path) -> None:
    quick.clock.at = SystemClock().now()
    quick.check(streak=2)
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"schedule": "43 4 * * *"}))
    token, outputs = quick.forge()._token, tmp_path / "outputs"
    env = ENV | {
        "GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": quick.repo, "GITHUB_API_URL": quick.sandbox.api_url,
        "GITHUB_SERVER_URL": quick.sandbox.url, "GITHUB_EVENT_NAME": "schedule", "GITHUB_EVENT_PATH": str(event),
        "GITHUB_SHA": "0" * 40, "GITHUB_OUTPUT": str(outputs), "TRACKSIDE_GITHUB_TOKEN": token,
        "TRACKSIDE_MODELS": '["delay"]', "TRACKSIDE_OUT": str(tmp_path / "out"), "HOME": str(tmp_path / "home"),
        "TRACKSIDE_REMOTE_ENV": "AWS_SECRET_ACCESS_KEY=not-to-be-shown",
    }  # fmt: skip
    said = io.StringIO()
    assert run_stage(Context(env=env, out=said), "retrain") == 0, said.getvalue()
    (pull,) = quick.pulls()
    assert "delay: propose (drift_persists)" in said.getvalue()
    assert f'{{"delay":{pull["number"]}}}' in outputs.read_text()
    assert load(Proposal, (tmp_path / "out/delay.proposal.json").read_bytes()) == quick.proposal()
    masks = [line for line in said.getvalue().splitlines() if "not-to-be-shown" in line or token in line]
    assert all(line.startswith("::add-mask::") for line in masks)
    assert len(masks) == 2


# What goes wrong


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("prepare.train_to", "prepare.train_too", "did you mean 'prepare.train_to'"),
        ('"{month-1}"', '"{fortnight}"', "no date placeholder"),
        ('"{month-1}"', '"{year-month}"', "is a whole number"),
        ("params: {prepare.train_to", "params: {other.yaml:train_to", "names other.yaml"),
    ],
)
def test_a_wrong_policy_is_told_with_its_remedy(quick: Drifting, old: str, new: str, words: str) -> None:
    quick.push({"trackside.yaml": NO_DATA.replace(old, new).encode()})
    quick.check(streak=2)
    with pytest.raises(ConfigError) as error:
        quick.night()
    assert words in error.value.render()
    assert quick.tip(BRANCH) is None


def test_data_that_is_no_import_is_told(world: Drifting) -> None:
    world.push({"data/raw.csv.dvc": b"outs:\n- {md5: 0123456789abcdef0123456789abcdef, path: raw.csv}\n"})
    world.check(streak=2)
    with pytest.raises(ConfigError, match="no import of DVC"):
        world.night()


def test_a_source_that_does_not_answer_is_told(world: Drifting) -> None:
    world.source.unlink()
    world.check(streak=2)
    with pytest.raises(TracksideError) as error:
        world.night()
    assert error.value.reason_code == "remote_failed"
    assert world.tip(BRANCH) is None


# Every fault at every API call


def shown(world: Drifting) -> Any:
    """All that retraining leaves behind, without commit names, numbers and times."""
    tip = world.sandbox.hub.bare(world.repo).commit(world.tip(BRANCH) or "")
    pulls = []
    for pull in world.pulls():
        about = world.sandbox.hub.issue(world.repo, pull["number"])
        same = pull["head_sha"] == world.tip(BRANCH)
        pulls.append((about["title"], about["body"], about["labels"], pull["reviewers"], same))
    proposal, numbers = world.proposal(), [pull["number"] for pull in world.pulls()]
    return (
        [tip.message, list(tip.parents) == [world.tip(MAIN)], world.file("params.yaml")],
        world.file("notes.txt") == world.file("notes.txt", MAIN),
        pulls,
        [run["display_title"] == f"plan #{numbers[0]}" for run in world.plans() if run["status"] != "completed"],
        proposal and (proposal.why, proposal.moved, proposal.changes, [proposal.pull_request] == numbers),
    )


@pytest.mark.parametrize("what", ["first", "refreshed"])
def test_after_any_fault_one_re_run_ends_as_without(sandbox: Sandbox, repo: str, tmp_path: Path, what: str) -> None:
    """One repository for all faults: before each, its pull request is closed, or its default branch moves on."""
    policy = NO_DATA.replace("cooldown-days: 7", "cooldown-days: 0")
    world = Drifting(sandbox, repo, tmp_path, policy=policy)
    hub, round_ = sandbox.hub, [0]

    def prepare() -> None:
        world.finish()
        round_[0] += 1
        world.push({"notes.txt": f"{round_[0]}\n".encode()})
        for pull in world.pulls() if what == "first" else ():
            hub.set_state(repo, pull["number"], "closed", ADA)
            hub.bare(repo).delete_ref(f"refs/heads/{BRANCH}")
        world.clock.at = hub.clock.now() + timedelta(hours=1)

    with dispatching(sandbox):
        world.start()
        world.check(streak=2)
        if what == "refreshed":
            world.night()
            prepare()
        with world.forge() as forge:
            methods = noted(forge)
            result: Result = world.night(forge)
        assert result.decision == "done"
        expected, ran = shown(world), 0
        for case in cases(methods, reads=what == "first"):
            prepare()
            forge = world.forge()

            def work(forge: GithubForge) -> None:
                try:
                    world.night(forge)
                except ForgeError:
                    return

            broken(case, sandbox, forge, work)
            assert world.night().decision == "done", case
            assert shown(world) == expected, case
            ran += 1
    print(f"{ran} faults at {len(methods)} API calls of a {what} proposal")
    assert ran == len(list(cases(methods, reads=what == "first"))) >= 20
