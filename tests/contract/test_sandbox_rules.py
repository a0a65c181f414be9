"""Rules that GitHub keeps and its description does not state: one test for each row of the table in docs/sandbox.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from conftest import ENV, user
from trackside.sandbox.bus import HookEvent
from trackside.sandbox.limits import Limits
from trackside.sandbox.server import Sandbox
from trackside.system.clock import rfc3339

DOCS = Path(__file__).parents[2] / "docs" / "sandbox.md"
ALL = dict.fromkeys(("contents", "pull-requests", "issues", "checks", "statuses", "actions"), "write")
DISPATCHED = b"on: {workflow_dispatch: {inputs: {model: {required: true}}}}\njobs: {}\n"


class Api:
    """Calls below one repository with one token; the last answer's status, message and headers."""

    def __init__(self, sandbox: Sandbox, repo: str, token: str | None) -> None:
        self.base = f"{sandbox.api_url}/repos/{repo}"
        self.headers = {"Authorization": f"token {token}"} if token else {}

    def __call__(self, method: str, path: str, body: Any = None, **query: Any) -> requests.Response:
        url = path if path.startswith("http") else self.base + path
        return requests.request(method, url, json=body, params=query, headers=self.headers, timeout=20)


def refused(answer: requests.Response, status: int, text: str = "") -> None:
    assert answer.status_code == status, answer.text
    assert text in answer.text


@pytest.fixture
def person(sandbox: Sandbox, repo: str) -> Api:
    return Api(sandbox, repo, "token-ada")


@pytest.fixture
def stranger(sandbox: Sandbox, repo: str) -> Api:
    return Api(sandbox, repo, "token-mallory")


@pytest.fixture
def job(sandbox: Sandbox, repo: str) -> Api:
    return Api(sandbox, repo, sandbox.seed.job_token(repo, ALL))


@pytest.fixture
def number(sandbox: Sandbox, repo: str) -> int:
    """An open pull request of a branch `topic`."""
    sandbox.seed.push(repo, "topic", {"t": b"t\n"}, "Change", "ada")
    return sandbox.hub.open_pull(repo, title="T", head="topic", base="main", actor=user("ada"))


def listen(sandbox: Sandbox) -> list[HookEvent]:
    seen: list[HookEvent] = []
    sandbox.bus.subscribe(seen.append)
    return seen


def head_of(sandbox: Sandbox, repo: str, number: int) -> str:
    return str(sandbox.hub.pull(repo, number)["head_sha"])


def test_check_needs_conclusion(sandbox: Sandbox, repo: str, job: Api) -> None:
    sha = sandbox.hub.default_tip(repo)[1]
    refused(job("POST", "/check-runs", {"name": "c", "head_sha": sha, "status": "completed"}), 422, "conclusion")
    made = job("POST", "/check-runs", {"name": "c", "head_sha": sha})
    refused(job("PATCH", f"/check-runs/{made.json()['id']}", {"status": "completed"}), 422, "conclusion")
    assert job("PATCH", f"/check-runs/{made.json()['id']}", {"conclusion": "neutral"}).json()["status"] == "completed"


def test_check_annotations(sandbox: Sandbox, repo: str, job: Api) -> None:
    sha = sandbox.hub.default_tip(repo)[1]
    note = {"path": "a", "start_line": 1, "end_line": 1, "annotation_level": "notice", "message": "m"}
    body = {"name": "c", "head_sha": sha, "output": {"title": "t", "summary": "s", "annotations": [note] * 51}}
    refused(job("POST", "/check-runs", body), 422, "No more than 50")
    body["output"] = {"title": "t", "summary": "s", "annotations": [note] * 50}
    assert job("POST", "/check-runs", body).json()["output"]["annotations_count"] == 50


def test_check_output_size(sandbox: Sandbox, repo: str, job: Api) -> None:
    sha = sandbox.hub.default_tip(repo)[1]
    for field in ("summary", "text"):
        for size, status in ((65_535, 201), (65_536, 422)):
            output = {"title": "t", "summary": "s"} | {field: "x" * size}
            answer = job("POST", "/check-runs", {"name": "c", "head_sha": sha, "output": output})
            assert answer.status_code == status


