"""The adapter against the sandbox over HTTP: every read and operation, each exchange valid by GitHub's description."""

from __future__ import annotations

import threading
import time

import pytest
from conftest import bot_forge, user

from trackside.errors import Forbidden, NotFound
from trackside.forge.model import Annotation
from trackside.forge.operations import CommitFiles, UpsertCheck, UpsertComment
from trackside.sandbox.server import Sandbox

MARK = "<!-- trackside:report model=delay -->"


def open_pull(sandbox: Sandbox, repo: str) -> int:
    sandbox.hub.commit_folder(repo, "topic", {"params.yaml": b"lr: 0.1\n"}, "change", user("ada"))
    return sandbox.hub.open_pull(repo, title="Change", head="topic", base="main", actor=user("ada"))


def test_reads(sandbox: Sandbox, repo: str) -> None:
    number = open_pull(sandbox, repo)
    forge = bot_forge(sandbox, repo)
    assert forge.default_branch() == "main"
    head = forge.head_of("topic")
    pull = forge.pull_with_merge(number)
    assert (pull.head_sha, pull.author, pull.mergeable, pull.from_fork) == (head, "ada", True, False)
    assert forge.commit(pull.merge_sha).parents == (pull.base_sha, head)
    assert forge.file("params.yaml", head) == b"lr: 0.1\n"
    assert forge.file("nothing", head) is None
    assert forge.role("ada") == "write"
    assert forge.role("mallory") == "read"
    assert forge.role("nobody-at-all") == "none"
    assert forge.viewer() == "github-actions[bot]"
    assert [one.number for one in forge.pulls_of_commit(head)] == [number]
    with pytest.raises(NotFound):
        forge.pull(9999)


def test_one_comment_with_0_30_and_250_prior_comments(sandbox: Sandbox, repo: str) -> None:
    cases = 0
    for prior in (0, 30, 250):
        number = (
            open_pull(sandbox, repo)
            if cases == 0
            else sandbox.hub.open_pull(
                repo, title="x", head=new_branch(sandbox, repo, prior), base="main", actor=user("ada")
            )
        )
        for index in range(prior):
            sandbox.hub.add_comment(repo, number, f"comment {index}", user("ada"))
        sandbox.hub.add_comment(repo, number, f"{MARK}\nplanted", user("mallory"))
        forge = bot_forge(sandbox, repo)
        outcomes = [
            forge.apply([UpsertComment(issue=number, marker=MARK, body=f"{MARK}\n{text}")])[0].outcome
            for text in ("a", "a", "b")
        ]
        assert outcomes == ["created", "unchanged", "updated"]
        own = [one for one in forge.comments(number) if one.author == "github-actions[bot]"]
        assert [one.body for one in own] == [f"{MARK}\nb"]
        assert len(forge.comments(number)) == prior + 2
        cases += 1
    print(f"{cases} cases")
    assert cases == 3


def new_branch(sandbox: Sandbox, repo: str, tag: object) -> str:
    sandbox.hub.commit_folder(repo, f"b{tag}", {"x": str(tag).encode()}, "x", user("ada"))
    return f"b{tag}"


