"""Evidently's preset for drift with its defaults; prints the number of columns that it calls drifted."""

import sys

import pandas as pd
from evidently import Dataset, Report
from evidently.presets import DataDriftPreset

reference, current = (Dataset.from_pandas(pd.read_parquet(path)) for path in sys.argv[1:])
found = Report([DataDriftPreset()]).run(current, reference).dict()
print(found["metrics"][0]["value"])
