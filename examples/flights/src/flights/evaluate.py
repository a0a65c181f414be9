"""Score the test month: metrics, plots, and one prediction a flight with all that the model could know of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score, roc_curve

from flights.store import load

COLUMNS = ["id", "weekday", "hour", "arrival_hour", "distance", "carrier", "origin", "dest"]
"""What a prediction is kept with: the row's id, and every column that a model may use."""


def predictions(table: pd.DataFrame, score: np.ndarray) -> pd.DataFrame:
    """One row a flight. Reports slice this table, and drift checks compare production's with it."""
    return table[COLUMNS].assign(label=table["late"], score=score.astype("float32"))


GOLDEN = 20
"""Recorded requests: what the service must answer to each of them, whatever it runs in."""


def golden(table: pd.DataFrame, score: np.ndarray) -> str:
    """Requests and answers, a JSON object a line, spread evenly over the test month; then requests to be refused."""
    chosen = np.linspace(0, len(table) - 1, GOLDEN).astype(int)
    flights = table.iloc[chosen][COLUMNS[1:]].to_dict("records")
    lines: list[dict[str, object]] = [
        {"route": "/predict", "request": {"flights": [flight]}, "response": [float(score[row])]}
        for row, flight in zip(chosen, flights, strict=True)
    ]
    for wrong in ({"hour": 99}, {"carrier": 7}, {"distance": None}):
        lines.append({"route": "/predict", "request": {"flights": [{**flights[0], **wrong}]}, "refused": True})
    return "".join(json.dumps(line) + "\n" for line in lines)


def write(path: str, data: object) -> None:
    target = Path(path)
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(data, indent=2) + "\n")


def main() -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    table = pd.read_parquet("data/prepared/test.parquet")
    score = load().predict_proba(table[params["features"]])[:, 1]
    label = table["late"].to_numpy()
    threshold = params["evaluate"]["threshold"]
    write(
        "metrics.json",
        {
            "roc_auc": round(float(roc_auc_score(label, score)), 6),
            "average_precision": round(float(average_precision_score(label, score)), 6),
            "brier": round(float(brier_score_loss(label, score)), 6),
            "log_loss": round(float(log_loss(label, score)), 6),
            "flights": len(table),
            "late": int(label.sum()),
        },
    )
    false_positive, true_positive, _ = roc_curve(label, score)
    grid = np.linspace(0, 1, 51)
    curve = np.interp(grid, false_positive, true_positive)
    write(
        "plots/roc.json",
        [{"fpr": round(float(x), 4), "tpr": round(float(y), 4)} for x, y in zip(grid, curve, strict=True)],
    )
    observed, predicted = calibration_curve(label, score, n_bins=params["evaluate"]["bins"], strategy="quantile")
    rows = [
        {"predicted": round(float(x), 4), "observed": round(float(y), 4)}
        for x, y in zip(predicted, observed, strict=True)
    ]
    write("plots/calibration.json", rows)
    pairs = pd.DataFrame({"actual": label, "predicted": (score >= threshold).astype(int)})
    pairs.to_csv("plots/confusion.csv", index=False, lineterminator="\n")
    Path("eval").mkdir(exist_ok=True)
    predictions(table, score).to_parquet("eval/predictions.parquet", index=False)
    Path("eval/golden.jsonl").write_text(golden(table, score))
    print(Path("metrics.json").read_text())


if __name__ == "__main__":
    main()
