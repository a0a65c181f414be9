"""Events: every published payload, the right pull request and commit per event, and hostile payloads."""

from __future__ import annotations

import copy
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.errors import ConfigError, DataError
from trackside.event.model import (
    CommentEvent,
    DispatchEvent,
    MergeGroupEvent,
    PullRequestEvent,
    PushEvent,
    ReviewEvent,
    ScheduleEvent,
)
from trackside.event.parse import parse_event

GOLDEN = Path(__file__).parents[1] / "golden" / "events"
EXAMPLES: list[dict[str, Any]] = json.loads(gzip.decompress((GOLDEN / "webhooks-examples.json.gz").read_bytes()))
TIP = "d" * 40
CONTEXT = {"GITHUB_SHA": TIP, "GITHUB_REPOSITORY": "acme/flights", "GITHUB_ACTOR": "octo"}
DECIDED = (PullRequestEvent, ReviewEvent, CommentEvent, DispatchEvent, MergeGroupEvent, PushEvent, ScheduleEvent)


def example(name: str, action: str | None = None) -> dict[str, Any]:
    found = next(e for e in EXAMPLES if e["event"] == name and action in (None, e["payload"].get("action")))
    return copy.deepcopy(found["payload"])


def test_every_published_payload_has_the_expected_kind_number_and_sha() -> None:
    rows = [line.split("\t") for line in (GOLDEN / "expected.tsv").read_text().splitlines() if line[0] != "#"]
    kinds: Counter[str] = Counter()
    for (index, name, action, kind, number, sha), row in zip(rows, EXAMPLES, strict=True):
        event = parse_event(row["event"], row["payload"], CONTEXT)
        assert (row["event"], event.name) == (name, name), index
        assert event.action == ("" if action == "-" else action), index
        assert event.kind == kind, index
        assert str(getattr(event, "number", "-")) == number, index
        found = getattr(event, "head_sha", None) or getattr(event, "sha", None) or "-"
        assert found == (TIP if sha == "context" else sha), index
        kinds[kind] += 1
    print(f"{len(rows)} payloads: {dict(kinds)}")
    assert len(rows) == 329
    assert kinds == {
        "other": 329 - 9 - 2 - 29 - 12 - 7 - 2,
        "comment": 9,
        "merge_group": 2,
        "pull_request": 29,
        "review": 12,
        "push": 7,
        "dispatch": 2,
    }


@pytest.mark.parametrize("name", ["pull_request", "pull_request_target"])
def test_a_pull_request_gives_the_head_of_the_payload_not_github_sha(name: str) -> None:
    event = parse_event(name, example("pull_request", "synchronize"), CONTEXT)
    assert isinstance(event, PullRequestEvent)
    assert (event.number, event.head_sha) == (2, "ec26c3e57ca3a959ca5aad62de7213c562f8c821")
    assert event.head_sha != TIP
    assert event.head_repository == "Codertocat/Hello-World"
    assert (event.base_ref, event.draft, event.label) == ("master", False, "")


def test_a_labelled_pull_request_names_the_label() -> None:
    event = parse_event("pull_request_target", example("pull_request", "labeled"), CONTEXT)
    assert isinstance(event, PullRequestEvent)
    assert event.label


def test_a_deleted_fork_leaves_the_head_repository_empty() -> None:
    payload = example("pull_request", "closed")
    payload["pull_request"]["head"]["repo"] = None
    event = parse_event("pull_request", payload, CONTEXT)
    assert isinstance(event, PullRequestEvent)
    assert event.head_repository == ""


def test_a_comment_gives_the_number_and_no_sha() -> None:
    payload = example("issue_comment", "created")
    on_issue = parse_event("issue_comment", payload, CONTEXT)
    payload["issue"]["pull_request"] = {"url": "https://api.github.com/repos/acme/flights/pulls/1"}
    on_pull = parse_event("issue_comment", payload, CONTEXT)
    assert isinstance(on_issue, CommentEvent)
    assert isinstance(on_pull, CommentEvent)
    assert (on_issue.on_pull, on_pull.on_pull) == (False, True)
    assert on_pull.number == 1
    assert not hasattr(on_pull, "sha")
    assert not hasattr(on_pull, "head_sha")


