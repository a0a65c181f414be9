"""The workflows that docs/default-action.md shows, run by act: every stage by the one default action."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from loop_world import MODEL, PLAN, SECRET, TRAIN, World, executed, params, world

__all__ = ["world"]
pytestmark = pytest.mark.act

PAGE = Path(__file__).resolve().parents[2] / "docs/default-action.md"
COMBINED = """\
name: combined
on: workflow_dispatch
permissions: {contents: read}
jobs:
  all:
    runs-on: [self-hosted, gpu]
    steps:
      - uses: trackside-ml/trackside@PIN
        with: {stage: train, phase: record}
        continue-on-error: true
      - uses: trackside-ml/trackside@PIN
        id: second
        with: {stage: report}
"""


def shown() -> tuple[bytes, bytes]:
    plan, train = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for text in (plan, train):
        for job in yaml.safe_load(text)["jobs"].values():
            own = [step for step in job["steps"] if step.get("uses", "").startswith("trackside-ml/trackside")]
            assert len(own) == 1, "one stage a job"
    return plan.encode(), train.encode()


def test_the_workflows_of_the_docs_train_and_report(world: World) -> None:
    plan, train = shown()
    repo = world.repo({PLAN: plan, TRAIN: train})
    base = repo.train_main()
    assert executed(base) == ["train", "evaluate"]
    number = repo.pull("better", params(0.8))
    assert {one["conclusion"] for one in repo.runs()} == {"success"}, repo.logs()
    check, run = repo.check(number), repo.record(number)
    assert (check["name"], check["conclusion"]) == (f"trackside / {MODEL}", "success")
    assert "**Gate passed**" in repo.comment(number)
    assert executed(run) == ["train", "evaluate"]
    for one in repo.runs():
        for key in repo.jobs(one):
            assert SECRET not in repo.log(one, key)


def test_a_job_that_trains_and_publishes_is_refused(world: World) -> None:
    pin = re.search(rb"trackside-ml/trackside@(\w+)", shown()[0])
    assert pin
    path = ".github/workflows/combined.yml"
    repo = world.repo({path: COMBINED.replace("PIN", pin[1].decode()).encode()})
    repo.hub.dispatch(repo.name, path, "main", {}, repo.person())
    repo.settle()
    (run,) = repo.runs(path)
    assert run["conclusion"] == "failure"
    log = repo.log(run, "all")
    assert "may not run in a job that trains" in log, log[-3000:]
    assert not [call for call in repo.calls(run, "all") if call[0] != "GET"], "nothing was written"