def test_two_first_writers_leave_one_comment(sandbox: Sandbox, repo: str) -> None:
    rounds = 20
    for index in range(rounds):
        number = sandbox.hub.open_pull(
            repo, title="x", head=new_branch(sandbox, repo, index), base="main", actor=user("ada")
        )
        barrier = threading.Barrier(2)

        def write(text: str, number: int = number, barrier: threading.Barrier = barrier) -> None:
            forge = bot_forge(sandbox, repo, viewer="github-actions[bot]")
            barrier.wait()
            assert (
                forge.apply([UpsertComment(issue=number, marker=MARK, body=f"{MARK}\n{text}")])[0].outcome != "failed"
            )

        threads = [threading.Thread(target=write, args=(text,)) for text in ("one", "two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        comments = bot_forge(sandbox, repo).comments(number)
        assert len(comments) == 1, [one.body for one in comments]
    print(f"{rounds} rounds")


def test_check_runs(sandbox: Sandbox, repo: str) -> None:
    number = open_pull(sandbox, repo)
    forge = bot_forge(sandbox, repo)
    sha = forge.pull(number).head_sha
    notes = tuple(
        Annotation(path="trackside.yaml", line=i + 1, level="failure", title="t", message="m") for i in range(120)
    )

    def check(conclusion: str | None, summary: str) -> UpsertCheck:
        annotations = notes if conclusion == "failure" else ()
        return UpsertCheck(
            name="trackside / delay",
            head_sha=sha,
            external_id="trackside:delay:x",
            title="t",
            summary=summary,
            conclusion=conclusion,
            annotations=annotations,
        )

    outcomes = [
        forge.apply([one])[0].outcome
        for one in (
            check(None, "a"),
            check("failure", "b"),
            check("failure", "b"),
            check(None, "c"),
            check("success", "d"),
        )
    ]
    assert outcomes == ["created", "updated", "unchanged", "created", "updated"]
    found = forge.checks(sha, name="trackside / delay")
    assert [(one.conclusion, one.annotations) for one in found] == [("success", 0)]  # the newest of a name
    long = forge.apply([check("success", "x" * 100_000)])[0]
    assert long.outcome == "updated"


def test_a_report_costs_at_most_four_calls(sandbox: Sandbox, repo: str) -> None:
    number = open_pull(sandbox, repo)
    forge = bot_forge(sandbox, repo, viewer="github-actions[bot]")
    sha = forge.pull(number).head_sha
    for text in ("first", "second", "second"):
        forge.calls = 0
        forge.apply(
            [
                UpsertComment(issue=number, marker=MARK, body=MARK + text),
                UpsertCheck(
                    name="trackside / delay",
                    head_sha=sha,
                    external_id="e",
                    title="t",
                    summary=text,
                    conclusion="success",
                ),
            ]
        )
        if text == "second":
            assert forge.calls <= 4


# (method, path, fault, expected outcome)
FAULTS = [
    ("POST", "/comments$", {"mode": "before", "status": 502}),
    ("POST", "/comments$", {"mode": "lost"}),
    ("POST", "/comments$", {"mode": "before", "status": 429, "headers": {"Retry-After": "1"}}),
    ("POST", "/comments$", {"mode": "before", "status": 403, "headers": {"Retry-After": "1"}}),
    ("GET", "/comments$", {"mode": "before", "status": 502}),
    ("GET", "/comments$", {"mode": "lost"}),
    ("POST", "/check-runs$", {"mode": "before", "status": 502}),
    ("POST", "/check-runs$", {"mode": "lost"}),
    ("POST", "/check-runs$", {"mode": "before", "status": 429, "headers": {"Retry-After": "1"}}),
    ("POST", "/git/trees$", {"mode": "lost"}),
    ("POST", "/git/commits$", {"mode": "lost"}),
    ("POST", "/git/refs$", {"mode": "lost"}),
    ("POST", "/git/refs$", {"mode": "before", "status": 502}),
    ("GET", "/git/ref/", {"mode": "before", "status": 503}),
]


def test_faults_lose_and_double_nothing(sandbox: Sandbox, repo: str) -> None:
    for index, (method, path, fault) in enumerate(FAULTS):
        number = sandbox.hub.open_pull(
            repo, title="x", head=new_branch(sandbox, repo, f"f{index}"), base="main", actor=user("ada")
        )
        forge = bot_forge(sandbox, repo, viewer="github-actions[bot]")
        sha = forge.pull(number).head_sha
        sandbox.faults.clear()
        sandbox.faults.add(method, path, **fault)  # type: ignore[arg-type]
        fired = sandbox.faults.fired
        started = time.monotonic()
        applied = forge.apply(
            [
                UpsertComment(issue=number, marker=MARK, body=MARK),
                UpsertCheck(
                    name="trackside / delay",
                    head_sha=sha,
                    external_id="e",
                    title="t",
                    summary="s",
                    conclusion="success",
                ),
                CommitFiles(branch=f"data-{index}", message="m", files={"a.json": "{}\n"}),
            ]
        )
        waited = time.monotonic() - started
        assert sandbox.faults.fired == fired + 1, (method, path, fault)
        assert [one.outcome for one in applied if one.outcome == "failed"] == [], (method, path, fault, applied)
        assert len(forge.comments(number)) == 1, (method, path, fault)
        assert len(forge.checks(sha)) == 1, (method, path, fault)
        assert forge.file("a.json", f"data-{index}") == b"{}\n"
        assert len(sandbox.hub.bare(repo).log(f"data-{index}")) == 1, (method, path, fault)
        if "Retry-After" in fault.get("headers", {}):  # type: ignore[operator]
            assert 1 <= waited <= 3
    print(f"{len(FAULTS)} faults")
    assert len(FAULTS) == 14


def test_a_403_names_the_permission(sandbox: Sandbox, repo: str) -> None:
    number = open_pull(sandbox, repo)
    forge = bot_forge(sandbox, repo, {"contents": "read", "pull-requests": "read"}, viewer="github-actions[bot]")
    applied = forge.apply(
        [UpsertComment(issue=number, marker=MARK, body=MARK), CommitFiles(branch="d", message="m", files={"a": "b"})]
    )
    assert [one.outcome for one in applied] == ["failed", "failed"]
    assert "pull-requests: write" in applied[0].error
    assert "contents: write" in applied[1].error
    assert applied[0].reason_code == Forbidden.reason_code
    assert forge.comments(number) == ()


def test_parallel_commits_to_the_data_branch_lose_nothing(sandbox: Sandbox, repo: str) -> None:
    writers, each = 8, 3
    failures: list[str] = []

    def write(writer: int) -> None:
        forge = bot_forge(sandbox, repo)
        for index in range(each):
            files: dict[str, str | None] = {
                f"runs/delay/{writer}-{index}.json": "{}\n",
                "inputs/delay/same.json": f"{writer}\n",
            }
            done = forge.apply(
                [
                    CommitFiles(
                        branch="trackside-data", message="m", files=files, keep=frozenset({"inputs/delay/same.json"})
                    )
                ]
            )
            failures.extend(one.error for one in done if one.outcome == "failed")

    threads = [threading.Thread(target=write, args=(index,)) for index in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    names = bot_forge(sandbox, repo).files("runs/delay", "trackside-data")
    assert len(names) == writers * each
    again = bot_forge(sandbox, repo).apply(
        [CommitFiles(branch="trackside-data", message="m", files={"runs/delay/0-0.json": "{}\n"})]
    )
    assert again[0].outcome == "unchanged"
    print(f"{writers * each} commits by {writers} writers")
