"""Trackside's own proposal to retrain, planned, admitted and published over HTTP: what it may, and nobody else."""

from __future__ import annotations

import msgspec
import pytest
from test_plan_stage import ADA, NEW_LR, Place, dispatch, place, policy
from test_report_publish import Scene

from conftest import user
from report_samples import baseline, better
from trackside.documents.codec import dump
from trackside.documents.run import Comparison, Metric
from trackside.plan.admit import admit
from trackside.sandbox.server import Sandbox

BRANCH = "trackside/retrain/delay"
BOT = "github-actions[bot]"
__all__ = ["place"]


@pytest.mark.parametrize("start", ["command", "label", "pull_request"])
def test_it_trains_whatever_starts_others(place: Place, start: str) -> None:
    place.commit("main", policy(f"train: {{on: {start}}}\n"))
    waits = {"command": "command_only", "label": "label_missing", "pull_request": ""}[start]
    other = place.plan(place.pull("trackside/retrain/other", dict(NEW_LR)))
    assert other.training == ([] if waits else ["delay"])
    assert not waits or other.plan.models[0].reason_code == waits
    assert place.plan(place.pull(BRANCH)).training == ["delay"]


def test_a_fork_with_its_branch_name_starts_nothing(place: Place) -> None:
    fork = place.sandbox.seed.fork(place.repo, "mallory")
    mallory = user("mallory")
    place.sandbox.hub.commit_folder(fork, BRANCH, dict(NEW_LR), "gift", mallory)
    number = place.sandbox.hub.open_pull(place.repo, title="G", head=f"mallory:{BRANCH}", base="main", actor=mallory)
    planned = place.plan(number)
    assert (planned.training, planned.plan.models[0].reason_code) == ([], "fork")


def test_only_its_admission_names_a_champion(place: Place) -> None:
    """The base's run is recorded by a pull request that changes nothing but the base's own values."""
    first = place.plan(place.pull("first"))
    place.record(first)
    place.sandbox.hub.merge_pull(place.repo, first.plan.subject.pull_request or 0, ADA)
    more: dict[str, bytes | None] = {"params.yaml": b"months: 3\ntrain: {lr: 0.7, depth: 4, unused: 1}\nseed: 7\n"}
    champions = {}
    for branch in (BRANCH, "topic", "trackside/retrain/other"):
        asked = dispatch(place.plan(place.pull(branch, more))).inputs
        made = admit(asked, place.ports(), actor=BOT)
        assert made.baseline_run == "0123456789ab", made.baseline_note
        champions[branch] = made.champion
        experiment = admit({**asked, "overrides": '{"train.lr": 0.9}', "input-digest": ""}, place.ports(), actor=BOT)
        assert (experiment.experiment, experiment.champion) == (True, "")
    assert champions == {BRANCH: "0123456789ab", "topic": "", "trackside/retrain/other": ""}


@pytest.mark.parametrize("admitted", [True, False])
def test_champion_figures_count_only_where_they_were_asked_for(sandbox: Sandbox, repo: str, admitted: bool) -> None:
    scene, old = Scene(sandbox, repo), baseline()
    forged = [Metric(name=one.name, value=0.0, file=one.file, direction=one.direction) for one in old.metrics]
    run = better(comparison=Comparison(baseline_run=old.id, rows=0, champion=forged))
    admission = msgspec.structs.replace(scene.admission, champion=old.id if admitted else "")
    published = scene.publish(dump(run), admission=admission)
    assert published.report is not None
    rows = {one.name: one.baseline for one in published.report.metrics if one.gated}
    assert (set(rows.values()) == {0.0}) == admitted
    assert ("judged anew" in published.comment) == admitted