def test_check_owner(sandbox: Sandbox, repo: str, job: Api) -> None:
    sha = sandbox.hub.default_tip(repo)[1]
    made = job("POST", "/check-runs", {"name": "c", "head_sha": sha}).json()
    assert made["app"]["slug"] == "github-actions"
    other = Api(sandbox, repo, sandbox.seed.app_token("other", ALL))
    refused(other("PATCH", f"/check-runs/{made['id']}", {"conclusion": "success"}), 403, "app_id")


def test_check_latest(sandbox: Sandbox, repo: str, job: Api) -> None:
    sha = sandbox.hub.default_tip(repo)[1]
    ids = [job("POST", "/check-runs", {"name": "c", "head_sha": sha}).json()["id"] for _ in range(2)]
    latest = job("GET", f"/commits/{sha}/check-runs").json()
    assert [one["id"] for one in latest["check_runs"]] == ids[1:]
    everything = job("GET", f"/commits/{sha}/check-runs", filter="all").json()
    assert sorted(one["id"] for one in everything["check_runs"]) == ids


def test_person_and_checks(sandbox: Sandbox, repo: str, person: Api) -> None:
    body = {"name": "c", "head_sha": sandbox.hub.default_tip(repo)[1]}
    refused(person("POST", "/check-runs", body), 403, "You must authenticate via a GitHub App.")


def test_comment_size(job: Api, number: int) -> None:
    path = f"/issues/{number}/comments"
    made = job("POST", path, {"body": "x" * 65_536})
    assert made.status_code == 201
    refused(job("POST", path, {"body": "x" * 65_537}), 422, "65536")
    refused(job("PATCH", f"/issues/comments/{made.json()['id']}", {"body": "x" * 65_537}), 422, "65536")
    refused(job("POST", path, {"body": " \n"}), 422, "blank")


def test_comment_pages(sandbox: Sandbox, repo: str, job: Api, number: int) -> None:
    for index in range(101):
        sandbox.hub.add_comment(repo, number, str(index), user("ada"))
    sizes = [len(job("GET", f"/issues/{number}/comments", **query).json()) for query in ({}, {"per_page": 500})]
    assert sizes == [30, 100]


def test_comment_owner(job: Api, stranger: Api, person: Api, number: int) -> None:
    made = stranger("POST", f"/issues/{number}/comments", {"body": "hi"}).json()
    other = job("POST", f"/issues/{number}/comments", {"body": "report"}).json()
    refused(stranger("PATCH", f"/issues/comments/{other['id']}", {"body": "planted"}), 403)
    refused(stranger("DELETE", f"/issues/comments/{other['id']}"), 403)
    assert stranger("PATCH", f"/issues/comments/{made['id']}", {"body": "mine"}).status_code == 200
    assert person("PATCH", f"/issues/comments/{made['id']}", {"body": "moderated"}).status_code == 200


PERMISSIONS: list[tuple[str, str, Any, str, str]] = [
    # method, path, body, the permission that is enough, the header
    ("POST", "/issues/{n}/comments", {"body": "x"}, "pull-requests", "issues=write; pull_requests=write"),
    ("POST", "/issues/{n}/comments", {"body": "x"}, "issues", "issues=write; pull_requests=write"),
    ("POST", "/issues/{n}/labels", {"labels": ["x"]}, "pull-requests", "issues=write; pull_requests=write"),
    ("POST", "/check-runs", {"name": "x", "head_sha": "{sha}"}, "checks", "checks=write"),
    ("POST", "/statuses/{sha}", {"state": "success"}, "statuses", "statuses=write"),
    ("POST", "/git/blobs", {"content": "x"}, "contents", "contents=write"),
    ("POST", "/git/refs", {"ref": "refs/heads/new", "sha": "{sha}"}, "contents", "contents=write"),
    ("POST", "/releases", {"tag_name": "v1"}, "contents", "contents=write"),
    ("POST", "/actions/workflows/train.yml/dispatches", {"ref": "main", "inputs": {"model": "m"}}, "actions",
     "actions=write"),
    ("PATCH", "/pulls/{n}", {"title": "x"}, "pull-requests", "pull_requests=write"),
    ("PUT", "/pulls/{n}/merge", {}, "contents", "contents=write"),
]  # fmt: skip


