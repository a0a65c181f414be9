"""Rules of checks, statuses, comments and pull requests: each test has its row in docs/sandbox.md."""

from __future__ import annotations

from conftest import user
from sandbox_client import ALL, Api, listen, refused
from trackside.sandbox.server import Sandbox


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


def test_status_size(sandbox: Sandbox, repo: str, job: Api) -> None:
    path = f"/statuses/{sandbox.hub.default_tip(repo)[1]}"
    assert job("POST", path, {"state": "success", "description": "x" * 140}).status_code == 201
    refused(job("POST", path, {"state": "success", "description": "x" * 141}), 422, "140")
    refused(job("POST", "/statuses/" + "0" * 40, {"state": "success"}), 422, "No commit found")


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


def test_mergeable_later(sandbox: Sandbox, repo: str, person: Api, number: int) -> None:
    sandbox.hub.mergeable_after = 2
    try:
        sandbox.seed.push(repo, "topic", {"t": b"newer\n"}, "m", "ada")
        looks = [person("GET", f"/pulls/{number}").json() for _ in range(4)]
        assert [one["mergeable"] for one in looks] == [None, None, True, True]
        assert [bool(one["merge_commit_sha"]) for one in looks] == [False, False, True, True]
    finally:
        sandbox.hub.mergeable_after = 0


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
