"""Auto-merge over real HTTP: only Trackside's own proposal, only the judged head, once, and its release is started."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from test_forge_faults import FastClock

from conftest import bot_forge, user
from retrain_world import dispatching
from sweeps import broken, cases, noted
from trackside.config.load import load
from trackside.config.model import Config
from trackside.documents.admission import Admission
from trackside.documents.plan import Subject
from trackside.documents.run import Dependency
from trackside.forge.github import GithubForge
from trackside.forge.operations import UpsertCheck
from trackside.retrain.merge import merge_passed, merges, reads
from trackside.sandbox.server import Sandbox

BOT = "github-actions[bot]"
HELD = {"contents": "write", "pull-requests": "write", "actions": "write"}
BRANCH = "trackside/retrain/delay"
POLICY = """\
version: 1
models:
  delay:
    path: model.bin
    drift: {reference: a.csv, current: b.csv, retrain: {auto-merge: true}}
  price: {path: other.bin, drift: {reference: a.csv, current: b.csv, retrain: {}}}
"""
RELEASE = b"""on:
  workflow_dispatch: {inputs: {task: {type: string}, model: {type: string}, commit: {type: string}}}
run-name: "${{ inputs.task }} ${{ inputs.model }} ${{ inputs.commit }}"
jobs:
  register:
    runs-on: no-such-runner
    steps:
      - run: "true"
