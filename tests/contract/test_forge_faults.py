"""Faults and races over real HTTP: a report arrives, once, in bounded time, and nothing of anybody else is touched.

Most waits are counted by a clock that sleeps a tenth of what it is asked; the tests that say so measure real time.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from conftest import ENV, bot_forge, user
from trackside.forge.github import GithubForge
from trackside.forge.model import Annotation
from trackside.forge.operations import (
    Applied,
    CancelRun,
    CommitFiles,
    DispatchWorkflow,
    Operation,
    UpsertCheck,
    UpsertComment,
)
from trackside.sandbox.actions.dispatcher import Dispatcher
from trackside.sandbox.bus import HookEvent
from trackside.sandbox.server import Sandbox

BOT = "github-actions[bot]"
BOT_ACTOR = {"login": BOT, "kind": "workflow"}
QUEUED = b"""on:
  workflow_dispatch:
    inputs:
      title: {type: string}
run-name: ${{ inputs.title }}
jobs:
  wait:
    runs-on: no-such-runner
    steps:
      - run: "true"
"""


class FastClock:
    """Counts what it was asked to sleep and sleeps a tenth of it, so that other threads get on."""

    def __init__(self) -> None:
        self.asked = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic() + self.asked

    def sleep(self, seconds: float) -> None:
        self.asked += seconds
        time.sleep(seconds / 10)


def mark(name: object) -> str:
    return f"<!-- trackside:report model={name} -->"


def comment(number: int, name: object, text: str) -> UpsertComment:
    return UpsertComment(issue=number, marker=mark(name), body=f"{mark(name)}\n{text}")


def notes(count: int) -> tuple[Annotation, ...]:
    return tuple(
        Annotation(path="trackside.yaml", line=index + 1, level="failure", title="bound", message="m")
        for index in range(count)
    )


def check(sha: str, name: object, summary: str, conclusion: str | None = "failure", count: int = 0) -> UpsertCheck:
    return UpsertCheck(
        name=f"trackside / {name}",
        head_sha=sha,
        external_id=f"trackside:{name}:d",
        title="t",
        summary=summary,
        conclusion=conclusion,
        annotations=notes(count),
    )


def dispatch(name: object) -> DispatchWorkflow:
    return DispatchWorkflow(
        workflow="train.yml", ref="main", inputs={"title": f"train {name}"}, unless_title=f"train {name}"
    )


@dataclass(frozen=True)
class World:
    """One repository with an open pull request and a workflow whose runs stay queued."""

    sandbox: Sandbox
    repo: str
    number: int
    sha: str

    def forge(self, **more: Any) -> GithubForge:
        return bot_forge(self.sandbox, self.repo, **{"viewer": BOT, **more})

    def comments(self, name: object, author: str = BOT) -> list[str]:
        docs = self.sandbox.state.list("comment", self.repo, issue=self.number, user=author)
        return [doc["body"] for doc in docs if mark(name) in doc["body"]]

    def checks(self, name: object) -> list[tuple[str, str | None, int]]:
        docs = self.sandbox.state.list("check_run", self.repo, name=f"trackside / {name}")
        return [(doc["output"]["summary"], doc["conclusion"], len(doc["annotations"])) for doc in docs]

    def runs(self, name: object) -> list[dict[str, Any]]:
        return self.sandbox.state.list("run", self.repo, display_title=f"train {name}")

    def file(self, branch: str, path: str) -> bytes | None:
        return self.sandbox.hub.bare(self.repo).file(f"refs/heads/{branch}", path)

    def history(self, branch: str) -> list[str]:
        return self.sandbox.hub.bare(self.repo).log(f"refs/heads/{branch}")


@pytest.fixture
def world(sandbox: Sandbox, repo: str) -> Iterator[World]:
    files = {".github/workflows/train.yml": QUEUED}
    sandbox.hub.commit_folder(repo, "main", files, "workflow", user("ada"))
    sha = sandbox.hub.commit_folder(repo, "topic", {"params.yaml": b"lr: 0.1\n"}, "change", user("ada"))
    number = sandbox.hub.open_pull(repo, title="Change", head="topic", base="main", actor=user("ada"))
    dispatcher = sandbox.dispatcher = Dispatcher(sandbox.hub, ENV, {})
    dispatcher.start()
    yield World(sandbox, repo, number, sha)
    sandbox.dispatcher = None
    dispatcher.stop()


# One comment


@pytest.mark.parametrize("prior", [0, 30, 250])
def test_one_comment_per_model_whatever_was_there(world: World, prior: int) -> None:
    for index in range(prior):
        world.sandbox.hub.add_comment(world.repo, world.number, f"remark {index}", user("ada"))
    for name in ("delay", "price"):
        world.sandbox.hub.add_comment(world.repo, world.number, f"{mark(name)}\nplanted", user("mallory"))
    cases = 0
    with world.forge() as forge:
        for text, outcome in (("a", "created"), ("a", "unchanged"), ("b", "updated"), ("b", "unchanged")):
            for name in ("delay", "price"):
                applied = forge.apply([comment(world.number, name, text)])[0]
                assert applied.outcome == outcome
                assert world.comments(name) == [f"{mark(name)}\n{text}"]
                assert world.comments(name, "mallory") == [f"{mark(name)}\nplanted"]
                cases += 1
    assert len(world.sandbox.state.list("comment", world.repo, issue=world.number)) == prior + 4
    print(f"{cases} publications with {prior} prior comments")
    assert cases == 8


def test_extras_of_an_older_accident_go_and_the_oldest_stays(world: World) -> None:
    made = [world.sandbox.hub.add_comment(world.repo, world.number, mark("delay"), BOT_ACTOR) for _ in range(3)]
    with world.forge() as forge:
        applied = forge.apply([comment(world.number, "delay", "new")])[0]
    assert (applied.outcome, applied.id) == ("updated", made[0]["id"])
    assert world.comments("delay") == [f"{mark('delay')}\nnew"]


def race(count: int, work: Callable[[int], None]) -> None:
    """Run `work` on `count` threads that start together; an exception of any fails the test."""
    barrier, failures = threading.Barrier(count), list[BaseException]()

    def one(index: int) -> None:
        barrier.wait()
        try:
            work(index)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def created_comments(world: World) -> list[dict[str, Any]]:
    """A list that every comment created from now on is added to."""
    made = list[dict[str, Any]]()

    def listen(event: HookEvent) -> None:
        if (event.repo, event.name, event.action) == (world.repo, "issue_comment", "created"):
            made.append(event.payload["comment"])

    world.sandbox.bus.subscribe(listen)
    return made


@pytest.mark.parametrize(("writers", "rounds"), [(2, 20), (5, 6)])
def test_concurrent_first_writers_leave_one_comment(world: World, writers: int, rounds: int) -> None:
    """Each has looked, and found no comment, before any writes one."""
    collisions, made = 0, created_comments(world)
    forges = [world.forge() for _ in range(writers)]
    sends = [forge.client._send for forge in forges]
    for name in range(rounds):
        made.clear()
        looked = threading.Barrier(writers)

        def write(index: int, name: int = name, looked: threading.Barrier = looked) -> None:
            waits = [looked]

            def send(method: str, *request: Any) -> Any:
                if method == "POST" and waits:
                    waits.pop().wait(60)
                return sends[index](method, *request)

            forges[index].client._send = send
            applied = forges[index].apply([comment(world.number, name, f"by {index}")])[0]
            assert applied.outcome != "failed", applied.error

        race(writers, write)
        left = world.comments(name)
        assert len(left) == 1, left
        assert left[0].removeprefix(mark(name) + "\n") in {f"by {index}" for index in range(writers)}
        collisions += len(made) == writers
        if writers == 2:  # the last word is the body that was created last
            assert left == [max(made, key=lambda one: one["id"])["body"]]
    for forge in forges:
        forge.close()
    print(f"{rounds} rounds of {writers} writers, {collisions} with a creation by each")
    assert collisions == rounds


class Turns:
    """Lets two writers send their requests in a given order; turns of one that has ended are skipped."""

    def __init__(self, order: str) -> None:
        self.order, self.ended = list(order), set[str]()
        self.changed = threading.Condition()

    def take(self, who: str, send: Callable[[], Any]) -> Any:
        """Send when it is this writer's turn; the next one waits for the answer."""
        with self.changed:
            self.changed.wait_for(lambda: self._next() in (who, ""), timeout=30)
            try:
                return send()
            finally:
                if self.order:
                    self.order.pop(0)
                self.changed.notify_all()

    def _next(self) -> str:
        while self.order and self.order[0] in self.ended:
            self.order.pop(0)
        return self.order[0] if self.order else ""

    def end(self, who: str) -> None:
        with self.changed:
            self.ended.add(who)
            self.changed.notify_all()


