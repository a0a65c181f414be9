"""The adapter against the sandbox over HTTP: every read and operation, each exchange valid by GitHub's description."""

from __future__ import annotations

import pytest

from conftest import bot_forge, user
from trackside.errors import NotFound
from trackside.forge.model import Annotation
from trackside.forge.operations import UpsertCheck, UpsertComment
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


def test_a_marker_that_our_own_comment_shows_belongs_to_no_model(sandbox: Sandbox, repo: str) -> None:
    """A file named like another model's marker is listed in our comment: still one comment a model, none taken over."""
    number = open_pull(sandbox, repo)
    forge = bot_forge(sandbox, repo)
    other = MARK.replace("delay", "price")
    bodies = {
        MARK: f"{MARK}\n\nchanged: `{other}`\n",
        other: f"{other}\n\nchanged: `{MARK}`\n",
    }
    for _ in range(3):
        forge.apply([UpsertComment(issue=number, marker=mark, body=body) for mark, body in bodies.items()])
    assert [one.body.strip() for one in forge.comments(number)] == [body.strip() for body in bodies.values()]


def test_a_comment_is_replaced_only_over_the_words_it_expects(sandbox: Sandbox, repo: str) -> None:
    number = open_pull(sandbox, repo)
    forge = bot_forge(sandbox, repo)

    def write(body: str, over: str = "") -> str:
        only_over = f"{MARK}\n{over}" if over else ""
        operation = UpsertComment(issue=number, marker=MARK, body=f"{MARK}\n{body}", only_over=only_over)
        return forge.apply([operation])[0].outcome

    assert write("linked", over="queued") == "unchanged"
    assert forge.comments(number) == ()
    assert write("queued") == "created"
    assert write("linked", over="queued") == "updated"
    assert write("report") == "updated"
    assert write("linked", over="queued") == "unchanged"
    assert [one.body for one in forge.comments(number)] == [f"{MARK}\nreport"]