"""


@pytest.fixture
def attached(sandbox: Sandbox) -> Iterator[None]:
    with dispatching(sandbox):
        yield


def opened(sandbox: Sandbox, branch: str = BRANCH) -> tuple[str, Admission]:
    """A repository with a pull request whose merge result was trained and admitted."""
    repo = f"acme/m{sandbox.state.next('test')}"
    sandbox.hub.add_repo(repo)
    sandbox.hub.set_role(repo, "ada", "write")
    files: dict[str, bytes | None] = {"trackside.yaml": POLICY.encode(), ".github/workflows/release.yml": RELEASE}
    files["train.py"] = b"print(1)\nprint(2)\n"
    base = sandbox.hub.commit_folder(repo, "main", files, "first", user("ada"))
    head = sandbox.hub.commit_folder(repo, branch, {"params.yaml": b"a: 1\n"}, "Retrain", user(BOT))
    number = sandbox.hub.open_pull(repo, title="Retrain", head=branch, base="main", actor=user("ada"))
    subject = Subject(
        kind="pull_request", repository=repo, commit="1" * 40, base_commit=base, head_commit=head,
        head_repository=repo, pull_request=number, branch=branch,
    )  # fmt: skip
    admission = Admission(
        model="delay", subject=subject, actor="ada", policy_commit="2" * 40, runs_on=["x"], timeout_minutes=1,
        input_digest="sha256:" + "0" * 64, targets=[], stages=[], reusable=True,
        inputs=[Dependency(path=path, kind="code", digest="sha256:" + "0" * 64) for path in ("train.py", "lib")],
        params={"a": 1, "conf/more.json:b.c": 2},
    )  # fmt: skip
    return repo, admission


def config() -> Config:
    return load(POLICY)


def forge_of(sandbox: Sandbox, repo: str, **more: Any) -> GithubForge:
    return bot_forge(sandbox, repo, HELD, viewer=BOT, **more)


def started(sandbox: Sandbox, repo: str) -> list[str]:
    sandbox.dispatcher.wait_idle(10)
    return [one["display_title"] for one in sandbox.state.list("run", repo) if one["event"] == "workflow_dispatch"]


def test_a_passed_gate_merges_and_starts_the_release(sandbox: Sandbox, attached: None) -> None:
    repo, admission = opened(sandbox)
    with forge_of(sandbox, repo) as forge:
        applied = merge_passed(forge, config(), admission, "passed", workflow="release.yml")
        assert [one.outcome for one in applied] == ["updated", "created"], applied
        tip = sandbox.hub.bare(repo).sha("refs/heads/main")
        assert started(sandbox, repo) == [f"register  {tip}"], "all that the commit changed is released"
        again = merge_passed(forge, config(), admission, "passed", workflow="release.yml")
        assert [one.outcome for one in again] == ["unchanged", "skipped"]
    message = sandbox.hub.bare(repo).commit(tip or "").message
    assert message.startswith(f"Merge the retraining of delay (#{admission.subject.pull_request})")


def test_nothing_else_is_merged(sandbox: Sandbox, attached: None) -> None:
    repo, admission = opened(sandbox)
    subject = admission.subject
    replace = msgspec.structs.replace
    others: list[tuple[Admission | None, Any]] = [
        (None, "passed"),
        (admission, "failed"),
        (admission, "neutral"),
        (admission, None),
        (replace(admission, experiment=True), "passed"),
        (replace(admission, reusable=False), "passed"),
        (replace(admission, model="price"), "passed"),
        (replace(admission, model="gone"), "passed"),
        (replace(admission, subject=replace(subject, branch="topic")), "passed"),
        (replace(admission, subject=replace(subject, branch="trackside/retrain/price")), "passed"),
        (replace(admission, subject=replace(subject, head_repository="mallory/r")), "passed"),
        (replace(admission, subject=replace(subject, kind="commit")), "passed"),
        (replace(admission, subject=replace(subject, head_commit="3" * 40)), "passed"),
    ]
    with forge_of(sandbox, repo) as forge:
        for wrong, gate in others:
            assert merge_passed(forge, config(), wrong, gate, workflow="release.yml") == (), (wrong, gate)
        sandbox.hub.set_state(repo, subject.pull_request or 0, "closed", user("ada"))
        assert merge_passed(forge, config(), admission, "passed", workflow="release.yml") == ()
    assert not sandbox.hub.pull(repo, subject.pull_request or 0)["merged"]
    print(f"{len(others) + 1} that are not merged")
    assert len(others) == 13


def test_a_topic_branch_is_judged_before_github_is_asked() -> None:
    assert not merges(config(), None, "passed")


def test_what_somebody_else_pushed_waits_for_a_person(sandbox: Sandbox, attached: None) -> None:
    repo, admission = opened(sandbox)
    pushed = sandbox.hub.commit_folder(repo, BRANCH, {"train.py": b"import evil\n"}, "More", user("ada"))
    judged = msgspec.structs.replace(admission, subject=msgspec.structs.replace(admission.subject, head_commit=pushed))
    with forge_of(sandbox, repo) as forge:
        (applied,) = merge_passed(forge, config(), judged, "passed", workflow="release.yml")
    assert applied.outcome == "skipped"
    assert "ada pushed" in applied.error
    assert not sandbox.hub.pull(repo, admission.subject.pull_request or 0)["merged"]


@pytest.mark.parametrize(
    ("conclusion", "merged"), [("failure", False), (None, False), ("success", True), ("neutral", True)]
)
def test_other_models_of_the_pull_request_count_too(
    sandbox: Sandbox, attached: None, conclusion: str | None, merged: bool
) -> None:
    repo, admission = opened(sandbox)
    check = UpsertCheck(
        name="trackside / price", head_sha=admission.subject.head_commit, external_id="trackside:price:d",
        title="price", summary="", conclusion=conclusion,
    )  # fmt: skip
    with bot_forge(sandbox, repo, HELD | {"checks": "write"}, viewer=BOT) as forge:
        assert forge.apply([check])[0].outcome == "created"
        merge_passed(forge, config(), admission, "passed", workflow="release.yml")
    assert sandbox.hub.pull(repo, admission.subject.pull_request or 0)["merged"] is merged


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"README.md": b"x", "library/x.py": b"x"}, ""),
        ({"README.md": b"x", "lib/deep/x.py": b"x"}, "lib/deep/x.py"),
        ({"conf/more.json": b"{}"}, "conf/more.json"),
        ({"trackside.yaml": POLICY.encode() + b"# later\n"}, "trackside.yaml"),
        ({"train.py": None, "else.py": b"print(1)\nprint(2)\n"}, "train.py"),  # renamed
        ({f"many/{number}": b"x" for number in range(300)}, "too much changed"),
    ],
)
def test_a_base_that_moved_on_is_merged_into_only_where_the_model_reads_nothing_new(
    sandbox: Sandbox, attached: None, files: dict[str, bytes | None], named: str
) -> None:
    repo, admission = opened(sandbox)
    tip = sandbox.hub.commit_folder(repo, "main", files, "On", user("ada"))
    with forge_of(sandbox, repo) as forge:
        applied = merge_passed(forge, config(), admission, "passed", workflow="release.yml")
    if not named:
        assert [one.outcome for one in applied] == ["updated", "created"], applied
        return
    (refused,) = applied
    assert (refused.outcome, refused.reason_code) == ("skipped", "refused")
    assert f"#{admission.subject.pull_request} waits for a person" in refused.error
    assert named in refused.error
    assert sandbox.hub.bare(repo).sha("refs/heads/main") == tip


def test_a_rewritten_base_is_not_merged_into(sandbox: Sandbox, attached: None) -> None:
    repo, admission = opened(sandbox)
    elsewhere = sandbox.hub.commit_folder(repo, "aside", {"x": b"x"}, "x", user("ada"))
    judged = msgspec.structs.replace(
        admission, subject=msgspec.structs.replace(admission.subject, base_commit=elsewhere)
    )
    with forge_of(sandbox, repo) as forge:
        (refused,) = merge_passed(forge, config(), judged, "passed", workflow="release.yml")
    assert "rewritten" in refused.error


def test_what_a_model_reads(sandbox: Sandbox) -> None:
    _, admission = opened(sandbox)
    inputs = ["train.py", "lib/x", "lib/a/b", "params.yaml", "conf/more.json", "trackside.yaml"]
    pipeline = ["dvc.yaml", "a/dvc.yaml", "a/dvc.lock", ".dvcignore", "a/raw.csv.dvc", ".dvc/config"]
    others = [
        "README.md",
        "lib2/x",
        "library",
        "a/train.py",
        "conf/other.json",
        "x/params.yaml",
        "dvc.yaml.md",
        ".dvcx",
    ]
    assert [path for path in [*inputs, *pipeline, *others] if reads(admission, path)] == [*inputs, *pipeline]
    whole = msgspec.structs.replace(admission, inputs=[Dependency(path=".", kind="code", digest="sha256:0")])
    assert all(reads(whole, path) for path in others)


def test_what_may_not_be_merged_is_told_and_releases_nothing(sandbox: Sandbox, attached: None) -> None:
    repo, admission = opened(sandbox)
    sandbox.hub.set_draft(repo, admission.subject.pull_request or 0, True, user("ada"))
    with forge_of(sandbox, repo) as forge:
        (applied,) = merge_passed(forge, config(), admission, "passed", workflow="release.yml")
    assert (applied.outcome, applied.reason_code) == ("failed", "merge_conflict")
    assert started(sandbox, repo) == []


@pytest.mark.usefixtures("remembering")
def test_after_any_fault_one_re_run_ends_as_without(sandbox: Sandbox, attached: None) -> None:
    def shown(repo: str, admission: Admission) -> Any:
        tip = sandbox.hub.bare(repo).sha("refs/heads/main")
        merged = sandbox.hub.pull(repo, admission.subject.pull_request or 0)["merged"]
        return merged, [title == f"register  {tip}" for title in started(sandbox, repo)]

    repo, admission = opened(sandbox)
    with forge_of(sandbox, repo) as forge:
        methods = noted(forge)
        merge_passed(forge, config(), admission, "passed", workflow="release.yml")
    expected, ran = shown(repo, admission), 0
    assert expected == (True, [True])
    for case in cases(methods):
        repo, admission = opened(sandbox)

        def work(forge: GithubForge, admission: Admission = admission) -> None:
            from trackside.errors import ForgeError

            try:
                merge_passed(forge, config(), admission, "passed", workflow="release.yml")
            except ForgeError:
                return

        with forge_of(sandbox, repo, clock=FastClock()) as forge:
            broken(case, sandbox, forge, work)
        with forge_of(sandbox, repo) as forge:
            applied = merge_passed(forge, config(), admission, "passed", workflow="release.yml")
        assert "failed" not in [one.outcome for one in applied], (case, applied)
        assert shown(repo, admission) == expected, case
        ran += 1
    print(f"{ran} faults at {len(methods)} API calls of an auto-merge")
    assert ran == len(list(cases(methods))) >= 2 * len(methods)
