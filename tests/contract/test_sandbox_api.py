"""The sandbox's REST side driven by PyGithub; every exchange is judged by GitHub's description while it runs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import requests
from github import GithubException, InputGitAuthor, InputGitTreeElement, UnknownObjectException
from github.Repository import Repository

from conftest import github_client, user
from sandbox_client import ALL
from trackside.sandbox.server import Sandbox


@pytest.fixture
def person(sandbox: Sandbox, repo: str) -> Repository:
    """The repository as its writer sees it."""
    return github_client(sandbox, "token-ada").get_repo(repo)


@pytest.fixture
def job(sandbox: Sandbox, repo: str) -> Repository:
    """The repository as a job with every permission sees it."""
    return github_client(sandbox, sandbox.seed.job_token(repo, ALL)).get_repo(repo)


def push(sandbox: Sandbox, repo: str, branch: str, files: dict[str, bytes | None], login: str = "ada") -> str:
    return sandbox.seed.push(repo, branch, files, f"Change {branch}", login)


def test_repository_branches_and_contents(sandbox: Sandbox, repo: str, person: Repository) -> None:
    sha = push(sandbox, repo, "main", {"data/a b.txt": b"one\n", "big.bin": b"x" * 1_100_000})
    push(sandbox, repo, "feature/deep", {"c": b"c"})
    assert (person.default_branch, person.private, person.fork) == ("main", False, False)
    assert (person.permissions.push, person.permissions.admin) == (True, False)
    assert [one.name for one in person.get_branches()] == ["feature/deep", "main"]
    assert person.get_branch("feature/deep").commit.parents[0].sha == sha
    found = person.get_contents("data/a b.txt", ref="main")
    assert not isinstance(found, list)
    assert (found.decoded_content, found.size) == (b"one\n", 4)
    listing = person.get_contents("", ref=sha)
    assert isinstance(listing, list)
    assert {one.path: one.type for one in listing} == {"README.md": "file", "big.bin": "file", "data": "dir"}
    big = person.get_contents("big.bin")
    assert not isinstance(big, list)
    assert (big.encoding, big.size) == ("none", 1_100_000)
    for path, ref in (("nothing", "main"), ("data/a b.txt/x", "main"), ("data/a b.txt", "gone")):
        with pytest.raises(GithubException) as refused:
            person.get_contents(path, ref=ref)
        assert refused.value.status == 404


def test_commits_and_comparisons(sandbox: Sandbox, repo: str, person: Repository) -> None:
    first = person.get_branch("main").commit.sha
    second = push(sandbox, repo, "main", {"a": b"1\n2\n"})
    side = push(sandbox, repo, "side", {"a": b"1\n3\n"})
    push(sandbox, repo, "main", {"b": b"b\n"})
    commit = person.get_commit(second)
    assert (commit.author.login, commit.stats.additions, commit.files[0].filename) == ("ada", 2, "a")
    assert [one.sha for one in person.get_commits(sha="side")] == [side, second, first]
    assert [one.sha for one in person.get_commits(sha="main", path="a")] == [second]
    compared = person.compare("main", "side")
    assert (compared.status, compared.ahead_by, compared.behind_by) == ("diverged", 1, 1)
    assert [(one.filename, one.status) for one in compared.files] == [("a", "modified")]
    assert compared.merge_base_commit.sha == second
    assert "-2\n+3" in compared.files[0].patch
    assert person.compare(first, second).status == "ahead"
    assert person.compare(second, first).status == "behind"


def test_git_data(sandbox: Sandbox, repo: str, job: Repository) -> None:
    base = job.get_git_ref("heads/main").object.sha
    blob = job.create_git_blob("aGVsbG8=", "base64")
    assert job.get_git_blob(blob.sha).size == 5
    base_tree = job.get_git_commit(base).tree
    elements = [
        InputGitTreeElement("runs/one.json", "100644", "blob", sha=blob.sha),
        InputGitTreeElement("runs/two.json", "100644", "blob", content="{}"),
        InputGitTreeElement("README.md", "100644", "blob", sha=None),
    ]
    tree = job.create_git_tree(elements, base_tree)
    assert [one.path for one in job.get_git_tree(tree.sha, recursive=True).tree] == [
        "runs", "runs/one.json", "runs/two.json",
    ]  # fmt: skip
    when = "2026-01-02T03:04:05Z"
    person = InputGitAuthor("Grace", "grace@example.org", when)
    commit = job.create_git_commit("message\n\nbody", tree, [job.get_git_commit(base)], author=person)
    assert (commit.author.name, commit.committer.email, commit.message) == (
        "Grace",
        "grace@example.org",
        "message\n\nbody",
    )
    ref = job.create_git_ref("refs/heads/data", commit.sha)
    assert job.get_git_ref("heads/data").object.sha == commit.sha
    assert [one.ref for one in job.get_git_matching_refs("heads/da")] == ["refs/heads/data"]
    tag = job.create_git_tag("delay@v1.0.0", "first", commit.sha, "commit", tagger=person)
    job.create_git_ref("refs/tags/delay@v1.0.0", tag.sha)
    assert job.get_git_tag(tag.sha).object.sha == commit.sha
    assert job.get_git_ref("tags/delay@v1.0.0").object.type == "tag"
    assert [(one.name, one.commit.sha) for one in job.get_tags()] == [("delay@v1.0.0", commit.sha)]
    newer = job.create_git_commit("more", job.get_git_tree(tree.sha), [commit])
    ref.edit(newer.sha)
    with pytest.raises(GithubException, match="not a fast forward"):
        ref.edit(commit.sha)
    ref.edit(commit.sha, force=True)
    assert job.get_git_ref("heads/data").object.sha == commit.sha
    ref.delete()
    assert list(job.get_git_matching_refs("heads/data")) == []
    bare = sandbox.hub.bare(repo)
    assert bare.file(commit.sha, "runs/one.json") == b"hello"


def test_pull_requests_and_three_ways_to_merge(sandbox: Sandbox, repo: str, person: Repository) -> None:
    cases = 0
    for method in ("merge", "squash", "rebase"):
        push(sandbox, repo, method, {f"{method}.txt": b"1\n"})
        head = push(sandbox, repo, method, {f"{method}.txt": b"1\n2\n", "README.md": f"# {method}\n".encode()})
        base = push(sandbox, repo, "main", {f"base-{method}": b"b"})
        pull = person.create_pull("main", method, title=f"By {method}", body="why")
        assert (pull.mergeable, pull.state, pull.draft, pull.commits, pull.user.login) == (
            True,
            "open",
            False,
            2,
            "ada",
        )
        assert {one.filename: one.status for one in pull.get_files()} == {
            f"{method}.txt": "added",
            "README.md": "modified",
        }
        assert [one.sha for one in pull.get_commits()][-1] == head
        bare = sandbox.hub.bare(repo)
        assert bare.commit(pull.merge_commit_sha).parents == (base, head)
        assert bare.refs("refs/pull/")[f"refs/pull/{pull.number}/merge"] == pull.merge_commit_sha
        assert [one.number for one in person.get_pulls(head=f"acme:{method}")] == [pull.number]
        assert [one.number for one in person.get_commit(head).get_pulls()] == [pull.number]
        done = pull.merge(merge_method=method, sha=head)
        assert done.merged
        merged = bare.commit(done.sha)
        assert len(merged.parents) == (2 if method == "merge" else 1)
        assert bare.file("main", f"{method}.txt") == b"1\n2\n"
        assert bare.count(f"{base}..main") == {"merge": 3, "squash": 1, "rebase": 2}[method]
        again = person.get_pull(pull.number)
        assert (again.merged, again.state, again.merged_by.login, again.merge_commit_sha) == (
            True,
            "closed",
            "ada",
            done.sha,
        )
        assert again.is_merged()
        cases += 1
    print(f"{cases} methods")
    assert cases == 3
    assert [one.title for one in person.get_pulls(state="closed", sort="created", direction="asc")] == [
        "By merge", "By squash", "By rebase",
    ]  # fmt: skip


def test_editing_closing_and_reviewing(sandbox: Sandbox, repo: str, person: Repository) -> None:
    push(sandbox, repo, "topic", {"t": b"t"})
    pull = person.create_pull("main", "topic", title="a", body="b", draft=True)
    assert pull.draft
    sandbox.hub.set_draft(repo, pull.number, False, user("ada"))
    pull.edit(title="better", body="longer")
    pull.edit(state="closed")
    assert person.get_pull(pull.number).state == "closed"
    pull.edit(state="open")
    again = person.get_pull(pull.number)
    assert (again.title, again.body, again.state, again.draft) == ("better", "longer", "open", False)
    owner = github_client(sandbox, "token-acme").get_repo(repo).get_pull(pull.number)
    owner.create_review(body="fine", event="APPROVE")
    assert [(one.user.login, one.state) for one in pull.get_reviews()] == [("acme", "APPROVED")]
    with pytest.raises(GithubException, match="your own pull request"):
        pull.create_review(body="fine", event="APPROVE")
    pull.create_review_request(reviewers=["acme"])
    assert [one.login for one in person.get_pull(pull.number).requested_reviewers] == ["acme"]


def test_forks(sandbox: Sandbox, repo: str, person: Repository) -> None:
    fork = sandbox.seed.fork(repo, "mallory")
    head = push(sandbox, fork, "evil", {"x": b"x"}, "mallory")
    pull = (
        github_client(sandbox, "token-mallory").get_repo(repo).create_pull("main", "mallory:evil", title="From a fork")
    )
    assert (pull.head.repo.full_name, pull.head.repo.fork, pull.head.sha) == (fork, True, head)
    assert sandbox.hub.bare(repo).refs("refs/pull/")[f"refs/pull/{pull.number}/head"] == head
    newer = push(sandbox, fork, "evil", {"x": b"y"}, "mallory")
    assert person.get_pull(pull.number).head.sha == newer
    # GitHub finds no pull requests of a fork's commit; the look-up by head does.
    assert list(person.get_commit(newer).get_pulls()) == []
    assert [one.number for one in person.get_pulls(head="mallory:evil")] == [pull.number]
    assert [one.full_name for one in person.get_forks()] == [fork]
    assert person.compare("main", "mallory:evil").ahead_by == 2


def test_issues_comments_labels_and_reactions(sandbox: Sandbox, repo: str, job: Repository) -> None:
    push(sandbox, repo, "topic", {"t": b"t"})
    number = sandbox.hub.open_pull(repo, title="T", head="topic", base="main", actor=user("ada"))
    issue = job.get_issue(number)
    assert issue.pull_request is not None
    comment = issue.create_comment("hello <b>@ada</b>")
    assert (comment.user.login, comment.user.type, comment.user.id) == ("github-actions[bot]", "Bot", 41898282)
    assert comment.performed_via_github_app.slug == "github-actions"
    comment.edit("changed")
    assert issue.get_comment(comment.id).body == "changed"
    reaction = comment.create_reaction("eyes")
    assert comment.create_reaction("eyes").id == reaction.id
    assert [one.content for one in comment.get_reactions()] == ["eyes"]
    comment.delete_reaction(reaction.id)
    issue.create_reaction("rocket")
    assert [one.content for one in issue.get_reactions()] == ["rocket"]
    job.create_label("gpu", "00ff00", "needs a GPU")
    issue.add_to_labels("gpu", "new")
    assert sorted(one.name for one in issue.get_labels()) == ["gpu", "new"]
    issue.remove_from_labels("new")
    issue.edit(labels=["gpu", "third"])
    assert [one.name for one in job.get_issue(number).labels] == ["gpu", "third"]
    assert {one.name for one in job.get_labels()} == {"gpu", "new", "third"}
    comment.delete()
    assert list(issue.get_comments()) == []


def test_pages_of_comments(sandbox: Sandbox, repo: str, job: Repository) -> None:
    push(sandbox, repo, "topic", {"t": b"t"})
    number = sandbox.hub.open_pull(repo, title="T", head="topic", base="main", actor=user("ada"))
    for index in range(65):
        sandbox.hub.add_comment(repo, number, f"{index}", user("ada"))
    sandbox.calls.clear()
    assert [one.body for one in job.get_issue(number).get_comments()] == [str(index) for index in range(65)]
    assert sum("comments" in one.path for one in sandbox.calls) == 3  # 30 a page
    url = f"{sandbox.api_url}/repos/{repo}/issues/{number}/comments"
    answer = requests.get(url, params={"per_page": 20, "page": 2}, timeout=10)
    assert {name: link["url"].split("?")[1] for name, link in answer.links.items()} == {
        "prev": "per_page=20&page=1",
        "next": "per_page=20&page=3",
        "last": "per_page=20&page=4",
        "first": "per_page=20&page=1",
    }


def test_check_runs_and_statuses(sandbox: Sandbox, repo: str, job: Repository) -> None:
    sha = push(sandbox, repo, "topic", {"t": b"t"})
    note: dict[str, Any] = {
        "path": "t", "start_line": 1, "end_line": 1, "annotation_level": "failure", "message": "m", "title": "t",
    }  # fmt: skip
    check = job.create_check_run("trackside / delay", sha, external_id="x", status="in_progress",
                                 output={"title": "t", "summary": "s", "annotations": [note]})  # fmt: skip
    check.edit(
        status="completed", conclusion="failure", output={"title": "u", "summary": "s", "annotations": [note] * 50}
    )
    found = list(job.get_commit(sha).get_check_runs(check_name="trackside / delay"))
    assert [(one.id, one.conclusion, one.output.title, one.output.annotations_count) for one in found] == [
        (check.id, "failure", "u", 51)
    ]
    assert (found[0].app.slug, found[0].external_id) == ("github-actions", "x")
    assert len(list(job.get_check_run(check.id).get_annotations())) == 51
    newer = job.create_check_run("trackside / delay", sha, conclusion="success")
    commit = job.get_commit(sha)
    assert [one.id for one in commit.get_check_runs()] == [newer.id]
    assert [one.id for one in commit.get_check_runs(filter="all")] == [newer.id, check.id]
    assert commit.get_combined_status().state == "pending"
    for state in ("pending", "success"):
        commit.create_status(state, description="d", context="c", target_url="https://example.org/x")
    listed = requests.get(f"{sandbox.api_url}/repos/{repo}/commits/{sha}/statuses", timeout=10)
    assert [one["state"] for one in listed.json()] == ["success", "pending"]
    assert (commit.get_combined_status().state, commit.get_combined_status().total_count) == ("success", 1)


def test_releases_and_assets(sandbox: Sandbox, repo: str, job: Repository, tmp_path: Path) -> None:
    model = tmp_path / "model.skops"
    model.write_bytes(b"model" * 1000)
    draft = job.create_git_release("delay@v1.0.0", "One", "notes", draft=True, target_commitish="main")
    asset = draft.upload_asset(str(model), content_type="application/octet-stream")
    assert (asset.name, asset.size, asset.state) == ("model.skops", 5000, "uploaded")
    assert asset.digest == "sha256:" + hashlib.sha256(model.read_bytes()).hexdigest()
    with pytest.raises(UnknownObjectException):
        job.get_release("delay@v1.0.0")  # by tag: published ones only
    assert list(job.get_git_matching_refs("tags/")) == []
    published = draft.update_release("One", "notes", draft=False)
    assert published.published_at is not None
    assert job.get_release("delay@v1.0.0").id == draft.id
    assert job.get_latest_release().tag_name == "delay@v1.0.0"
    assert job.get_git_ref("tags/delay@v1.0.0").object.type == "commit"  # lightweight
    anonymous = requests.get(asset.browser_download_url, timeout=10)
    assert anonymous.content == model.read_bytes()
    raw = requests.get(asset.url, headers={"Accept": "application/octet-stream"}, timeout=10)
    assert raw.content == model.read_bytes()
    with pytest.raises(GithubException, match="already_exists"):
        draft.upload_asset(str(model))
    with pytest.raises(GithubException, match="already_exists"):
        job.create_git_release("delay@v1.0.0", "Again", "")
    asset.delete_asset()
    assert list(published.get_assets()) == []
    published.delete_release()
    assert list(job.get_releases()) == []


def test_people(sandbox: Sandbox, repo: str) -> None:
    client = github_client(sandbox, "token-ada")
    found = client.get_repo(repo)
    sandbox.hub.set_role(repo, "tess", "triage")
    sandbox.hub.set_role(repo, "mia", "maintain")
    roles = {login: found.get_collaborator_role_name(login) for login in ("acme", "ada", "mallory", "tess", "mia")}
    assert roles == {"acme": "admin", "ada": "write", "mallory": "read", "tess": "triage", "mia": "maintain"}
    legacy = {login: found.get_collaborator_permission(login) for login in ("tess", "mia")}
    assert legacy == {"tess": "read", "mia": "write"}
    with pytest.raises(GithubException, match="is not a user"):
        found.get_collaborator_permission("nobody-of-that-name")
    assert client.get_user().login == "ada"
    assert client.get_user("acme").login == "acme"
    assert client.get_rate_limit().rate.limit > client.get_rate_limit().rate.remaining
