"""Metrics, parameters and data of two commits: Trackside in-process against `dvc metrics diff`, turn by turn."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import ROOT, Figure, figure, program, run_child

from trackside.report.diff import diff_commits
from trackside.system.process import Processes

TARGET = 5.0
ROUNDS = 7
SEEDS = 20
METRICS, PARAMS, INPUTS = 200, 200, 50
ENV = {
    **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
    "GIT_AUTHOR_NAME": "bench",
    "GIT_AUTHOR_EMAIL": "bench@example.test",
    "GIT_COMMITTER_NAME": "bench",
    "GIT_COMMITTER_EMAIL": "bench@example.test",
    "DVC_NO_ANALYTICS": "1",
    "DVC_TEST": "1",
    "PYTHONPATH": str(ROOT / "src"),
}
PROGRAM = (
    "import os, sys; from pathlib import Path; from trackside.report.diff import diff_commits; "
    "from trackside.system.process import Processes; "
    "sys.stdout.buffer.write(diff_commits(Path(sys.argv[1]), 'HEAD~1', 'HEAD', "
    "processes=Processes(dict(os.environ))).json())"
)


def project(folder: Path) -> None:
    """A repository whose last two commits differ in every metric, parameter and input."""
    for words in (["git", "init", "-q", "-b", "main"], [program("dvc"), "init", "-q"]):
        subprocess.run(words, cwd=folder, env=ENV, check=True, capture_output=True)
    deps = [{"path": f"data/part{index}.csv"} for index in range(INPUTS)]
    stage = {
        "cmd": "python train.py",
        "deps": [dep["path"] for dep in deps],
        "params": ["model"],
        "metrics": [{"metrics.json": {"cache": False}}],
    }
    (folder / "dvc.yaml").write_text(json.dumps({"stages": {"train": stage}}))
    for turn in (1, 2):
        (folder / "metrics.json").write_text(json.dumps({f"m{i}": (i + 1) / turn for i in range(METRICS)}))
        (folder / "params.yaml").write_text(json.dumps({"model": {f"p{i}": (i + 1) * turn for i in range(PARAMS)}}))
        lock = [{**dep, "md5": f"{turn}{index:031d}", "size": turn} for index, dep in enumerate(deps)]
        stages = {"train": {"cmd": "python train.py", "deps": lock}}
        (folder / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))
        for words in (["git", "add", "-A"], ["git", "commit", "-qm", f"turn {turn}"]):
            subprocess.run(words, cwd=folder, env=ENV, check=True, capture_output=True)


def measure(*, quick: bool) -> list[Figure]:
    """The two commands take turns, so that a busy machine hits both alike.

    Raises:
        RuntimeError: the differences are not those that were committed, or not those that DVC finds.
    """
    rounds, seeds = (1, 2) if quick else (ROUNDS, SEEDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project(folder)
        processes = Processes(ENV)
        dvc = [program("dvc"), "metrics", "diff", "--json", "HEAD~1", "HEAD"]

        def ours() -> bytes:
            return diff_commits(folder, "HEAD~1", "HEAD", processes=processes).json()

        check(json.loads(ours()), json.loads(run_child(dvc, cwd=folder, env=ENV).stdout)["metrics.json"])
        there, here = [], []
        for _ in range(rounds):
            there.append(run_child(dvc, cwd=folder, env=ENV).wall)
            started = time.perf_counter()
            ours()
            here.append(time.perf_counter() - started)
        texts = {
            run_child(
                [sys.executable, "-c", PROGRAM, folder], cwd=folder, env={**ENV, "PYTHONHASHSEED": str(seed)}
            ).stdout
            for seed in range(seeds)
        }
    ratio = statistics.median(there) / statistics.median(here)
    what = f"{METRICS} metrics, {PARAMS} parameters, {INPUTS} inputs"
    return [
        figure("`dvc metrics diff` of two commits, metrics alone, a process", there, "s"),
        figure("metric, parameter and data diff of them, in-process", here, "s", note=what),
        Figure(
            name="diff of two commits, times faster than `dvc metrics diff`",
            value=ratio,
            unit="×",
            bound=TARGET,
            higher=True,
        ),
        Figure(
            name=f"diff of two commits, different outputs over {seeds} hash seeds", value=len(texts), unit="", bound=1
        ),
    ]


def check(found: dict[str, list[dict[str, float]]], theirs: dict[str, dict[str, float]]) -> None:
    """Both found every difference, and the same ones."""
    counts = {key: len(rows) for key, rows in found.items()}
    if counts != {"metrics": METRICS, "params": PARAMS, "data": INPUTS}:
        raise RuntimeError(f"the two commits differ in {counts}")
    agreed = sum(abs(theirs[str(row["name"])]["diff"] - row["delta"]) < 1e-9 for row in found["metrics"])
    if agreed != METRICS:
        raise RuntimeError(f"only {agreed} of {METRICS} differences equal DVC's")
