"""Rules of refs, trees, releases, workflows and events: each test has its row in docs/sandbox.md."""

from __future__ import annotations

from collections.abc import Mapping

import requests

from conftest import user
from sandbox_client import DISPATCHED, Api, add_run, listen, refused
from trackside.sandbox.server import Sandbox


def test_ref_create(sandbox: Sandbox, repo: str, job: Api) -> None:
    sha = sandbox.hub.default_tip(repo)[1]
    tree = sandbox.hub.bare(repo).commit(sha).tree
    cases: list[tuple[Mapping[str, str], str]] = [
        ({"ref": "refs/heads/main", "sha": sha}, "Reference already exists"),
        ({"ref": "refs/heads/x", "sha": "0" * 40}, "Object does not exist"),
        ({"ref": "refs/heads/x", "sha": tree}, "Object does not exist"),
        ({"ref": "refs/heads/x", "sha": "main"}, "Object does not exist"),
        ({"ref": "refs/heads/x", "sha": "--help"}, "Object does not exist"),
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


def test_release_tags(sandbox: Sandbox, repo: str, job: Api) -> None:
    draft = job("POST", "/releases", {"tag_name": "v1", "draft": True}).json()
    refused(job("GET", "/releases/tags/v1"), 404)
    refused(Api(sandbox, repo, None)("GET", f"/releases/{draft['id']}"), 404)
    assert "refs/tags/v1" not in sandbox.hub.bare(repo).refs("refs/tags/")
    job("PATCH", f"/releases/{draft['id']}", {"draft": False})
    assert job("GET", "/releases/tags/v1").json()["id"] == draft["id"]
    assert sandbox.hub.bare(repo).kind(sandbox.hub.bare(repo).refs("refs/tags/v1")["refs/tags/v1"]) == "commit"
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
    ended = add_run(sandbox, repo)
    running = add_run(sandbox, repo, status="in_progress", conclusion=None)
    refused(job("POST", f"/actions/runs/{ended}/cancel"), 409, "Cannot cancel a workflow run that is completed")
    refused(job("POST", f"/actions/runs/{running}/rerun"), 403, "already running")
    refused(job("POST", f"/actions/runs/{running}/rerun-failed-jobs"), 403, "already running")
    refused(job("POST", f"/actions/runs/{running}/cancel"), 409, "No workflow runner")
    refused(job("POST", "/actions/runs/900000003/cancel"), 404)
    sandbox.state.delete("run", repo, running)


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
