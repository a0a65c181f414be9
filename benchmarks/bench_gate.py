"""The model file gate: the scan of a forest of 100 trees grown to their ends, as pickle and joblib write it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import Figure, figure, repeat

from trackside.trust.gate import scan

TARGET = 0.2
ROUNDS = 11
LIBRARY = "scikit-learn==1.9.1"
FILES = {"pickle": "forest.pkl", "joblib": "forest.joblib", "joblib, compressed": "forest.z.joblib"}
GROW = """
import pickle, joblib, numpy as np
from sklearn.ensemble import RandomForestClassifier
x = np.random.default_rng(7).normal(size=(2000, 10))
forest = RandomForestClassifier(100, random_state=0).fit(x, x.sum(axis=1) > 0)
assert len(forest.estimators_) == 100
pickle.dump(forest, open("forest.pkl", "wb"))
joblib.dump(forest, "forest.joblib")
joblib.dump(forest, "forest.z.joblib", compress=3)
"""


def measure(*, quick: bool) -> list[Figure]:
    """Wall seconds in a process that runs already; scikit-learn only grows the forest, in its own environment."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        uv = Path(sys.executable).with_name("uv")
        words = [
            uv,
            "run",
            "--quiet",
            "--no-project",
            "--python",
            sys.executable,
            "--with",
            LIBRARY,
            "python",
            "-c",
            GROW,
        ]
        subprocess.run([str(word) for word in words], cwd=folder, check=True)
        return [_scanned(kind, folder / file, 1 if quick else ROUNDS) for kind, file in FILES.items()]


def _scanned(kind: str, path: Path, rounds: int) -> Figure:
    def once() -> float:
        started = time.perf_counter()
        found = scan(path)
        took = time.perf_counter() - started
        assert found.safe, found
        assert found.pickles, found
        return took

    note = f"{path.stat().st_size / 1e6:.2f} MB"
    return figure(f"scan of a forest of 100 trees, {kind}", repeat(once, rounds), "s", TARGET, note=note)
