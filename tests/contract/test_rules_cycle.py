"""Rules of tags, releases, issues, reactions, deployments and activity: each has its row in docs/sandbox.md."""

from __future__ import annotations

import base64
import hashlib
import socket
import time
from urllib.parse import urlsplit

import pytest
import requests

from conftest import user
from sandbox_client import ALL, Api, listen, refused
from trackside.sandbox.git import ZERO
from trackside.sandbox.problem import Problem
from trackside.sandbox.server import Sandbox


def draft(job: Api, tag: str = "delay@v1.0.0") -> dict[str, str]:
    """A new draft release."""
    made: dict[str, str] = job("POST", "/releases", {"tag_name": tag, "draft": True}).json()
    return made


def upload(job: Api, release: dict[str, str], name: str, data: bytes, **query: str) -> requests.Response:
    url = release["upload_url"].split("{")[0]
    headers = job.headers | {"Content-Type": "application/octet-stream"}
    return requests.post(url, params={"name": name, **query}, data=data, headers=headers, timeout=10)


def test_tag_objects(sandbox: Sandbox, repo: str, job: Api) -> None:
    sha = sandbox.hub.default_tip(repo)[1]
    body = {"tag": "delay@v1.0.0", "message": "delay 1.0.0\n\nRun-Id: 7\n", "object": sha, "type": "commit"}
    made = job("POST", "/git/tags", body).json()
    assert (made["tag"], made["object"]["sha"], made["object"]["type"]) == ("delay@v1.0.0", sha, "commit")
    assert made["tagger"]["name"] == "github-actions[bot]"
    assert job("GET", "/git/ref/tags/delay@v1.0.0").status_code == 404
    assert job("POST", "/git/refs", {"ref": "refs/tags/delay@v1.0.0", "sha": made["sha"]}).status_code == 201
    shown = job("GET", "/git/ref/tags/delay@v1.0.0").json()["object"]
    assert (shown["type"], shown["sha"]) == ("tag", made["sha"])
    assert "Run-Id: 7" in job("GET", f"/git/tags/{made['sha']}").json()["message"]
    cases = [({"tag": "a b"}, "not a valid tag"), ({"tag": "x\ntagger y"}, "not a valid tag"),
             ({"object": "0" * 40}, "Object does not exist"), ({"type": "tree"}, "Object does not exist")]  # fmt: skip
    for change, message in cases:
        refused(job("POST", "/git/tags", body | change), 422, message)
    refused(job("GET", f"/git/tags/{sha}"), 404)
    print(f"{len(cases)} refusals")


def test_matching_refs(sandbox: Sandbox, repo: str, job: Api) -> None:
    sha = sandbox.hub.default_tip(repo)[1]
    names = [f"refs/tags/delay#prod#{number}" for number in range(1, 120)]
    for name in [*names, "refs/tags/delay@v1.0.0", "refs/trackside/lock/delay"]:
        sandbox.hub.bare(repo).update_ref(name, sha, ZERO)
    found = job("GET", "/git/matching-refs/tags/delay%23prod%23", per_page=100)
    assert sorted(one["ref"] for one in found.json()) == sorted(names)
    assert "link" not in {name.lower() for name in found.headers}
    assert [one["ref"] for one in job("GET", "/git/matching-refs/trackside/").json()] == ["refs/trackside/lock/delay"]
    assert job("GET", "/git/matching-refs/tags/none").json() == []


def test_other_refs(sandbox: Sandbox, repo: str, job: Api) -> None:
    sha = sandbox.hub.default_tip(repo)[1]
    other = sandbox.seed.push(repo, "topic", {"a": b"a"}, "m", "ada")
    seen = listen(sandbox)
    name = "trackside/lock/delay/prod"
    assert job("POST", "/git/refs", {"ref": f"refs/{name}", "sha": sha}).status_code == 201
    refused(job("POST", "/git/refs", {"ref": f"refs/{name}", "sha": other}), 422, "Reference already exists")
    assert job("GET", f"/git/ref/{name}").json()["object"]["sha"] == sha
    assert job("PATCH", f"/git/refs/{name}", {"sha": other}).ok
    assert job("DELETE", f"/git/refs/{name}").status_code == 204
    refused(job("DELETE", f"/git/refs/{name}"), 422, "Reference does not exist")
    assert seen == []