def test_permissions(sandbox: Sandbox, repo: str, number: int) -> None:
    sandbox.seed.push(repo, "main", {".github/workflows/train.yml": DISPATCHED}, "Workflow", "ada")
    sha = head_of(sandbox, repo, number)

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("{sha}", sha).replace("{n}", str(number))
        return {key: filled(one) for key, one in value.items()} if isinstance(value, dict) else value

    for method, path, body, needed, header in PERMISSIONS:
        without = {name: "write" for name in ALL if name not in header.replace("_", "-")} | {needed: "read"}
        lacking = Api(sandbox, repo, sandbox.seed.job_token(repo, without))
        answer = lacking(method, filled(path), filled(body))
        refused(answer, 403, "Resource not accessible by integration")
        assert answer.headers["x-accepted-github-permissions"] == header
        having = Api(sandbox, repo, sandbox.seed.job_token(repo, {needed: "write"}))
        assert having(method, filled(path), filled(body)).ok, (method, path)
    print(f"{len(PERMISSIONS)} permissions")
    assert len(PERMISSIONS) == 11


def test_public_reads(sandbox: Sandbox, repo: str, number: int) -> None:
    nobody = Api(sandbox, repo, None)
    powerless = Api(sandbox, repo, sandbox.seed.job_token(repo, {}))
    paths = (
        "",
        "/contents/README.md",
        f"/pulls/{number}",
        f"/issues/{number}/comments",
        "/actions/runs",
        "/git/ref/heads/main",
    )
    for path in paths:
        assert [one("GET", path).status_code for one in (nobody, powerless)] == [200, 200]
    refused(nobody("POST", f"/issues/{number}/comments", {"body": "x"}), 401, "Requires authentication")


def test_private(sandbox: Sandbox, repo: str) -> None:
    name = f"{repo}-private"
    sandbox.seed.repository(name, {"a": b"a"}, roles={"ada": "read"}, private=True)
    for token in (None, "token-mallory", sandbox.seed.job_token(repo, ALL)):
        refused(Api(sandbox, name, token)("GET", ""), 404, "Not Found")
    reader = Api(sandbox, name, "token-ada")
    assert reader("GET", "/contents/a").ok
    refused(reader("POST", "/git/blobs", {"content": "x"}), 403)
    own = Api(sandbox, name, sandbox.seed.job_token(name, {"pull-requests": "write"}))
    refused(own("GET", "/contents/a"), 403, "Resource not accessible by integration")


def test_bad_token(sandbox: Sandbox, repo: str) -> None:
    refused(Api(sandbox, repo, "wrong")("GET", ""), 401, "Bad credentials")
    past = rfc3339(datetime.now(UTC) - timedelta(minutes=1))
    sandbox.hub.add_token("ended", "github-actions[bot]", "workflow", ALL, repo, expires_at=past)
    refused(Api(sandbox, repo, "ended")("GET", ""), 401, "Bad credentials")


def test_roles(sandbox: Sandbox, repo: str, stranger: Api, number: int) -> None:
    assert stranger("POST", f"/issues/{number}/comments", {"body": "hi"}).status_code == 201
    refused(stranger("POST", f"/issues/{number}/labels", {"labels": ["x"]}), 403)
    refused(stranger("POST", "/git/refs", {"ref": "refs/heads/x", "sha": head_of(sandbox, repo, number)}), 403)
    refused(stranger("PUT", f"/pulls/{number}/merge", {}), 403)
    sandbox.hub.set_role(repo, "mallory", "triage")
    assert stranger("POST", f"/issues/{number}/labels", {"labels": ["x"]}).ok
    refused(stranger("PUT", f"/pulls/{number}/merge", {}), 403)
    sandbox.hub.set_role(repo, "mallory", "write")
    assert stranger("PUT", f"/pulls/{number}/merge", {}).ok


def test_job_token_stays_home(sandbox: Sandbox, repo: str, job: Api) -> None:
    other = f"{repo}-other"
    sandbox.seed.repository(other, {"a": b"a"})
    there = Api(sandbox, other, job.headers["Authorization"].removeprefix("token "))
    assert there("GET", "/contents/a").ok
    refused(there("POST", "/git/blobs", {"content": "x"}), 403, "Resource not accessible by integration")


