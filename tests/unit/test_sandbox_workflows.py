"""Workflow files in the sandbox: filters, inputs, permissions, matrices, groups. No process is started."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackside.sandbox.actions import workflow as flow
from trackside.sandbox.actions.concurrency import MAX_QUEUE, Groups, Settings, settings
from trackside.sandbox.actions.filters import matches, skips, starts
from trackside.sandbox.actions.inputs import typed, validate_inputs
from trackside.sandbox.actions.runners import GPU, HOSTED, Pool
from trackside.sandbox.actions.values import ExpressionError
from trackside.sandbox.bus import HookEvent

# Patterns and what they match: the cheat sheet of GitHub's documentation, and edges.
PATTERNS = [
    ("feature/*", "feature/my-branch", True),
    ("feature/*", "feature/a/b", False),
    ("feature/**", "feature/a/b", True),
    ("main", "Main", False),
    ("*", "main", True),
    ("*", "a/b", False),
    ("**", "all/the/branches", True),
    ("*feature", "mona-feature", True),
    ("v2*", "v2.9", True),
    ("v[12].[0-9]+.[0-9]+", "v1.10.1", True),
    ("v[12].[0-9]+.[0-9]+", "v3.1.1", False),
    ("*.jsx?", "page.js", True),
    ("*.jsx?", "page.jsx", True),
    ("**.js", "js/index.js", True),
    ("docs/*", "docs/README.md", True),
    ("docs/*", "docs/a/b.md", False),
    ("docs/**/*.md", "docs/README.md", True),
    ("docs/**/*.md", "docs/a/b/c.md", True),
    ("**/docs/**", "dir/docs/my-file.txt", True),
    ("**/README.md", "README.md", True),
    ("**/*src/**", "a/src/app.js", True),
    ("**/*-post.md", "my-post.md", True),
    ("**/migrate-*.sql", "db/migrate-v1.0.sql", True),
    (r"\*star", "*star", True),
    ("+", "+", True),
    ("[", "[", True),
    ("a[", "a[", True),
    ("[z-a]x", "[z-a]x", True),
    ("a.b", "axb", False),
]


@pytest.mark.parametrize(("pattern", "text", "expected"), PATTERNS)
def test_patterns(pattern: str, text: str, expected: bool) -> None:
    assert matches([pattern], text) is expected


def test_the_last_pattern_that_matches_decides() -> None:
    assert matches(["releases/**", "!releases/**-alpha"], "releases/10")
    assert not matches(["releases/**", "!releases/**-alpha"], "releases/10-alpha")
    assert matches(["a*", "!ab*", "abc"], "abc")
    assert not matches(["!a"], "b")


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_pattern_fails(pattern: str, text: str) -> None:
    assert matches([pattern], text) in (True, False)


def event(name: str, action: str | None = None, ref: str = "refs/heads/main", **payload: Any) -> HookEvent:
    return HookEvent(repo="o/r", name=name, action=action, payload=payload, ref=ref, sha="0" * 40, sender="ada")


PULL = {"base": {"ref": "main"}}
GROUP = {"base_ref": "refs/heads/main"}
GONE = HookEvent(
    repo="o/r", name="push", action=None, payload={"ref": "refs/heads/x"}, ref="refs/heads/main", sha="", sender="ada"
)
STARTS = [
    ("on: push", event("push"), [], True),
    ("on: [push, pull_request]", event("pull_request", "opened", pull_request=PULL), [], True),
    ("on: pull_request", event("pull_request", "labeled", pull_request=PULL), [], False),
    ("on: {pull_request: {types: [labeled]}}", event("pull_request", "labeled", pull_request=PULL), [], True),
    ("on: {pull_request: {types: labeled}}", event("pull_request", "opened", pull_request=PULL), [], False),
    ("on: {pull_request: {branches: [dev]}}", event("pull_request", "opened", pull_request=PULL), [], False),
    ("on: {pull_request: {paths: ['src/**']}}", event("pull_request", "opened", pull_request=PULL), ["a"], False),
    ("on: {pull_request: {paths: ['src/**']}}", event("pull_request", "opened", pull_request=PULL), ["src/a"], True),
    ("on: pull_request_target", event("pull_request", "opened", pull_request=PULL), [], False),
    ("on: issue_comment", event("issue_comment", "edited"), [], True),
    ("on: {issue_comment: {types: [created]}}", event("issue_comment", "edited"), [], False),
    ("on: {push: {branches: [dev]}}", event("push"), [], False),
    ("on: {push: {branches-ignore: ['ma*']}}", event("push"), [], False),
    ("on: {push: {branches-ignore: [dev]}}", event("push"), [], True),
    ("on: {push: {branches: [main]}}", event("push", ref="refs/tags/main"), [], False),
    ("on: {push: {tags: ['v*']}}", event("push", ref="refs/tags/v1"), [], True),
    ("on: {push: {tags: ['v*']}}", event("push"), [], False),
    ("on: {push: {tags: ['v*'], paths: [x]}}", event("push", ref="refs/tags/v1"), [], True),
    ("on: {push: {paths-ignore: ['docs/**']}}", event("push"), ["docs/a"], False),
    ("on: {push: {paths-ignore: ['docs/**']}}", event("push"), ["docs/a", "b"], True),
    ("on: {push: {paths: [late]}}", event("push"), [f"f{n}" for n in range(300)] + ["late"], False),
    ("on: {push: {branches: [main]}}", GONE, [], False),
    ("on: merge_group", event("merge_group", "checks_requested", merge_group=GROUP), [], True),
    ("on: {merge_group: {branches: [dev]}}", event("merge_group", "checks_requested", merge_group=GROUP), [], False),
    ("on: {schedule: [{cron: '1 2 * * *'}]}", event("schedule", schedule="1 2 * * *"), [], True),
    ("on: {schedule: [{cron: '1 2 * * *'}]}", event("schedule", schedule="1 3 * * *"), [], False),
    ("on: {repository_dispatch: {types: [go]}}", event("repository_dispatch", "stop"), [], False),
]


@pytest.mark.parametrize(("text", "happened", "changed", "expected"), STARTS)
def test_what_starts_a_workflow(text: str, happened: HookEvent, changed: list[str], expected: bool) -> None:
    assert starts(flow.parse(text), happened, lambda: changed) is expected


def test_commit_messages_that_skip() -> None:
    assert skips("fix [skip ci]")
    assert skips("fix\n\nskip-checks: true\n")
    assert not skips("how to skip ci")


INPUTS = flow.parse("""
on:
  workflow_dispatch:
    inputs:
      model: {required: true}
      size: {type: choice, options: [small, large], default: small}
      deep: {type: boolean}
      rows: {type: number, default: 5}
