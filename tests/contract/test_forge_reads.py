"""What the adapter and the store read over HTTP, beyond the everyday: large files, hostile names, runs and jobs."""

from __future__ import annotations

import pytest

from conftest import ENV, bot_forge, user
from trackside.documents.run import Environment, Run, Source, Trigger
from trackside.errors import Forbidden, NotFound
from trackside.forge.github import GithubForge
from trackside.sandbox.server import Sandbox
from trackside.store.branch import ApiRunStore, CloneRunStore
from trackside.store.layout import pointer_path
from trackside.system.process import Processes


def make_run(number: int, model: str = "delay") -> Run:
    return Run(
        id=f"run{number}",
        model=model,
        status="succeeded",
        reason_code="done",
        input_digest=f"sha256:{number:064x}",
        source=Source(repository="acme/flights", commit="a" * 40),
        trigger=Trigger(event="workflow_dispatch"),
        started_at=f"2026-11-{number:02d}T00:00:00Z",
        finished_at=f"2026-11-{number:02d}T00:01:00Z",
        environment=Environment(python="3.12.1", os="linux"),
    )


def test_files_of_any_size_and_name(sandbox: Sandbox, repo: str) -> None:
    large = bytes(range(256)) * 5000
    cases: dict[str, bytes | None] = {
        "empty": b"",
        "binary": b"\x00\xff\xfe",
        "large.bin": large,
        "a folder/with ä & ? # %2e+": b"x",
        "deep/er/file.json": b"{}",
    }
    sandbox.hub.commit_folder(repo, "main", cases, "files", user("ada"))
    with bot_forge(sandbox, repo) as forge:
        for path, data in cases.items():
            assert forge.file(path, "main") == data, path
        for path in ("deep", "deep/er", "nothing", "deep/nothing", "../README.md", "", "deep//er/file.json"):
            assert forge.file(path, "main") is None, path
        assert forge.file("empty", "no-such-branch") is None
        assert forge.files("deep", "main") == ("deep/er/file.json",)
        assert forge.files("dee", "main") == ()
        assert forge.files("deep", "no-such-branch") == ()
        for branch in ("no-such-branch", "..", "../main", ""):
            with pytest.raises(NotFound):
                forge.head_of(branch)
    print(f"{len(cases)} files")
    assert len(cases) == 5


def test_branches_with_slashes(sandbox: Sandbox, repo: str) -> None:
    sha = sandbox.hub.commit_folder(repo, "feature/x+y/#1%2f", {"a/b": b"1"}, "m", user("ada"))
    with bot_forge(sandbox, repo) as forge:
        assert forge.head_of("feature/x+y/#1%2f") == sha
        assert forge.file("a/b", sha) == b"1"
        assert forge.files("a", sha) == ("a/b",)
        assert forge.commit(sha).message.strip() == "m"


def test_pull_requests_of_a_commit_are_found_for_forks_too(sandbox: Sandbox, repo: str) -> None:
    fork = f"mallory/{repo.split('/')[1]}"
    sandbox.hub.add_repo(fork, parent=repo)
    sha = sandbox.hub.commit_folder(fork, "idea", {"x": b"1"}, "m", user("mallory"))
    number = sandbox.hub.open_pull(repo, title="From a fork", head="mallory:idea", base="main", actor=user("mallory"))
    with bot_forge(sandbox, repo) as forge:
        for head in ("", "mallory:idea"):
            found = forge.pulls_of_commit(sha, head=head)
            assert [(one.number, one.from_fork, one.head_repo) for one in found] == [(number, True, fork)]
        assert forge.pulls_of_commit(sha, head="mallory:other") == ()
        assert forge.pulls_of_commit("0" * 40) == ()


