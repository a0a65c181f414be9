"""Write the clean model files of `tests/golden/models`. Needs libraries that no test installs:

uv run --with scikit-learn==1.9.1 --with torch==2.15.0 --with xgboost-cpu==3.2.0 --with lightgbm==4.7.0 \\
    scripts/model_fixtures.py
"""

from __future__ import annotations

import pickle
from pathlib import Path

import joblib
import lightgbm
import numpy as np
import torch
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer
from torch import nn

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
    spline = make_pipeline(SplineTransformer(), Ridge()).fit(x, y)
    (FOLDER / "spline.pkl").write_bytes(pickle.dumps(spline))
    layers()
    trees = xgboost.XGBClassifier(n_estimators=2, max_depth=2).fit(x, y)
    (FOLDER / "xgboost.pkl").write_bytes(pickle.dumps(trees))
    trees.save_model(FOLDER / "xgboost.ubj")
    light = lightgbm.LGBMClassifier(n_estimators=2, num_leaves=3, verbose=-1).fit(x, y)
    (FOLDER / "lightgbm.pkl").write_bytes(pickle.dumps(light))
    light.booster_.save_model(FOLDER / "lightgbm.txt")


def layers() -> None:
    """Files of PyTorch: a whole module, its weights and a checkpoint, and tensors of rarer types and layouts."""
    torch.manual_seed(7)
    small = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 1))
    optimizer = torch.optim.AdamW(small.parameters())
    small(torch.randn(6, 3)).sum().backward()
    optimizer.step()
    torch.save(small, FOLDER / "module.pt")
    torch.save(small.state_dict(), FOLDER / "weights.pt")
    torch.save(small.state_dict(), FOLDER / "weights.old.pt", _use_new_zipfile_serialization=False)
    torch.save({"model": small.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, FOLDER / "checkpoint.pt")
    for kind, function in (("relu", nn.functional.relu), ("gelu", nn.functional.gelu)):
        torch.save(nn.TransformerEncoderLayer(2, 1, 2, activation=function), FOLDER / f"attention.{kind}.pt")
    rare = {
        "float8": torch.ones(2, dtype=torch.float8_e4m3fn),
        "sparse": torch.ones(3).to_sparse(),
        "rows": torch.eye(2).to_sparse_csr(),
        "short": torch.ones(2, dtype=torch.uint16),
    }
    torch.save(rare, FOLDER / "rare.pt")


if __name__ == "__main__":
    main()
