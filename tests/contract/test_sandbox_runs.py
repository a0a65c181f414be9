"""Workflows, runs, jobs, logs, artifacts and dispatches of the sandbox, driven by PyGithub."""

from __future__ import annotations

import io
import zipfile

import pytest
import requests
from github.Repository import Repository

from conftest import github_client
from sandbox_client import ALL, add_run
from trackside.sandbox.server import Sandbox

WORKFLOW = b"""
name: Train
on:
  workflow_dispatch:
    inputs:
      model: {required: true}
      size: {type: choice, options: [small, large], default: small}
jobs: {}
"""


@pytest.fixture
def job(sandbox: Sandbox, repo: str) -> Repository:
    """The repository as a job with every permission sees it."""
    return github_client(sandbox, sandbox.seed.job_token(repo, ALL)).get_repo(repo)


def push(sandbox: Sandbox, repo: str, branch: str, files: dict[str, bytes | None], login: str = "ada") -> str:
    return sandbox.seed.push(repo, branch, files, f"Change {branch}", login)


def test_workflows_runs_jobs_logs_and_artifacts(sandbox: Sandbox, repo: str, job: Repository) -> None:
    push(sandbox, repo, "main", {".github/workflows/train.yml": WORKFLOW})
    assert [(one.name, one.path) for one in job.get_workflows()] == [("Train", ".github/workflows/train.yml")]
    workflow = job.get_workflow("train.yml")
    assert job.get_workflow(workflow.id).path == workflow.path
    done = add_run(sandbox, repo)
    waiting = add_run(sandbox, repo, status="queued", conclusion=None, started_at=None, actor="mallory")
    assert [one.id for one in workflow.get_runs()] == [waiting, done]
    assert [one.id for one in workflow.get_runs(status="success")] == [done]
    assert [one.id for one in job.get_workflow_runs(status="queued", event="workflow_dispatch")] == [waiting]
    assert [one.id for one in job.get_workflow_runs(actor="mallory")] == [waiting]
    assert [one.id for one in job.get_workflow_runs(head_sha="0" * 40)] == []
    run = job.get_workflow_run(done)
    assert (run.display_title, run.conclusion, run.workflow_id, run.head_commit.author.name) == (
        "train delay", "success", workflow.id, "ada",
    )  # fmt: skip
    job_id = sandbox.state.next("id")
    log = sandbox.state.root / f"runs/{done}/log.txt"
    log.parent.mkdir(parents=True)
    log.write_text("it trained\n")
    now = sandbox.hub.now()
    step = {
        "number": 1,
        "name": "Train",
        "status": "completed",
        "conclusion": "success",
        "started_at": now,
        "completed_at": now,
    }
    sandbox.state.put("job", repo, job_id, {
        "id": job_id, "run_id": done, "attempt": 1, "name": "train", "key": "train", "status": "completed",
        "conclusion": "success", "labels": ["self-hosted", "gpu"], "runner_name": "gpu-1", "started_at": now,
        "completed_at": now, "permissions": {}, "steps": [step], "log": str(log.relative_to(sandbox.state.root)),
    })  # fmt: skip
    found = list(run.jobs())
    assert [(one.name, one.runner_name, one.labels, len(one.steps)) for one in found] == [
        ("train", "gpu-1", ["self-hosted", "gpu"], 1)
    ]
    assert requests.get(found[0].logs_url(), timeout=10).text == "it trained\n"
    artifact = sandbox.state.root / f"runs/{done}/artifacts/trackside-run/run.json"
    artifact.parent.mkdir(parents=True)
    artifact.write_text("{}")
    listed = list(run.get_artifacts())
    assert [(one.name, one.expired) for one in listed] == [("trackside-run", False)]
    token = sandbox.seed.job_token(repo, {"actions": "read"})
    packed = requests.get(listed[0].archive_download_url, headers={"Authorization": f"token {token}"}, timeout=10)
    assert zipfile.ZipFile(io.BytesIO(packed.content)).read("run.json") == b"{}"
    assert not run.cancel()  # 409: it has ended
    sandbox.state.delete("run", repo, waiting)


def test_dispatch(sandbox: Sandbox, repo: str, job: Repository) -> None:
    push(sandbox, repo, "main", {".github/workflows/train.yml": WORKFLOW, ".github/workflows/other.yml": b"on: push\n"})
    seen = []
    sandbox.bus.subscribe(seen.append)
    workflow = job.get_workflow("train.yml")
    assert workflow.create_dispatch("main", {"model": "delay"}, throw=True)
    assert [(one.name, one.inputs, one.ref, one.token_kind) for one in seen] == [
        ("workflow_dispatch", {"model": "delay", "size": "small"}, "refs/heads/main", "workflow")
    ]
    url = f"{sandbox.api_url}/repos/{repo}/actions/workflows/train.yml/dispatches"
    auth = {"Authorization": "token token-ada"}
    body = {"ref": "main", "inputs": {"model": "delay"}, "return_run_details": True}
    details = requests.post(url, json=body, headers=auth, timeout=10)
    assert (details.status_code, details.json()["workflow_run_id"]) == (200, seen[1].run_id)
    refused = [
        ({"ref": "main", "inputs": {}}, "Required input 'model' not provided"),
        ({"ref": "main", "inputs": {"model": "x", "odd": "y"}}, 'Unexpected inputs provided: ["odd"]'),
        ({"ref": "main", "inputs": {"model": "x", "size": "huge"}}, "Provided value 'huge' for input 'size'"),
        ({"ref": "gone", "inputs": {"model": "x"}}, "No ref found for: gone"),
    ]
    for wrong, message in refused:
        answer = requests.post(url, json=wrong, headers=auth, timeout=10)
        assert answer.status_code == 422
        assert answer.json()["message"].startswith(message)
    other = requests.post(url.replace("train.yml", "other.yml"), json={"ref": "main"}, headers=auth, timeout=10)
    assert other.json()["message"] == "Workflow does not have 'workflow_dispatch' trigger"
    assert len(seen) == 2
    print(f"{len(refused) + 1} refusals")
