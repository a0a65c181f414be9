"""Deployments as the picture of a stage, reviews, and approvals of runs, over real HTTP."""

from __future__ import annotations

import pytest

from conftest import bot_forge, user
from sweeps import Prepared, broken, cases, noted
from trackside.errors import Forbidden, NotFound
from trackside.forge.approvals import Review
from trackside.forge.github import GithubForge
from trackside.forge.operations import Applied, MarkDeployed
from trackside.forge.permissions import needed
from trackside.sandbox.server import Sandbox
from trackside.system.clock import SystemClock

HELD = {"deployments": "write", "pull-requests": "read", "actions": "read"}


class Quick(SystemClock):
    """Sleeps not at all."""

    def sleep(self, seconds: float) -> None:
        del seconds


class Place:
    """A repository with two commits, and what its deployments look like."""

    def __init__(self, sandbox: Sandbox, repo: str) -> None:
        self.sandbox, self.repo = sandbox, repo
        self.commits = [self.commit(str(number)) for number in (1, 2)]

    def commit(self, text: str) -> str:
        return self.sandbox.hub.commit_folder(self.repo, "main", {"m": text.encode()}, "change", user("ada"))

    def forge(self, **held: str) -> GithubForge:
        return bot_forge(self.sandbox, self.repo, held or HELD, viewer="github-actions[bot]", clock=Quick())

    def operation(self, number: int, stage: str = "prod") -> MarkDeployed:
        return MarkDeployed(
            environment=f"delay/{stage}", tag=f"delay#{stage}#{number}", commit=self.commits[number - 1],
            description=f"v1.{number}.0 of delay", facts={"version": f"1.{number}.0"}, log_url="https://x.test/run",
        )  # fmt: skip

    def apply(self, number: int, stage: str = "prod") -> Applied:
        with self.forge() as forge:
            (done,) = forge.apply([self.operation(number, stage)])
        return done

    def shown(self) -> list[tuple[str, str, str, list[str]]]:
        """Environment, tag, commit, and all states of each deployment, oldest first."""
        state = self.sandbox.state
        return [
            (
                one["environment"],
                one["payload"]["tag"],
                one["sha"],
                [said["state"] for said in state.list("deployment_status", self.repo, deployment=one["id"])],
            )
            for one in state.list("deployment", self.repo)
        ]


@pytest.fixture
def place(sandbox: Sandbox, repo: str) -> Place:
    return Place(sandbox, repo)


def test_the_newest_deployment_is_the_holder_and_earlier_ones_are_inactive(place: Place) -> None:
    first = place.apply(1)
    assert (first.outcome, first.reason_code) == ("created", "")
    assert place.apply(1).outcome == "unchanged"
    assert place.apply(1, "staging").outcome == "created", "another stage is another environment"
    assert place.apply(2).outcome == "created"
    assert place.shown() == [
        ("delay/prod", "delay#prod#1", place.commits[0], ["success", "inactive"]),
        ("delay/staging", "delay#staging#1", place.commits[0], ["success"]),
        ("delay/prod", "delay#prod#2", place.commits[1], ["success"]),
    ]
    (made,) = [one for one in place.sandbox.state.list("deployment", place.repo) if one["id"] == first.id]
    assert made["payload"] == {"tag": "delay#prod#1", "version": "1.1.0"}
    assert (made["task"], made["production"]) == ("promote", False)


def test_deployments_of_others_are_left_alone(place: Place) -> None:
    theirs = {"ref": place.commits[0], "environment": "delay/prod", "required_contexts": [], "payload": "{bad"}
    with place.forge() as forge:
        forge.client.post("/deployments", theirs)
        forge.client.post("/deployments", theirs | {"task": "promote"})
    assert place.apply(2).outcome == "created"
    assert place.apply(2).outcome == "unchanged"
    listed = place.sandbox.state.list("deployment", place.repo)
    assert len(listed) == 3


def test_what_a_killed_job_left_without_a_status_is_closed_or_completed(place: Place) -> None:
    with place.forge() as forge:
        body = {"ref": place.commits[0], "environment": "delay/prod", "task": "promote", "required_contexts": []}
        forge.client.post("/deployments", body | {"payload": {"tag": "delay#prod#1"}})
    assert place.apply(1).outcome == "updated"
    with place.forge() as forge:
        forge.client.post("/deployments", body | {"payload": {"tag": "delay#prod#7"}})
    assert place.apply(2).outcome == "created"
    assert [states for *_, states in place.shown()] == [["success", "inactive"], ["inactive"], ["success"]]


def test_without_the_permission_the_line_to_add_is_named(place: Place) -> None:
    with place.forge(contents="write") as forge:
        (done,) = forge.apply([place.operation(1)])
    assert (done.outcome, done.reason_code) == ("failed", "forbidden")
    assert "deployments: write" in done.error
    assert needed("POST", "/repos/a/b/deployments/3/statuses") == "deployments: write"


def test_any_fault_at_any_call_and_a_second_try_show_the_same(place: Place) -> None:
    place.apply(1)
    before = Prepared(place.sandbox, place.repo)
    with place.forge() as forge:
        methods = noted(forge)
        forge.apply([place.operation(2)])
    wanted, ran = place.shown(), 0
    for case in cases(methods):
        before.restore()
        with place.forge() as forge:
            broken(case, place.sandbox, forge, lambda used: used.apply([place.operation(2)]))
        assert place.apply(2).outcome in ("created", "updated", "unchanged"), case
        assert place.shown() == wanted, case
        ran += 1
    print(f"{len(methods)} API calls, {ran} faults")
    assert methods == ["GET", "GET", "POST", "POST"]
    assert ran == 12


def test_reviews_and_approvals_are_read(place: Place) -> None:
    hub = place.sandbox.hub
    hub.commit_folder(place.repo, "topic", {"m": b"3"}, "change", user("ada"))
    number = hub.open_pull(place.repo, title="Change", head="topic", base="main", actor=user("ada"))
    hub.set_role(place.repo, "bob", "write")
    hub.add_token("token-bob", "bob")
    with GithubForge(place.repo, "token-bob", place.sandbox.api_url) as bob:
        bob.client.post(f"/pulls/{number}/reviews", {"event": "APPROVE"})
    head = hub.pull(place.repo, number)["head_sha"]
    with place.forge() as forge:
        assert forge.reviews(number) == (Review(author="bob", state="APPROVED", commit=head),)
        with pytest.raises(NotFound):
            forge.reviews(999)
        assert forge.run_approvals(5) == ()
        hub.approve_run(place.repo, 5, "prod", user("mia"))
        hub.approve_run(place.repo, 5, "prod", user("bob"), "rejected")
        hub.approve_run(place.repo, 6, "prod", user("eve"))
        assert forge.run_approvals(5) == ("mia",)
    hub.state.put("repo", "", place.repo, hub.repo(place.repo) | {"private": True})
    with place.forge(contents="read") as forge, pytest.raises(Forbidden):
        forge.run_approvals(5)
