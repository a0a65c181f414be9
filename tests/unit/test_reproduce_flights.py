"""The sample project, reproduced bit by bit: its own code, lock and raw data, with ten trees instead of sixty."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from reproduce_samples import Bench, store
from train_samples import OUTSIDE, Lab

from trackside.config.load import load as load_config
from trackside.documents.codec import dump
from trackside.documents.run import Dependency
from trackside.plan.digest import sha256
from trackside.train import venv

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples/flights"
CACHE = ROOT / "build/test-cache/reproduce"
"""Keeps the environment and the raw data between runs: to install takes a minute, and digests name both."""
FEW_TREES = {"train.iterations": 10}
OWN = {name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}


@pytest.mark.net
def test_the_sample_project_is_bit_identical(tmp_path: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=SAMPLE, capture_output=True, check=True).stdout.decode()
    origin = tmp_path / "origin"
    OUTSIDE.run(["git", "init", "-q", "-b", "main", origin])
    for name in filter(None, listed.split("\0")):
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        (origin / name).write_bytes((SAMPLE / name).read_bytes())
    OUTSIDE.run(["git", "-C", origin, "add", "-A"])
    OUTSIDE.run(["git", "-C", origin, "commit", "-q", "-m", "start"])
    config = load_config((SAMPLE / "trackside.yaml").read_text())
    fields = {"model": config.models[0], "train": config.train, "envs": CACHE / "trackside/envs", "dvc_config": ""}
    lab = Lab.clone(origin, tmp_path, overrides=FEW_TREES, timeout_seconds=900.0, **fields)
    lab.env |= OWN
    store(lab.job.workspace / ".dvc/cache", raw_data(lab.env))
    run = lab.train()
    assert run.status == "succeeded", run.log_tail
    OUTSIDE.run(["git", "-C", lab.job.workspace, "checkout", "-q", ".dvc/config"])
    (tmp_path / "run.json").write_bytes(dump(run))
    env = {name: lab.env[name] for name in ("PATH", "HOME", "LANG", *OWN)} | {"XDG_CACHE_HOME": str(CACHE)}
    code, made = Bench(root=tmp_path, origin=origin, env=env).reproduce()
    assert (code, made.verdict, made.restoration.differences) == (0, "identical", [])
    assert [(one.name, one.outcome, one.same) for one in made.stages] == [
        (name, "executed", True) for name in ("prepare", "train", "evaluate")
    ]
    assert {one.path for one in made.outputs} >= {"models/delay.skops", "eval/predictions.parquet", "metrics.json"}
    assert {one.status for one in (*made.outputs, *made.metrics)} == {"identical"}
    assert made.restoration.overrides == FEW_TREES
    assert made.restoration.seeds == {"train.seed": 2013}
    assert made.restoration.packages == "from requirements.txt, as locked"
    assert [(one.path, one.size) for one in made.restoration.data] == [("data/flights.csv", 12_735_563)]


def raw_data(env: dict[str, str]) -> bytes:
    """`data/flights.csv`, made with the sample's own environment."""
    pointer = yaml.safe_load((SAMPLE / "data/flights.csv.dvc").read_text())
    kept = CACHE / f"{pointer['outs'][0]['md5']}.csv"
    if not kept.exists():

        def run(words: Sequence[str | Path], _folders: Sequence[Path]) -> None:
            OUTSIDE.run(words, env=env)

        lock = Dependency(
            path="requirements.txt", kind="lock", digest=sha256((SAMPLE / "requirements.txt").read_bytes())
        )
        name = venv.key([lock], ".".join(map(str, sys.version_info[:3])))
        folder = venv.make(
            CACHE / "trackside/envs", name, lock.path, workspace=SAMPLE, env=env, processes=OUTSIDE, run=run
        )
        fetch = f"from pathlib import Path; from flights.fetch import main; main(Path({str(kept)!r} + '.new'))"
        OUTSIDE.run([folder / "python", "-c", fetch], env={**env, "PYTHONPATH": str(SAMPLE / "src")})
        Path(f"{kept}.new").rename(kept)
    return kept.read_bytes()