def test_every_order_of_two_first_writers_leaves_the_last_word(world: World) -> None:
    made = created_comments(world)
    orders = ["".join(order) for order in itertools.product("ab", repeat=6)]
    doubled = 0
    with world.forge() as one, world.forge() as two:
        forges = {"a": one, "b": two}
        sends = {who: forge.client._send for who, forge in forges.items()}
        for order in orders:
            made.clear()
            turns = Turns(order)

            def write(index: int, order: str = order, turns: Turns = turns) -> None:
                who = "ab"[index]

                def send(*request: Any) -> Any:
                    return turns.take(who, lambda: sends[who](*request))

                forges[who].client._send = send
                try:
                    applied = forges[who].apply([comment(world.number, order, who)])[0]
                finally:
                    turns.end(who)
                assert applied.outcome != "failed", applied.error

            race(2, write)
            left = world.comments(order)
            assert len(left) == 1, (order, left)
            # The last to create has the last word, or else the one who found the other's comment.
            last = (
                made[1]["body"]
                if len(made) == 2
                else comment(1, order, "a" if made[0]["body"].endswith("b") else "b").body
            )
            assert left == [last], order
            doubled += len(made) == 2
            for old in made:  # short lists are quick
                world.sandbox.state.delete("comment", world.repo, old["id"])
    print(f"{len(orders)} orders, {doubled} with two creations")
    assert len(orders) == 64
    assert doubled >= 16