def test_bot_author(job: Api, number: int) -> None:
    made = job("POST", f"/issues/{number}/comments", {"body": "x"}).json()
    assert (made["user"]["login"], made["user"]["type"], made["user"]["id"]) == ("github-actions[bot]", "Bot", 41898282)
    assert made["performed_via_github_app"]["slug"] == "github-actions"
    refused(job("GET", job.base.split("/repos/")[0] + "/user"), 403, "Resource not accessible by integration")


def test_ref_create(sandbox: Sandbox, repo: str, job: Api) -> None:
    sha = sandbox.hub.default_tip(repo)[1]
    tree = sandbox.hub.bare(repo).commit(sha).tree
    cases: list[tuple[Mapping[str, str], str]] = [
        ({"ref": "refs/heads/main", "sha": sha}, "Reference already exists"),
        ({"ref": "refs/heads/x", "sha": "0" * 40}, "Object does not exist"),
        ({"ref": "refs/heads/x", "sha": tree}, "Object does not exist"),
        ({"ref": "heads/x", "sha": sha}, "is not a valid ref name"),
        ({"ref": "refs/heads/a..b", "sha": sha}, "is not a valid ref name"),
        ({"ref": "refs/pull/1/head", "sha": sha}, "is not a valid ref name"),
    ]
    for body, message in cases:
        refused(job("POST", "/git/refs", body), 422, message)
    print(f"{len(cases)} refusals")


def test_ref_update(sandbox: Sandbox, repo: str, job: Api) -> None:
    old = sandbox.hub.default_tip(repo)[1]
    new = sandbox.seed.push(repo, "main", {"a": b"a"}, "m", "ada")
    refused(job("PATCH", "/git/refs/heads/main", {"sha": old}), 422, "Update is not a fast forward")
    refused(job("PATCH", "/git/refs/heads/gone", {"sha": old}), 422, "Reference does not exist")
    refused(job("PATCH", "/git/refs/heads/main", {"sha": "0" * 40}), 422, "Object does not exist")
    assert job("PATCH", "/git/refs/heads/main", {"sha": old, "force": True}).json()["object"]["sha"] == old
    assert job("PATCH", "/git/refs/heads/main", {"sha": new}).ok


def test_ref_delete(sandbox: Sandbox, repo: str, job: Api, number: int) -> None:
    refused(job("DELETE", "/git/refs/heads/main"), 422, "default branch")
    refused(job("DELETE", f"/git/refs/pull/{number}/head"), 422, "Reference does not exist")
    seen = listen(sandbox)
    assert job("DELETE", "/git/refs/heads/topic").status_code == 204
    assert job("GET", f"/pulls/{number}").json()["state"] == "closed"
    assert [(one.name, one.action) for one in seen][:2] == [("delete", None), ("push", None)]
    assert ("pull_request_target", "closed") in [(one.name, one.action) for one in seen]


def test_tree_paths(sandbox: Sandbox, repo: str, job: Api) -> None:
    paths = ("/a", "../a", "a/../b", ".git/config", "a//b", "")
    for path in paths:
        entry = {"path": path, "mode": "100644", "type": "blob", "content": "x"}
        refused(job("POST", "/git/trees", {"tree": [entry]}), 422, "malformed path")
    missing = {"path": "a", "mode": "100644", "type": "blob", "sha": "0" * 40}
    refused(job("POST", "/git/trees", {"tree": [missing]}), 422, "is not a valid blob")
    print(f"{len(paths) + 1} refusals")


def test_pull_open(sandbox: Sandbox, repo: str, person: Api, number: int) -> None:
    sandbox.seed.push(repo, "same", {}, "empty", "ada")
    sandbox.hub.bare(repo).update_ref("refs/heads/same", sandbox.hub.default_tip(repo)[1])
    cases = [("topic", "A pull request already exists"), ("same", "No commits between"), ("gone", '"field": "head"'),
             ("nobody:topic", '"field": "head"')]  # fmt: skip
    for head, message in cases:
        refused(person("POST", "/pulls", {"title": "t", "head": head, "base": "main"}), 422, message)
    refused(person("POST", "/pulls", {"title": "t", "head": "topic", "base": "gone"}), 422, '"field": "base"')
    print(f"{len(cases) + 1} refusals")


