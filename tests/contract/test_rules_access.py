"""Rules of tokens, roles and limits, and what strictness does: each test has its row in docs/sandbox.md."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from conftest import ENV, user
from sandbox_client import ALL, DISPATCHED, Api, StillClock, head_of, refused
from trackside.sandbox.limits import Limits
from trackside.sandbox.server import Sandbox
from trackside.system.clock import rfc3339

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
        unnamed = requests.post(
            f"{strict.url}/api/uploads/repos/o/r/releases/1/assets", data=b"x", timeout=10, headers=api.headers
        )
        refused(unnamed, 500, "Missing required query parameter: name")
        assert len(strict.violations) >= len(wrong) + 1
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
