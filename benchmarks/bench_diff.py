"""Metrics, parameters and data of two commits: Trackside in-process against `dvc metrics diff`, in one run.

Prints a table of medians and ratios; exits 1 when the target (5x) is missed or the bytes vary over 20 hash seeds.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from trackside.report.diff import diff_commits  # noqa: E402
from trackside.system.process import Processes  # noqa: E402

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
}
PROGRAM = (
    "import os, sys; from pathlib import Path; from trackside.report.diff import diff_commits; "
    "from trackside.system.process import Processes; "
    "sys.stdout.buffer.write(diff_commits(Path(sys.argv[1]), 'HEAD~1', 'HEAD', "
    "processes=Processes(dict(os.environ))).json())"
)


def dvc() -> str:
    """The `dvc` beside this Python, else the one on PATH."""
    beside = Path(sys.executable).with_name("dvc")
    return str(beside) if beside.exists() else "dvc"


def project(folder: Path) -> None:
    """A repository whose last two commits differ in every metric, parameter and input."""
    for words in (["git", "init", "-q", "-b", "main"], [dvc(), "init", "-q"]):
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


def median(action: Callable[[], object]) -> float:
    """Seconds, after one warm-up."""
    action()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project(folder)
        processes = Processes(ENV)

        def ours() -> bytes:
            return diff_commits(folder, "HEAD~1", "HEAD", processes=processes).json()

        def run(words: list[str], **more: str) -> bytes:
            env = {**ENV, "PYTHONPATH": str(ROOT / "src"), **more}
            return subprocess.run(words, cwd=folder, env=env, check=True, capture_output=True).stdout

        found = json.loads(ours())
        counts = {key: len(rows) for key, rows in found.items()}
        if counts != {"metrics": METRICS, "params": PARAMS, "data": INPUTS}:
            raise SystemExit(f"the two commits differ in {counts}")
        theirs = json.loads(run([dvc(), "metrics", "diff", "--json", "HEAD~1", "HEAD"]))["metrics.json"]
        agreed = sum(abs(theirs[row["name"]]["diff"] - row["delta"]) < 1e-9 for row in found["metrics"] if row["delta"])
        times = {
            "dvc metrics diff (metrics only)": median(
                lambda: run([dvc(), "metrics", "diff", "--json", "HEAD~1", "HEAD"])
            ),
            "trackside, a new process": median(lambda: run([sys.executable, "-c", PROGRAM, str(folder)])),
            "trackside, in-process": median(ours),
        }
        seeds = {run([sys.executable, "-c", PROGRAM, str(folder)], PYTHONHASHSEED=str(seed)) for seed in range(SEEDS)}
    base = times["dvc metrics diff (metrics only)"]
    print(f"| {METRICS} metrics, {PARAMS} parameters, {INPUTS} inputs | seconds | times faster |\n| --- | --- | --- |")
    for name, seconds in times.items():
        print(f"| {name} | {seconds:.3f} | {base / seconds:.1f} |")
    print(f"{agreed} of {METRICS} differences equal dvc's; {len(seeds)} output(s) over {SEEDS} hash seeds")
    ratio = base / times["trackside, in-process"]
    good = ratio >= TARGET and len(seeds) == 1 and agreed == METRICS
    print(f"target {TARGET:g}x: {'reached' if good else 'missed'} ({ratio:.1f}x)")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
