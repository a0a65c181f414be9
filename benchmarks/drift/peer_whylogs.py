"""whylogs' profiles of both tables and their drift scores with its defaults; prints the columns scored."""

import sys

import pandas as pd
import whylogs
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

reference, current = (whylogs.log(pandas=pd.read_parquet(path)).view() for path in sys.argv[1:])
print(len(calculate_drift_scores(target_view=current, reference_view=reference)))
