"""The gate over real HTTP: every role with every command, races, strangers and bots, and what a command costs."""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import ENV, bot_forge, user
from sandbox_client import add_run
from sweeps import broken, cases, noted
from trackside.command.job import run_gate
from trackside.command.table import COMMANDS, NAMES, row
from trackside.documents.result import Result
from trackside.event.model import Event
from trackside.event.parse import parse_event
from trackside.forge.github import GithubForge
from trackside.forge.model import ROLES
from trackside.plan.titles import plan_title, run_title
from trackside.sandbox.actions.dispatcher import Dispatcher
from trackside.sandbox.bus import HookEvent
from trackside.sandbox.server import Sandbox
from trackside.system.clock import SystemClock

BOT = "github-actions[bot]"
SHIPPED = Path(__file__).resolve().parents[2] / "workflows"
POLICY = b"""
version: 1
models:
  delay:
    path: m
    drift: {reference: a.csv, current: b.csv, retrain: {after: 2}}
train: {on: command}
"""
PERMISSIONS = {"actions": "write", "contents": "write", "issues": "write", "pull-requests": "write"}
"""Those of command.yml."""
MAX_CALLS, MAX_SECONDS = 8, 3.0


class Later(SystemClock):
    """The machine's clock, some time ahead."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Place:
    """A repository with the shipped workflows, an open pull request of `topic`, and what was heard of it."""

    sandbox: Sandbox
    repo: str
    number: int
    clock: Later
    events: list[HookEvent]

    @property
    def hub(self) -> Any:
        return self.sandbox.hub

    def head(self, number: int = 0) -> str:
        return str(self.hub.pull(self.repo, number or self.number)["head_sha"])

    def say(self, body: str, login: str = "ada", number: int = 0, **more: Any) -> Event:
        """A comment; the event that GitHub delivers for it."""
        self.hub.add_comment(self.repo, number or self.number, body, user(login))
        hook = next(one for one in reversed(self.events) if one.name == "issue_comment" and one.action == "created")
        return parse_event("issue_comment", hook.payload | more, {})

    def forge(self, **more: Any) -> GithubForge:
        return bot_forge(self.sandbox, self.repo, PERMISSIONS, viewer=BOT, **more)

    def gate(self, event: Event, forge: GithubForge | None = None, *, again: bool = False) -> Result:
        with forge or self.forge() as used:
            return run_gate(event, used, now=self.clock.now(), again=again)[0]

    def ask(self, body: str, login: str = "ada", number: int = 0) -> Result:
        return self.gate(self.say(body, login, number))

    def wait(self, seconds: float = 2) -> None:
        """Time goes by for the server."""
        self.clock.ahead += timedelta(seconds=seconds)

    def dispatched(self) -> list[tuple[str, dict[str, str]]]:
        """(workflow, inputs) of all dispatches, by whom they are."""
        found = [one for one in self.events if one.name == "workflow_dispatch"]
        assert {one.ref for one in found} <= {"refs/heads/main"}
        return [(str(one.workflow).rsplit("/", 1)[-1], dict(one.inputs or {})) for one in found]

    def reactions(self) -> list[str]:
        """Ours to the newest comment of a person."""
        newest = [one for one in self.comments() if one["user"] != BOT][-1]["id"]
        docs = self.sandbox.state.list("reaction", self.repo, subject=f"comment/{newest}", user=BOT)
        return [one["content"] for one in docs]

    def comments(self) -> list[dict[str, Any]]:
        return self.sandbox.state.list("comment", self.repo)

    def replies(self) -> list[str]:
        return [one["body"] for one in self.comments() if one["user"] == BOT]

    def labels(self) -> list[str]:
        return list(self.hub.issue(self.repo, self.number)["labels"])

    def snooze(self) -> dict[str, Any] | None:
        raw = self.hub.bare(self.repo).file("refs/heads/trackside-data", "drift/delay/snooze.json")
        return json.loads(raw) if raw is not None else None

    def world(self) -> Any:
        """Everything but reactions and replies that a command can have changed."""
        refs = self.hub.bare(self.repo).refs("refs/")
        return (self.dispatched(), self.labels(), sorted(refs.items()), self.sandbox.state.list("run", self.repo))


@pytest.fixture
def place(sandbox: Sandbox, repo: str) -> Iterator[Place]:
    clock = Later()
    events: list[HookEvent] = []
    sandbox.hub.bus.subscribe(lambda hook: events.append(hook) if hook.repo == repo else None)
    before, sandbox.hub.clock = sandbox.hub.clock, clock
    files = {f".github/workflows/{path.name}": path.read_bytes() for path in SHIPPED.glob("*.yml")}
    sandbox.hub.commit_folder(repo, "main", files | {"trackside.yaml": POLICY}, "policy", user("ada"))
    sandbox.hub.commit_folder(repo, "topic", {"t": b"t\n"}, "change", user("ada"))
    number = sandbox.hub.open_pull(repo, title="Change", head="topic", base="main", actor=user("ada"))
    yield Place(sandbox, repo, number, clock, events)
    sandbox.hub.clock = before


def line_of(place: Place, name: str) -> str:
    """A command that can be followed on the open pull request."""
    return {
        "train": f"/train delay sha={place.head()}",
        "promote": "/promote delay staging",
        "rollback": "/rollback delay prod",
        "deprecate": "/deprecate delay@v1.0.0 it's wrong",
        "release": "/release minor",
        "drift": "/drift snooze 30d",
    }.get(name, f"/{name}")


# Who may


def test_every_role_with_every_command(place: Place) -> None:
    """GitHub's six roles and a custom one, asked for over HTTP; private, so that strangers have no role at all."""
    roles = {f"the-{role}": role for role in ROLES if role != "none"}
    for login, role in roles.items():
        place.hub.set_role(place.repo, login, role)
    place.hub.set_role(place.repo, "the-engineer", "ml-engineer", base="maintain")
    place.sandbox.state.put("repo", "", place.repo, place.hub.repo(place.repo) | {"private": True})
    people = [("the-stranger", "none"), *roles.items(), ("the-engineer", "maintain")]
    ran = followed = 0
    for login, role in people:
        for name in NAMES:
            may = role != "none" and ROLES.index(role) >= ROLES.index(row(name).permission)
            before, said = place.world(), len(place.replies())
            result = place.ask(line_of(place, name), login)
            if may:
                assert result.decision == "done", (login, name, result)
                assert place.reactions() == ["rocket"]
                followed += 1
            else:
                assert (result.decision, result.reason_code) == ("refused", "permission_missing"), (login, name)
                assert place.world() == before, f"{login}'s /{name} did something"
                assert place.reactions() == ["confused"]
                assert len(place.replies()) == said + 1
                assert f"needs the role {row(name).permission}; {login} has {role}" in place.replies()[-1]
            ran += 1
    print(f"{ran} of role and command, {followed} followed")
    assert (ran, followed) == (7 * len(NAMES), 2 * 10 + 10 + 6 + 2 + 1)


