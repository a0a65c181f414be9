"""Training that does not end well: cancelled, failed, replaced by a newer push. The reviewer is told why."""

from __future__ import annotations

from pathlib import Path

import pytest

from loop_world import MODEL, PLAN, TRAIN, World, executed, params, world
from sandbox_client import Api

__all__ = ["world"]
pytestmark = pytest.mark.act

WAITS = """\
import pathlib, time
def run():
    print("the stage is at work", flush=True)
    while not pathlib.Path({flag!r}).exists():
        time.sleep(0.05)
"""
FAILS = """\
def run():
    for line in range(60):
        print("line", line, "of the stage")
    raise ArithmeticError("the loss is <b>infinite</b>, @everyone")
"""


def waiting(flag: Path) -> dict[str, bytes]:
    """A stage that waits until a file exists."""
    return {"hook.py": WAITS.format(flag=str(flag)).encode()}


def test_a_cancelled_run_is_recorded_and_a_re_run_finishes_it(world: World, tmp_path: Path) -> None:
    repo, flag = world.repo(), tmp_path / "go"
    number = repo.open("slow", params(0.8) | waiting(flag))
    run = repo.training("the stage is at work")
    (queued,) = repo.checks(repo.head(number))
    assert (queued["status"], queued["conclusion"]) == ("in_progress", None)
    assert f"[training run]({world.sandbox.url}/{repo.name}/actions/runs/{run['id']})" in repo.comment(number)

    # The training job's own token, used while it lives: it reads and nothing else.
    (token,) = [one for one in repo.state.list("token", "") if one.get("run_id") == run["id"]]
    assert token["job"] == "train"
    assert token["permissions"] == {"contents": "read", "metadata": "read"}
    job = Api(world.sandbox, repo.name, token["token"])
    tries = {
        f"/issues/{number}/comments": {"body": "forged"},
        "/check-runs": {"name": f"trackside / {MODEL}", "head_sha": repo.head(number), "conclusion": "success"},
        "/git/refs": {"ref": "refs/heads/forged", "sha": repo.head(number)},
        f"/actions/runs/{run['id']}/cancel": {},
    }
    refused = [job("POST", path, body).status_code for path, body in tries.items()]
    assert refused == [403] * len(tries)

    repo.dispatcher.cancel(repo.name, run["id"])
    repo.settle()
    jobs = repo.jobs(run)
    assert (jobs["train"]["conclusion"], jobs["publish"]["conclusion"]) == ("cancelled", "success"), repo.logs()
    record, check = repo.record(number), repo.check(number)
    assert record.status == "cancelled"
    assert check["conclusion"] == "cancelled"
    assert "cancelled" in repo.comment(number)
    assert repo.pointers() == {}

    flag.touch()
    repo.dispatcher.rerun(repo.name, run["id"])
    repo.settle()
    assert repo.record(number).status == "succeeded", repo.logs()
    assert executed(repo.record(number)) == ["train", "evaluate"]
    assert repo.check(number)["conclusion"] == "success"
    assert "**Gate passed**" in repo.comment(number)
    assert len(repo.pointers()) == 1
    print(f"1 cancelled run, {len(tries)} writes refused to its token, 1 re-run")


def test_a_failing_stage_shows_its_last_lines(world: World) -> None:
    repo = world.repo()
    number = repo.pull("broken", params(0.8) | {"hook.py": FAILS.encode()})
    (run,) = repo.runs(TRAIN)
    jobs, log = repo.jobs(run), repo.log(run, "train")
    assert (jobs["train"]["conclusion"], jobs["publish"]["conclusion"]) == ("failure", "success"), repo.logs()
    assert "exit status 5" in log or "exit code 5" in log
    record, body = repo.record(number), repo.comment(number)
    assert (record.status, record.reason_code) == ("failed", "stage_failed")
    assert "line 59 of the stage" in record.log_tail
    assert "line 59 of the stage" in body
    assert "ArithmeticError" in body
    assert repo.check(number)["conclusion"] == "failure"
    assert repo.pointers() == {}
    print("1 failing stage")


def test_a_newer_push_cancels_the_older_run(world: World, tmp_path: Path) -> None:
    repo, flag = world.repo(), tmp_path / "never"
    number = repo.open("busy", params(0.8) | waiting(flag))
    older, old_head = repo.training("the stage is at work"), repo.head(number)
    repo.push("busy", params(0.9) | {"hook.py": b"def run():\n    pass\n"})
    repo.settle()
    old, new = repo.runs(TRAIN)
    assert (old["id"], old["conclusion"], new["conclusion"]) == (older["id"], "cancelled", "success"), repo.logs()
    record = repo.record(number)
    assert (record.status, record.params) == ("succeeded", {"quality": 0.9})
    assert repo.check(number)["conclusion"] == "success"
    body = repo.comment(number)
    assert "**Gate passed**" in body
    assert repo.head(number)[:7] in body
    statuses = {one.source.head_commit: one.status for one in repo.records().values()}
    assert statuses == {old_head: "cancelled", repo.head(number): "succeeded"}
    assert all(one["conclusion"] in (None, "cancelled") for one in repo.checks(old_head))
    print("1 newer push")


def test_a_plan_that_was_killed_is_finished_by_a_re_run(world: World) -> None:
    repo = world.repo()
    number = repo.open("again", params(0.8))
    plan = repo.until(lambda: next(iter(repo.runs(PLAN)), None))
    repo.until(lambda: any(one["status"] == "in_progress" for one in repo.jobs(plan).values()))
    repo.dispatcher.cancel(repo.name, plan["id"])
    repo.settle()
    assert repo.runs(PLAN)[0]["conclusion"] == "cancelled"
    repo.dispatcher.rerun(repo.name, plan["id"])
    repo.settle()
    assert len(repo.runs(TRAIN)) == 1, repo.logs()
    assert repo.check(number)["conclusion"] == "success", repo.logs()
    assert len(repo.comments(number)) == 1
    assert executed(repo.record(number)) == ["train", "evaluate"]
