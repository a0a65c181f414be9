"""A month in production: score its flights with a released model and log them, labels included once they landed.

Writes `<folder>/2013-<month>.parquet`, the tables that the drift check reads. Usage:
`python -m flights.production MODEL FLIGHTS FOLDER MONTH...`; the features are those of `params.yaml`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import yaml

from flights.evaluate import predictions
from flights.prepare import features
from flights.store import load


def main(model_file: Path, flights: Path, folder: Path, months: list[int]) -> None:
    names = yaml.safe_load(Path("params.yaml").read_text())["features"]
    model = load(model_file)
    table = features(pd.read_csv(flights).dropna(subset=["arr_delay"]))
    folder.mkdir(parents=True, exist_ok=True)
    for month in months:
        rows = table[table["month"] == month].reset_index(drop=True)
        score = model.predict_proba(rows[names])[:, 1]
        target = folder / f"2013-{month:02}.parquet"
        predictions(rows, score).to_parquet(target, index=False)
        print(f"{target}: {len(rows):,} flights, {score.mean():.1%} expected late, {rows['late'].mean():.1%} were")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), [int(month) for month in sys.argv[4:]])