def test_pull_by_job(sandbox: Sandbox, repo: str, job: Api) -> None:
    sandbox.seed.push(repo, "retrain", {"a": b"a"}, "m", "ada")
    body = {"title": "t", "head": "retrain", "base": "main"}
    refused(job("POST", "/pulls", body), 403, "not permitted to create or approve pull requests")
    doc = sandbox.hub.repo(repo) | {"settings": {"actions_can_create_pull_requests": True}}
    sandbox.state.put("repo", "", repo, doc)
    assert job("POST", "/pulls", body).json()["user"]["login"] == "github-actions[bot]"


def test_merge_refused(sandbox: Sandbox, repo: str, person: Api, number: int) -> None:
    refused(person("PUT", f"/pulls/{number}/merge", {"sha": "0" * 40}), 409, "Head branch was modified")
    sandbox.hub.set_draft(repo, number, True, user("ada"))
    refused(person("PUT", f"/pulls/{number}/merge", {}), 405, "not mergeable")
    sandbox.hub.set_draft(repo, number, False, user("ada"))
    assert person("PUT", f"/pulls/{number}/merge", {}).ok
    refused(person("PUT", f"/pulls/{number}/merge", {}), 405, "not mergeable")


def test_conflict(sandbox: Sandbox, repo: str, person: Api, number: int) -> None:
    assert person("GET", f"/pulls/{number}").json()["mergeable"] is True
    sandbox.seed.push(repo, "main", {"t": b"other\n"}, "conflicting", "ada")
    shown = person("GET", f"/pulls/{number}").json()
    assert (shown["mergeable"], shown["mergeable_state"], shown["merge_commit_sha"]) == (False, "dirty", None)
    assert f"refs/pull/{number}/merge" not in sandbox.hub.bare(repo).refs("refs/pull/")
    refused(person("PUT", f"/pulls/{number}/merge", {}), 405)
    seen = listen(sandbox)
    sandbox.seed.push(repo, "topic", {"u": b"u"}, "still conflicting", "ada")
    assert [one.name for one in seen] == ["push", "pull_request_target"]
    sandbox.seed.push(repo, "topic", {"t": b"other\n"}, "solved", "ada")
    assert person("GET", f"/pulls/{number}").json()["mergeable"] is True


def test_fork_commits(sandbox: Sandbox, repo: str, person: Api, stranger: Api) -> None:
    fork = sandbox.seed.fork(repo, f"mallory{repo.rpartition('/')[2]}")
    head = sandbox.seed.push(fork, "x", {"x": b"x"}, "m", "mallory")
    owner = fork.split("/")[0]
    number = stranger("POST", "/pulls", {"title": "t", "head": f"{owner}:x", "base": "main"}).json()["number"]
    assert person("GET", f"/commits/{head}/pulls").json() == []
    assert [one["number"] for one in person("GET", "/pulls", head=f"{owner}:x").json()] == [number]


def test_reviews(sandbox: Sandbox, repo: str, person: Api, job: Api, number: int) -> None:
    path = f"/pulls/{number}"
    refused(person("POST", f"{path}/reviews", {"event": "APPROVE"}), 422, "your own pull request")
    refused(job("POST", f"{path}/requested_reviewers", {"reviewers": ["mallory"]}), 422, "collaborators")
    refused(job("POST", f"{path}/requested_reviewers", {"reviewers": ["ada"]}), 422, "author")
    refused(job("POST", f"{path}/requested_reviewers", {"team_reviewers": ["ml"]}), 422, "team")
    assert job("POST", f"{path}/requested_reviewers", {"reviewers": ["acme"]}).status_code == 201


def test_release_tags(sandbox: Sandbox, repo: str, job: Api) -> None:
    draft = job("POST", "/releases", {"tag_name": "v1", "draft": True}).json()
    refused(job("GET", "/releases/tags/v1"), 404)
    refused(Api(sandbox, repo, None)("GET", f"/releases/{draft['id']}"), 404)
    assert "refs/tags/v1" not in sandbox.hub.bare(repo).refs("refs/tags/")
    job("PATCH", f"/releases/{draft['id']}", {"draft": False})
    assert job("GET", "/releases/tags/v1").json()["id"] == draft["id"]
    assert sandbox.hub.bare(repo).kind("refs/tags/v1") == "commit"
    refused(job("POST", "/releases", {"tag_name": "v1"}), 422, "already_exists")