def test_the_policys_own_roles_count_and_only_the_default_branchs(place: Place) -> None:
    place.hub.set_role(place.repo, "tri", "triage")
    policy = POLICY + b"commands: {train: {permission: triage}, report: {permission: admin}}\n"
    place.hub.commit_folder(place.repo, "topic", {"trackside.yaml": policy}, "policy", user("ada"))
    assert place.ask(line_of(place, "train"), "tri").reason_code == "permission_missing"
    place.hub.commit_folder(place.repo, "main", {"trackside.yaml": policy}, "policy", user("ada"))
    assert place.ask(line_of(place, "train"), "tri").decision == "done"
    assert place.ask("/report", "ada").reason_code == "permission_missing"


def test_bots_edits_deletions_and_talk_start_nothing_and_cost_nothing(place: Place) -> None:
    place.hub.set_role(place.repo, "helper[bot]", "admin")
    before = place.world()
    for event, why in (
        (place.say("/train", BOT), "bots give no commands"),
        (place.say("/train", "helper[bot]"), "bots give no commands"),
        (place.say("<!-- trackside:report model=delay -->\n/train", BOT), "bots give no commands"),
        (place.say("/train", action="edited"), "only new comments are commands"),
        (place.say("/train", action="deleted"), "only new comments are commands"),
        (place.say("I would /train this"), "the first line is no command"),
        (place.say("> /train\n\nno"), "the first line is no command"),
        (place.say("/lgtm"), "a command of somebody else"),
    ):
        with place.forge() as forge:
            result = place.gate(event, forge)
            assert (result.decision, result.reason_code, result.message) == ("skipped", "command_ignored", why)
            assert forge.calls == 0
    assert place.world() == before
    assert place.sandbox.state.list("reaction", place.repo) == []


# What commands do


