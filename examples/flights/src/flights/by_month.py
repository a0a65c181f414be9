"""How well the current model does in each month: the drift that the year brings. Needs `dvc repro` first."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import yaml
from sklearn.metrics import roc_auc_score

from flights.prepare import features
from flights.store import load


def main() -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    model = load()
    table = features(pd.read_csv("data/flights.csv").dropna(subset=["arr_delay"]))
    print("month  flights  late    ROC AUC")
    for month, rows in table.groupby("month"):
        score = model.predict_proba(rows[params["features"]])[:, 1]
        print(f"{month:5}  {len(rows):7,}  {rows['late'].mean():5.1%}  {roc_auc_score(rows['late'], score):.3f}")


if __name__ == "__main__":
    main()
