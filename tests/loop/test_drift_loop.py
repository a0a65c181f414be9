"""The nightly check from the shipped workflow through act: verdict, issue, reports, and nothing new the second time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drift_world import Watched, rows, table_bytes
from loop_world import SOURCE, Repo, World, world
from trackside.documents.codec import load
from trackside.documents.verdict import Verdict

__all__ = ["world"]
pytestmark = pytest.mark.act

DRIFT = ".github/workflows/drift.yml"
MODULE = 'import pathlib\npathlib.Path("executed").write_text("by the check")\nraise SystemExit(99)\n'
POLICY = """\
version: 1
models:
  tiny:
    path: model.json
    drift:
      reference: eval/predictions.parquet
      current: "production/{date}.parquet"
      prediction: score
      label: label
      retrain: {after: 1}
"""


def dispatch(repo: Repo, **inputs: str) -> dict[str, Any]:
    """Run the workflow to its end; returns the run."""
    given = repo.dispatcher.check_inputs(repo.name, DRIFT, "main", {"task": "check", **inputs})
    repo.hub.dispatch(repo.name, DRIFT, "main", given, repo.person())
    repo.settle()
    return repo.runs(DRIFT)[-1]


def test_drift_is_found_told_and_kept(world: World, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    repo = world.repo(
        {
            DRIFT: (SOURCE / "workflows/drift.yml").read_bytes(),
            "trackside.yaml": POLICY.encode(),
            "production/2026-03-01.parquet": table_bytes(rows(rng, 2000)),
            "production/2026-03-02.parquet": table_bytes(rows(rng, 2000, shift=0.6)),
            "sitecustomize.py": MODULE.encode(),
            "pyarrow.py": MODULE.encode(),
            "production/sitecustomize.py": MODULE.encode(),
        }
    )
    place = Watched(world.sandbox, repo.name, tmp_path, policy=POLICY)
    place.start()
    place.release(model="tiny")

    calm = dispatch(repo, **{"as-of": "2026-03-01"})
    assert calm["conclusion"] == "success", repo.logs()
    assert place.verdict("2026-03-01", "tiny").verdict == "ok"
    assert place.issues() == []

    found = dispatch(repo, **{"as-of": "2026-03-02", "model": "tiny"})
    assert found["conclusion"] == "success", repo.logs()
    verdict = place.verdict("2026-03-02", "tiny")
    assert (verdict.verdict, verdict.streak, verdict.reference.version) == ("drift", 1, "1.0.0")
    assert verdict.workflow_run.endswith(f"/actions/runs/{found['id']}")
    (issue,) = place.issues("open")
    assert "temperature" in issue["body"]
    assert 'propose=["tiny"]' in repo.log(found, "check") or "tiny: drift" in repo.log(found, "check")
    calls = repo.calls(found, "check")
    print(f"{len(calls)} calls: {calls}")
    assert len(calls) <= 60
    assert repo.hub.bare(repo.name).file("trackside-data", "executed") is None

    tip, issues = repo.tip(), place.issues()
    again = dispatch(repo, **{"as-of": "2026-03-02", "model": "tiny"})
    assert again["conclusion"] == "success", repo.logs()
    assert (repo.tip(), place.issues()) == (tip, issues)

    missing = dispatch(repo, **{"as-of": "2026-03-03"})
    assert missing["conclusion"] == "failure"
    assert load(Verdict, repo.data()["drift/tiny/2026-03-03.json"]).reason_code == "current_missing"
    assert json.loads(repo.data()["heartbeat/drift.json"])["at"]


def test_the_schedule_checks_today(world: World, tmp_path: Path) -> None:
    """By cron there are no inputs: all models, and today's data (yesterday's or tomorrow's, should midnight pass)."""
    rng = np.random.default_rng(2)
    repo = world.repo({DRIFT: (SOURCE / "workflows/drift.yml").read_bytes(), "trackside.yaml": POLICY.encode()})
    place = Watched(world.sandbox, repo.name, tmp_path, policy=POLICY)
    place.start()
    place.release(model="tiny")
    data = table_bytes(rows(rng, 1000))
    today = datetime.now(UTC).date()
    near = [(today + timedelta(days=at)).isoformat() for at in (0, 1)]
    place.push({f"production/{day}.parquet": data for day in near})
    repo.hub.run_schedule(repo.name, DRIFT)
    repo.settle()
    (run,) = repo.runs(DRIFT)
    assert (run["event"], run["conclusion"]) == ("schedule", "success"), repo.logs()
    assert [place.verdict(day, "tiny").verdict for day in near if f"drift/tiny/{day}.json" in repo.data()] == ["ok"]
    assert repo.jobs(run)["retrain"]["conclusion"] == "skipped"
