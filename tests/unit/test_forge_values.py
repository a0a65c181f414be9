"""The pure parts of the adapter: answers into models, operations into bodies, text within GitHub's limits."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trackside.forge.model import Annotation, CheckRun
from trackside.forge.operations import UpsertCheck, UpsertComment
from trackside.forge.read import pull_of, role_of
from trackside.forge.write import (
    MAX_COMMENT,
    MAX_OUTPUT,
    check_body,
    comment_body,
    same_check,
    same_text,
    with_annotations,
)
from trackside.system.text import NOTE, byte_length, clean, cut, length

MARK = "<!-- trackside:report model=delay -->"

ROLES: list[tuple[dict[str, Any], str]] = [
    ({"permission": "admin", "role_name": "admin"}, "admin"),
    ({"permission": "write", "role_name": "maintain"}, "maintain"),
    ({"permission": "read", "role_name": "triage"}, "triage"),
    ({"permission": "write", "role_name": "ml-ops", "user": {"permissions": {"push": True, "triage": True}}}, "write"),
    ({"permission": "write", "role_name": "ml-ops", "user": {"permissions": {"maintain": True}}}, "maintain"),
    ({"permission": "write", "role_name": "ml-ops", "user": None}, "write"),
    ({"permission": "read"}, "read"),
    ({"permission": "owner-of-everything", "role_name": "god"}, "none"),
    ({}, "none"),
]


def test_roles() -> None:
    for raw, role in ROLES:
        assert role_of(raw) == role, raw
    print(f"{len(ROLES)} answers")
    assert len(ROLES) == 9


def raw_pull(**changes: Any) -> dict[str, Any]:
    repo = {"full_name": "acme/flights"}
    raw = {
        "number": 3,
        "title": "t",
        "state": "open",
        "user": {"login": "ada"},
        "labels": [{"name": "train"}],
        "html_url": "u",
        "draft": False,
        "head": {"repo": repo, "ref": "topic", "sha": "a" * 40},
        "base": {"repo": repo, "ref": "main", "sha": "b" * 40},
        "merge_commit_sha": "c" * 40,
        "mergeable": True,
        "merged": False,
    }
    return raw | changes


def test_pull_requests_of_deleted_forks_and_accounts_and_stale_merges() -> None:
    gone = pull_of(raw_pull(user=None, head={"repo": None, "ref": "topic", "sha": "a" * 40}))
    assert (gone.author, gone.head_repo, gone.from_fork) == ("", "", True)
    assert pull_of(raw_pull()).merge_sha == "c" * 40
    assert pull_of(raw_pull(mergeable=None)).merge_sha == ""
    assert pull_of(raw_pull(mergeable=False)).merge_sha == ""
    assert pull_of(raw_pull(mergeable=None, merged=True, state="closed")).merge_sha == "c" * 40


def test_the_marker_survives_the_cut() -> None:
    for body in ("x" * 100_000, "line\n" * 50_000 + MARK, f"{MARK}\n" + "|a|b|\n" * 30_000, "no marker"):
        made = comment_body(UpsertComment(issue=1, marker=MARK, body=body))
        assert MARK in made
        assert length(made) <= MAX_COMMENT


def operation(**changes: Any) -> UpsertCheck:
    values: dict[str, Any] = {
        "name": "trackside / delay",
        "head_sha": "a" * 40,
        "external_id": "e",
        "title": "t",
        "summary": "s",
        "conclusion": "success",
    }
    return UpsertCheck(**values | changes)


def test_check_bodies() -> None:
    running = check_body(operation(conclusion=None))
    assert running["status"] == "in_progress"
    assert "conclusion" not in running
    done = check_body(operation(summary="x" * 70_000, title="y" * 300))
    assert (done["status"], done["conclusion"]) == ("completed", "success")
    assert length(done["output"]["summary"]) <= MAX_OUTPUT
    assert len(done["output"]["title"]) == 255
    note = Annotation(path="trackside.yaml", line=7, level="failure", title="t" * 300, message="m" * 70_000)
    rows = with_annotations(done, [note] * 3)["output"]["annotations"]
    assert [(row["path"], row["start_line"], row["end_line"], len(row["title"])) for row in rows] == [
        ("trackside.yaml", 7, 7, 255)
    ] * 3
    assert with_annotations(done, []) == done


def test_what_counts_as_the_same_check() -> None:
    found = CheckRun(
        id=1, name="n", head_sha="a", status="completed", conclusion="success", title="t", summary="s\r\n", text=""
    )
    assert same_check(found, check_body(operation()), 0)
    different = [
        operation(conclusion="failure"),
        operation(conclusion=None),
        operation(title="other"),
        operation(summary="other"),
        operation(text="other"),
    ]
    assert not any(same_check(found, check_body(one), 0) for one in different)
    assert not same_check(found, check_body(operation()), 1)
    assert same_text("a\r\nb \n", "a\nb")


PIECES = st.sampled_from(
    [
        "```",
        "````python",
        "~~~",
        "text",
        "<details>",
        "</details>",
        "<details open><summary>x</summary>",
        "é😀",
        "| a |",
    ]
)


@given(lines=st.lists(PIECES, max_size=60), limit=st.integers(60, 400), measure=st.sampled_from([length, byte_length]))
def test_a_cut_text_fits_and_leaves_nothing_open(lines: list[str], limit: int, measure: Any) -> None:
    text = "\n".join(lines)
    made = cut(text, limit, measure)
    assert measure(made) <= limit
    if measure(text) <= limit:
        assert made == text
    elif made:
        assert made.endswith(NOTE)
        assert open_at_the_end(made) == ("", 0)


def open_at_the_end(text: str) -> tuple[str, int]:
    """The fence that is open, by CommonMark's rule, and the folds; written apart from the code under test."""
    fence, folds = "", 0
    for line in text.split("\n"):
        run = line[: len(line) - len(line.lstrip("`"))] or line[: len(line) - len(line.lstrip("~"))]
        if fence:
            if line == run and run[:1] == fence[0] and len(run) >= len(fence):
                fence = ""
        elif len(run) >= 3:
            fence = run
        else:
            folds = max(0, folds + line.count("<details") - line.count("</details>"))
    return fence, folds


@given(st.text())
def test_clean_text_is_valid_and_stable(text: str) -> None:
    made = clean(text + "\ud800\r\r\n")
    assert made.encode("utf-8")
    assert "\0" not in made
    assert clean(made) == made
    assert length(made) >= len(made)
