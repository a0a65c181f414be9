"""The publish stage against the sandbox over HTTP: trusted claims win, faults cost nothing but time."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conftest import ENV, bot_forge, user
from report_samples import CONFIG, DIGEST, MODEL, POLICY, STAGES, baseline, better, experiment, failed, worse
from trackside.config.load import load
from trackside.config.model import Config
from trackside.documents.admission import Admission
from trackside.documents.codec import dump
from trackside.documents.plan import Subject
from trackside.documents.run import Run, Trigger
from trackside.errors import ConfigError, Refused
from trackside.forge.operations import CommitFiles, UpsertCheck, UpsertComment
from trackside.plan.facts import Facts
from trackside.report.marker import marker
from trackside.report.publish import Published, PublishJob, PublishPorts, publish
from trackside.report.reuse import reused
from trackside.sandbox.server import Sandbox
from trackside.store.branch import ApiRunStore
from trackside.system.process import Processes

BOT = "github-actions[bot]"
TRIGGER = Trigger(
    event="workflow_dispatch", actor="ada", workflow_run_id=12, attempt=1, url="https://example.test/runs/12"
)


class Scene:
    """A pull request whose merge result was trained."""

    def __init__(self, sandbox: Sandbox, repo: str, *, recorded: bool = True, tracked: bool = False) -> None:
        self.sandbox, self.repo = sandbox, repo
        if tracked:
            files = {"metrics.json": b'{"roc_auc": 0.69}', "params.yaml": b"train: {trees: 100}\n"}
            sandbox.hub.commit_folder(repo, "main", files, "track metrics", user("ada"))
        sandbox.hub.commit_folder(repo, "more-trees", {"params.yaml": b"train: {trees: 600}\n"}, "trees", user("ada"))
        self.number = sandbox.hub.open_pull(repo, title="More trees", head="more-trees", base="main", actor=user("ada"))
        self.forge = bot_forge(sandbox, repo)
        pull = self.forge.pull_with_merge(self.number)
        self.head = pull.head_sha
        self.base_run = baseline()
        if recorded:
            store = ApiRunStore(self.forge)
            self.forge.apply([store.operations_for(self.base_run, reusable=True)])
        self.admission = Admission(
            model="delay",
            subject=Subject(
                kind="pull_request",
                repository=repo,
                commit=pull.merge_sha,
                base_commit=pull.base_sha,
                head_commit=pull.head_sha,
                head_repository=repo,
                pull_request=self.number,
                branch="more-trees",
            ),
            actor="ada",
            policy_commit=pull.base_sha,
            runs_on=["gpu"],
            timeout_minutes=10,
            input_digest=DIGEST,
            targets=list(STAGES),
            stages=list(STAGES),
            params={"train": {"trees": 600}},
            reusable=True,
            baseline_digest=self.base_run.input_digest if recorded else "",
        )
        sandbox.calls.clear()

    @property
    def inputs(self) -> dict[str, str]:
        subject = self.admission.subject
        return {
            "model": "delay",
            "commit": subject.commit,
            "base-commit": subject.base_commit,
            "head-commit": subject.head_commit,
            "head-repository": subject.head_repository,
            "pull-request": str(self.number),
            "input-digest": DIGEST,
            "overrides": "{}",
        }

    def publish(
        self,
        artifact: bytes | None,
        *,
        admission: Admission | str | None = "own",
        inputs: dict[str, str] | None = None,
        train_result: str = "success",
        admit_result: str = "",
        config: Config = CONFIG,
        permissions: dict[str, str] | None = None,
        **ports: Any,
    ) -> Published:
        forge = bot_forge(self.sandbox, self.repo, permissions) if permissions is not None else self.forge
        admitted = self.admission if admission == "own" else admission
        job = PublishJob(
            inputs={**self.inputs, **(inputs or {})},
            admission=admitted,
            admit_result=admit_result or ("success" if admitted else "failure"),
            train_result=train_result,
            run_id="feedfacecafe",
            trigger=TRIGGER,
            now="2026-03-01T12:00:00Z",
        )
        return publish(job, artifact, config=config, ports=PublishPorts(forge=forge, store=ApiRunStore(forge), **ports))

    def own_comments(self) -> list[str]:
        return [one.body for one in self.forge.comments(self.number) if one.author == BOT]

    def checks(self) -> list[Any]:
        return list(self.forge.checks(self.head))

    def recorded(self, run_id: str = "feedfacecafe") -> Run | None:
        return ApiRunStore(self.forge).run("delay", run_id)


def document(run: Run, **changes: Any) -> bytes:
    return dump(msgspec.structs.replace(run, **changes))


def test_a_better_run_is_recorded_commented_and_passes(sandbox: Sandbox, repo: str) -> None:
    scene = Scene(sandbox, repo)
    made = scene.publish(document(better()))
    assert (made.result.decision, made.result.reason_code, made.exit_code) == ("done", "gate_passed", 0)
    (comment,) = scene.own_comments()
    assert comment == made.comment
    assert "better: roc_auc 0.690 → 0.705 (+0.015)" in comment
    assert "95 % interval" in comment
    (check,) = scene.checks()
    assert (check.name, check.conclusion, check.external_id) == (
        "trackside / delay", "success", f"trackside:delay:{DIGEST}",
    )  # fmt: skip
    kept = scene.recorded()
    assert kept is not None
    assert kept.trigger == TRIGGER
    assert ApiRunStore(scene.forge).run_for_inputs("delay", DIGEST) == kept
    assert made.result.urls.keys() == {"comment", "check"}


def test_publishing_again_changes_nothing(sandbox: Sandbox, repo: str) -> None:
    scene = Scene(sandbox, repo)
    scene.publish(document(better()))
    again = scene.publish(document(better()))
    assert [one.outcome for one in again.applied] == ["unchanged"] * 3
    assert len(scene.own_comments()) == len(scene.checks()) == 1


def test_a_broken_bound_fails_the_check_on_its_line(sandbox: Sandbox, repo: str) -> None:
    scene = Scene(sandbox, repo)
    made = scene.publish(document(worse()))
    assert made.report is not None
    assert made.report.gate == "failed"
    (check,) = scene.checks()
    assert check.conclusion == "failure"
    assert check.annotations == 2
    operation = next(one.operation for one in made.applied if hasattr(one.operation, "annotations"))
    notes = {(note.line, note.level) for note in operation.annotations}
    lines = POLICY.splitlines()
    assert {lines[line - 1].strip().split(":")[0] for line, _ in notes} == {"min", "log_loss"}
    assert {level for _, level in notes} == {"failure"}
    assert "roc_auc" in scene.own_comments()[0].splitlines()[1]


def test_who_and_what_never_come_from_the_document(sandbox: Sandbox, repo: str) -> None:
    scene = Scene(sandbox, repo)
    other = sandbox.hub.open_pull(
        repo, title="Other", head=_branch(sandbox, repo, "other"), base="main", actor=user("ada")
    )
    forged = better(id="b1a5e0000001", overrides={"train.trees": 1}, experiment=True, params={"train": {"trees": 1}})
    source = msgspec.structs.replace(forged.source, pull_request=other, head_commit="f" * 40, repository="evil/repo")
    made = scene.publish(document(forged, source=source))
    assert scene.forge.comments(other) == ()
    assert len(scene.own_comments()) == 1
    assert made.run is not None
    assert (made.run.id, made.run.experiment, made.run.overrides) == ("feedfacecafe", False, {})
    assert made.run.source.repository == repo
    assert made.run.params == {"train": {"trees": 600}}
    assert scene.recorded("b1a5e0000001") == scene.base_run


FORGERIES: dict[str, tuple[bytes | None, str]] = {
    "another model": (document(better(model="fraud")), "identity_mismatch"),
    "other inputs": (document(better(input_digest="sha256:" + "0" * 64)), "digest_mismatch"),
    "nothing": (None, "document_missing"),
    "two MiB": (document(better(log_tail="x" * 2 * 1024 * 1024)), "document_too_large"),
    "not JSON": (b"\xff\x00{", "document_invalid"),
    "a list": (b"[]", "document_invalid"),
    "wrong types": (json.dumps({**json.loads(document(better())), "metrics": "all good"}).encode(), "document_invalid"),
    "wrong number": (
        document(better()).replace(b'"value": 0.7051', b'"value": "0.99"'),
        "document_invalid",
    ),
    "another kind": (b'{"schema": "trackside.plan/1", "subject": {}}', "document_invalid"),
    "deep": (b'{"schema": "trackside.run/1", "params": ' + b'{"a":' * 5000 + b"1" + b"}" * 5001, "document_invalid"),
}


def test_forged_documents_become_an_explained_failure(sandbox: Sandbox, repo: str) -> None:
    scene = Scene(sandbox, repo)
    cases = 0
    for name, (artifact, code) in FORGERIES.items():
        made = scene.publish(artifact)
        assert made.result.reason_code == code, name
        (check,) = scene.checks()
        assert check.conclusion == "failure", name
        assert len(scene.own_comments()) == 1, name
        assert "there is no model" in scene.own_comments()[0], name
        assert ApiRunStore(scene.forge).run_for_inputs("delay", DIGEST) is None, name
        cases += 1
    print(f"{cases} forged documents")
    assert cases == len(FORGERIES) == 10


def test_false_claims_of_the_dispatch_write_nothing(sandbox: Sandbox, repo: str) -> None:
    scene = Scene(sandbox, repo)
    claims: list[tuple[dict[str, str], Admission | None]] = [
        ({"pull-request": "9999"}, None),
        ({"pull-request": "1; rm"}, None),
        ({"head-commit": "HEAD"}, None),
        ({"head-repository": "mallory/flights"}, None),
        ({"pull-request": "9999"}, scene.admission),
        ({"head-commit": "e" * 40}, scene.admission),
        ({"model": "fraud"}, scene.admission),
        ({"input-digest": "sha256:" + "0" * 64}, scene.admission),
        ({"pull-request": ""}, scene.admission),
    ]
    for inputs, admission in claims:
        with pytest.raises(Refused) as refused:
            scene.publish(document(better()), inputs=inputs, admission=admission)
        assert refused.value.reason_code == "identity_mismatch", inputs
    assert scene.own_comments() == []
    assert scene.checks() == []
    assert scene.recorded() is None
    print(f"{len(claims)} false claims")


def test_an_unknown_model_names_the_known_ones(sandbox: Sandbox, repo: str) -> None:
    scene = Scene(sandbox, repo)
    with pytest.raises(ConfigError, match="no model") as error:
        scene.publish(None, admission=None, inputs={"model": "fraud"})
    assert "delay" in error.value.remedy


@pytest.mark.parametrize("what", ["moved", "closed"])
def test_a_head_that_moved_is_recorded_but_not_touched(sandbox: Sandbox, repo: str, what: str) -> None:
    scene = Scene(sandbox, repo)
    if what == "moved":
        sandbox.hub.commit_folder(repo, "more-trees", {"x": b"1"}, "newer", user("ada"))
    else:
        sandbox.hub.merge_pull(repo, scene.number, user("ada"))
    made = scene.publish(document(better()))
    assert (made.result.decision, made.result.reason_code) == (
        "skipped", "head_moved" if what == "moved" else "pull_closed",
    )  # fmt: skip
    assert scene.own_comments() == []
    assert scene.checks() == []
    assert scene.recorded() is not None
    assert "the run is recorded" in made.summary


def test_an_experiment_never_touches_check_or_report(sandbox: Sandbox, repo: str) -> None:
    scene = Scene(sandbox, repo)
    scene.publish(document(worse()))
    overrides = {"train.learning_rate": 0.05}
    admission = msgspec.structs.replace(scene.admission, experiment=True, overrides=overrides, reusable=False)
    made = scene.publish(document(experiment()), admission=admission)
    assert made.report is not None
    assert made.report.gate == "neutral"
    (check,) = scene.checks()
    assert check.conclusion == "failure"
    first, second = scene.own_comments()
    assert first.startswith("<!-- trackside:report model=delay -->")
    assert second.startswith("<!-- trackside:experiment model=delay -->")
    assert "+  learning_rate: 0.05" in second
    assert ApiRunStore(scene.forge).run_for_inputs("delay", DIGEST) is None


def test_a_failed_run_shows_its_log_and_pings_nobody(sandbox: Sandbox, repo: str) -> None:
    scene = Scene(sandbox, repo)
    made = scene.publish(document(failed()), train_result="failure")
    (check,) = scene.checks()
    assert check.conclusion == "failure"
    assert "training failed in stage train with exit code 1" in made.comment
    assert "ValueError: ```no``` rows" in made.comment
    assert "````text" in made.comment


@pytest.mark.parametrize(
    ("train_result", "artifact", "conclusion", "code"),
    [
        ("failure", "better", "failure", "train_job_failed"),
        ("cancelled", "better", "cancelled", "train_job_failed"),
        ("cancelled", "", "cancelled", "cancelled"),
        ("failure", "", "failure", "document_missing"),
    ],
)
def test_a_job_that_did_not_end_well_never_passes(
    sandbox: Sandbox, repo: str, train_result: str, artifact: str, conclusion: str, code: str
) -> None:
    scene = Scene(sandbox, repo)
    made = scene.publish(document(better()) if artifact else None, train_result=train_result)
    (check,) = scene.checks()
    assert check.conclusion == conclusion
    assert made.result.reason_code == code


def test_a_cancelled_run_leaves_the_words_of_the_plan_that_replaced_it(sandbox: Sandbox, repo: str) -> None:
    """The base moved: the same head was planned anew and is green; then the older run ends as cancelled."""
    scene, mark = Scene(sandbox, repo), marker("delay")
    check = UpsertCheck(
        name="trackside / delay",
        head_sha=scene.head,
        external_id=f"trackside:delay:{DIGEST}",
        title="queued",
        summary="queued",
        conclusion=None,
    )
    newer = replace(check, external_id="trackside:delay:sha256:" + "7" * 64, title="nothing", conclusion="success")
    talk = UpsertComment(issue=scene.number, marker=mark, body=f"{mark}\n\nnothing to train\n")
    scene.forge.apply([check, newer, talk])
    scene.publish(None, train_result="cancelled")
    assert [one.strip() for one in scene.own_comments()] == [talk.body.strip()]
    assert [(one.external_id, one.conclusion) for one in scene.checks()] == [(newer.external_id, "success")]
    assert scene.recorded() is not None


def test_a_refused_admission_ends_the_check_in_progress(sandbox: Sandbox, repo: str) -> None:
    scene = Scene(sandbox, repo)
    made = scene.publish(document(better()), admission=None, train_result="skipped")
    assert made.result.reason_code == "not_admitted"
    (check,) = scene.checks()
    assert (check.conclusion, check.external_id) == ("failure", f"trackside:delay:{DIGEST}")
    assert scene.recorded() is None


def test_metrics_in_git_are_the_baseline_where_no_run_is_recorded(sandbox: Sandbox, repo: str) -> None:
    made = Scene(sandbox, repo, recorded=False, tracked=True).publish(document(better()))
    assert made.report is not None
    row = next(row for row in made.report.metrics if row.name == "roc_auc")
    assert (row.baseline, row.low) == (0.69, None)
    assert "metrics tracked in git" in made.report.baseline
    assert [one.name for one in made.report.params] == ["train.trees"]


def test_no_baseline_says_why(sandbox: Sandbox, repo: str) -> None:
    made = Scene(sandbox, repo, recorded=False).publish(document(better()))
    assert "No run is recorded" in made.comment
    assert "gives the next report a baseline" in made.comment
    assert made.result.reason_code == "gate_passed"


def test_a_forbidden_comment_leaves_check_and_summary(sandbox: Sandbox, repo: str) -> None:
    scene = Scene(sandbox, repo)
    made = scene.publish(
        document(better()), permissions={"contents": "write", "checks": "write", "pull-requests": "read"}
    )
    outcomes = {type(one.operation).__name__: one.outcome for one in made.applied}
    assert outcomes["UpsertComment"] == "failed"
    assert outcomes["UpsertCheck"] == outcomes["CommitFiles"].replace("updated", "created") == "created"
    assert (made.exit_code, made.result.decision, made.result.reason_code) == (4, "failed", "forbidden")
    assert "pull-requests: write" in made.summary
    assert "better: roc_auc" in made.summary


def test_answers_lost_after_the_write_leave_no_duplicate(sandbox: Sandbox, repo: str) -> None:
    faults = [
        ("POST", r"/comments$", "after_write", 502),
        ("POST", r"/check-runs$", "after_write", 502),
        ("POST", r"/comments$", "before", 502),
        ("POST", r"/git/trees$", "before", 503),
    ]
    cases = 0
    for method, path, mode, status in faults:
        scene = Scene(sandbox, _fresh(sandbox), recorded=False)
        sandbox.faults.add(method, path, mode=mode, status=status)
        made = scene.publish(document(better()))
        assert made.exit_code == 0, made.result.message
        assert len(scene.own_comments()) == len(scene.checks()) == 1
        cases += 1
    print(f"{cases} faults")
    assert cases == 4


def test_at_most_four_calls_for_comment_and_check(sandbox: Sandbox, repo: str) -> None:
    scene = Scene(sandbox, repo)
    made = scene.publish(document(better()))
    talk = [one for one in sandbox.calls if "/comments" in str(one) or "/check-runs" in str(one)]
    print(f"{len(talk)} calls for comment and check: {talk}")
    assert made.exit_code == 0
    assert 0 < len(talk) <= 6
    sandbox.calls.clear()
    scene.publish(document(worse()))
    changed = [one for one in sandbox.calls if "/comments" in str(one) or "/check-runs" in str(one)]
    print(f"{len(changed)} calls for a changed report")
    assert 0 < len(changed) <= 4


def test_the_templates_of_the_default_branch_are_used(sandbox: Sandbox, repo: str) -> None:
    template = (
        b'{% extends "trackside/report.md.j2" %}{% block extra %}\nOwned by the {{ report.model }} team.{% endblock %}'
    )
    sandbox.hub.commit_folder(repo, "main", {".trackside/report.md.j2": template}, "template", user("ada"))
    scene = Scene(sandbox, repo)
    config = load(POLICY + "report: {template: .trackside}\n")
    made = scene.publish(document(better()), config=config)
    assert "Owned by the delay team." in made.comment


def test_a_plain_commit_gets_a_check_and_no_comment(sandbox: Sandbox, repo: str) -> None:
    scene = Scene(sandbox, repo)
    tip = scene.forge.head_of("main")
    subject = Subject(kind="commit", repository=repo, commit=tip, head_commit=tip, head_repository=repo, branch="main")
    admission = msgspec.structs.replace(scene.admission, subject=subject)
    made = scene.publish(
        document(better()), admission=admission, inputs=dict.fromkeys(scene.inputs, "") | {"model": "delay"}
    )
    assert made.exit_code == 0
    assert not [one for one in made.applied if isinstance(one.operation, UpsertComment)]
    (check,) = scene.forge.checks(tip)
    assert check.conclusion == "success"


def test_what_is_recorded_is_bounded(sandbox: Sandbox, repo: str) -> None:
    scene = Scene(sandbox, repo)
    run = failed()
    run = msgspec.structs.replace(
        run, log_tail="\x1b[31mred\x1b[0m\x00" + "y" * 50_000, trackside="v" * 5000, seeds={"n" * 900: 1}
    )
    scene.publish(document(run), train_result="failure")
    kept = scene.recorded()
    assert kept is not None
    assert len(kept.log_tail) <= 20_000
    assert len(kept.trackside) <= 2000
    assert max(map(len, kept.seeds)) <= 300
    assert "\x00" not in kept.log_tail


def test_cml_gets_the_body_where_it_is_installed(sandbox: Sandbox, repo: str, tmp_path: Path) -> None:
    if shutil.which("cml") is None:
        pytest.skip("cml is not installed")
    scene = Scene(sandbox, repo)
    config = load(POLICY + "report: {publisher: cml}\n")
    processes = Processes({**ENV, "REPO_TOKEN": "token-ada", "GITHUB_API_URL": sandbox.api_url})
    made = scene.publish(document(better()), config=config, processes=processes, folder=tmp_path)
    comment = next(one for one in made.applied if isinstance(one.operation, UpsertComment))
    assert comment.outcome in ("updated", "failed")
    assert (tmp_path / f"comment-{scene.number}.md").read_text() == made.comment


def test_without_cml_the_check_is_written_and_the_reason_given(sandbox: Sandbox, repo: str, tmp_path: Path) -> None:
    scene = Scene(sandbox, repo)
    config = load(POLICY + "report: {publisher: cml}\n")
    made = scene.publish(
        document(better()), config=config, processes=Processes({"PATH": str(tmp_path)}), folder=tmp_path
    )
    assert (made.exit_code, made.result.reason_code) == (5, "tool_missing")
    assert len(scene.checks()) == 1
    assert "cml is not installed" in made.summary


def test_a_recorded_run_is_judged_again_for_another_pull_request() -> None:
    """By today's policy and against this pull request's baseline; nothing is executed."""
    subject = Subject(
        kind="pull_request", repository="acme/flights", commit="9" * 40, head_commit="8" * 40, pull_request=9
    )
    facts = Facts(subject=subject, config=CONFIG, models=())
    shown = reused(better(), baseline(), MODEL, facts)
    assert (shown.passed, shown.conclusion, shown.annotations) == (True, "success", ())
    assert shown.body.startswith("<!-- trackside:report model=delay -->")
    assert "a recorded run answers the same inputs" in shown.body
    assert "9" * 40 in shown.body
    assert "95 % interval" in shown.body
    broken = reused(worse(), baseline(), MODEL, facts)
    assert (broken.passed, broken.conclusion, len(broken.annotations)) == (False, "failure", 2)
    assert "No run is recorded" in reused(better(), None, MODEL, facts).body


def test_a_cancelled_admission_is_a_cancelled_check(sandbox: Sandbox, repo: str) -> None:
    scene = Scene(sandbox, repo)
    scene.publish(None, admission=None, train_result="skipped", admit_result="cancelled")
    (check,) = scene.checks()
    assert check.conclusion == "cancelled"


def test_dry_run_writes_nothing(sandbox: Sandbox, repo: str) -> None:
    scene = Scene(sandbox, repo)
    job = PublishJob(
        inputs=scene.inputs,
        admission=scene.admission,
        admit_result="success",
        train_result="success",
        run_id="feedfacecafe",
        trigger=TRIGGER,
        now="2026-03-01T12:00:00Z",
        dry_run=True,
    )
    made = publish(
        job, document(better()), config=CONFIG, ports=PublishPorts(forge=scene.forge, store=ApiRunStore(scene.forge))
    )
    assert {one.outcome for one in made.applied} == {"skipped"}
    assert any(isinstance(one.operation, CommitFiles) for one in made.applied)
    assert scene.own_comments() == []
    assert scene.checks() == []


def _branch(sandbox: Sandbox, repo: str, name: str) -> str:
    sandbox.hub.commit_folder(repo, name, {"x": name.encode()}, name, user("ada"))
    return name


def _fresh(sandbox: Sandbox) -> str:
    name = f"acme/r{sandbox.state.next('test')}"
    sandbox.hub.add_repo(name)
    sandbox.hub.set_role(name, "ada", "write")
    sandbox.hub.commit_folder(name, "main", {"README.md": b"# flights\n"}, "first", user("ada"))
    return name