def test_who_writes(sandbox: Sandbox, repo: str) -> None:
    with bot_forge(sandbox, repo) as forge:
        assert forge.viewer() == forge.viewer() == "github-actions[bot]"
        assert forge.calls == 1
    with bot_forge(sandbox, repo, viewer="acme-ml[bot]") as forge:
        assert (forge.viewer(), forge.calls) == ("acme-ml[bot]", 0)
    with GithubForge(repo, "token-ada", sandbox.api_url) as forge:
        assert forge.viewer() == "ada"
    with GithubForge(repo, "ghs_x", sandbox.api_url) as forge:
        assert (forge.viewer(), forge.calls) == ("github-actions[bot]", 0)


def test_a_wrong_token_is_told_apart_from_a_missing_permission(sandbox: Sandbox, repo: str) -> None:
    with GithubForge(repo, "wrong", sandbox.api_url) as forge, pytest.raises(Forbidden) as caught:
        forge.default_branch()
    assert caught.value.reason_code == "unauthorized"
    sandbox.hub.add_repo(f"{repo}-private", private=True)
    with bot_forge(sandbox, f"{repo}-private", {"checks": "read"}) as forge, pytest.raises(Forbidden) as caught:
        forge.head_of("main")
    assert "contents: read" in caught.value.remedy


def test_both_stores_read_what_was_recorded(sandbox: Sandbox, repo: str) -> None:
    with bot_forge(sandbox, repo) as forge:
        store = ApiRunStore(forge)
        assert store.runs() == []
        runs = [make_run(1), make_run(3), make_run(2), make_run(4, "price")]
        for run in runs:
            applied = forge.apply([store.operations_for(run, reusable=True)] * 2)
            assert [one.outcome for one in applied] == ["created" if run == runs[0] else "updated", "unchanged"]
        sandbox.hub.commit_folder(repo, "trackside-data", {"runs/delay/bad.json": b"{"}, "damage", user("ada"))
        bare = sandbox.hub.bare(repo).path
        for other in (ApiRunStore(forge), CloneRunStore(bare, "trackside-data", Processes(ENV))):
            assert [run.id for run in other.runs()] == ["run4", "run3", "run2", "run1"]
            assert other.runs("delay", limit=1) == [make_run(3)]
            assert other.run("delay", "run2") == make_run(2)
            assert other.run("price", "run2") is None
            assert other.run_for_inputs("delay", make_run(2).input_digest) == make_run(2)
            assert [one.path for one in other.problems] == ["runs/delay/bad.json"]
        clone = CloneRunStore(bare, "trackside-data", Processes(ENV))
        before = forge.calls
        listed = ApiRunStore(forge, lists=lambda: clone)
        assert [run.id for run in listed.runs("delay")] == ["run3", "run2", "run1"]
        assert [one.path for one in listed.problems] == ["runs/delay/bad.json"]
        assert forge.calls == before
        assert ApiRunStore(forge).run_for_inputs("delay", make_run(1).input_digest) == make_run(1)
        assert forge.calls - before == 2


def test_the_first_run_keeps_answering_its_inputs(sandbox: Sandbox, repo: str) -> None:
    first, second = make_run(1), make_run(2)
    second = Run(
        **{name: getattr(second, name) for name in second.__struct_fields__} | {"input_digest": first.input_digest}
    )
    pointer = pointer_path("delay", first.input_digest)
    with bot_forge(sandbox, repo) as forge:
        store = ApiRunStore(forge)
        for run in (first, second):
            assert forge.apply([store.operations_for(run, reusable=True)])[0].outcome != "failed"
        assert store.run_for_inputs("delay", first.input_digest) == first
        assert store.run("delay", "run2") == second
        # A damaged answer is replaced by the next one, by whoever saw the damage.
        sandbox.hub.commit_folder(repo, "trackside-data", {pointer: b"{}"}, "damage", user("ada"))
        assert store.run_for_inputs("delay", first.input_digest) is None
        assert forge.apply([store.operations_for(second, reusable=True)])[0].outcome == "updated"
        assert store.run_for_inputs("delay", first.input_digest) == second
