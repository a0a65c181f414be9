"""Write the clean model files of `tests/golden/models`. Needs libraries that no test installs:

uv run --with scikit-learn==1.9.1 --with xgboost-cpu==3.2.0 --with lightgbm==4.7.0 scripts/model_fixtures.py
"""

from __future__ import annotations

import pickle
from pathlib import Path

import joblib
import lightgbm
import numpy as np
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

FOLDER = Path(__file__).parent.parent / "tests" / "golden" / "models"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    x = rng.normal(size=(60, 3))
    y = (x.sum(axis=1) > 0).astype(int)
    letters = np.array([["a"], ["b"]] * 30, dtype=object)
    forest = RandomForestClassifier(3, max_depth=2, random_state=0).fit(x, y)
    for protocol in (0, 2, 5):
        (FOLDER / f"forest.{protocol}.pkl").write_bytes(pickle.dumps(forest, protocol=protocol))
    joblib.dump(forest, FOLDER / "forest.joblib")
    for method in ("zlib", "gzip", "bz2", "xz"):
        joblib.dump(forest, FOLDER / f"forest.{method}.joblib", compress=(method, 3))
    boosted = HistGradientBoostingClassifier(max_iter=2, max_leaf_nodes=3).fit(x, y)
    joblib.dump(boosted, FOLDER / "boosted.joblib", compress=3)
    encoded = make_pipeline(ColumnTransformer([("letter", OneHotEncoder(), [0])]), LogisticRegression()).fit(letters, y)
    joblib.dump(encoded, FOLDER / "encoded.joblib")
    words = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["late flight", "early flight"] * 30, y)
    (FOLDER / "words.pkl").write_bytes(pickle.dumps(words))
    trees = xgboost.XGBClassifier(n_estimators=2, max_depth=2).fit(x, y)
    (FOLDER / "xgboost.pkl").write_bytes(pickle.dumps(trees))
    trees.save_model(FOLDER / "xgboost.ubj")
    light = lightgbm.LGBMClassifier(n_estimators=2, num_leaves=3, verbose=-1).fit(x, y)
    (FOLDER / "lightgbm.pkl").write_bytes(pickle.dumps(light))
    light.booster_.save_model(FOLDER / "lightgbm.txt")


if __name__ == "__main__":
    main()
