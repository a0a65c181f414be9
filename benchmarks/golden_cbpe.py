"""Makes `tests/golden/cbpe.json`: NannyML's CBPE on the predictions of the sample project, month by month.

Two steps, each in an environment of its own, so that nothing here is a dependency of Trackside:

    python -m venv build/flights-venv && build/flights-venv/bin/pip install -r examples/flights/requirements.txt
    build/flights-venv/bin/python benchmarks/golden_cbpe.py scores build/flights.csv build/scores.json
    python -m venv build/nannyml && build/nannyml/bin/pip install nannyml==0.13.1 statsmodels
    build/nannyml/bin/python benchmarks/golden_cbpe.py estimates build/scores.json tests/golden/cbpe.json

`flights.csv` is the sample's raw data (`flights.fetch`). The model is that of `params.yaml`: trained on January to
March, tested on April, which is the reference; May to December are what production would have seen. The model has few
distinct scores, so that counts of labels by score are the whole data.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REFERENCE, MONTHS = 4, range(5, 13)
DECISION = 0.25
METRICS = ("roc_auc", "f1", "precision", "recall", "accuracy")


def scores(raw: Path, target: Path) -> None:
    """Train as the sample does, then count labels by score in every month."""
    sys.path.insert(0, str(ROOT / "examples/flights/src"))
    import os

    import pandas as pd
    import yaml
    from flights import prepare, store, train

    params = yaml.safe_load((ROOT / "examples/flights/params.yaml").read_text())
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "data").mkdir()
        (work / "data/flights.csv").write_bytes(raw.read_bytes())
        (work / "params.yaml").write_bytes((ROOT / "examples/flights/params.yaml").read_bytes())
        os.chdir(work)
        prepare.main(*(params["prepare"][name] for name in ("train_from", "train_to", "test_month")))
        train.main()
        model = store.load()
        table = prepare.features(pd.read_csv("data/flights.csv").dropna(subset=["arr_delay"]))
        os.chdir(ROOT)
    made = {}
    for month in (REFERENCE, *MONTHS):
        rows = table[table["month"] == month]
        score = model.predict_proba(rows[params["features"]])[:, 1].astype("float32").astype("float64")
        counts = pd.crosstab(pd.Series(score, name="score"), pd.Series(rows["late"].to_numpy(), name="late"))
        made[str(month)] = [[float(at), int(row[0]), int(row[1])] for at, row in counts.iterrows()]
        print(f"{month}: {len(rows):,} flights, {len(made[str(month)])} scores")
    target.write_text(json.dumps(made))


def estimates(source: Path, target: Path) -> None:
    """NannyML's estimates, one chunk a month, beside what the labels say."""
    import nannyml
    import numpy as np
    import pandas as pd

    months = json.loads(source.read_text())

    def rows(month: str) -> pd.DataFrame:
        score = np.concatenate([np.full(zeros + ones, at) for at, zeros, ones in months[month]])
        late = np.concatenate([np.repeat([0, 1], [zeros, ones]) for _, zeros, ones in months[month]])
        order = np.random.default_rng(int(month)).permutation(score.size)
        frame = pd.DataFrame({"score": score[order], "late": late[order]})
        return frame.assign(call=(frame["score"] >= DECISION).astype(int))

    estimator = nannyml.CBPE(
        problem_type="classification_binary",
        y_pred_proba="score",
        y_pred="call",
        y_true="late",
        metrics=list(METRICS),
        chunk_number=1,
    )
    estimator.fit(rows(str(REFERENCE)))
    found = {}
    for month in MONTHS:
        frame = estimator.estimate(rows(str(month))).filter(period="analysis").to_df()
        found[str(month)] = {
            name: {
                part: round(float(frame[(name, part)].iloc[-1]), 9) for part in ("value", "sampling_error", "realized")
            }
            for name in METRICS
        }
    document = {
        "peer": f"nannyml {nannyml.__version__}",
        "decision": DECISION,
        "calibrated": bool(estimator.needs_calibration),
        "reference": REFERENCE,
        "months": months,
        "estimates": found,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document, separators=(",", ":")) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    {"scores": scores, "estimates": estimates}[sys.argv[1]](Path(sys.argv[2]).resolve(), Path(sys.argv[3]).resolve())
