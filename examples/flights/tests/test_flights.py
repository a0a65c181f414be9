"""Run with `env PYTHONPATH=src python -m unittest discover tests`: a second or two, and none of the raw data."""
# ruff: noqa: PT009, PT027

from __future__ import annotations

import contextlib
import io
import tempfile
import unittest
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import skops.io
import yaml
from flights import train
from flights.prepare import features
from flights.store import MODEL, load, stable
from skops.io.exceptions import UntrustedTypesFoundException
from threadpoolctl import threadpool_limits

SETTINGS = {"learning_rate": 0.1, "iterations": 5, "leaves": 7, "min_samples_leaf": 20, "l2": 1.0, "seed": 1}


def raw_flights(rows: int) -> pd.DataFrame:
    """Made-up flights: the later in the day, the more are late."""
    draw = np.random.default_rng(1)
    hour = draw.integers(5, 23, rows)
    return pd.DataFrame(
        {
            "month": draw.integers(1, 4, rows),
            "day": draw.integers(1, 28, rows),
            "sched_dep_time": hour * 100 + 17,
            "sched_arr_time": (hour + 1) % 24 * 100 + 5,
            "carrier": draw.choice(["AA", "B6", "UA"], rows),
            "origin": draw.choice(["EWR", "JFK", "LGA"], rows),
            "dest": draw.choice(["ATL", "ORD"], rows),
            "distance": draw.integers(90, 2500, rows),
            "arr_delay": draw.normal(3 * (hour - 12), 10),
        }
    )


class Other:
    """A type that no model of this project has."""

    def __init__(self) -> None:
        self.name = "other"


class FeaturesTest(unittest.TestCase):
    def test_label_and_schedule(self) -> None:
        raw = raw_flights(4).assign(
            month=[1, 1, 3, 12],
            day=[1, 6, 31, 31],
            sched_dep_time=[517, 5, 2359, 1200],
            sched_arr_time=[819, 2400, 340, 1259],
            arr_delay=[15.0, 16.0, -20.0, 300.0],
        )
        table = features(raw.drop(index=2))
        self.assertEqual(table["late"].tolist(), [0, 1, 1], "late means more than 15 minutes")
        self.assertEqual(table["hour"].tolist(), [5, 0, 12])
        self.assertEqual(table["arrival_hour"].tolist(), [8, 24, 12])
        self.assertEqual(table["weekday"].tolist(), [1, 6, 1], "2013 began on a Tuesday; Monday is 0")
        self.assertEqual(table["id"].tolist(), [0, 1, 3], "a flight keeps its row of the raw data")


class StoreTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.enterContext(contextlib.chdir(folder.name))
        self.enterContext(contextlib.redirect_stdout(io.StringIO()))

    def trained(self, threads: int) -> bytes:
        with threadpool_limits(threads):
            train.main()
        return MODEL.read_bytes()

    def test_same_inputs_same_bytes(self) -> None:
        table = features(raw_flights(2000))
        names = ["hour", "carrier", "origin"]
        Path("data/prepared").mkdir(parents=True)
        table.to_parquet("data/prepared/train.parquet")
        Path("params.yaml").write_text(yaml.safe_dump({"features": names, "train": SETTINGS}))
        made = [self.trained(threads) for threads in (1, 2, 1)]
        self.assertEqual(len(set(made)), 1)
        with zipfile.ZipFile(MODEL) as archive:
            self.assertEqual({info.date_time for info in archive.infolist()}, {(1980, 1, 1, 0, 0, 0)})
        Path("params.yaml").write_text(yaml.safe_dump({"features": names, "train": {**SETTINGS, "leaves": 8}}))
        self.assertNotIn(self.trained(1), made)

    def test_a_stored_model_predicts_the_same(self) -> None:
        table = features(raw_flights(2000))
        names = ["distance", "carrier", "dest"]
        model = train.build(names, SETTINGS).fit(table[names], table["late"])
        train.save(model)
        np.testing.assert_array_equal(load().predict_proba(table[names]), model.predict_proba(table[names]))

    def test_other_types_are_refused(self) -> None:
        Path("other.skops").write_bytes(stable(skops.io.dumps(Other())))
        with self.assertRaises(UntrustedTypesFoundException):
            load(Path("other.skops"))


if __name__ == "__main__":
    unittest.main()