@pytest.mark.parametrize("viewer", ["", BOT, "acme-ml[bot]"])
def test_a_token_of_an_app_keeps_one_comment_whether_it_is_known_by_name_or_not(world: World, viewer: str) -> None:
    world.sandbox.hub.add_user("acme-ml[bot]", "Bot")
    held = {"pull-requests": "write", "checks": "write"}
    world.sandbox.hub.add_token("ghs_app", "acme-ml[bot]", "app", held, world.repo)
    world.sandbox.hub.add_comment(world.repo, world.number, f"{mark('delay')}\nof another App", BOT_ACTOR)
    before = len(world.sandbox.calls)
    for text in ("a", "b", "b"):
        with GithubForge(world.repo, "ghs_app", world.sandbox.api_url, viewer=viewer) as forge:
            forge.apply([check(world.sha, "delay", text), comment(world.number, "delay", text)])
        assert world.comments("delay", "acme-ml[bot]") == [f"{mark('delay')}\n{text}"]
    created = [one for one in world.sandbox.calls[before:] if one.method == "POST"]
    assert len(created) == 2, "one check run and one comment were to be created"
    assert world.comments("delay") == [f"{mark('delay')}\nof another App"]


def test_an_app_that_is_taken_for_another_still_ends_with_one_comment(world: World) -> None:
    world.sandbox.hub.add_user("acme-ml[bot]", "Bot")
    world.sandbox.hub.add_token("app-token", "acme-ml[bot]", "app", {"pull-requests": "write"}, world.repo)
    for text in ("a", "b", "c"):
        with GithubForge(world.repo, "app-token", world.sandbox.api_url, viewer=BOT) as forge:
            assert forge.apply([comment(world.number, "delay", text)])[0].outcome == "created"
        assert world.comments("delay", "acme-ml[bot]") == [f"{mark('delay')}\n{text}"]


