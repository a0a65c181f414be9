"""Proposals, issues and merges over real HTTP: one of each, whatever is lost on the way, and nobody's branch harmed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from test_forge_faults import FastClock, race

from conftest import bot_forge, user
from sweeps import Prepared, broken, cases, noted
from trackside.forge.github import GithubForge
from trackside.forge.operations import Applied, MergePull, Operation, ProposeChange, UpsertIssue
from trackside.sandbox.server import Sandbox

BOT = "github-actions[bot]"
HELD = {"contents": "write", "pull-requests": "write", "issues": "write"}
MARK = "<!-- trackside:drift model=delay -->"
PROPOSAL = ProposeChange(
    branch="trackside/retrain/delay",
    base="main",
    files={"params.yaml": b"to: 2013-06\n", "data/raw.dvc": b"md5: 1\n", "icon.bin": b"\x00\xff\xfe", "old.txt": None},
    message="Retrain delay",
    title="Retrain delay",
    body="Because it moved.",
    labels=("trackside", "drift"),
    reviewers=("ada", "acme/ml", "nobody"),
)
ISSUE = UpsertIssue(marker=MARK, title="Drift of delay", body=f"{MARK}\nmoved: hour", labels=("drift",))


@pytest.fixture(autouse=True)
def lists(sandbox: Sandbox, repo: str) -> None:
    files = {"params.yaml": b"to: 2013-05\n", "data/raw.dvc": b"md5: 0\n", "old.txt": b"old\n"}
    sandbox.hub.commit_folder(repo, "main", files, "pipeline", user("ada"))
    sandbox.hub.set_setting(repo, "actions_can_create_pull_requests", True)


@pytest.fixture
def forge(sandbox: Sandbox, repo: str) -> Iterator[GithubForge]:
    with bot_forge(sandbox, repo, HELD, viewer=BOT) as made:
        yield made


def one(forge: GithubForge, operation: Operation) -> Applied:
    (applied,) = forge.apply([operation])
    assert applied.outcome != "failed", applied.error
    return applied


def pulls(sandbox: Sandbox, repo: str) -> list[dict[str, Any]]:
    return sandbox.state.list("pull", repo)


def branch_state(sandbox: Sandbox, repo: str, branch: str) -> Any:
    """What a branch holds and what it is based on, by content: commit names hold the time."""
    bare = sandbox.hub.bare(repo)
    tip = bare.sha(f"refs/heads/{branch}")
    if tip is None:
        return None
    info = bare.commit(tip)
    return info.tree, info.parents, info.message


def state(sandbox: Sandbox, repo: str) -> Any:
    """All that a proposal leaves behind."""
    made = []
    for pull in pulls(sandbox, repo):
        about = sandbox.hub.issue(repo, pull["number"])
        made.append(
            (
                *(pull[key] for key in ("head_ref", "reviewers", "merged")),
                *(about[key] for key in ("state", "title", "body", "labels")),
            )
        )
    issues = [
        (doc["state"], doc["title"], doc["body"], sorted(doc["labels"]))
        for doc in sandbox.state.list("issue", repo)
        if not doc["is_pull"]
    ]
    main = sandbox.hub.bare(repo).sha("refs/heads/main")
    tree = sandbox.hub.bare(repo).commit(main or "").tree
    return made, issues, branch_state(sandbox, repo, PROPOSAL.branch), tree


def test_a_proposal_is_opened_once_and_then_left_alone(sandbox: Sandbox, repo: str, forge: GithubForge) -> None:
    made = one(forge, PROPOSAL)
    assert made.outcome == "created"
    first = sandbox.hub.bare(repo).sha(f"refs/heads/{PROPOSAL.branch}")
    bare = sandbox.hub.bare(repo)
    assert bare.file(PROPOSAL.branch, "params.yaml") == b"to: 2013-06\n"
    assert bare.file(PROPOSAL.branch, "icon.bin") == b"\x00\xff\xfe"
    assert bare.file(PROPOSAL.branch, "old.txt") is None
    assert bare.file(PROPOSAL.branch, "README.md") == b"# flights\n"
    (pull,) = pulls(sandbox, repo)
    assert (pull["number"], pull["reviewers"]) == (made.id, ["ada"]), "who cannot be asked is left out"
    assert sandbox.hub.issue(repo, pull["number"])["labels"] == ["drift", "trackside"]
    calls = forge.calls
    again = one(forge, PROPOSAL)
    print(f"{calls} API calls to open, {forge.calls - calls} to look again")
    assert (again.outcome, again.id, again.url) == ("unchanged", made.id, made.url)
    assert bare.sha(f"refs/heads/{PROPOSAL.branch}") == first
    assert forge.calls <= 40


def test_a_moved_base_resets_the_branch(sandbox: Sandbox, repo: str, forge: GithubForge) -> None:
    made = one(forge, PROPOSAL)
    main = sandbox.hub.commit_folder(repo, "main", {"b.txt": b"b"}, "second", user("ada"))
    again = one(forge, replace(PROPOSAL, files={**PROPOSAL.files, "params.yaml": b"to: 2013-07\n"}, body="More."))
    assert (again.outcome, again.id) == ("updated", made.id)
    bare = sandbox.hub.bare(repo)
    tip = bare.commit(bare.sha(f"refs/heads/{PROPOSAL.branch}") or "")
    assert tip.parents == (main,) or list(tip.parents) == [main]
    assert bare.file(PROPOSAL.branch, "params.yaml") == b"to: 2013-07\n"
    assert len(pulls(sandbox, repo)) == 1
    assert sandbox.hub.issue(repo, int(made.id))["body"] == "More."


def test_what_the_base_holds_already_is_not_proposed(sandbox: Sandbox, repo: str, forge: GithubForge) -> None:
    files = {"params.yaml": b"to: 2013-05\n", "never.txt": None}
    applied = one(forge, replace(PROPOSAL, files=files))
    assert (applied.outcome, applied.reason_code) == ("skipped", "nothing_to_propose")
    assert pulls(sandbox, repo) == []
    assert sandbox.hub.bare(repo).sha(f"refs/heads/{PROPOSAL.branch}") is None


def test_a_closed_proposal_is_followed_by_a_new_one(sandbox: Sandbox, repo: str, forge: GithubForge) -> None:
    made = one(forge, PROPOSAL)
    sandbox.hub.set_state(repo, int(made.id), "closed", user("ada"))
    again = one(forge, PROPOSAL)
    assert (again.outcome, again.id != made.id) == ("created", True)
    assert [one.number for one in forge.pulls_from(PROPOSAL.branch)] == [again.id, made.id]


@pytest.mark.parametrize("branch", ["main", "topic", "refs/heads/main", "tracksid/x", ""])
def test_other_branches_are_never_reset(sandbox: Sandbox, repo: str, forge: GithubForge, branch: str) -> None:
    before = branch_state(sandbox, repo, "main")
    (applied,) = forge.apply([replace(PROPOSAL, branch=branch)])
    assert (applied.outcome, applied.reason_code, forge.calls) == ("failed", "refused", 0)
    assert branch_state(sandbox, repo, "main") == before


def test_a_repository_that_does_not_let_jobs_open_pull_requests_is_told_the_setting(
    sandbox: Sandbox, repo: str, forge: GithubForge
) -> None:
    sandbox.hub.set_setting(repo, "actions_can_create_pull_requests", False)
    (applied,) = forge.apply([PROPOSAL])
    assert (applied.outcome, applied.reason_code) == ("failed", "forbidden")
    assert "Allow GitHub Actions to create and approve pull requests" in applied.error


def test_a_missing_base_is_said(forge: GithubForge) -> None:
    (applied,) = forge.apply([replace(PROPOSAL, base="gone")])
    assert (applied.outcome, applied.reason_code) == ("failed", "not_found")
    assert "no branch 'gone'" in applied.error


def test_who_was_asked_or_has_answered_is_not_asked_again(sandbox: Sandbox, repo: str, forge: GithubForge) -> None:
    made = one(forge, PROPOSAL)
    asked = len(sandbox.calls)
    one(forge, PROPOSAL)
    again = [call for call in sandbox.calls[asked:] if call.path.endswith("/requested_reviewers")]
    people = [call for call in again if call.status == 201]
    assert (len(pulls(sandbox, repo)[0]["reviewers"]), people) == (1, []), made


def test_two_first_proposers_open_one(sandbox: Sandbox, repo: str) -> None:
    rounds = 5
    forges = [bot_forge(sandbox, repo, HELD, viewer=BOT) for _ in range(2)]
    for number in range(rounds):
        branch = f"trackside/retrain/m{number}"
        operation = replace(PROPOSAL, branch=branch)
        race(2, lambda index, operation=operation: one(forges[index], operation))
        assert len([pull for pull in pulls(sandbox, repo) if pull["head_ref"] == branch]) == 1
        assert branch_state(sandbox, repo, branch) is not None
    for made in forges:
        made.close()
    print(f"{rounds} rounds of two proposers")
    assert rounds == 5


# Issues


def test_one_issue_opened_changed_and_closed(sandbox: Sandbox, repo: str, forge: GithubForge) -> None:
    planted = sandbox.hub.open_issue(repo, title="x", body=f"{MARK}\nplanted", actor=user("mallory"))["number"]
    made = one(forge, ISSUE)
    outcomes = [made.outcome]
    for operation in (
        ISSUE,
        replace(ISSUE, body=f"{MARK}\nmoved: hour, dest"),
        replace(ISSUE, open=False, body=f"{MARK}\nback to normal"),
        replace(ISSUE, open=False),
    ):
        outcomes.append(one(forge, operation).outcome)
    assert outcomes == ["created", "unchanged", "updated", "updated", "unchanged"]
    doc = sandbox.hub.issue(repo, int(made.id))
    assert (doc["state"], doc["body"], doc["labels"]) == ("closed", f"{MARK}\nback to normal", ["drift"])
    assert sandbox.hub.issue(repo, planted)["state"] == "open"
    reopened = one(forge, ISSUE)
    assert (reopened.outcome, reopened.id != made.id) == ("created", True)


# Merging


def opened(sandbox: Sandbox, repo: str) -> MergePull:
    sandbox.seed.push(repo, "topic", {"t": b"t\n"}, "Change", "ada")
    number = sandbox.hub.open_pull(repo, title="T", head="topic", base="main", actor=user("ada"))
    return MergePull(number=number, head_sha=sandbox.hub.pull(repo, number)["head_sha"], title=f"Merge #{number}")


def test_a_merge_happens_once_and_at_the_judged_head(sandbox: Sandbox, repo: str, forge: GithubForge) -> None:
    operation = opened(sandbox, repo)
    (moved,) = forge.apply([replace(operation, head_sha="0" * 40)])
    assert (moved.outcome, moved.reason_code) == ("failed", "head_moved")
    assert not sandbox.hub.pull(repo, operation.number)["merged"]
    done = one(forge, operation)
    assert (done.outcome, done.id) == ("updated", sandbox.hub.bare(repo).sha("refs/heads/main"))
    assert one(forge, operation).outcome == "unchanged"
    assert sandbox.hub.bare(repo).commit(str(done.id)).message.startswith(f"Merge #{operation.number}")


@pytest.mark.parametrize("allowed", ["squash", "rebase", "none"])
def test_a_merge_goes_the_way_that_the_repository_allows(
    sandbox: Sandbox, repo: str, forge: GithubForge, allowed: str
) -> None:
    for name, setting in (
        ("merge", "allow_merge_commit"),
        ("squash", "allow_squash_merge"),
        ("rebase", "allow_rebase_merge"),
    ):
        sandbox.hub.set_setting(repo, setting, name == allowed)
    operation, before = opened(sandbox, repo), sandbox.hub.bare(repo).sha("refs/heads/main")
    (applied,) = forge.apply([operation])
    assert sandbox.hub.pull(repo, operation.number)["merged"] == (allowed != "none")
    if allowed == "none":
        assert (applied.outcome, applied.reason_code) == ("failed", "merge_conflict")
        return
    tip = sandbox.hub.bare(repo).commit(str(applied.id))
    assert (applied.outcome, list(tip.parents)) == ("updated", [before]), "one commit on the base"


def test_what_cannot_be_merged_says_so(sandbox: Sandbox, repo: str, forge: GithubForge) -> None:
    operation = opened(sandbox, repo)
    sandbox.hub.set_draft(repo, operation.number, True, user("ada"))
    (applied,) = forge.apply([operation])
    assert (applied.outcome, applied.reason_code) == ("failed", "merge_conflict")
    assert "merge it by hand" in applied.error


# Every fault at every call


def second(sandbox: Sandbox, repo: str, forge: GithubForge) -> None:
    """An older proposal, and a default branch that moved on."""
    one(forge, replace(PROPOSAL, files={"params.yaml": b"to: 2013-04\n"}, body="old", labels=(), reviewers=()))
    sandbox.hub.commit_folder(repo, "main", {"b.txt": b"b"}, "second", user("ada"))


Before = Callable[[Sandbox, str, GithubForge], object]
WORK: dict[str, tuple[Before, Operation | None]] = {
    "a first proposal": (lambda sandbox, repo, forge: None, PROPOSAL),
    "a refreshed proposal": (second, PROPOSAL),
    "a first issue": (lambda sandbox, repo, forge: None, ISSUE),
    "a changed issue": (lambda sandbox, repo, forge: one(forge, replace(ISSUE, body=MARK, labels=())), ISSUE),
    "a closed issue": (lambda sandbox, repo, forge: one(forge, ISSUE), replace(ISSUE, open=False)),
    "a merge": (lambda sandbox, repo, forge: None, None),
}


@pytest.mark.usefixtures("remembering")
@pytest.mark.parametrize("name", WORK, ids=lambda name: name.replace(" ", "-"))
def test_after_any_fault_one_re_run_ends_as_without(sandbox: Sandbox, name: str) -> None:
    before, fixed = WORK[name]
    repo = f"acme/p{sandbox.state.next('test')}"
    sandbox.hub.add_repo(repo)
    sandbox.hub.set_role(repo, "ada", "write")
    sandbox.hub.set_setting(repo, "actions_can_create_pull_requests", True)
    files = {"params.yaml": b"to: 2013-05\n", "data/raw.dvc": b"md5: 0\n", "old.txt": b"old\n"}
    sandbox.hub.commit_folder(repo, "main", files, "pipeline", user("ada"))
    operation = fixed or opened(sandbox, repo)
    with bot_forge(sandbox, repo, HELD, viewer=BOT) as forge:
        before(sandbox, repo, forge)
    prepared = Prepared(sandbox, repo)

    def shown(repo: str) -> Any:
        """Without commit names, which hold the time."""
        made, issues, branch, tree = state(sandbox, repo)
        based = sandbox.hub.bare(repo).sha("refs/heads/main")
        return made, issues, tree, branch and (branch[0], list(branch[1]) == [based], branch[2])

    with bot_forge(sandbox, repo, HELD, viewer=BOT) as forge:
        methods = noted(forge)
        one(forge, operation)
    expected = shown(repo)
    ran = 0
    for case in cases(methods, reads=name != "a refreshed proposal"):
        prepared.restore()
        with bot_forge(sandbox, repo, HELD, viewer=BOT, clock=FastClock()) as forge:
            broken(case, sandbox, forge, lambda forge: forge.apply([operation]))
        with bot_forge(sandbox, repo, HELD, viewer=BOT) as forge:
            again = one(forge, operation)
            assert again.outcome in ("created", "updated", "unchanged"), (case, again)
            assert shown(repo) == expected, case
            last = one(forge, operation)
        assert last.outcome == "unchanged", (case, last)
        ran += 1
    print(f"{name}: {ran} faults at {len(methods)} calls")
    assert ran == len(list(cases(methods, reads=name != "a refreshed proposal"))) >= 4
