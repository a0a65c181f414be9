"""Reactions, labels, push evidence and locks over real HTTP: faults at every call, a hundred claims at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from conftest import bot_forge, user
from sweeps import broken, cases, noted
from trackside.errors import NotFound, Refused, TracksideError
from trackside.forge.github import GithubForge
from trackside.forge.operations import AddLabels, Operation, React
from trackside.registry.locks import Held, claim, claimable, free, lock_ref, read, wanted
from trackside.sandbox.server import Sandbox

BOT = "github-actions[bot]"
NOW = datetime(2026, 11, 21, 6, 0, 0, tzinfo=UTC)
CLAIMS = 100


@dataclass(frozen=True)
class Place:
    sandbox: Sandbox
    repo: str
    number: int

    def forge(self, **more: Any) -> GithubForge:
        return bot_forge(self.sandbox, self.repo, {"contents": "write", "pull-requests": "write"}, viewer=BOT, **more)

    def comment(self, body: str = "/train", login: str = "ada") -> int:
        return int(self.sandbox.hub.add_comment(self.repo, self.number, body, user(login))["id"])

    def reactions(self, comment: int) -> list[tuple[str, str]]:
        docs = self.sandbox.state.list("reaction", self.repo, subject=f"comment/{comment}")
        return [(one["user"], one["content"]) for one in docs]

    def labels(self) -> list[str]:
        return list(self.sandbox.hub.issue(self.repo, self.number)["labels"])

    @property
    def tree(self) -> str:
        return str(self.sandbox.hub.bare(self.repo).commit("refs/heads/main").tree)


@pytest.fixture
def place(sandbox: Sandbox, repo: str, number: int) -> Place:
    return Place(sandbox, repo, number)


def test_a_reaction_takes_the_place_of_another(place: Place) -> None:
    comment = place.comment()
    with place.forge() as forge:
        (seen,) = forge.apply([React(comment_id=comment, content="eyes")])
        place.sandbox.hub.react(place.repo, f"comment/{comment}", "eyes", user("ada"))
        before = forge.calls
        forge.apply([React(comment_id=comment, content="rocket", instead_of="eyes")])
        assert forge.calls - before == 2, "what this process made is not looked up"
    assert place.reactions(comment) == [("ada", "eyes"), (BOT, "rocket")], "the reactions of people stay"
    with place.forge() as forge:  # another job
        forge.apply([React(comment_id=comment, content="confused", instead_of="rocket")])
        (again,) = forge.apply([React(comment_id=comment, content="confused", instead_of="rocket")])
    assert place.reactions(comment) == [("ada", "eyes"), (BOT, "confused")]
    assert (seen.outcome, again.outcome) == ("updated", "updated")


def test_a_reaction_to_a_comment_that_is_gone(place: Place) -> None:
    with place.forge() as forge:
        (applied,) = forge.apply([React(comment_id=10**9, content="eyes")])
        assert (applied.outcome, applied.reason_code) == ("failed", "not_found")
        with pytest.raises(NotFound):
            forge.comment(10**9)


def test_labels_are_a_set(place: Place) -> None:
    labels = AddLabels(issue=place.number, add=("release:minor",), remove=("release:major", "release:patch"))
    place.sandbox.hub.set_labels(place.repo, place.number, ["bug", "release:major"], user("ada"))
    with place.forge() as forge:
        assert [one.outcome for one in forge.apply([labels, labels])] == ["updated", "unchanged"]
    assert place.labels() == ["bug", "release:minor"]


def test_a_comment_by_its_number(place: Place) -> None:
    comment = place.comment("/train lr=1")
    with place.forge() as forge:
        found = forge.comment(comment)
        assert (found.id, found.author, found.body, found.issue, found.bot) == (
            comment, "ada", "/train lr=1", place.number, False,
        )  # fmt: skip
        assert found.created_at == found.updated_at != ""
        assert forge.comment(place.comment("x", BOT)).bot


def test_pushes_are_what_the_server_noted_not_what_a_commit_says(place: Place) -> None:
    """A backdated commit: its own dates are of 2001, the push is of now."""
    bare, hub = place.sandbox.hub.bare(place.repo), place.sandbox.hub
    tip = bare.sha("refs/heads/topic")
    assert tip
    dates = {"GIT_AUTHOR_DATE": "2001-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2001-01-01T00:00:00Z"}
    old = bare.write_commit(bare.commit(tip).tree, [tip], "old", hub.identity("ada") | dates)
    bare.update_ref("refs/heads/topic", old)
    hub.pushed(place.repo, {"refs/heads/topic": (tip, old)}, user("ada"))
    with place.forge() as forge:
        push = forge.last_push("topic")
        assert push is not None
        assert (push.before, push.after, push.actor, push.ref) == (tip, old, "ada", "refs/heads/topic")
        assert datetime.now(UTC) - datetime.fromisoformat(push.at) < timedelta(minutes=5)
        assert forge.last_push("no-such-branch") is None
        assert forge.contains("main", bare.sha("refs/heads/main") or "")
        assert not forge.contains("main", old)
        assert not forge.contains("main", "0" * 39 + "1")


def test_any_fault_at_any_call_and_a_re_run_leave_the_same(place: Place) -> None:
    """Reactions and labels under each fault at each of their calls: 502, 502 for good, a lost answer, a kill."""
    ran = 0

    def sweep(work: Callable[[GithubForge], Any], start: Callable[[], None], end: Callable[[], Any]) -> int:
        start()
        with place.forge() as forge:
            methods = noted(forge)
            work(forge)
        wanted_end = end()
        count = 0
        for case in cases(methods):
            start()
            with place.forge(clock=Quick()) as forge:
                broken(case, place.sandbox, forge, work)
            with place.forge() as forge:
                work(forge)
            assert end() == wanted_end, case
            count += 1
        return count

    comment = place.comment()

    def clear() -> None:
        for doc in place.sandbox.state.list("reaction", place.repo, subject=f"comment/{comment}"):
            place.sandbox.state.delete("reaction", place.repo, doc["id"])
        place.sandbox.hub.set_labels(place.repo, place.number, ["release:major"], user("ada"))

    def apply(*operations: Operation) -> Callable[[GithubForge], Any]:
        return lambda forge: forge.apply(operations)

    both = (React(comment_id=comment, content="eyes"), React(comment_id=comment, content="rocket", instead_of="eyes"))
    ran += sweep(apply(*both), clear, lambda: sorted(place.reactions(comment)))
    labels = AddLabels(issue=place.number, add=("release:minor",), remove=("release:major",))
    ran += sweep(apply(labels), clear, lambda: sorted(place.labels()))
    print(f"{ran} faults")
    assert ran >= 15


class Quick:
    """A clock that only counts what it is asked to sleep."""

    def __init__(self) -> None:
        self.asked = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return self.asked

    def sleep(self, seconds: float) -> None:
        self.asked += seconds


# Locks


def lock(owner: str = "1", actor: str = "ada", now: datetime = NOW, **more: Any) -> Any:
    return wanted(model="delay", stage="prod", owner=owner, actor=actor, reason="promote delay", now=now, **more)


def test_a_lock_is_held_told_freed_and_claimed_again(place: Place) -> None:
    with place.forge() as forge:
        held = claim(forge, lock(), tree=place.tree)
        with pytest.raises(Refused) as told:
            claim(forge, lock("2", "eve"), tree=place.tree)
        assert told.value.reason_code == "lock_held"
        assert "ada since 2026-11-21T06:00:00Z, at most until 2026-11-21T06:15:00Z" in told.value.message
        assert free(forge, held)
        second = claim(forge, lock("2", "eve"), tree=place.tree)
        assert not free(forge, held), "the first owner has nothing to give back any more"
        found = read(forge, forge.ref(lock_ref("delay", "prod")) or "")
        assert found is not None
        assert (found.actor, found.state) == ("eve", "held")
        assert free(forge, second)
        other = claim(forge, replace_stage(lock("3"), "staging"), tree=place.tree)
        assert free(forge, other)
    log = place.sandbox.hub.bare(place.repo).log("refs/trackside/locks/delay/prod")
    assert len(log) == 4, "the ref's history is the lock's log"


def replace_stage(one: Any, stage: str) -> Any:
    return msgspec.structs.replace(one, stage=stage)


def test_a_lock_of_a_killed_job_ends_by_itself_and_its_own_re_run_may_go_on(place: Place) -> None:
    with place.forge() as forge:
        stale = claim(forge, lock("1"), tree=place.tree)
        again = claim(forge, lock("1"), tree=place.tree)
        assert again.sha != stale.sha
        with pytest.raises(Refused):
            claim(forge, lock("2", now=NOW + timedelta(minutes=14)), tree=place.tree)
        taken = claim(forge, lock("2", "eve", now=NOW + timedelta(minutes=16)), tree=place.tree)
        assert not free(forge, again)
        assert free(forge, taken)


def test_what_counts_as_free() -> None:
    mine = lock("2", now=NOW)
    held = lock("1", now=NOW - timedelta(minutes=5))

    def but(**more: Any) -> Any:
        return msgspec.structs.replace(held, **more)

    assert not claimable(held, mine)
    assert claimable(None, mine)
    assert claimable(but(state="free"), mine)
    assert claimable(but(owner="2"), mine)
    assert claimable(but(until="2026-11-21T06:00:00Z"), mine)
    assert not claimable(but(until="2026-11-21T06:00:01Z"), mine)
    assert claimable(but(until="never"), mine)


@pytest.mark.parametrize("before", ["never held", "freed", "stale"])
def test_a_hundred_claims_at_once_have_one_winner(place: Place, before: str) -> None:
    if before != "never held":
        with place.forge() as forge:
            held = claim(forge, lock("0", now=NOW - timedelta(hours=1)), tree=place.tree)
            if before == "freed":
                assert free(forge, held)
    won: list[Held] = []
    lost: list[str] = []
    other: list[BaseException] = []
    gate, tree = threading.Barrier(CLAIMS), place.tree

    def run(index: int) -> None:
        with place.forge(clock=Quick()) as forge:
            gate.wait()
            try:
                won.append(claim(forge, lock(str(index + 1), f"person{index}"), tree=tree))
            except Refused as error:
                lost.append(error.reason_code)
            except BaseException as error:
                other.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(CLAIMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    print(f"{CLAIMS} claims, {before}: {len(won)} won, {len(lost)} lost")
    assert not other, other[:3]
    assert (len(won), lost) == (1, ["lock_held"] * (CLAIMS - 1))
    with place.forge() as forge:
        found = read(forge, forge.ref(lock_ref("delay", "prod")) or "")
        assert found == won[0].lock


def test_any_fault_while_claiming_leaves_a_lock_that_its_run_may_claim(place: Place) -> None:
    """A broken claim is no dead end: the same run claims again at once, and nobody else meanwhile slips in twice."""
    ran = 0
    for index, start in enumerate(("never held", "freed")):
        stage = f"s{index}"

        def work(forge: GithubForge, stage: str = stage) -> Held:
            held = claim(forge, replace_stage(lock("7"), stage), tree=place.tree)
            free(forge, held)
            return held

        with place.forge() as forge:
            if start == "freed":
                work(forge)
            methods = noted(forge)
            work(forge)
        for case in cases(methods):
            with place.forge(clock=Quick()) as forge:
                broken(case, place.sandbox, forge, lambda forge: swallow(work, forge))
            with place.forge() as forge:
                work(forge)
                found = read(forge, forge.ref(lock_ref("delay", stage)) or "")
                assert found is not None
                assert found.state == "free", case
            ran += 1
    print(f"{ran} faults")
    assert ran >= 30


def swallow(work: Callable[[GithubForge], Any], forge: GithubForge) -> None:
    try:
        work(forge)
    except TracksideError:
        return