def test_asset_names(sandbox: Sandbox, repo: str, job: Api) -> None:
    release = job("POST", "/releases", {"tag_name": "v1", "draft": True}).json()
    url = release["upload_url"].split("{")[0]
    sent = [requests.post(url, params={"name": "m.bin"}, data=data, headers=job.headers, timeout=10)
            for data in (b"one", b"two", b"")]  # fmt: skip
    assert [one.status_code for one in sent] == [201, 422, 400]
    assert sent[0].json()["digest"].startswith("sha256:")


def test_dispatch_refused(sandbox: Sandbox, repo: str, job: Api) -> None:
    sandbox.seed.push(repo, "main", {".github/workflows/train.yml": DISPATCHED}, "Workflow", "ada")
    path = "/actions/workflows/train.yml/dispatches"
    refused(job("POST", path, {"ref": "main"}), 422, "Required input 'model' not provided")
    refused(job("POST", path, {"ref": "main", "inputs": {"model": "m", "x": "y"}}), 422, "Unexpected inputs provided")
    refused(job("POST", path, {"ref": "gone", "inputs": {"model": "m"}}), 422, "No ref found for: gone")
    refused(job("POST", path.replace("train", "none"), {"ref": "main"}), 404)
    assert job("POST", path, {"ref": "main", "inputs": {"model": "m"}}).status_code == 204
    details = job("POST", path, {"ref": "main", "inputs": {"model": "m"}, "return_run_details": True})
    assert details.json()["run_url"].endswith(f"/actions/runs/{details.json()['workflow_run_id']}")


def test_runs_ended_or_not(sandbox: Sandbox, repo: str, job: Api) -> None:
    now = sandbox.hub.now()
    common = {
        "run_number": 1, "attempt": 1, "workflow_path": ".github/workflows/a.yml", "workflow_name": "A",
        "event": "push", "head_branch": "main", "head_sha": sandbox.hub.default_tip(repo)[1], "actor": "ada",
        "triggering_actor": "ada", "display_title": "A", "created_at": now, "started_at": now, "updated_at": now,
    }  # fmt: skip
    for number, (status, conclusion) in enumerate([("completed", "success"), ("in_progress", None)], 900_001):
        sandbox.state.put("run", repo, number, common | {"id": number, "status": status, "conclusion": conclusion})
    refused(job("POST", "/actions/runs/900001/cancel"), 409, "Cannot cancel a workflow run that is completed")
    refused(job("POST", "/actions/runs/900002/rerun"), 403, "already running")
    refused(job("POST", "/actions/runs/900002/cancel"), 409, "No workflow runner")
    refused(job("POST", "/actions/runs/900003/cancel"), 404)


def test_status_size(sandbox: Sandbox, repo: str, job: Api) -> None:
    path = f"/statuses/{sandbox.hub.default_tip(repo)[1]}"
    assert job("POST", path, {"state": "success", "description": "x" * 140}).status_code == 201
    refused(job("POST", path, {"state": "success", "description": "x" * 141}), 422, "140")
    refused(job("POST", "/statuses/" + "0" * 40, {"state": "success"}), 422, "No commit found")


def test_big_files(sandbox: Sandbox, repo: str, person: Api) -> None:
    sandbox.seed.push(repo, "main", {"a": b"x" * 1024 * 1024, "b": b"x" * (1024 * 1024 + 1)}, "big", "ada")
    shown = [person("GET", f"/contents/{path}").json() for path in "ab"]
    assert [(one["encoding"], one["content"] == "") for one in shown] == [("base64", False), ("none", True)]
    assert person("GET", f"/git/blobs/{shown[1]['sha']}").json()["size"] == 1024 * 1024 + 1


def test_event_refs(sandbox: Sandbox, repo: str, job: Api) -> None:
    seen = listen(sandbox)
    head = sandbox.seed.push(repo, "topic", {"t": b"t"}, "m", "ada")
    number = sandbox.hub.open_pull(repo, title="T", head="topic", base="main", actor=user("ada"))
    job("POST", f"/issues/{number}/comments", {"body": "x"})
    sandbox.hub.enqueue(repo, number, user("ada"))
    tip, merge = sandbox.hub.default_tip(repo)[1], sandbox.hub.pull(repo, number)["merge_commit_sha"]
    queue = next(one for one in seen if one.name == "merge_group")
    assert [(one.name, one.action, one.ref, one.sha, one.token_kind) for one in seen if one is not queue] == [
        ("create", None, "refs/heads/topic", head, "user"),
        ("push", None, "refs/heads/topic", head, "user"),
        ("pull_request", "opened", f"refs/pull/{number}/merge", merge, "user"),
        ("pull_request_target", "opened", "refs/heads/main", tip, "user"),
        ("issue_comment", "created", "refs/heads/main", tip, "workflow"),
    ]
    assert (queue.action, queue.payload["merge_group"]["head_sha"]) == ("checks_requested", queue.sha)
    assert queue.ref.startswith("refs/heads/gh-readonly-queue/main/pr-")
    assert sandbox.hub.bare(repo).commit(queue.sha).parents == (tip, head)