def test_blobs(job: Api) -> None:
    data = bytes(range(256))
    sha = job("POST", "/git/blobs", {"content": base64.b64encode(data).decode(), "encoding": "base64"}).json()["sha"]
    assert base64.b64decode(job("GET", f"/git/blobs/{sha}").json()["content"]) == data
    refused(job("POST", "/git/blobs", {"content": "é*", "encoding": "base64"}), 422, "Base64")


def test_starter_assets(sandbox: Sandbox, repo: str, job: Api) -> None:
    release = draft(job)
    sandbox.faults.add("POST", "/assets$", mode="partial")
    assert upload(job, release, "model.bin", b"model").status_code == 502
    left = job("GET", f"/releases/{release['id']}/assets").json()
    shown = [tuple(one[field] for field in ("name", "state", "size", "digest")) for one in left]
    assert shown == [("model.bin", "starter", 0, None)]
    refused(upload(job, release, "model.bin", b"model"), 422, "already_exists")
    assert job("DELETE", f"/releases/assets/{left[0]['id']}").status_code == 204
    made = upload(job, release, "model.bin", b"model", label="The model").json()
    assert made["digest"] == "sha256:" + hashlib.sha256(b"model").hexdigest()
    assert (made["label"], made["state"]) == ("The model", "uploaded")


def test_caller_leaves(sandbox: Sandbox, repo: str, job: Api) -> None:
    release = draft(job)
    parts = urlsplit(release["upload_url"].split("{")[0])
    with socket.create_connection((parts.hostname, parts.port)) as line:
        head = (
            f"POST {parts.path}?name=half.bin HTTP/1.1\r\nHost: x\r\nAuthorization: {job.headers['Authorization']}\r\n"
        )
        line.sendall((head + "Content-Type: application/octet-stream\r\nContent-Length: 100\r\n\r\nhalf").encode())
        time.sleep(0.2)
    deadline = time.monotonic() + 5
    while not sandbox.state.list("asset", repo) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [(one["name"], one["state"]) for one in sandbox.state.list("asset", repo)] == [("half.bin", "starter")]