""")


def test_inputs_are_completed_and_typed() -> None:
    complete = validate_inputs(INPUTS, {"model": "delay", "rows": "7.5"})
    assert complete == {"model": "delay", "size": "small", "deep": "false", "rows": "7.5"}
    assert typed(INPUTS, complete) == {"model": "delay", "size": "small", "deep": False, "rows": 7.5}


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "Required input 'model' not provided"),
        ({"model": ""}, "Required input"),
        ({"model": "a", "colour": "red"}, "Unexpected inputs provided"),
        ({"model": "a", "size": "tiny"}, "not in the list of allowed values"),
        ({"model": "a", "deep": "yes"}, "not a boolean"),
        ({"model": "a", "rows": "many"}, "not a number"),
        ({"model": "a" * 70_000}, "too large"),
    ],
)
def test_inputs_that_are_refused(inputs: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        validate_inputs(INPUTS, inputs)


def test_a_workflow_without_the_trigger_takes_no_dispatch() -> None:
    with pytest.raises(ValueError, match="workflow_dispatch"):
        validate_inputs(flow.parse("on: push"), {})


def test_yaml_is_read_as_github_reads_it() -> None:
    found = flow.parse("on: push\nenv: {a: yes, b: 010, c: 12:30:45, d: 2026-01-01, e: 1_000, f: 7, g: true, h: 1.5}")
    assert list(found["env"].values()) == ["yes", "010", "12:30:45", "2026-01-01", "1_000", 7, True, 1.5]


@pytest.mark.parametrize(
    ("whole", "job", "expected"),
    [
        ({}, {}, {"contents": "read", "packages": "read", "metadata": "read"}),
        ({"permissions": {}}, {}, {"metadata": "read"}),
        ({"permissions": {"contents": "write"}}, {}, {"contents": "write", "metadata": "read"}),
        ({"permissions": {"contents": "write"}}, {"permissions": {}}, {"metadata": "read"}),
        ({"permissions": {}}, {"permissions": {"checks": "write"}}, {"checks": "write", "metadata": "read"}),
        ({"permissions": None}, {}, {"metadata": "read"}),
    ],
)
def test_permissions(whole: dict[str, Any], job: dict[str, Any], expected: dict[str, str]) -> None:
    assert flow.permissions(whole, job) == expected


def test_permissions_by_one_word_and_of_forks() -> None:
    everything = flow.permissions({"permissions": "write-all"}, {})
    assert set(everything.values()) == {"write", "read"}
    assert set(flow.read_only(everything).values()) == {"read"}
    assert "id-token" not in flow.read_only(everything)


def test_a_matrix_as_in_githubs_documentation() -> None:
    job = {
        "strategy": {
            "matrix": {
                "fruit": ["apple", "pear"],
                "animal": ["cat", "dog"],
                "include": [
                    {"color": "green"},
                    {"color": "pink", "animal": "cat"},
                    {"fruit": "apple", "shape": "circle"},
                    {"fruit": "banana"},
                    {"fruit": "banana", "animal": "cat"},
                ],
            }
        }
    }
    assert flow.matrix(job, {}) == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


def test_matrices_from_expressions_exclusions_and_wrong_ones() -> None:
    contexts = {"needs": {"a": {"outputs": {"m": '["x","y"]'}}}}
    given_matrix: dict[str, Any] = {"m": "${{ fromJSON(needs.a.outputs.m) }}", "n": [1, 2]}
    given_matrix["exclude"] = [{"m": "x"}, {"m": "y", "n": 2}]
    assert flow.matrix({"strategy": {"matrix": given_matrix}}, contexts) == [{"m": "y", "n": 1}]
    assert flow.matrix({"strategy": {"matrix": {"include": [{"a": 1}, {"b": 2}]}}}, {}) == [{"a": 1}, {"b": 2}]
    assert flow.matrix({}, {}) is None
    for wrong in ({"m": []}, {"m": "text"}, {"m": [1], "exclude": [{"m": 1}]}, {"m": list(range(300))}, "text"):
        with pytest.raises(ExpressionError):
            flow.matrix({"strategy": {"matrix": wrong}}, {})


@pytest.mark.parametrize(
    "jobs",
    [
        "{}",
        "{a: {steps: [{run: x}]}}",
        "{a: {runs-on: x}}",
        "{a: {runs-on: x, steps: []}}",
        "{a: {uses: ./x.yml}}",
        "{a: {runs-on: x, needs: b, steps: [{run: x}]}}",
        "{a: {runs-on: x, needs: a, steps: [{run: x}]}}",
        "{'../a': {runs-on: x, steps: [{run: x}]}}",
    ],
)
def test_jobs_that_cannot_be_run(jobs: str) -> None:
    with pytest.raises(ValueError, match=r"job|need"):
        flow.check(flow.parse(f"on: push\njobs: {jobs}"))


def test_concurrency_settings() -> None:
    contexts = {"inputs": {"m": "A"}}
    assert settings("g-${{ inputs.m }}", contexts) == Settings(name="g-A")
    assert settings({"group": "", "cancel-in-progress": True}, contexts) is None
    assert settings({"group": "g", "cancel-in-progress": "${{ inputs.m == 'a' }}"}, contexts) == Settings(
        name="g", cancel_in_progress=True
    )
    for wrong in ({"group": "g", "queue": "all"}, {"group": "g", "queue": "max", "cancel-in-progress": True}):
        with pytest.raises(ExpressionError):
            settings(wrong, contexts)


class Member:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


@given(st.lists(st.sampled_from(["enter", "leave"]), max_size=40), st.booleans(), st.booleans())
def test_a_group_lets_one_go_and_by_default_one_wait(moves: list[str], replaces: bool, keeps: bool) -> None:
    group = Settings(name="G", cancel_in_progress=replaces, keep_pending=keeps)
    groups, line = Groups(), list[Member]()
    for move in moves:
        if move == "enter":
            line.append(Member())
            groups.enter("o/r", Settings(name="g", cancel_in_progress=replaces, keep_pending=keeps), line[-1])
        elif line:
            groups.leave("o/r", group, line.pop(0))
        assert [groups.goes("o/r", group, one) for one in line] == [place == 0 for place in range(len(line))]
        assert not groups.goes("other/r", group, Member())
        waiting = [one for one in line[1:] if not one.cancelled]
        assert keeps or len(waiting) <= 1
        assert not (replaces and len(line) > 1) or line[0].cancelled or move == "leave"


def test_a_long_queue_ends() -> None:
    groups, group = Groups(), Settings(name="g", keep_pending=True)
    members = [Member() for _ in range(MAX_QUEUE + 2)]
    for member in members:
        groups.enter("o/r", group, member)
    assert [one.cancelled for one in members] == [False] * (MAX_QUEUE + 1) + [True]


def test_runners_take_one_job_at_a_time() -> None:
    pool, taken, peak = Pool((HOSTED, GPU)), list[str](), list[int]()
    lock = threading.Lock()

    def work() -> None:
        runner = pool.take(["Ubuntu-Latest"], lambda: False)
        assert runner is HOSTED
        with lock:
            taken.append(runner.name)
            peak.append(len(taken))
        with lock:
            taken.remove(runner.name)
        pool.give_back(runner)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert peak == [1] * 20
    assert pool.take(["self-hosted", "GPU"], lambda: False) is GPU
    assert not pool.has(["gpu", "ubuntu-latest"])
    assert pool.take(["tpu"], lambda: True) is None
    assert HOSTED.home("pull_request") != HOSTED.home("workflow_dispatch")
