"""Retraining by the shipped workflows through act: proposed, trained, judged beside the champion, merged, released."""

from __future__ import annotations

import pytest

from loop_world import SOURCE, World, executed, world

__all__ = ["world"]
pytestmark = pytest.mark.act

DRIFT, RELEASE = (f".github/workflows/{name}.yml" for name in ("drift", "release"))
BRANCH = "trackside/retrain/tiny"
POLICY = """\
version: 1
models:
  tiny:
    path: model.json
    metrics:
      accuracy: {file: metrics.json, direction: max, min: 0.6, tolerance: 0.01}
    predictions: {file: predictions.csv, label: label, score: score, id: id, slices: [group]}
    drift:
      reference: predictions.csv
      current: "production/{date}.csv"
      retrain: {params: {quality: 0.8}, auto-merge: true}
train:
  on: command
  runs-on: [self-hosted, gpu]
  timeout-minutes: 10
"""


def test_from_a_persons_wish_to_a_release(world: World) -> None:
    shipped = {path: (SOURCE / "workflows" / path.rpartition("/")[2]).read_bytes() for path in (DRIFT, RELEASE)}
    repo = world.repo({"trackside.yaml": POLICY.encode(), **shipped})
    hub = repo.hub
    hub.set_setting(repo.name, "actions_can_create_pull_requests", True)
    (champion,) = repo.records().values()  # the first push had nothing to register: it was trained, then released
    asked = repo.dispatcher.check_inputs(repo.name, DRIFT, "main", {"task": "retrain", "model": "tiny"})
    hub.dispatch(repo.name, DRIFT, "main", asked, repo.person())
    repo.settle()
    (pull,) = repo.state.list("pull", repo.name, head_ref=BRANCH)
    run = repo.record(pull["number"])
    assert executed(run) == ["train", "evaluate"], repo.logs()
    assert run.comparison is not None
    assert (run.comparison.baseline_run, run.comparison.rows) == (champion.id, 400)
    assert [(one.name, one.value) for one in run.comparison.champion] == [("accuracy", 0.7)]
    talk = [one["body"] for one in repo.comments(pull["number"])]
    assert any("judged anew on this run's data" in body for body in talk), talk
    assert repo.state.get("pull", repo.name, pull["number"])["merged"], repo.logs()
    tip = hub.bare(repo.name).sha("refs/heads/main")
    release = next(one for one in repo.runs(RELEASE) if one["display_title"] == f"register  {tip}")
    assert (release["event"], release["conclusion"]) == ("workflow_dispatch", "success"), repo.logs()
    tags = sorted(name.rpartition("/")[2] for name in hub.bare(repo.name).refs("refs/tags/"))
    assert tags == ["tiny@v1.0.0", "tiny@v1.0.1"], repo.logs()
    proposed = next(one for one in repo.runs(DRIFT) if one["event"] == "workflow_dispatch")
    calls = repo.calls(proposed, "retrain")
    print(f"{len(calls)} API calls to propose; tags {tags}")
    assert len(calls) <= 60