def test_asset_size(sandbox: Sandbox, job: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sandbox.hub.max_asset == 2**31
    monkeypatch.setattr(sandbox.hub, "max_asset", 4)
    release = draft(job)
    assert upload(job, release, "four", b"1234").status_code == 201
    refused(upload(job, release, "five", b"12345"), 422, "size must be less than or equal to 4")


def test_asset_renamed(job: Api) -> None:
    release = draft(job)
    cases = {
        "model card.md": "model.card.md",
        "a~b:(1).bin": "a.b.1.bin",
        "fake.      file.txt": "fake.file.txt",
        "ada@2x+1_b-c.txt": "ada@2x+1_b-c.txt",
        "é.txt": "e.txt",
        ".env": "default.env",
        "end.": "end",
        "../../etc/passwd": "default.etc.passwd",
    }
    for given, kept in cases.items():
        assert upload(job, release, given, b"x").json()["name"] == kept
    refused(upload(job, release, "model.card.md", b"x"), 422, "already_exists")
    print(f"{len(cases)} names")


def test_asset_download(sandbox: Sandbox, repo: str, job: Api, stranger: Api) -> None:
    release = draft(job)
    asset = upload(job, release, "model.bin", b"model").json()
    refused(stranger("GET", f"/releases/assets/{asset['id']}"), 404)
    refused(stranger("GET", asset["browser_download_url"]), 404)
    job("PATCH", f"/releases/{release['id']}", {"draft": False})
    assert requests.get(asset["browser_download_url"], timeout=10).content == b"model"
    got = requests.get(asset["url"], headers=job.headers | {"Accept": "application/octet-stream"}, timeout=10)
    assert (got.status_code, got.content) == (200, b"model")
    renamed = job("PATCH", f"/releases/assets/{asset['id']}", {"name": "weights.bin", "label": "w"}).json()
    assert (renamed["name"], renamed["label"]) == ("weights.bin", "w")


def test_release_latest(job: Api) -> None:
    for tag, more in {"v1": {}, "v2": {"prerelease": True}, "v3": {"make_latest": "false"}}.items():
        assert job("POST", "/releases", {"tag_name": tag, **more}).status_code == 201
    assert job("GET", "/releases/latest").json()["tag_name"] == "v1"


def test_immutable_releases(sandbox: Sandbox, repo: str, job: Api) -> None:
    sandbox.hub.set_setting(repo, "immutable_releases", True)
    release = draft(job)
    asset = upload(job, release, "model.bin", b"model").json()
    assert job("PATCH", f"/releases/{release['id']}", {"draft": False}).json()["immutable"] is True
    refused(upload(job, release, "late.bin", b"late"), 422, "Cannot upload assets to an immutable release.")
    refused(job("DELETE", f"/releases/assets/{asset['id']}"), 422, "immutable")
    refused(job("DELETE", "/git/refs/tags/delay@v1.0.0"), 422, "immutable")
    refused(job("PATCH", f"/releases/{release['id']}", {"draft": True}), 422)
    assert job("PATCH", f"/releases/{release['id']}", {"body": "more notes"}).json()["body"] == "more notes"
    assert job("DELETE", f"/releases/{release['id']}").status_code == 204
    refused(job("POST", "/releases", {"tag_name": "delay@v1.0.0"}), 422, "tag_name was used by an immutable release")


def test_issues(sandbox: Sandbox, repo: str, job: Api, stranger: Api) -> None:
    seen = listen(sandbox)
    made = job("POST", "/issues", {"title": "Drift", "body": "b", "labels": ["drift"], "assignees": ["ada", "nobody"]})
    number = made.json()["number"]
    assert ([one["name"] for one in made.json()["labels"]], made.json()["assignee"]["login"]) == (["drift"], "ada")
    assert [(one.name, one.action) for one in seen] == [("issues", "opened"), ("issues", "labeled")]
    theirs = stranger("POST", "/issues", {"title": "Q", "labels": ["drift"], "assignees": ["ada"]}).json()
    assert (theirs["labels"], theirs["assignees"]) == ([], [])
    refused(stranger("PATCH", f"/issues/{number}", {"title": "x"}), 403)
    refused(stranger("PATCH", f"/issues/{theirs['number']}", {"labels": ["x"]}), 403)
    assert stranger("PATCH", f"/issues/{theirs['number']}", {"state": "closed"}).json()["state"] == "closed"
    listed = [[one["number"] for one in job("GET", "/issues", **query).json()] for query in (
        {}, {"state": "all"}, {"labels": "drift"}, {"labels": "drift,none"}, {"creator": "mallory", "state": "all"},
        {"assignee": "ada"}, {"assignee": "none", "state": "closed"})]  # fmt: skip
    assert listed == [[number], [theirs["number"], number], [number], [], [theirs["number"]], [number],
                      [theirs["number"]]]  # fmt: skip
    closed = job("PATCH", f"/issues/{number}", {"state": "closed", "state_reason": "not_planned"}).json()
    assert (closed["state"], closed["state_reason"]) == ("closed", "not_planned")
    refused(job("POST", "/issues", {"title": " "}), 422, "missing_field")


def test_timeline(sandbox: Sandbox, repo: str, job: Api, person: Api, number: int) -> None:
    job("POST", f"/issues/{number}/labels", {"labels": ["a"]})
    assert [one["name"] for one in job("PUT", f"/issues/{number}/labels", {"labels": ["b"]}).json()] == ["b"]
    job("POST", f"/issues/{number}/comments", {"body": "c"})
    job("POST", f"/pulls/{number}/requested_reviewers", {"reviewers": ["acme"]})
    job("PATCH", f"/issues/{number}", {"title": "Better"})
    old = sandbox.hub.default_tip(repo)[1]
    rewritten = sandbox.hub.bare(repo).write_commit(sandbox.hub.bare(repo).write_tree([], None), [old], "again")
    assert person("PATCH", "/git/refs/heads/topic", {"sha": rewritten, "force": True}).ok
    assert person("PUT", f"/pulls/{number}/merge", {}).ok
    names = [one["event"] for one in job("GET", f"/issues/{number}/timeline").json()]
    assert names == ["labeled", "labeled", "unlabeled", "commented", "review_requested", "renamed",
                     "head_ref_force_pushed", "merged", "closed"]  # fmt: skip


def test_reactions(job: Api, stranger: Api, person: Api, number: int) -> None:
    comment = stranger("POST", f"/issues/{number}/comments", {"body": "/train"}).json()
    assert comment["created_at"] == comment["updated_at"]
    for path in (f"/issues/comments/{comment['id']}/reactions", f"/issues/{number}/reactions"):
        made = [job("POST", path, {"content": content}) for content in ("eyes", "eyes", "rocket")]
        assert [one.status_code for one in made] == [201, 200, 201]
        first = made[0].json()["id"]
        refused(stranger("DELETE", f"{path}/{first}"), 403)
        assert job("DELETE", f"{path}/{first}").status_code == 204
        refused(job("DELETE", f"{path}/{first}"), 404)
        assert [one["content"] for one in job("GET", path).json()] == ["rocket"]
        assert job("GET", path, content="eyes").json() == []
    assert job("GET", f"/issues/comments/{comment['id']}").json()["reactions"]["rocket"] == 1


def test_deployments(sandbox: Sandbox, repo: str, job: Api) -> None:
    job = Api(sandbox, repo, sandbox.seed.job_token(repo, ALL | {"deployments": "write"}))
    body = {
        "ref": "main",
        "environment": "staging",
        "auto_merge": False,
        "required_contexts": [],
        "payload": {"v": "1"},
    }
    ids = []
    for _ in range(2):
        made = job("POST", "/deployments", body)
        assert made.status_code == 201
        ids.append(made.json()["id"])
        sent = {"state": "success", "log_url": "https://example.com/", "description": "d"}
        assert job("POST", f"/deployments/{ids[-1]}/statuses", sent).json()["environment"] == "staging"
    assert [one["id"] for one in job("GET", "/deployments", environment="staging").json()] == ids[::-1]
    assert job("GET", "/deployments", environment="prod").json() == []
    states = [[one["state"] for one in job("GET", f"/deployments/{key}/statuses").json()] for key in ids]
    assert states == [["inactive", "success"], ["success"]]
    refused(job("DELETE", f"/deployments/{ids[1]}"), 422)
    assert job("DELETE", f"/deployments/{ids[0]}").status_code == 204
    refused(job("POST", "/deployments", body | {"ref": "gone"}), 422, "No ref found")
    refused(job("POST", "/deployments", body | {"required_contexts": ["ci"]}), 409, "Conflict")


def test_activity(sandbox: Sandbox, repo: str, job: Api, person: Api, number: int) -> None:
    old = sandbox.hub.default_tip(repo)[1]
    sandbox.seed.push(repo, "topic", {"t": b"more\n"}, "more", "ada")
    topic = job("GET", "/activity", ref="topic").json()
    assert [one["activity_type"] for one in topic] == ["push", "branch_creation"]
    assert person("PUT", f"/pulls/{number}/merge", {}).ok
    person("PATCH", "/git/refs/heads/main", {"sha": old, "force": True})
    person("DELETE", "/git/refs/heads/topic")
    main = job("GET", "/activity", ref="refs/heads/main", time_period="day").json()
    assert [one["activity_type"] for one in main] == ["force_push", "pr_merge", "branch_creation"]
    assert (main[1]["before"], main[1]["actor"]["login"]) == (old, "ada")
    everything = job("GET", "/activity", direction="asc").json()
    first = job("GET", "/activity", direction="asc", per_page=4)
    rest = requests.get(first.links["next"]["url"], headers=job.headers, timeout=10)
    assert [one["id"] for one in first.json() + rest.json()] == [one["id"] for one in everything]
    assert len(everything) == 6


def test_own_roles(sandbox: Sandbox, repo: str, job: Api) -> None:
    sandbox.hub.set_role(repo, "grace", "ml-lead", base="maintain")
    shown = job("GET", "/collaborators/grace/permission").json()
    assert (shown["permission"], shown["role_name"], shown["user"]["permissions"]["maintain"]) == (
        "write",
        "ml-lead",
        True,
    )
    sandbox.hub.add_token("token-grace", "grace")
    assert Api(sandbox, repo, "token-grace")("POST", "/releases", {"tag_name": "v1", "draft": True}).status_code == 201


def test_merge_events(sandbox: Sandbox, repo: str, job: Api, person: Api) -> None:
    for method, who, kind in (("merge", person, "user"), ("squash", job, "workflow"), ("rebase", person, "user")):
        sandbox.seed.push(repo, method, {method: b"x\n"}, method, "ada")
        number = sandbox.hub.open_pull(repo, title=method, head=method, base="main", actor=user("ada"))
        head = sandbox.hub.pull(repo, number)["head_sha"]
        seen = listen(sandbox)
        sha = who("PUT", f"/pulls/{number}/merge", {"sha": head, "merge_method": method}).json()["sha"]
        found = [(one.name, one.action, one.ref, one.token_kind) for one in seen[:2]]
        assert found == [("push", None, "refs/heads/main", kind),
                         ("pull_request", "closed", f"refs/pull/{number}/merge", kind)]  # fmt: skip
        assert seen[1].payload["pull_request"]["merged"] is True
        assert [one["number"] for one in job("GET", f"/commits/{sha}/pulls").json()] == [number]
        assert sandbox.hub.default_tip(repo)[1] == sha


def test_schedule(sandbox: Sandbox, repo: str) -> None:
    text = b"on: {schedule: [{cron: '17 3 * * *'}, {cron: '5 4 * * 0'}]}\njobs: {}\n"
    sandbox.seed.push(repo, "main", {".github/workflows/drift.yml": text}, "Workflow", "ada")
    seen = listen(sandbox)
    run_id = sandbox.hub.run_schedule(repo, "drift.yml")
    sandbox.hub.run_schedule(repo, ".github/workflows/drift.yml", "5 4 * * 0")
    assert [one.payload["schedule"] for one in seen] == ["17 3 * * *", "5 4 * * 0"]
    assert (seen[0].run_id, seen[0].workflow, seen[0].ref) == (run_id, ".github/workflows/drift.yml", "refs/heads/main")
    for name, cron in (("none.yml", ""), ("drift.yml", "1 1 1 1 1")):
        with pytest.raises(Problem, match=r"Not Found|no such schedule"):
            sandbox.hub.run_schedule(repo, name, cron)


def test_job_reviews(sandbox: Sandbox, repo: str, job: Api, number: int) -> None:
    refused(job("POST", f"/pulls/{number}/reviews", {"event": "APPROVE"}), 403, "not permitted to create or approve")
    sandbox.hub.set_setting(repo, "actions_can_create_pull_requests", True)
    assert job("POST", f"/pulls/{number}/reviews", {"event": "APPROVE"}).json()["state"] == "APPROVED"
    added = job("POST", f"/pulls/{number}/requested_reviewers", {"reviewers": ["acme"]}).json()
    assert [one["login"] for one in added["requested_reviewers"]] == ["acme"]
    assert (
        job("DELETE", f"/pulls/{number}/requested_reviewers", {"reviewers": ["acme"]}).json()["requested_reviewers"]
        == []
    )


def test_pull_edits(sandbox: Sandbox, repo: str, job: Api, stranger: Api, number: int) -> None:
    sandbox.seed.push(repo, "next", {"n": b"n"}, "n", "ada")
    changed = job("PATCH", f"/pulls/{number}", {"title": "T2", "body": "B", "base": "next"}).json()
    assert (changed["title"], changed["body"], changed["base"]["ref"]) == ("T2", "B", "next")
    refused(stranger("PATCH", f"/pulls/{number}", {"title": "mine"}), 403)
    refused(job("PATCH", f"/pulls/{number}", {"base": "gone"}), 422)
    for state in ("closed", "open"):
        assert job("PATCH", f"/pulls/{number}", {"state": state}).json()["state"] == state
