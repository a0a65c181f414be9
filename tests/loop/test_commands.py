"""Comment commands end to end: the shipped workflows, started by what people write."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from test_stops import waiting

from conftest import bot_forge
from loop_world import MODEL, POLICY, SOURCE, TRAIN, Repo, World, params, world
from trackside.documents.codec import load
from trackside.documents.result import Result
from trackside.forge.operations import CreateTag
from trackside.registry.tags import message, trailers
from trackside.report.marker import marker

__all__ = ["world"]
pytestmark = pytest.mark.act

COMMAND, RELEASE = ".github/workflows/command.yml", ".github/workflows/release.yml"
ASKED: dict[str, bytes | None] = {
    "trackside.yaml": POLICY.replace("train:\n", "train:\n  on: command\n").encode(),
    COMMAND: (SOURCE / "workflows/command.yml").read_bytes(),
}
BOT = "github-actions[bot]"


def say(repo: Repo, number: int, body: str, login: str = "ada", *, settle: bool = True) -> dict[str, Any]:
    """Somebody comments; returns the comment once all that follows has ended."""
    time.sleep(1.1)  # a push of this very second vouches for nothing
    made: dict[str, Any] = repo.hub.add_comment(repo.name, number, body, repo.person(login))
    if settle:
        repo.settle()
    return made


def reactions(repo: Repo, comment: Mapping[str, Any]) -> list[str]:
    docs = repo.state.list("reaction", repo.name, subject=f"comment/{comment['id']}")
    return [one["content"] for one in docs if one["user"] == BOT]


def ours(repo: Repo, number: int, begins: str) -> list[str]:
    found = [one["body"] for one in repo.comments(number) if one["user"] == BOT]
    return [one for one in found if one.startswith(begins)]


def result(repo: Repo, workflow: str = COMMAND) -> Result:
    """The document that the newest run of a workflow left."""
    run = repo.runs(workflow)[-1]
    folder: Path = repo.dispatcher.artifacts(run["id"]) / "trackside-result"
    (path,) = list(folder.rglob("result.json"))
    return load(Result, path.read_bytes())


def test_a_command_trains_what_waits_for_one(world: World) -> None:
    repo = world.repo(ASKED)
    number = repo.pull("asked", params(0.8))
    assert repo.check(number)["conclusion"] == "action_required"
    assert repo.runs(TRAIN) == []

    stranger = say(repo, number, "/train", "mallory")
    assert reactions(repo, stranger) == ["confused"], repo.logs()
    assert (result(repo).decision, result(repo).reason_code) == ("refused", "permission_missing")
    assert repo.runs(TRAIN) == []
    say(repo, number, "We could /train this.\n\n/train")
    refused, talk = repo.runs(COMMAND)  # our own reply started none
    assert repo.jobs(refused)["gate"]["conclusion"] == "success"
    assert repo.jobs(talk)["gate"]["conclusion"] == "skipped"

    asked = say(repo, number, "/train\n\nThanks!")
    assert reactions(repo, asked) == ["rocket"], repo.logs()
    assert result(repo).reason_code == "dispatched"
    assert repo.check(number)["conclusion"] == "success", repo.logs()
    record = repo.record(number)
    assert (record.status, record.trigger.actor, record.experiment) == ("succeeded", "ada", False)
    (report,) = ours(repo, number, marker(MODEL))
    assert "**Gate passed**" in report
    (trained,) = repo.runs(TRAIN)
    assert trained["inputs"]["comment"] == str(asked["id"])

    tried = say(repo, number, "/train quality=0.65")
    assert reactions(repo, tried) == ["rocket"], repo.logs()
    (experiment,) = ours(repo, number, marker(MODEL, experiment=True))
    assert "0.65" in experiment
    assert repo.check(number)["conclusion"] == "success", "an experiment decides nothing"
    wrong = say(repo, number, "/train qualty=0.65")
    assert reactions(repo, wrong) == ["confused"], repo.logs()
    assert any("did you mean" in one and "quality" in one for one in ours(repo, number, "<!-- trackside:reply"))
    again = say(repo, number, "/report")
    assert reactions(repo, again) == ["rocket"], repo.logs()
    assert len(repo.runs(TRAIN)) == 2
    assert len(ours(repo, number, marker(MODEL))) == 1
    print("7 comments, 2 training runs")


def test_cancel_stops_a_running_job(world: World, tmp_path: Path) -> None:
    repo = world.repo(ASKED)
    number = repo.pull("slow", params(0.8) | waiting(tmp_path / "never"))
    say(repo, number, "/train", settle=False)
    run = repo.training("the stage is at work")
    start = time.monotonic()
    comment = say(repo, number, "/cancel", settle=False)
    repo.until(lambda: repo.jobs(run)["train"]["conclusion"], 60)
    seconds = time.monotonic() - start
    repo.settle()
    assert repo.jobs(run)["train"]["conclusion"] == "cancelled", repo.logs()
    assert reactions(repo, comment) == ["rocket"]
    assert repo.check(number)["conclusion"] == "cancelled"
    assert repo.record(number).status == "cancelled"
    print(f"from /cancel to the end of the job: {seconds:.1f} s")
    assert seconds < 60


def test_stages_are_given_and_given_back(world: World) -> None:
    release = (SOURCE / "workflows/release.yml").read_text()
    dispatched = release[: release.index("  push:\n")] + release[release.index("  workflow_dispatch:\n") :]
    repo = world.repo({**ASKED, RELEASE: dispatched.encode()})  # what a push releases has a test of its own
    repo.hub.set_role(repo.name, "mia", "maintain")
    number = repo.hub.open_issue(repo.name, title="Stages", body="", actor=repo.person())["number"]
    commits = [repo.push("main", {"README.md": f"# {one}\n".encode()}) for one in range(2)]
    repo.settle()
    with bot_forge(world.sandbox, repo.name) as forge:
        for commit, version in zip(commits, ("1.0.0", "1.1.0"), strict=True):
            text = message(f"{MODEL} {version}", {"Run-Id": "r", "Statement-Sha256": "0" * 64})
            forge.apply([CreateTag(name=f"{MODEL}@v{version}", commit=commit, message=text)])
    bare = repo.hub.bare(repo.name)

    def stages() -> list[str]:
        return sorted(one.removeprefix("refs/tags/") for one in bare.refs("refs/tags/") if "#" in one)

    refused = say(repo, number, f"/promote {MODEL} staging")
    assert (reactions(repo, refused), stages()) == (["confused"], []), "ada may write, which is not enough"
    for version, tag in (("1.0.0", f"{MODEL}#staging#1"), ("1.1.0", f"{MODEL}#staging#2")):
        say(repo, number, f"/promote {MODEL}@v{version} staging", "mia")
        assert stages()[-1] == tag, repo.logs()
    early = say(repo, number, f"/promote {MODEL}@v1.1.0 staging", "mallory")
    assert reactions(repo, early) == ["confused"]
    back = say(repo, number, f"/rollback {MODEL} staging", "mia")
    assert reactions(repo, back) == ["rocket"], repo.logs()
    assert stages()[-1] == f"{MODEL}#staging#3"
    assert bare.git("rev-parse", f"refs/tags/{MODEL}#staging#3^{{commit}}").text.strip() == commits[0]
    found = trailers(bare.git("cat-file", "-p", f"refs/tags/{MODEL}#staging#3").text.partition("\n\n")[2])
    assert (found["Version"], found["Actor"], found["Comment"]) == ("1.0.0", "mia", str(back["id"]))
    assert found["Rolled-Back"] == "1.1.0"
    assert result(repo, RELEASE).reason_code == "rolled_back"
    gone = say(repo, number, f"/deprecate {MODEL}@v1.1.0 it's of the wrong year", "mia")
    assert reactions(repo, gone) == ["rocket"], repo.logs()
    assert result(repo, RELEASE).reason_code == "deprecated"
    text = bare.git("cat-file", "-p", f"refs/tags/{MODEL}@v1.1.0!#4").text
    assert trailers(text.partition("\n\n")[2])["Reason"] == "it's of the wrong year"
    shown = world.sandbox.state.list("deployment", repo.name, environment=f"{MODEL}/staging")
    states = [world.sandbox.hub.deployment_state(repo.name, one["id"]) for one in shown]
    assert states == ["inactive", "inactive", "success"]
    assert shown[-1]["payload"]["tag"] == f"{MODEL}#staging#3"
    calls = repo.calls(repo.runs(COMMAND)[-1], "gate")
    print(f"6 comments, 4 tags; the gate's last job made {len(calls)} API calls")
    assert len(calls) <= 8
