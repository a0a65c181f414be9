"""A pull request becomes a training run and a report: the shipped workflows and actions, run by act."""

from __future__ import annotations

import pytest

from loop_world import MODEL, PLAN, TRAIN, World, executed, params, world
from trackside.report.marker import marker

__all__ = ["world"]
pytestmark = pytest.mark.act


def test_an_improving_pull_request_is_trained_reported_and_recorded(world: World) -> None:
    repo = world.repo()
    base = repo.train_main()
    assert (base.status, executed(base)) == ("succeeded", ["train", "evaluate"])
    number = repo.pull("better", params(0.8))

    body, check, run = repo.comment(number), repo.check(number), repo.record(number)
    assert body.startswith(marker(MODEL))
    assert "**Gate passed**" in body
    assert "`accuracy`" in body
    assert "0.8" in body
    assert "0.7" in body
    assert (check["name"], check["conclusion"]) == (f"trackside / {MODEL}", "success")
    assert check["external_id"] == f"trackside:{MODEL}:{run.input_digest}"
    assert (run.status, executed(run)) == ("succeeded", ["train", "evaluate"])
    assert {one.name: one.value for one in run.metrics}["accuracy"] == pytest.approx(0.8, abs=0.02)
    assert run.source.pull_request == number
    assert run.params == {"quality": 0.8}
    pointer = repo.pointers()[f"inputs/{MODEL}/{run.input_digest.removeprefix('sha256:')}.json"]
    assert (pointer.run, pointer.input_digest) == (run.id, run.input_digest)
    assert len(repo.records()) == len(repo.pointers()) == 2

    runs = repo.runs()
    assert [(one["workflow_path"], one["conclusion"]) for one in runs] == [
        (TRAIN, "success"),
        (PLAN, "success"),
        (TRAIN, "success"),
    ]
    jobs = repo.jobs(runs[2])
    assert {key: job["runner_name"] for key, job in jobs.items()} == {
        "admit": "Hosted 1",
        "train": "gpu-1",
        "publish": "Hosted 1",
    }
    # Only plan and publish write.
    writes = {
        key: [one for one in repo.calls(run_, key) if one[0] != "GET"]
        for run_, key in ((runs[1], "plan"), *((runs[2], key) for key in jobs))
    }
    assert not writes["admit"]
    assert not writes["train"]
    assert writes["plan"]
    assert writes["publish"]
    print(f"1 improving pull request: {len(writes['plan'])} + {len(writes['publish'])} writes")
