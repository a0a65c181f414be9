"""A pull request becomes a training run and a report: the shipped workflows and actions, run by act."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from attestation import parsed
from loop_world import DVC_YAML, MODEL, MOST_CALLS, MOST_WRITES, PLAN, TRAIN, Repo, World, executed, params, world
from trackside.documents.run import Run
from trackside.report.marker import marker
from trackside.train.provenance import statement

__all__ = ["world"]
pytestmark = pytest.mark.act


class Trained(NamedTuple):
    """A repository whose `main` is trained, and a pull request that improves the model."""

    repo: Repo
    base: Run
    number: int
    plan: Mapping[str, Any]
    train: Mapping[str, Any]


@pytest.fixture(scope="module")
def trained(world: World) -> Trained:
    repo = world.repo()
    base = repo.train_main()
    number = repo.pull("better", params(0.8))
    first, plan, train = repo.runs()
    assert [one["workflow_path"] for one in (first, plan, train)] == [TRAIN, PLAN, TRAIN], repo.logs()
    assert {one["conclusion"] for one in (first, plan, train)} == {"success"}, repo.logs()
    return Trained(repo, base, number, plan, train)


def test_an_improving_pull_request_is_trained_reported_and_recorded(trained: Trained) -> None:
    repo, base, number = trained.repo, trained.base, trained.number
    assert (base.status, executed(base)) == ("succeeded", ["train", "evaluate"])
    body, check, run = repo.comment(number), repo.check(number), repo.record(number)
    assert body.startswith(marker(MODEL))
    for word in ("**Gate passed**", "`accuracy`", "0.8", "0.7"):
        assert word in body
    assert (check["name"], check["conclusion"]) == (f"trackside / {MODEL}", "success")
    assert check["external_id"] == f"trackside:{MODEL}:{run.input_digest}"
    assert (run.status, executed(run)) == ("succeeded", ["train", "evaluate"])
    assert {one.name: one.value for one in run.metrics}["accuracy"] == pytest.approx(0.8, abs=0.02)
    assert run.source.pull_request == number
    assert run.params == {"quality": 0.8}
    pointer = repo.pointers()[f"inputs/{MODEL}/{run.input_digest.removeprefix('sha256:')}.json"]
    assert (pointer.run, pointer.input_digest) == (run.id, run.input_digest)
    assert len(repo.records()) == len(repo.pointers()) == 2

    exported, provenance = parsed(statement(run, server=repo.world.sandbox.url))
    assert {one.name for one in exported.subject} == {one.path for one in run.artifacts}
    assert provenance.run_details.metadata.invocation_id.endswith(f"/actions/runs/{trained.train['id']}/attempts/1")
    materials = {one.name: dict(one.digest) for one in provenance.build_definition.resolved_dependencies}
    assert materials["source"] == {"gitCommit": run.source.commit}
    assert {one.path for one in run.dependencies} <= set(materials)
    jobs = repo.jobs(trained.train)
    assert {key: job["runner_name"] for key, job in jobs.items()} == {
        "admit": "Hosted 1",
        "train": "gpu-1",
        "publish": "Hosted 1",
    }
    ran = {"plan": trained.plan} | dict.fromkeys(jobs, trained.train)
    spent = {key: repo.calls_by_job().get((run["id"], key), (0, 0)) for key, run in ran.items()}
    print(f"1 improving pull request: API calls and writes {spent}")
    assert (spent["admit"][1], spent["train"]) == (0, (0, 0))
    for key in ("plan", "publish"):
        assert 3 <= spent[key][1] <= MOST_WRITES
    for key in ("plan", "admit", "publish"):
        assert 3 <= spent[key][0] <= MOST_CALLS


def test_what_needs_no_training_is_green_with_nothing_executed(trained: Trained) -> None:
    repo = trained.repo
    trainings, tip = len(repo.runs(TRAIN)), repo.tip()
    words = repo.pull("words", {"README.md": b"# tiny, and well described\n"})
    assert repo.comments(words) == []
    assert repo.check(words)["conclusion"] == "success"
    again = repo.pull("again", params(0.8) | {"README.md": b"# the same inputs\n"})
    check, body = repo.check(again), repo.comment(again)
    assert check["conclusion"] == "success"
    assert "**Gate passed**" in body
    assert "nothing was executed" in body
    assert len(repo.runs(TRAIN)) == trainings
    assert repo.tip() == tip
    group = repo.hub.enqueue(repo.name, again, repo.person())
    repo.settle()
    (queued,) = repo.checks(group)
    assert (queued["status"], queued["conclusion"]) == ("completed", "success")
    assert len(repo.runs(TRAIN)) == trainings
    print("3 events without training: README alone, inputs answered, merge group")


@pytest.mark.parametrize("which", ["plan", "train"])
def test_a_re_run_changes_nothing(trained: Trained, which: str) -> None:
    repo, number = trained.repo, trained.number
    before, tip, data = repo.state_of(number), repo.tip(), repo.data()
    trainings = len(repo.runs(TRAIN))
    again = trained.plan if which == "plan" else trained.train
    repo.dispatcher.rerun(repo.name, again["id"])
    repo.settle()
    jobs = repo.jobs(again)
    assert {job["conclusion"] for job in jobs.values()} == {"success"}, repo.logs()
    assert {job["attempt"] for job in jobs.values()} == {2}
    assert repo.state_of(number) == before
    assert repo.data().keys() == data.keys()
    assert len(repo.runs(TRAIN)) == trainings
    assert repo.data() == data
    assert repo.tip() == tip
    print(f"{len(jobs)} jobs of the {which} run again")


def test_two_models_have_a_comment_and_a_check_each(world: World) -> None:
    policy = (
        "version: 1\nmodels:\n"
        "  first:\n    path: model.json\n    stages: [train, evaluate]\n"
        "    metrics: {accuracy: {file: metrics.json, direction: max, min: 0.6}}\n"
        "  second:\n    path: second.json\n    stages: [second]\n"
        "    metrics: {size: {file: size.json, direction: min, max: 10}}\n"
        "train: {runs-on: [self-hosted, gpu], timeout-minutes: 10}\n"
    )
    stage = (
        "  second:\n    cmd: python second.py\n    deps: [second.py]\n    params: [quality]\n"
        "    outs: [second.json]\n    metrics:\n      - size.json: {cache: false}\n"
    )
    code = (
        "import pathlib, re\n"
        'share = float(re.search(r"quality: (\\S+)", pathlib.Path("params.yaml").read_text())[1])\n'
        'pathlib.Path("second.json").write_text("{}")\n'
        'pathlib.Path("size.json").write_text(\'{"size": %d}\' % (share * 100))\n'
    )
    repo = world.repo(
        {"trackside.yaml": policy.encode(), "dvc.yaml": (DVC_YAML + stage).encode(), "second.py": code.encode()}
    )
    number = repo.pull("both", params(0.8))
    bodies = sorted(one["body"] for one in repo.comments(number))
    assert [body.split("\n")[0] for body in bodies] == [marker("first"), marker("second")], repo.logs()
    assert "**Gate passed**" in bodies[0]
    assert "**Gate failed**" in bodies[1]
    checks = {one["name"]: one["conclusion"] for one in repo.checks(repo.head(number))}
    assert checks == {"trackside / first": "success", "trackside / second": "failure"}
    assert [executed(repo.record(number, name)) for name in ("first", "second")] == [["train", "evaluate"], ["second"]]
    assert len(repo.runs(TRAIN)) == len(bodies) == 2
    print("2 models: 2 comments, 2 checks, 2 records")
