"""A merge becomes a release: the shipped workflows, run by act."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loop_world import MODEL, SOURCE, TRAIN, Repo, World, executed, params, world
from trackside.documents.codec import load
from trackside.documents.release import Release
from trackside.sandbox.attesting import authority
from trackside.sandbox.signing import ROOT
from verify_world import GIT, git

__all__ = ["world"]
pytestmark = pytest.mark.act

RELEASE = ".github/workflows/release.yml"


@pytest.fixture(scope="module")
def repo(world: World) -> Repo:
    """A repository that releases; the push of the project itself trains and releases 1.0.0."""
    text = (SOURCE / "workflows/release.yml").read_text()
    registering = text.partition("\n  # Runs the service")[0]  # images and stages have tests of their own
    return world.repo({RELEASE: registering.encode()})


def releases(repo: Repo) -> list[Release]:
    found = (load(Release, raw) for path, raw in repo.data().items() if path.startswith(f"releases/{MODEL}/"))
    return sorted(found, key=lambda one: one.version)


def jobs(repo: Repo, run: dict[str, Any]) -> dict[str, Any]:
    return {key: job["conclusion"] for key, job in repo.jobs(run).items() if job["conclusion"] != "skipped"}


def test_a_push_without_a_run_trains_first_and_is_released_once(repo: Repo) -> None:
    titles = [(one["workflow_path"], one["conclusion"]) for one in repo.runs()]
    assert titles == [(RELEASE, "success"), (TRAIN, "success"), (RELEASE, "success")], repo.logs()
    (first,) = releases(repo)
    assert (first.tag, first.state) == (f"{MODEL}@v1.0.0", "published")
    assert first.commit == repo.hub.default_tip(repo.name)[1]
    (run,) = repo.records().values()
    assert first.run == run.id
    assert executed(run) == ["train", "evaluate"]


def test_a_trained_pull_request_is_merged_and_released_without_training(repo: Repo) -> None:
    number = repo.pull("better", params(0.8))
    trained, trainings = repo.record(number), len(repo.runs(TRAIN))
    repo.hub.add_labels(repo.name, number, ["release:minor"], repo.person())
    repo.hub.merge_pull(repo.name, number, repo.person())
    repo.settle()
    newest = repo.runs(RELEASE)[-1]
    assert jobs(repo, newest) == {"register": "success", "attest": "success"}, repo.logs()
    assert len(repo.runs(TRAIN)) == trainings
    release = releases(repo)[-1]
    assert (release.tag, release.run, release.pull_request) == (f"{MODEL}@v1.1.0", trained.id, number)
    pages = {one["tag_name"]: one for one in repo.state.list("release", repo.name)}
    page = pages[release.tag]
    assert page["draft"] is False
    for words in ("accuracy", "0.700", "0.800", "+0.100", f"#{number}"):
        assert words in page["body"]
    calls = repo.calls(newest, "register")
    writes = [one for one in calls if one[0] != "GET"]
    print(f"0 stages executed, {len(calls)} API calls, {len(writes)} of them writes")
    assert len(calls) <= 12
    assert len(writes) <= 10
    before, tip = repo.data(), repo.tip()
    repo.dispatcher.rerun(repo.name, newest["id"])
    repo.settle()
    assert jobs(repo, newest) == {"register": "success", "attest": "success"}, repo.logs()
    assert "register: done (released)" in repo.log(newest, "register")  # the jobs after it run again, too
    assert (repo.data(), repo.tip()) == (before, tip)
    assert len(repo.state.list("release", repo.name)) == 2


def test_a_merge_that_changes_no_model_makes_no_version(repo: Repo) -> None:
    before = releases(repo)
    repo.push("main", {"README.md": b"# other words\n"})
    repo.settle()
    newest = repo.runs(RELEASE)[-1]
    assert jobs(repo, newest) == {"register": "success"}, repo.logs()
    assert "model_unchanged" in repo.log(newest, "register")
    assert releases(repo) == before


def test_whoever_clones_it_verifies_what_the_workflow_signed(repo: Repo, tmp_path: Path) -> None:
    """Every link of both versions, from the signature to the digests of the data, by the real command."""
    git(tmp_path, "clone", "--quiet", f"{repo.world.sandbox.url}/{repo.name}", "clone")
    token = repo.world.sandbox.seed.job_token(repo.name, {"contents": "read", "attestations": "read"})
    env = {
        **GIT,
        "GITHUB_API_URL": repo.world.sandbox.api_url,
        "GITHUB_SERVER_URL": repo.world.sandbox.url,
        "GITHUB_TOKEN": token,
        "TRACKSIDE_TRUSTED_ROOT": str(authority(repo.state.root).folder / ROOT),
    }
    for release in releases(repo):
        words = [sys.executable, "-m", "trackside", "models", "verify", release.tag, "--signed", "--json"]
        done = subprocess.run(words, cwd=tmp_path / "clone", env=env, capture_output=True, text=True)
        said = json.loads(done.stdout)
        wrong = [one for one in said["checks"] if one["state"] != "ok"]
        assert (done.returncode, said["verified"], wrong) == (0, True, []), done.stderr
        signature = next(one for one in said["checks"] if one["name"] == "signature")
        assert signature["detail"].startswith(f"{repo.world.sandbox.url}/{repo.name}/{RELEASE}@refs/heads/main")