def test_a_write_that_lands_after_its_time_out_is_cleaned_up(world: World) -> None:
    world.sandbox.faults.add("POST", "/comments$", mode="latency", seconds=2.0)
    with world.forge(timeout=1) as forge:
        assert forge.apply([comment(world.number, "delay", "a")])[0].outcome == "created"
        deadline = time.monotonic() + 10
        while len(world.comments("delay")) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(world.comments("delay")) == 2, "the late write was to land"
        assert forge.apply([comment(world.number, "delay", "a")])[0].outcome == "updated"
    assert world.comments("delay") == [f"{mark('delay')}\na"]


# Every request of every operation, with every fault


@dataclass(frozen=True)
class Scenario:
    """An operation, what must be done before it, the requests it makes, and what must hold after it."""

    name: str
    requests: tuple[tuple[str, str, int], ...]
    """Method, path and how many matching requests go by before the fault."""
    operation: Callable[[World, str], Operation]
    holds: Callable[[World, str, Applied], bool]
    before: Callable[[World, GithubForge, str], object] = lambda world, forge, name: None
    most_waited: float = 2.0
    """Seconds beyond Retry-After."""


def prepared(make: Callable[[World, str], Operation]) -> Callable[[World, GithubForge, str], object]:
    return lambda world, forge, name: forge.apply([make(world, name)])


def twins(world: World, _: GithubForge, name: str) -> None:
    for _index in range(2):
        world.sandbox.hub.add_comment(world.repo, world.number, mark(name), BOT_ACTOR)


def files(text: str) -> Callable[[World, str], Operation]:
    return lambda world, name: CommitFiles(branch=f"data-{name}", message="m", files={"runs/a.json": text})


def cancellation(world: World, name: str) -> Operation:
    return CancelRun(run_id=world.runs(name)[0]["id"], why="a newer push")


def queued(world: World, forge: GithubForge, name: str) -> None:
    forge.apply([dispatch(name)])
    deadline = time.monotonic() + 10
    while not world.runs(name) and time.monotonic() < deadline:
        time.sleep(0.01)


LIST_COMMENTS, LIST_CHECKS = r"/issues/\d+/comments$", "/commits/.*/check-runs$"
SCENARIOS = (
    Scenario(
        "a first comment",
        (("GET", LIST_COMMENTS, 0), ("POST", "/comments$", 0), ("GET", LIST_COMMENTS, 1)),
        lambda world, name: comment(world.number, name, "a"),
        lambda world, name, applied: world.comments(name) == [f"{mark(name)}\na"] and applied.outcome == "created",
    ),
    Scenario(
        "a changed comment",
        (("GET", LIST_COMMENTS, 0), ("PATCH", "/issues/comments/", 0)),
        lambda world, name: comment(world.number, name, "b"),
        lambda world, name, applied: world.comments(name) == [f"{mark(name)}\nb"] and applied.outcome == "updated",
        prepared(lambda world, name: comment(world.number, name, "a")),
    ),
    Scenario(
        "a doubled comment",
        (("DELETE", "/issues/comments/", 0),),
        lambda world, name: comment(world.number, name, "b"),
        lambda world, name, applied: world.comments(name) == [f"{mark(name)}\nb"],
        twins,
    ),
    Scenario(
        "a first check with 120 annotations",
        (
            ("GET", LIST_CHECKS, 0),
            ("POST", "/check-runs$", 0),
            *(("PATCH", "/check-runs/", passed) for passed in (0, 1)),
        ),
        lambda world, name: check(world.sha, name, "s", count=120),
        lambda world, name, applied: world.checks(name) == [("s", "failure", 120)] and applied.outcome == "created",
    ),
    Scenario(
        "a check that completes with 70 annotations",
        (("GET", LIST_CHECKS, 0), *(("PATCH", "/check-runs/", passed) for passed in (0, 1))),
        lambda world, name: check(world.sha, name, "s", count=70),
        lambda world, name, applied: world.checks(name) == [("s", "failure", 70)] and applied.outcome == "updated",
        prepared(lambda world, name: check(world.sha, name, "queued", None)),
    ),
    Scenario(
        "a first file",
        (("GET", "/git/ref/", 0), ("POST", "/git/trees", 0), ("POST", "/git/commits", 0), ("POST", "/git/refs", 0)),
        files("1\n"),
        lambda world, name, applied: (
            world.file(f"data-{name}", "runs/a.json") == b"1\n" and len(world.history(f"data-{name}")) == 1
        ),
    ),
    Scenario(
        "a changed file",
        (
            ("GET", "/git/commits/", 0),
            ("POST", "/git/trees", 0),
            ("POST", "/git/commits", 0),
            ("PATCH", "/git/refs/", 0),
        ),
        files("2\n"),
        lambda world, name, applied: (
            world.file(f"data-{name}", "runs/a.json") == b"2\n"
            and len(world.history(f"data-{name}")) == 2
            and applied.outcome == "updated"
        ),
        prepared(files("1\n")),
    ),
    Scenario(
        "a dispatch",
        (("GET", "/workflows/train.yml/runs", 0), ("POST", "/dispatches$", 0)),
        lambda world, name: dispatch(name),
        lambda world, name, applied: [run["id"] for run in settled(world, name)] == [applied.id],
        most_waited=8.0,  # a run is listed some time after its dispatch: the look-ups wait for it, twice if need be
    ),
    Scenario(
        "a cancellation",
        (("POST", "/cancel$", 0),),
        cancellation,
        lambda world, name, applied: ended(world, name) and applied.outcome in ("updated", "unchanged"),
        queued,
    ),
)

