"""Pull requests that start nothing: forks, drafts, conflicts, files that cannot be read. Each is told what to do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loop_world import MODEL, TRAIN, Repo, World, params, world

__all__ = ["world"]
pytestmark = pytest.mark.act


@pytest.fixture(scope="module")
def repo(world: World) -> Repo:
    return world.repo()


@pytest.fixture(autouse=True)
def nothing_trained(repo: Repo) -> Iterator[None]:
    yield
    assert repo.runs(TRAIN) == []
    assert repo.tip() is None
    print("1 pull request that starts nothing")


def test_a_strangers_fork_waits_for_a_maintainers_command(world: World, repo: Repo) -> None:
    fork = world.sandbox.seed.fork(repo.name, "mallory")
    head = repo.push("gift", params(0.9), "mallory", fork)
    number = repo.hub.open_pull(
        repo.name, title="A gift", head="mallory:gift", base="main", actor=repo.person("mallory")
    )
    repo.settle()
    body = repo.comment(number)
    assert f"/train {MODEL} sha={head}" in body
    assert "write" in body
    assert repo.check(number)["conclusion"] == "action_required"


def test_a_draft_is_left_alone_until_it_is_ready(repo: Repo) -> None:
    number = repo.pull("draft", params(0.85), draft=True)
    assert repo.comments(number) == []
    assert repo.checks(repo.head(number)) == []
    repo.push("draft", params(0.7) | {"README.md": b"# ready\n"})
    repo.hub.set_draft(repo.name, number, False, repo.person())
    repo.settle()
    assert repo.check(number)["conclusion"] == "success"


def test_a_conflict_is_explained(repo: Repo) -> None:
    repo.push("conflict", {"README.md": b"# this\n"})
    repo.push("main", {"README.md": b"# that\n"})
    number = repo.hub.open_pull(repo.name, title="Conflict", head="conflict", base="main", actor=repo.person())
    repo.settle()
    body = repo.comment(number)
    assert "conflicts with its base" in body
    assert "rebase" in body
    assert repo.check(number)["conclusion"] == "failure"


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("trackside.yaml", b"version: 1\nmodels: [\n", "trackside.yaml"),
        ("dvc.yaml", b"stages: {train: {cmd: 'a', foreach: 3}}\n", "dvc.yaml"),
    ],
)
def test_an_unreadable_file_is_explained(repo: Repo, file: str, text: bytes, says: str) -> None:
    number = repo.pull(f"broken-{file}", {file: text})
    body, check = repo.comment(number), repo.check(number)
    assert says in body
    assert "Push a correction" in body
    assert check["conclusion"] == "failure"