def test_what_each_command_starts(place: Place) -> None:
    number = str(place.number)
    place.wait()
    for name, workflow, inputs in (
        ("train", "pull-request.yml", {"pull-request": number}),
        ("report", "pull-request.yml", {"pull-request": number}),
        ("promote", "release.yml", {"task": "promote", "model": "delay", "stage": "staging"}),
        ("rollback", "release.yml", {"task": "rollback", "model": "delay", "stage": "prod"}),
        ("deprecate", "release.yml", {"task": "deprecate", "model": "delay", "version": "1.0.0"}),
        ("retrain", "drift.yml", {"task": "retrain", "model": "delay"}),
    ):
        place.hub.set_role(place.repo, "ada", "maintain")
        result = place.ask(f"/train delay sha={place.head()[:7]}" if name == "train" else line_of(place, name))
        assert (result.decision, result.reason_code) == ("done", "dispatched"), result
        started, given = place.dispatched()[-1]
        comment = [one for one in place.comments() if one["user"] != BOT][-1]["id"]
        assert started == workflow
        assert {key: value for key, value in given.items() if value} == {**inputs, "comment": str(comment)}
        assert result.urls["DispatchWorkflow"].endswith(f"/actions/runs/{result.ids['DispatchWorkflow']}")
        assert place.reactions() == ["rocket"]
    assert place.ask("/drift check delay").decision == "done"
    assert place.dispatched()[-1][0] == "drift.yml"
    assert place.replies() == [], "there was nothing to say"


def test_snooze_is_written_and_ended(place: Place) -> None:
    assert place.ask("/drift snooze 12h").reason_code == "snoozed"
    note = place.snooze()
    assert note is not None
    assert (note["schema"], note["by"]) == ("trackside.snooze/1", "ada")
    left = datetime.fromisoformat(note["until"]) - place.clock.now()
    assert timedelta(hours=11, minutes=58) < left < timedelta(hours=12, minutes=1)
    assert f"until {note['until']}" in place.replies()[-1]
    assert f"/{place.repo}/" in note["why"]
    assert place.ask("/drift snooze off delay").decision == "done"
    assert place.snooze() is None


def test_release_labels_an_open_pull_request_and_registers_a_merged_one(place: Place) -> None:
    place.hub.set_role(place.repo, "ada", "maintain")
    assert place.ask("/release major").reason_code == "labelled"
    assert place.labels() == ["release:major"]
    assert place.ask("/release").reason_code == "labelled"
    assert place.labels() == ["release:patch"]
    commit = place.hub.merge_pull(place.repo, place.number, user("ada"))
    assert place.ask("/release minor").reason_code == "dispatched"
    workflow, inputs = place.dispatched()[-1]
    assert workflow == "release.yml"
    assert (inputs["task"], inputs["bump"], inputs["commit"]) == ("register", "minor", commit)


def test_help_and_wrong_commands_are_answered_once(place: Place) -> None:
    event = place.say("/help")
    assert place.gate(event).reason_code == "helped"
    assert place.gate(event).decision == "done", "the job was run again"
    (answer,) = place.replies()
    for one in COMMANDS:
        assert f"`/{one.name}" in answer
    for body, code in (("/trian", "command_unknown"), ("/train dely", "model_unknown"), ("/train x=[", "dispatched")):
        place.wait()
        assert place.ask(body).reason_code == code
    assert len(place.replies()) == 3
    assert "Did you mean `delay`?" in place.replies()[-1]


def test_commands_for_pull_requests_say_so_on_issues(place: Place) -> None:
    issue = place.hub.open_issue(place.repo, title="Slow", body="", actor=user("ada"))["number"]
    place.hub.set_role(place.repo, "ada", "admin")
    codes = {name: place.ask(line_of(place, name), number=issue).reason_code for name in NAMES}
    assert {name for name, code in codes.items() if code == "not_a_pull"} == {"train", "cancel", "report", "release"}
    assert codes["promote"] == "dispatched"


def test_without_a_readable_policy_nothing_starts_and_the_author_is_told(place: Place) -> None:
    for policy, code in ((b"version: 1\nmodels: {}\n", "config_invalid"), (None, "not_configured")):
        place.hub.commit_folder(place.repo, "main", {"trackside.yaml": policy}, "policy", user("ada"))
        result = place.ask(line_of(place, "train"))
        assert (result.decision, result.reason_code) == ("failed", code)
        assert place.reactions() == ["confused"]
    assert place.dispatched() == []
    assert len(place.replies()) == 2


