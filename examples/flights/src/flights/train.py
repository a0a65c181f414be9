"""Gradient-boosted trees on schedule features."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import yaml
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder
from threadpoolctl import threadpool_limits

from flights.store import MODEL, save

TEXT = ("carrier", "origin", "dest")


def build(names: list[str], settings: dict[str, float]) -> Pipeline:
    """Encoder and classifier; text columns are categories."""
    text = [name for name in names if name in TEXT]
    numbers = [name for name in names if name not in TEXT]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, max_categories=100)
    columns = ColumnTransformer([("text", encoder, text), ("numbers", "passthrough", numbers)])
    model = HistGradientBoostingClassifier(
        learning_rate=settings["learning_rate"],
        max_iter=int(settings["iterations"]),
        max_leaf_nodes=int(settings["leaves"]),
        min_samples_leaf=int(settings["min_samples_leaf"]),
        l2_regularization=settings["l2"],
        categorical_features=list(range(len(text))),
        random_state=int(settings["seed"]),
    )
    return Pipeline([("columns", columns), ("model", model)])


def main() -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    table = pd.read_parquet("data/prepared/train.parquet")
    model = build(params["features"], params["train"])
    # The classifier stores its number of threads: with one, the file is the same on every machine.
    with threadpool_limits(1):
        model.fit(table[params["features"]], table["late"])
    size = save(model)
    print(f"{MODEL}: {size:,} bytes, {len(table):,} flights, features {', '.join(params['features'])}")


if __name__ == "__main__":
    main()
