"""Which runs the sandbox starts, by whom: over HTTP, with a dispatcher that has no runner, so that every job waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conftest import ENV
from sandbox_client import ALL, Api, refused
from trackside.sandbox.actions.dispatcher import Dispatcher
from trackside.sandbox.server import Sandbox

JOB = "jobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'true', shell: bash}]}}\n"
RELEASE = """
on:
  push: {branches: [main, 'release/**']}
  workflow_dispatch:
    inputs:
      task: {type: choice, options: [register, promote], default: register}
      bump: {default: ''}
      comment: {required: false}
concurrency: {group: release, queue: max}
"""
FLOWS = {
    "release.yml": RELEASE,
    "pull.yml": "on: [pull_request]\n",
    "closed.yml": "on: {pull_request: {types: [closed]}}\n",
    "drift.yml": "on: {schedule: [{cron: '17 3 * * *'}]}\n",
    "command.yml": "on: {issue_comment: {types: [created]}}\n",
    "published.yml": "on: {release: {types: [published]}}\n",
}


@pytest.fixture
def flows(sandbox: Sandbox, repo: str) -> Iterator[Callable[[], list[tuple[str, str]]]]:
    """The workflows are on main; answers file and event of the runs since the last time it was asked."""
    files = {f".github/workflows/{name}": (text + JOB).encode() for name, text in FLOWS.items()}
    sandbox.seed.push(repo, "main", files, "Workflows", "ada")
    dispatcher = Dispatcher(sandbox.hub, ENV, {}, runners=())
    sandbox.dispatcher = dispatcher
    dispatcher.start()
    seen: set[int] = set()

    def told() -> list[tuple[str, str]]:
        assert dispatcher.wait_idle(20)
        new = [run for run in sandbox.state.list("run", repo) if run["id"] not in seen]
        seen.update(run["id"] for run in new)
        return sorted((run["workflow_path"].rsplit("/", 1)[1], run["event"]) for run in new)

    yield told
    dispatcher.stop()
    sandbox.dispatcher = None
    sandbox.bus._listeners.clear()


def runs(sandbox: Sandbox, repo: str) -> list[dict[str, Any]]:
    return sandbox.state.list("run", repo)


def opened(api: Api, branch: str) -> Any:
    return api("POST", "/pulls", {"title": branch, "head": branch, "base": "main"})


def test_a_merge_by_a_person_releases_and_one_by_a_job_does_not(
    sandbox: Sandbox, repo: str, person: Api, job: Api, flows: Callable[[], list[tuple[str, str]]]
) -> None:
    for branch, who in (("one", person), ("two", job)):
        sandbox.seed.push(repo, branch, {branch: b"x"}, branch, "ada")
        number = opened(person, branch).json()["number"]
        assert flows() == [("pull.yml", "pull_request")]
        assert who("PUT", f"/pulls/{number}/merge", {}).ok
        expected = [("closed.yml", "pull_request"), ("release.yml", "push")] if who is person else []
        assert flows() == expected


def test_a_job_starts_runs_by_dispatch_and_by_nothing_else(
    sandbox: Sandbox, repo: str, job: Api, person: Api, flows: Callable[[], list[tuple[str, str]]]
) -> None:
    sandbox.seed.push(repo, "topic", {"t": b"t"}, "topic", "ada")
    number = opened(person, "topic").json()["number"]
    assert flows() == [("pull.yml", "pull_request")]
    sha = sandbox.hub.default_tip(repo)[1]
    writes: list[tuple[str, str, Any]] = [
        ("POST", f"/issues/{number}/comments", {"body": "/train"}),
        ("POST", "/git/refs", {"ref": "refs/heads/release/1", "sha": sha}),
        ("POST", "/git/refs", {"ref": "refs/tags/delay@v1.0.0", "sha": sha}),
        ("POST", "/releases", {"tag_name": "delay@v1.0.0"}),
        ("POST", "/issues", {"title": "Drift"}),
        ("PATCH", f"/pulls/{number}", {"state": "closed"}),
    ]
    for method, path, body in writes:
        assert job(method, path, body).ok, path
        assert flows() == [], path
    path = "/actions/workflows/release.yml/dispatches"
    made = job("POST", path, {"ref": "main", "inputs": {"bump": "", "comment": ""}, "return_run_details": True}).json()
    assert flows() == [("release.yml", "workflow_dispatch")]
    run = sandbox.state.get("run", repo, made["workflow_run_id"]) or {}
    assert run["inputs"] == {"task": "register", "bump": "", "comment": ""}
    assert run["actor"] == "github-actions[bot]"
    refused(job("POST", path, {"ref": "main", "inputs": {"task": "destroy"}}), 422, "allowed values")
    print(f"{len(writes)} writes that start nothing")


def test_people_start_runs(
    sandbox: Sandbox, repo: str, person: Api, stranger: Api, flows: Callable[[], list[tuple[str, str]]]
) -> None:
    sandbox.seed.push(repo, "topic", {"t": b"t"}, "topic", "ada")
    number = opened(person, "topic").json()["number"]
    flows()
    made = stranger("POST", f"/issues/{number}/comments", {"body": "/train"}).json()
    assert flows() == [("command.yml", "issue_comment")]
    person("PATCH", f"/issues/comments/{made['id']}", {"body": "edited"})
    assert flows() == []
    sandbox.seed.push(repo, "release/1", {"r": b"r"}, "release branch", "ada")
    assert flows() == [("release.yml", "push")]
    person("POST", "/releases", {"tag_name": "v1"})
    assert flows() == [("published.yml", "release")]
    run_id = sandbox.hub.run_schedule(repo, "drift.yml")
    assert flows() == [("drift.yml", "schedule")]
    assert (sandbox.state.get("run", repo, run_id) or {})["ref"] == "refs/heads/main"


def test_a_pull_request_of_a_job_waits_for_approval(
    sandbox: Sandbox, repo: str, person: Api, flows: Callable[[], list[tuple[str, str]]]
) -> None:
    sandbox.hub.set_setting(repo, "actions_can_create_pull_requests", True)
    sandbox.seed.push(repo, "retrain", {"r": b"r"}, "retrain", "ada")
    made = opened(Api(sandbox, repo, sandbox.seed.job_token(repo, ALL)), "retrain").json()
    assert made["user"]["login"] == "github-actions[bot]"
    assert flows() == [("pull.yml", "pull_request")]
    run = runs(sandbox, repo)[-1]
    assert (run["status"], run["conclusion"]) == ("completed", "action_required")
    assert person("POST", f"/actions/runs/{run['id']}/approve").status_code == 201
    assert person("GET", f"/actions/runs/{run['id']}").json()["run_attempt"] == 2
    flows()
    refused(person("POST", f"/actions/runs/{run['id']}/approve"), 403, "doesn't require approval")
    sandbox.seed.push(repo, "by-app", {"r": b"app"}, "by an app", "ada")
    opened(Api(sandbox, repo, sandbox.seed.app_token("bot", ALL)), "by-app")
    assert flows() == [("pull.yml", "pull_request")]
    assert runs(sandbox, repo)[-1]["conclusion"] is None


def test_queued_runs_wait_in_line_and_are_cancelled_at_once(
    sandbox: Sandbox, repo: str, job: Api, flows: Callable[[], list[tuple[str, str]]]
) -> None:
    path = "/actions/workflows/release.yml/dispatches"
    for _ in range(4):
        assert job("POST", path, {"ref": "main"}).status_code == 204
    assert len(flows()) == 4
    assert [run["status"] for run in runs(sandbox, repo)] == ["queued", "pending", "pending", "pending"]
    started = time.monotonic()
    for run in runs(sandbox, repo):
        assert job("POST", f"/actions/runs/{run['id']}/cancel").status_code == 202
    while any(run["status"] != "completed" for run in runs(sandbox, repo)) and time.monotonic() < started + 10:
        time.sleep(0.02)
    assert [run["conclusion"] for run in runs(sandbox, repo)] == ["cancelled"] * 4
