"""Workflows run by act in the sandbox: jobs, outputs, tokens, conditions, concurrency, cancel, re-run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import ENV, user
from trackside.sandbox.actions.dispatcher import Dispatcher
from trackside.sandbox.server import Sandbox

pytestmark = pytest.mark.act

WORKFLOW = """
name: train
run-name: train ${{ inputs.model }}
on:
  workflow_dispatch:
    inputs:
      model: {required: true, type: string}
      fail: {type: choice, options: ['no', 'yes'], default: 'no'}
permissions: {}
concurrency: {group: "g-${{ inputs.model }}", cancel-in-progress: true}
jobs:
  admit:
    runs-on: ubuntu-latest
    permissions: {contents: read}
    outputs:
      runs-on: ${{ steps.a.outputs.labels }}
    steps:
      - uses: actions/checkout@8e8c483db84b4bee98b60c0593521ed34d9990e8
        with: {path: work, persist-credentials: false}
      - id: a
        shell: bash
        env: {MODEL: "${{ inputs.model }}", SHA: "${{ github.sha }}", TOKEN: "${{ github.token }}"}
        run: |
          echo 'labels=["self-hosted","gpu"]' >> "$GITHUB_OUTPUT"
          echo "summary of $MODEL" >> "$GITHUB_STEP_SUMMARY"
          test "$SHA" = "$(git -C work rev-parse HEAD)"
          printf '%s' "$TOKEN" > work/token
          echo "tools $RUNNER_TOOL_CACHE"
      - uses: actions/upload-artifact@330a01c490aca151604b8cf639adc76d48f6c5d4
        with: {name: docs, path: work}
  train:
    needs: admit
    runs-on: ${{ fromJSON(needs.admit.outputs.runs-on) }}
    permissions: {contents: read}
    steps:
      - uses: actions/download-artifact@634f93cb2916e3fdff6788551b99b062d0335ce0
        with: {name: docs, path: got}
      - shell: bash
        env: {FAIL: "${{ inputs.fail }}", TOKEN: "${{ github.token }}", SECRET: "${{ secrets.KEY }}"}
        run: |
          echo "secret is $SECRET, tools $RUNNER_TOOL_CACHE"
          test -f got/README.md
          test "$TOKEN" != "$(cat got/token)"
          if [ "$FAIL" = yes ]; then sleep 60; fi
  publish:
    needs: [admit, train]
    if: always()
    runs-on: ubuntu-latest
    permissions: {pull-requests: write}
    steps:
      - shell: bash
        env: {RESULT: "${{ needs.train.result }}"}
        run: echo "train was $RESULT"
