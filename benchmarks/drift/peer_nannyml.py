"""NannyML's univariate drift with its defaults; prints the alarms by column and chunk."""

import sys

import nannyml
import pandas as pd

reference, current = (pd.read_parquet(path) for path in sys.argv[1:])
found = nannyml.UnivariateDriftCalculator(column_names=list(reference.columns)).fit(reference).calculate(current)
print(found.to_df().shape)
