"""`actions/report` as the job calls it: environment, files and event in; check, comment and exit code out."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest
from test_report_publish import Scene, document

from conftest import ENV, user
from report_samples import DIGEST, better
from trackside.app import Context, run_stage
from trackside.cli import main
from trackside.documents.codec import dump
from trackside.forge.operations import UpsertCheck, UpsertComment
from trackside.report.marker import marker
from trackside.sandbox.server import Sandbox

POLICY = b"""\
version: 1
models:
  delay:
    path: model.skops
    metrics:
      roc_auc: {file: metrics.json, direction: max, min: 0.6}
"""


class Job:
    """A publish job on a runner, after the plan made its check and comment."""

    def __init__(self, sandbox: Sandbox, repo: str, folder: Path, policy: bytes) -> None:
        self.scene, self.folder = Scene(sandbox, repo), folder
        self.policy(policy)
        check = UpsertCheck(
            name="trackside / delay",
            head_sha=self.scene.head,
            external_id=f"trackside:delay:{DIGEST}",
            title="queued",
            summary="queued",
            conclusion=None,
        )
        mark = marker("delay")
        talk = UpsertComment(issue=self.scene.number, marker=mark, body=f"{mark}\n\nqueued\n")
        assert {one.outcome for one in self.scene.forge.apply([check, talk])} == {"created"}
        admission = dump(self.scene.admission)
        self.write("trackside-plan/admission.json", admission)
        self.write("trackside-run/run.json", document(better()))
        event = {
            "ref": "refs/heads/main",
            "inputs": self.scene.inputs,
            "repository": {"full_name": repo, "default_branch": "main"},
        }
        self.write("event.json", json.dumps(event).encode())
        self.env = {
            **ENV,
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": repo,
            "GITHUB_API_URL": sandbox.api_url,
            "GITHUB_SERVER_URL": sandbox.url,
            "GITHUB_EVENT_NAME": "workflow_dispatch",
            "GITHUB_EVENT_PATH": str(folder / "event.json"),
            "GITHUB_SHA": self.scene.head,
            "GITHUB_RUN_ID": "12",
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_OUTPUT": str(folder / "output"),
            "GITHUB_STEP_SUMMARY": str(folder / "summary"),
            "TRACKSIDE_GITHUB_TOKEN": self.scene.forge._token,
            "TRACKSIDE_RUN": str(folder / "trackside-run"),
            "TRACKSIDE_ADMISSION": str(folder / "trackside-plan"),
            "TRACKSIDE_ADMISSION_DIGEST": "sha256:" + hashlib.sha256(admission).hexdigest(),
            "TRACKSIDE_OUT": str(folder / "trackside-report"),
            "TRACKSIDE_ADMIT_RESULT": "success",
            "TRACKSIDE_TRAIN_RESULT": "success",
        }

    def policy(self, text: bytes) -> None:
        self.scene.sandbox.hub.commit_folder(self.scene.repo, "main", {"trackside.yaml": text}, "policy", user("ada"))

    def write(self, name: str, data: bytes) -> None:
        (self.folder / name).parent.mkdir(exist_ok=True)
        (self.folder / name).write_bytes(data)

    def run(self, **changes: str) -> tuple[int, str]:
        out = io.StringIO()
        return run_stage(Context(env={**self.env, **changes}, out=out), "report"), out.getvalue()


def test_a_run_is_published_once_however_often_its_job_runs(sandbox: Sandbox, repo: str, tmp_path: Path) -> None:
    job = Job(sandbox, repo, tmp_path, POLICY)
    assert job.run()[0] == 0
    (check,), (comment,) = job.scene.checks(), job.scene.own_comments()
    assert check.conclusion == "success"
    assert "queued" not in comment
    tip = job.scene.forge.head_of("trackside-data")
    for attempt in ("1", "2", "3"):
        assert job.run(GITHUB_RUN_ATTEMPT=attempt)[0] == 0
        assert job.scene.checks() == [check]
        assert job.scene.own_comments() == [comment]
        assert job.scene.forge.head_of("trackside-data") == tip


def test_a_run_without_a_document_is_published_once_too(sandbox: Sandbox, repo: str, tmp_path: Path) -> None:
    job = Job(sandbox, repo, tmp_path, POLICY)
    job.env |= {"TRACKSIDE_RUN": str(tmp_path / "none"), "TRACKSIDE_TRAIN_RESULT": "cancelled"}
    assert job.run()[0] == 0
    (check,) = job.scene.checks()
    assert check.conclusion == "cancelled"
    tip = job.scene.forge.head_of("trackside-data")
    assert job.run(GITHUB_RUN_ATTEMPT="2")[0] == 0
    assert job.scene.checks() == [check]
    assert job.scene.forge.head_of("trackside-data") == tip


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        (b"version: 1\nmodels: {delay: {pth: x}}\n", 2),
        (b"\xff\xfe", 2),
        (POLICY.replace(b"delay", b"other"), 2),
        (None, 2),
    ],
)
def test_a_policy_that_broke_meanwhile_ends_the_check_and_a_rerun_repairs_it(
    sandbox: Sandbox, repo: str, tmp_path: Path, policy: bytes | None, code: int
) -> None:
    """A required check in progress would block the pull request for ever."""
    job = Job(sandbox, repo, tmp_path, POLICY)
    sandbox.hub.commit_folder(repo, "main", {"trackside.yaml": policy}, "broken", user("ada"))
    assert job.run()[0] == code
    (check,) = job.scene.checks()
    assert (check.status, check.conclusion, check.title) == ("completed", "failure", "the report could not be made")
    (comment,) = job.scene.own_comments()
    assert "the report could not be made" in comment
    job.policy(POLICY)
    assert job.run()[0] == 0
    (check,) = job.scene.checks()
    assert check.conclusion == "success"
    assert len(job.scene.own_comments()) == 1


def test_a_refused_admission_under_a_broken_policy_ends_the_check_too(
    sandbox: Sandbox, repo: str, tmp_path: Path
) -> None:
    job = Job(sandbox, repo, tmp_path, b"version: 2\n")
    job.env |= {"TRACKSIDE_ADMISSION_DIGEST": "", "TRACKSIDE_ADMIT_RESULT": "failure"}
    assert job.run(TRACKSIDE_TRAIN_RESULT="skipped")[0] == 2
    (check,) = job.scene.checks()
    assert check.conclusion == "failure"


def test_nothing_is_ended_that_is_not_of_these_inputs(sandbox: Sandbox, repo: str, tmp_path: Path) -> None:
    """The check of other inputs, of a newer head, and one that has ended stay as they are."""
    job = Job(sandbox, repo, tmp_path, POLICY)
    assert job.run()[0] == 0
    job.policy(b"version: 2\n")
    before = job.scene.checks()
    assert job.run()[0] == 2
    assert job.scene.checks() == before


def test_an_admission_that_was_changed_is_refused(sandbox: Sandbox, repo: str, tmp_path: Path) -> None:
    job = Job(sandbox, repo, tmp_path, POLICY)
    text = (tmp_path / "trackside-plan/admission.json").read_bytes()
    job.write("trackside-plan/admission.json", text.replace(b'"reusable": true', b'"reusable":  true'))
    assert job.run()[0] == 3


def test_a_document_without_end_is_not_read_whole(sandbox: Sandbox, repo: str, tmp_path: Path) -> None:
    job = Job(sandbox, repo, tmp_path, POLICY)
    with (tmp_path / "trackside-run/run.json").open("r+b") as file:
        file.truncate(64 * 1024**3)  # sparse
    assert job.run()[0] == 0
    (check,) = job.scene.checks()
    assert check.conclusion == "failure"
    assert "at most" in job.scene.own_comments()[0]


def test_usage_mistakes_show_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "/nonexistent/trackside.yaml"]) == 2
    assert "Traceback" not in capsys.readouterr().err
