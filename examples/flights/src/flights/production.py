"""A month in production: score its flights with a released model and log them, labels included once they landed.

Adds rows to the table `predictions` of an SQLite database, which the drift check queries. Usage:
`python -m flights.production MODEL FLIGHTS DATABASE MONTH...`; the features are those of `params.yaml`.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pandas as pd
import yaml

from flights.evaluate import predictions
from flights.prepare import features
from flights.store import load


def main(model_file: Path, flights: Path, database: Path, months: list[int]) -> None:
    names = yaml.safe_load(Path("params.yaml").read_text())["features"]
    model = load(model_file)
    table = features(pd.read_csv(flights).dropna(subset=["arr_delay"]))
    database.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(database)) as connection:
        for month in months:
            rows = table[table["month"] == month].reset_index(drop=True)
            score = model.predict_proba(rows[names])[:, 1]
            logged = predictions(rows, score).assign(month=f"2013-{month:02}")
            logged.to_sql("predictions", connection, if_exists="append", index=False)
            print(f"{month:2}: {len(rows):,} flights, {score.mean():.1%} expected late, {rows['late'].mean():.1%} were")
        connection.commit()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), [int(month) for month in sys.argv[4:]])