class StillClock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def test_primary_limit(tmp_path: Path) -> None:
    clock = StillClock()
    with Sandbox(tmp_path, ENV, clock=clock, limits=Limits(user=3)) as small:
        small.seed.repository("o/r", {"a": b"a"})
        api = Api(small, "o/r", small.seed.token("o"))
        answers = [api("GET", "") for _ in range(4)]
        assert [one.headers["x-ratelimit-remaining"] for one in answers] == ["2", "1", "0", "0"]
        refused(answers[3], 403, "API rate limit exceeded")
        assert int(answers[3].headers["x-ratelimit-reset"]) == int(clock.at.timestamp()) + 3600
        clock.sleep(3600)
        assert api("GET", "").ok
        assert small.violations == []


def test_secondary_limit(tmp_path: Path) -> None:
    clock = StillClock()
    with Sandbox(tmp_path, ENV, clock=clock, limits=Limits(writes_per_minute=2)) as small:
        small.seed.repository("o/r", {"a": b"a"})
        api = Api(small, "o/r", small.seed.token("o"))
        assert [api("POST", "/git/blobs", {"content": str(one)}).status_code for one in range(2)] == [201, 201]
        clock.sleep(20)
        answer = api("POST", "/git/blobs", {"content": "x"})
        refused(answer, 403, "secondary rate limit")
        assert answer.headers["retry-after"] == "40"
        assert api("GET", "").ok
        clock.sleep(40)
        assert api("POST", "/git/blobs", {"content": "x"}).ok


def test_unknown_endpoint(tmp_path: Path) -> None:
    with Sandbox(tmp_path, ENV) as small:
        small.seed.repository("o/r", {"a": b"a"})
        refused(Api(small, "o/r", None)("GET", "/hooks"), 404)
        assert small.violations == ["GET /api/v3/repos/o/r/hooks: the sandbox has no such endpoint"]


def test_strict(tmp_path: Path) -> None:
    with Sandbox(tmp_path, ENV) as strict:
        strict.seed.repository("o/r", {"a": b"a"})
        api = Api(strict, "o/r", strict.seed.token("o"))
        wrong = [
            ("POST", "/git/refs", {"ref": 1}, {}),
            ("GET", "/pulls", None, {"state": "odd"}),
            ("GET", "", None, {"x": 1}),
        ]
        for method, path, body, query in wrong:
            refused(api(method, path, body, **query), 500, "violates GitHub's description")
        assert len(strict.violations) >= len(wrong)
        strict.violations.clear()
        strict.hub.emit("o/r", "push", {"ref": 1}, user("o"), ref="", sha="")
        assert any("webhook push" in one for one in strict.violations)
        doc = strict.hub.repo("o/r") | {"private": "perhaps"}
        strict.state.put("repo", "", "o/r", doc)
        refused(api("GET", ""), 500, "violates GitHub's description")
    with Sandbox(tmp_path / "lax", ENV, strict=False) as lax:
        lax.seed.repository("o/r", {"a": b"a"})
        refused(Api(lax, "o/r", lax.seed.token("o"))("POST", "/git/refs", {"ref": 1}), 422, "Invalid request")
        assert lax.violations == []


def test_every_rule_has_a_row_and_a_test() -> None:
    rows = re.findall(r"^\| .+ \| .+ \| `(test_\w+)` \|$", DOCS.read_text(), re.MULTILINE)
    tests = [name for name in globals() if name.startswith("test_") and name != "test_every_rule_has_a_row_and_a_test"]
    assert sorted(rows) == sorted(tests)
    assert len(rows) == len(set(rows))