def test_a_dispatch_gives_inputs_as_text_and_the_sha_of_its_ref() -> None:
    payload = {
        "ref": "refs/heads/main",
        "workflow": ".github/workflows/train.yml",
        "inputs": {"model": "delay", "dry": True, "n": 3, "none": None},
        "repository": {"full_name": "acme/flights", "default_branch": "main"},
        "sender": {"login": "octo"},
    }
    event = parse_event("workflow_dispatch", payload, CONTEXT)
    assert isinstance(event, DispatchEvent)
    assert event.inputs == {"model": "delay", "dry": "true", "n": "3", "none": ""}
    assert (event.sha, event.actor, event.default_branch) == (TIP, "octo", "main")


def test_a_merge_group_gives_its_own_head_and_base() -> None:
    payload = example("merge_group")
    event = parse_event("merge_group", payload, CONTEXT)
    assert isinstance(event, MergeGroupEvent)
    assert (event.head_sha, event.base_sha) == (payload["merge_group"]["head_sha"], payload["merge_group"]["base_sha"])


def test_pushes_tell_branch_tag_and_deletion_apart() -> None:
    payload = example("push")
    made = []
    for ref, after, deleted in (("refs/heads/a/b", "1" * 40, False), ("refs/tags/v1", "0" * 40, True)):
        event = parse_event("push", {**payload, "ref": ref, "after": after, "deleted": deleted}, CONTEXT)
        assert isinstance(event, PushEvent)
        made.append((event.branch, event.tag, event.sha, event.deleted))
    assert made == [("a/b", "", "1" * 40, False), ("", "v1", "0" * 40, True)]


def test_a_schedule_gives_the_tip_of_the_default_branch() -> None:
    event = parse_event("schedule", {"schedule": "17 3 * * *"}, CONTEXT)
    assert isinstance(event, ScheduleEvent)
    assert (event.cron, event.sha, event.repository) == ("17 3 * * *", TIP, "acme/flights")


def test_a_missing_context_is_a_usage_error() -> None:
    with pytest.raises(ConfigError, match="GITHUB_SHA"):
        parse_event("schedule", {"schedule": "17 3 * * *"}, {})
    with pytest.raises(ConfigError, match="event name"):
        parse_event("", {}, CONTEXT)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("number", True),
        ("number", "2"),
        ("number", -1),
        ("head.sha", "ec26c3e"),
        ("head.sha", "ec26c3e57ca3a959ca5aad62de7213c562f8c821\n"),
        ("head.sha", None),
        ("head.repo.full_name", "../etc/passwd"),
        ("head.repo.full_name", "a/b\nGITHUB_ENV"),
        ("base.ref", 5),
        ("draft", "no"),
    ],
)
def test_a_malformed_field_is_named(path: str, value: Any) -> None:
    payload = example("pull_request", "opened")
    *folders, last = path.split(".")
    node = payload["pull_request"]
    for folder in folders:
        node = node[folder]
    node[last] = value
    with pytest.raises(DataError, match=path.replace(".", r"\.")) as caught:
        parse_event("pull_request_target", payload, CONTEXT)
    assert caught.value.reason_code == "event_invalid"


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
USED = [
    e for e in EXAMPLES if e["event"] in {"pull_request", "issue_comment", "merge_group", "push", "workflow_dispatch"}
]


def test_mutated_payloads_raise_nothing_but_our_own_errors() -> None:
    outcomes: Counter[str] = Counter()

    @settings(max_examples=400, deadline=None, database=None)
    @given(st.data())
    def mutate(data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(USED))
        payload: Any = copy.deepcopy(row["payload"])
        for _ in range(data.draw(st.integers(1, 3))):
            node = payload
            while True:
                key = data.draw(st.sampled_from(sorted(node)))
                if isinstance(node[key], dict) and node[key] and data.draw(st.booleans()):
                    node = node[key]
                    continue
                node[key] = data.draw(JUNK)
                break
        name = data.draw(st.sampled_from([row["event"], "schedule", "pull_request_review", "pull_request_target"]))
        try:
            event = parse_event(name, payload, CONTEXT)
        except (ConfigError, DataError):
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
            assert isinstance(event, DECIDED)

    @settings(max_examples=200, deadline=None, database=None)
    @given(name=st.sampled_from(sorted({e["event"] for e in EXAMPLES})) | st.text(max_size=20), payload=JUNK)
    def junk(name: str, payload: Any) -> None:
        try:
            parse_event(name, payload, CONTEXT)
        except (ConfigError, DataError):
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1

    mutate()
    junk()
    print(f"{outcomes.total()} payloads: {dict(outcomes)}")
    assert outcomes.total() >= 600
    assert min(outcomes["read"], outcomes["refused"]) > 50
