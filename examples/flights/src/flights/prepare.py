"""Raw flights → training and test tables: the months that `params.yaml` names, landed flights only."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

LATE_MINUTES = 15


def features(raw: pd.DataFrame) -> pd.DataFrame:
    """What is known before departure, one row a flight, with the label `late` and the slice columns."""
    day = pd.to_datetime({"year": 2013, "month": raw["month"], "day": raw["day"]})
    return pd.DataFrame(
        {
            "id": raw.index.astype("int64"),
            "month": raw["month"].astype("int16"),
            "weekday": day.dt.day_of_week.astype("int16"),
            "hour": (raw["sched_dep_time"] // 100).astype("int16"),
            "arrival_hour": (raw["sched_arr_time"] // 100).astype("int16"),
            "distance": raw["distance"].astype("float32"),
            "carrier": raw["carrier"],
            "origin": raw["origin"],
            "dest": raw["dest"],
            "late": (raw["arr_delay"] > LATE_MINUTES).astype("int8"),
        }
    )


def main(train_from: int, train_to: int, test_month: int) -> None:
    raw = pd.read_csv("data/flights.csv").dropna(subset=["arr_delay"])
    table = features(raw)
    folder = Path("data/prepared")
    folder.mkdir(parents=True, exist_ok=True)
    for name, months in (("train", [*range(train_from, train_to + 1)]), ("test", [test_month])):
        chosen = table[table["month"].isin(months)].reset_index(drop=True)
        chosen.to_parquet(folder / f"{name}.parquet", index=False)
        print(f"{name}: {len(chosen):,} flights of months {months}, {chosen['late'].mean():.1%} late")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
