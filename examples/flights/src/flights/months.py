"""The year as production would see it: a model of January to March scores every flight, one table a month.

Writes `reference.parquet` (the odd days of January to March; the model learnt from the even ones) and `04.parquet` to
`12.parquet` into a folder. Usage: `python -m flights.months data/flights.csv FOLDER`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import yaml
from threadpoolctl import threadpool_limits

from flights.evaluate import predictions
from flights.prepare import features
from flights.train import build

LEARNT = (1, 2, 3)


def main(source: Path, folder: Path) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    names = ["hour", "weekday", "arrival_hour", "distance", "carrier", "origin", "dest"]
    raw = pd.read_csv(source).dropna(subset=["arr_delay"])
    table = features(raw)
    learnt = table["month"].isin(LEARNT) & (raw["day"] % 2 == 0)
    model = build(names, params["train"])
    with threadpool_limits(1):
        model.fit(table.loc[learnt, names], table.loc[learnt, "late"])
    folder.mkdir(parents=True, exist_ok=True)
    seen = table[~learnt]
    seen = seen.assign(score=model.predict_proba(seen[names])[:, 1])
    for name, rows in seen.groupby(seen["month"].map(lambda month: "reference" if month in LEARNT else f"{month:02}")):
        predictions(rows, rows["score"].to_numpy()).to_parquet(folder / f"{name}.parquet", index=False)
    print(f"{folder}: {len(table) - learnt.sum():,} flights scored by a model of {learnt.sum():,}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