def test_cancel_ends_the_runs_of_this_pull_request_only(place: Place) -> None:
    dispatcher = place.sandbox.dispatcher = Dispatcher(place.hub, ENV, {}, runners=())
    head = place.head()
    ours = [
        add_run(
            place.sandbox, place.repo, status="in_progress", conclusion=None, display_title=title, workflow_path=path
        )
        for title, path in (
            (run_title("delay", pull=place.number, head=head, digest="sha256:" + "a" * 64), "train.yml"),
            (run_title("delay", pull=place.number, head=head, digest="b" * 64, experiment=True), "train.yml"),
            (plan_title(place.number), "pull-request.yml"),
        )
        for path in [f".github/workflows/{path}"]
    ]
    others = [
        add_run(place.sandbox, place.repo, status="in_progress", conclusion=None, **more)
        for more in (
            {"display_title": run_title("delay", pull=place.number + 1, head=head, digest="c" * 64)},
            {"display_title": run_title("delay", pull=place.number, head=head, digest="d" * 64), "event": "push"},
            {"display_title": "train delay"},
        )
    ]
    result = place.ask("/cancel")
    assert (result.decision, result.reason_code) == ("done", "cancelled"), result
    runs = {one["id"]: one for one in place.sandbox.state.list("run", place.repo)}
    assert {runs[one]["conclusion"] for one in ours} == {"cancelled"}
    assert {runs[one]["conclusion"] for one in others} == {None}
    assert place.ask("/cancel").reason_code == "nothing_runs"
    place.sandbox.dispatcher = None
    assert dispatcher is not None


# Which commit


def test_a_push_older_than_the_comment_vouches_for_the_head(place: Place) -> None:
    place.wait()
    assert place.ask("/train").reason_code == "dispatched"


def test_whatever_the_head_was_moved_by_nothing_starts_without_a_word_on_it(place: Place) -> None:
    """Pushes at the time of the comment and after it, backdated and forced ones, back to what it was."""
    ran = 0
    bare = place.hub.bare(place.repo)

    def push(sha: str) -> None:
        before = bare.sha("refs/heads/topic")
        bare.update_ref("refs/heads/topic", sha)
        place.hub.pushed(place.repo, {"refs/heads/topic": (before, sha)}, user("ada"))

    def commit(date: str) -> str:
        tip = place.head()
        who = place.hub.identity("ada") | {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        made: str = bare.write_commit(bare.commit(tip).tree, [tip], f"c {date}", who)
        return made

    def refused(event: Event, code: str = "head_moved") -> None:
        nonlocal ran
        result = place.gate(event)
        assert (result.decision, result.reason_code) == ("refused", code), result
        assert place.reactions() == ["confused"]
        ran += 1

    place.wait()
    event = place.say("/train")
    push(commit("2026-01-01T00:00:00Z"))  # in the same second
    refused(event)
    for date in ("2001-01-01T00:00:00Z", "2031-01-01T00:00:00Z"):
        place.wait()
        event = place.say("/train delay")
        place.wait()
        push(commit(date))
        refused(event)
    place.wait()
    event, head = place.say("/train"), place.head()
    place.wait()
    push(commit("2001-01-01T00:00:00Z"))
    push(head)  # forced back to the very commit that was commented on: nobody can tell what was meant
    refused(event)
    place.wait()
    event = place.say(f"/train sha={place.head()[:7]}")
    push(commit("2001-01-01T00:00:00Z"))
    refused(event)
    refused(place.say("/train sha=0000000"))
    for doc in place.sandbox.state.list("activity", place.repo):  # a server that tells nothing
        place.sandbox.state.delete("activity", place.repo, doc["id"])
    refused(place.say("/train"), "sha_missing")
    assert place.ask(f"/train sha={place.head()[:7]}").decision == "done"
    print(f"{ran} moved heads")
    assert ran == 7
    assert len(place.dispatched()) == 1


def test_forks_need_the_commit(place: Place) -> None:
    fork = place.sandbox.seed.fork(place.repo, "eve")
    place.hub.commit_folder(fork, "evil", {"t": b"e\n"}, "change", user("eve"))
    number = place.hub.open_pull(place.repo, title="Evil", head="eve:evil", base="main", actor=user("eve"))
    place.wait()
    assert place.ask("/train", "eve", number).reason_code == "permission_missing"
    assert place.ask(f"/train sha={place.head(number)}", "eve", number).reason_code == "permission_missing"
    result = place.ask("/train", "ada", number)
    assert (result.decision, result.reason_code) == ("refused", "sha_missing")
    assert f"/train sha={place.head(number)[:12]}" in place.replies()[-1]
    event = place.say(f"/train sha={place.head(number)[:9]}", "ada", number)
    place.hub.commit_folder(fork, "evil", {"t": b"worse\n"}, "change", user("eve"))
    assert place.gate(event).reason_code == "head_moved"
    assert place.dispatched() == []
    assert place.ask(f"/train sha={place.head(number)[:9]}", "ada", number).decision == "done"


def test_closed_pull_requests_train_nothing(place: Place) -> None:
    place.wait()
    event = place.say("/train")
    place.hub.set_state(place.repo, place.number, "closed", user("ada"))
    assert place.gate(event).reason_code == "pull_closed"
    assert place.dispatched() == []


# What it costs, and what goes wrong


def test_made_up_comments_end_in_a_decision_and_ping_nobody(place: Place) -> None:
    """A maintainer types nonsense: the gate over HTTP decides, and its replies show what was typed as code only."""
    place.hub.set_role(place.repo, "ada", "admin")
    random_, ran, codes = random.Random(7), 0, Counter[str]()
    words = [
        "@octo/team",
        "#1",
        "<img/src=x>",
        "`",
        "``@octo``",
        "$(id)",
        "${{ github.token }}",
        "delay",
        "prod",
        "x=1",
    ]
    while ran < 60:
        body = " ".join(
            [f"/{random_.choice([*NAMES, 'trian', 'promot'])}", *random_.choices(words, k=random_.randrange(4))]
        )
        result = place.ask(body)
        assert result.decision in ("done", "refused"), (body, result)
        codes[result.reason_code] += 1
        ran += 1
    print(f"{ran} comments: {dict(codes)}")
    for text in place.replies():
        shown = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text.partition("\n")[2], flags=re.DOTALL)
        assert "@octo" not in shown, text
        assert "<img" not in shown, text
    assert len(codes) >= 5