FAULTS: dict[str, dict[str, Any]] = {
    "502": {"status": 502},
    "500 twice": {"status": 500, "times": 2},
    "429": {"status": 429, "headers": {"Retry-After": "1"}},
    "403 secondary": {"status": 403, "headers": {"Retry-After": "1"}},
    "502 after the write": {"mode": "after_write", "status": 502},
    "never arrived": {"mode": "drop"},
    "lost": {"mode": "lost"},
    "lost twice": {"mode": "lost", "times": 2},
}


def ended(world: World, name: str) -> bool:
    """Whether the one run of a title ends, which takes a moment after a cancellation."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if [run["status"] for run in world.runs(name)] == ["completed"]:
            return True
        time.sleep(0.01)
    return False


def settled(world: World, name: str) -> list[dict[str, Any]]:
    """The runs of a title once every dispatch was handled."""
    world.sandbox.dispatcher.wait_idle(10)
    return world.runs(name)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name.replace(" ", "-"))
def test_faults_lose_and_double_nothing(world: World, scenario: Scenario) -> None:
    cases = 0
    for method, path, passed in scenario.requests:
        for kind, fault in FAULTS.items():
            case = (scenario.name, method, path, passed, kind)
            name = f"m{cases}"
            clock = FastClock()
            with world.forge(clock=clock) as forge:
                scenario.before(world, forge, name)
                operation = scenario.operation(world, name)
                world.sandbox.faults.clear()
                fired, asked = world.sandbox.faults.fired, clock.asked
                world.sandbox.faults.add(method, path, **{"after": passed, "times": 1, **fault})
                applied = forge.apply([operation])[0]
            assert applied.outcome != "failed", (case, applied.error)
            assert world.sandbox.faults.fired > fired, case
            assert scenario.holds(world, name, applied), (case, applied)
            retry_after = float(fault.get("headers", {}).get("Retry-After", 0))
            assert retry_after <= clock.asked - asked <= retry_after + scenario.most_waited, (case, clock.asked - asked)
            with world.forge() as forge:
                again = forge.apply([operation])[0]
            assert again.outcome in ("unchanged", "skipped"), (case, again)
            assert scenario.holds(world, name, applied), case
            cases += 1
    print(f"{cases} faults in {scenario.name}")
    assert cases == len(scenario.requests) * len(FAULTS)


def test_the_matrix_of_faults_is_complete() -> None:
    cases = sum(len(scenario.requests) for scenario in SCENARIOS) * len(FAULTS)
    print(f"{cases} faults in all")
    assert cases == 192


def test_retry_after_is_kept_to_in_real_time(world: World) -> None:
    world.sandbox.faults.add("POST", "/comments$", status=429, headers={"Retry-After": "1"})
    with world.forge() as forge:
        forge.viewer()
        started = time.monotonic()
        assert forge.apply([comment(world.number, "delay", "a")])[0].outcome == "created"
        waited = time.monotonic() - started
    assert waited >= 1
    assert len(world.comments("delay")) == 1


def test_an_outage_ends_in_an_error_and_the_other_operations_go_on(world: World) -> None:
    world.sandbox.faults.add("*", "/comments", status=502, times=1000)
    clock = FastClock()
    with world.forge(clock=clock) as forge:
        applied = forge.apply([comment(world.number, "delay", "a"), check(world.sha, "delay", "s")])
    assert [one.outcome for one in applied] == ["failed", "created"]
    assert applied[0].reason_code == "forge_failed"
    assert clock.asked <= 10


def test_a_limit_that_lasts_too_long_is_not_waited_for(world: World) -> None:
    world.sandbox.faults.add("POST", "/comments$", status=429, headers={"Retry-After": "3600"})
    clock = FastClock()
    with world.forge(clock=clock, max_rate_limit_wait=60) as forge:
        applied = forge.apply([comment(world.number, "delay", "a")])[0]
    assert (applied.outcome, applied.reason_code, clock.asked) == ("failed", "rate_limited", 0)


# Permissions


def test_a_403_names_the_permission_and_the_other_operations_go_on(world: World) -> None:
    read = {"contents": "read", "pull-requests": "read", "checks": "read", "actions": "read"}
    cases = 0
    for missing in ("pull-requests", "checks", "actions", "contents"):
        operations: dict[str, Operation] = {
            "pull-requests": comment(world.number, missing, "a"),
            "checks": check(world.sha, missing, "s"),
            "actions": dispatch(missing),
            "contents": CommitFiles(branch=f"data-{missing}", message="m", files={"a": "b"}),
        }
        held = {**dict.fromkeys(read, "write"), missing: "read"}
        with bot_forge(world.sandbox, world.repo, held, viewer=BOT) as forge:
            applied = dict(zip(operations, forge.apply(operations.values()), strict=True))
        for permission, one in applied.items():
            if permission == missing:
                assert (one.outcome, one.reason_code) == ("failed", "forbidden")
                assert f"permissions:\n         {permission}: write" in one.error
            else:
                assert one.outcome == "created", one.error
        cases += 1
    print(f"{cases} missing permissions")
    assert cases == 4


# The data branch


def test_parallel_first_writers_of_the_data_branch_lose_nothing(world: World) -> None:
    writers, each = 8, 2
    forges = [world.forge() for _ in range(writers)]
    pointer = "inputs/delay/same.json"

    def write(index: int) -> None:
        for number in range(each):
            own = f"runs/delay/{index}-{number}.json"
            operation = CommitFiles(
                branch="data", message=own, files={own: f"{index}\n", pointer: f"{own}\n"}, keep=frozenset({pointer})
            )
            applied = forges[index].apply([operation])[0]
            assert applied.outcome in ("created", "updated"), applied.error

    race(writers, write)
    calls = sum(forge.calls for forge in forges)
    bare = world.sandbox.hub.bare(world.repo)
    history = world.history("data")
    assert len(history) == writers * each
    assert [len(bare.commit(sha).parents) for sha in history] == [1] * (writers * each - 1) + [0]
    for index in range(writers):
        for number in range(each):
            assert world.file("data", f"runs/delay/{index}-{number}.json") == f"{index}\n".encode()
    first = bare.commit(history[-1]).message
    assert world.file("data", pointer) == f"{first}\n".encode(), "the first writer's pointer was to stay"
    for forge in forges:
        forge.close()
    print(f"{writers * each} commits by {writers} writers in {calls} calls")
    assert writers * each == 16


@pytest.mark.parametrize(("fault", "moves"), [({"mode": "lost"}, 1), ({"status": 502}, 2), ({"mode": "drop"}, 2)])
def test_a_move_without_an_answer_is_looked_for_and_sent_again_alone(
    world: World, fault: dict[str, Any], moves: int
) -> None:
    with world.forge(clock=FastClock()) as forge:
        for text in ("1", "2"):
            before = len(world.sandbox.calls)
            if text == "2":
                world.sandbox.faults.add("PATCH", "/git/refs/", **fault)
            operation = CommitFiles(branch="data", message=text, files={"a": text})
            assert forge.apply([operation])[0].outcome in ("created", "updated")
    sent = [one.path.partition("/git/")[2] for one in world.sandbox.calls[before:] if one.method != "GET"]
    assert sorted(sent) == ["commits", *["refs/heads/data"] * moves, "trees"]
    assert (world.file("data", "a"), len(world.history("data"))) == (b"2", 2)


def test_files_are_added_kept_deleted_and_left_alone(world: World) -> None:
    def commit(expected: str, keep: frozenset[str] = frozenset(), **texts: str | None) -> None:
        named = {name.replace("__", "/"): text for name, text in texts.items()}
        with world.forge() as forge:
            applied = forge.apply([CommitFiles(branch="data", message="m", files=named, keep=keep)])[0]
        assert applied.outcome == expected, applied.error

    commit("unchanged", a=None)
    commit("created", a="1\r\n", d__b="é😀")
    commit("unchanged", a="1\r\n")
    commit("unchanged", a="2", keep=frozenset({"a"}))
    commit("updated", a="2", c="3", keep=frozenset({"a", "c"}))
    commit("unchanged", nothing=None)
    commit("updated", d__b=None, c=None)
    assert world.file("data", "a") == b"1\r\n"
    assert world.file("data", "c") is None
    assert world.file("data", "d/b") is None
    assert len(world.history("data")) == 3


HOSTILE_PATHS = ["", "/a", "a/", "../a", "a/../b", ".git/config", "a/.GIT/x", "a//b", "a\\b", "a\0b", "."]


def test_paths_that_git_would_not_take_are_refused_before_any_call(world: World) -> None:
    for path in HOSTILE_PATHS:
        with world.forge() as forge:
            applied = forge.apply([CommitFiles(branch="data", message="m", files={path: "x"})])[0]
            assert (applied.outcome, forge.calls) == ("failed", 0), path
    print(f"{len(HOSTILE_PATHS)} paths")
    assert len(HOSTILE_PATHS) == 11


def test_a_branch_that_refuses_for_good_is_not_tried_again(world: World) -> None:
    world.sandbox.faults.add("POST", "/git/refs$", status=422, times=100)
    with world.forge() as forge:
        applied = forge.apply([CommitFiles(branch="data", message="m", files={"a": "b"})])[0]
        assert (applied.outcome, forge.calls) == ("failed", 4)


# What it costs


def test_api_calls_of_a_publication(world: World) -> None:
    def publish(text: str) -> int:
        with world.forge() as forge:
            operations = [comment(world.number, "delay", text), check(world.sha, "delay", text, "success")]
            applied = forge.apply(operations)
            assert [one.outcome for one in applied if one.outcome == "failed"] == []
            return forge.calls

    costs = {"first": publish("a"), "unchanged": publish("a"), "changed": publish("b")}
    print(f"API calls: {costs}")
    assert costs == {"first": 5, "unchanged": 2, "changed": 4}


def test_a_dispatch_is_not_repeated_while_its_run_is_active(world: World) -> None:
    with world.forge() as forge:
        first = forge.apply([dispatch("delay")])[0]
        assert first.outcome == "created"
        settled(world, "delay")
        second = forge.apply([dispatch("delay")])[0]
        assert (second.outcome, second.id) == ("skipped", first.id)
        assert forge.apply([CancelRun(run_id=int(first.id), why="x")])[0].outcome == "updated"
        deadline = time.monotonic() + 10
        while forge.run(int(first.id)).status != "completed" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert forge.apply([CancelRun(run_id=int(first.id), why="x")])[0].outcome == "unchanged"
        third = forge.apply([dispatch("delay")])[0]
        assert (third.outcome, third.id == first.id) == ("created", False)
        assert forge.apply([CancelRun(run_id=1, why="x")])[0].reason_code == "not_found"


def test_a_dry_run_writes_and_asks_nothing(world: World) -> None:
    operations = [comment(world.number, "delay", "a"), check(world.sha, "delay", "s"), dispatch("delay")]
    with world.forge() as forge:
        assert [one.outcome for one in forge.apply(operations, dry_run=True)] == ["skipped"] * 3
        assert forge.calls == 0