"""


@pytest.fixture
def dispatcher(sandbox: Sandbox) -> Iterator[Dispatcher]:
    made = Dispatcher(sandbox.hub, ENV, {}, grace=(0.3, 0.3))
    sandbox.dispatcher = made
    made.start()
    yield made
    made.stop()
    sandbox.dispatcher = None
    sandbox.bus._listeners.clear()


def commit_workflow(sandbox: Sandbox, repo: str, text: str = WORKFLOW, name: str = "train.yml") -> None:
    sandbox.hub.commit_folder(repo, "main", {f".github/workflows/{name}": text.encode()}, "workflow", user("ada"))


def dispatch(sandbox: Sandbox, repo: str, **inputs: str) -> int:
    complete = sandbox.dispatcher.check_inputs(repo, ".github/workflows/train.yml", "main", inputs)
    return sandbox.hub.dispatch(repo, ".github/workflows/train.yml", "main", complete, user("ada"))


def run_of(sandbox: Sandbox, repo: str, run_id: int) -> dict[str, Any]:
    return sandbox.state.get("run", repo, run_id) or {}


def jobs_of(sandbox: Sandbox, repo: str, run_id: int, attempt: int = 1) -> dict[str, dict[str, Any]]:
    return {one["key"]: one for one in sandbox.state.list("job", repo, run_id=run_id, attempt=attempt)}


def log_of(sandbox: Sandbox, job: dict[str, Any]) -> str:
    return (sandbox.state.root / job["log"]).read_text()


def test_a_dispatch_runs_jobs_with_outputs_tokens_and_artifacts(
    sandbox: Sandbox, repo: str, dispatcher: Dispatcher
) -> None:
    commit_workflow(sandbox, repo)
    dispatcher.set_secret(repo, "KEY", "hunter2-hunter2")
    run_id = dispatch(sandbox, repo, model="delay")
    assert dispatcher.wait_idle(90)
    run, jobs = run_of(sandbox, repo, run_id), jobs_of(sandbox, repo, run_id)
    logs = "\n".join(log_of(sandbox, job) for job in jobs.values())
    assert run["conclusion"] == "success", logs
    assert run["display_title"] == "train delay"
    assert [job["conclusion"] for job in jobs.values()] == ["success"] * 3
    assert jobs["train"]["labels"] == ["self-hosted", "gpu"]
    assert (jobs["admit"]["runner_name"], jobs["train"]["runner_name"]) == ("Hosted 1", "gpu-1")
    assert [step["conclusion"] for step in jobs["admit"]["steps"]] == ["success"] * 3
    assert "train was success" in log_of(sandbox, jobs["publish"])
    assert "hunter2" not in logs
    folder = sandbox.state.root / "runs" / str(run_id)
    assert (folder / "1-admit" / "summary.md").read_text() == "summary of delay\n"
    tools = {
        key: next(line for line in log_of(sandbox, jobs[key]).splitlines() if "tools " in line).split("tools ")[1]
        for key in ("admit", "train")
    }
    assert tools["admit"] != tools["train"]
    assert not list(Path(folder).rglob("secrets"))
    token = (folder / "artifacts/docs/token").read_text()
    assert sandbox.state.get("token", "", token) is None


def test_a_newer_run_cancels_and_always_jobs_still_run(sandbox: Sandbox, repo: str, dispatcher: Dispatcher) -> None:
    commit_workflow(sandbox, repo)
    dispatcher.set_secret(repo, "KEY", "x")
    first = dispatch(sandbox, repo, model="delay", fail="yes")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and jobs_of(sandbox, repo, first).get("train", {}).get("status") != "in_progress":
        time.sleep(0.05)
    second = dispatch(sandbox, repo, model="delay")
    assert dispatcher.wait_idle(90)
    assert run_of(sandbox, repo, first)["conclusion"] == "cancelled"
    jobs = jobs_of(sandbox, repo, first)
    assert (jobs["train"]["conclusion"], jobs["publish"]["conclusion"]) == ("cancelled", "success")
    assert "train was cancelled" in log_of(sandbox, jobs["publish"])
    assert run_of(sandbox, repo, second)["conclusion"] == "success"
    dispatcher.rerun(repo, second)
    assert dispatcher.wait_idle(90)
    assert run_of(sandbox, repo, second)["attempt"] == 2
    assert len(jobs_of(sandbox, repo, second, 2)) == 3


def test_unknown_labels_wait_and_what_workflow_tokens_do_starts_nothing(
    sandbox: Sandbox, repo: str, dispatcher: Dispatcher
) -> None:
    job = "{runs-on: [self-hosted, tpu], steps: [{run: 'true', shell: bash}]}"
    text = f"on: {{push: {{branches: [main]}}}}\njobs: {{a: {job}}}\n"
    commit_workflow(sandbox, repo, text, "push.yml")
    time.sleep(0.2)
    assert dispatcher.wait_idle(10)
    runs = sandbox.state.list("run", repo)
    assert [run["status"] for run in runs] == ["queued"]
    assert [job["status"] for job in jobs_of(sandbox, repo, runs[0]["id"]).values()] == ["queued"]
    sandbox.hub.commit_folder(
        repo, "main", {"x": b"1"}, "by a job", {"login": "github-actions[bot]", "kind": "workflow"}
    )
    assert dispatcher.wait_idle(10)
    assert len(sandbox.state.list("run", repo)) == 1
    dispatcher.cancel(repo, runs[0]["id"])
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and run_of(sandbox, repo, runs[0]["id"])["status"] != "completed":
        time.sleep(0.05)
    assert run_of(sandbox, repo, runs[0]["id"])["conclusion"] == "cancelled"
    assert json.dumps(run_of(sandbox, repo, runs[0]["id"]))