def test_an_outage_is_told_and_fails_the_job(place: Place) -> None:
    event = place.say(line_of(place, "train"))
    place.sandbox.faults.add("GET", "/collaborators/", status=502, times=12)
    with place.forge(clock=Quick()) as forge:
        result = place.gate(event, forge)
    place.sandbox.faults.clear()
    assert (result.decision, result.values["exit-code"]) == ("failed", 4)
    assert place.reactions() == ["confused"]
    assert "GitHub answered 502" in place.replies()[-1]
    assert place.dispatched() == []


def test_from_comment_to_dispatched_run(place: Place) -> None:
    """Figures: API calls and seconds of the dearest command, from a fresh process's forge."""
    place.wait()
    place.hub.set_role(place.repo, "ada", "admin")
    most, slowest = 0, 0.0
    for name in NAMES:
        event = place.say("/train" if name == "train" else line_of(place, name))
        before = len(place.sandbox.calls)
        with place.forge() as forge:
            start = time.monotonic()
            assert place.gate(event, forge).decision == "done"
            slowest = max(slowest, time.monotonic() - start)
            most = max(most, forge.calls)
            writes = [one for one in place.sandbox.calls[before:] if one.method != "GET"]
            assert 0 < len(writes) <= 20
            if name == "train":
                calls = forge.calls
    print(f"/train: {calls} API calls; dearest: {most}; slowest: {slowest:.2f} s")
    assert calls <= MAX_CALLS
    assert slowest < MAX_SECONDS


def test_any_fault_at_any_call_and_a_re_run_end_alike(place: Place) -> None:
    """Every fault at each call of /train, then the job run again."""
    place.wait()
    event = place.say("/train")
    with place.forge() as forge:
        methods = noted(forge)
        place.gate(event, forge)
    ran = 0
    for case in cases(methods):
        place.wait()
        event, said, started = place.say("/train"), len(place.replies()), len(place.dispatched())
        with place.forge(clock=Quick()) as forge:
            broken(case, place.sandbox, forge, lambda forge, event=event: place.gate(event, forge))
        result = place.gate(event, again=True)
        assert result.decision == "done", (case, result)
        assert place.reactions() == ["rocket"], case
        answers = place.replies()[said:]  # nothing, unless the first try said that it went wrong
        assert len(answers) <= 1, case
        assert all("at the second try" in one for one in answers), case
        # A plan that is started twice starts one training; what it may never be is started by somebody else.
        assert len(place.dispatched()) - started in (1, 2, 3), case
        ran += 1
    print(f"{len(methods)} API calls, {ran} faults")
    assert ran == len(list(cases(methods))) >= 20


class Quick(Later):
    """Counts what it was asked to sleep."""

    def __init__(self) -> None:
        self.asked = 0.0

    def monotonic(self) -> float:
        return self.asked

    def sleep(self, seconds: float) -> None:
        self.asked += seconds
