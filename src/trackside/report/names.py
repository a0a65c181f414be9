"""Metrics that predictions can be compared by, under every name people give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

DIRECTIONS: Mapping[str, Literal["max", "min"]] = {
    "roc_auc": "max",
    "average_precision": "max",
    "brier": "min",
    "log_loss": "min",
    "accuracy": "max",
    "mae": "min",
    "rmse": "min",
    "r2": "max",
}
"""Every metric that can be compared, and which way is better."""

ALIASES: Mapping[str, str] = {
    "auc": "roc_auc",
    "auroc": "roc_auc",
    "rocauc": "roc_auc",
    "ap": "average_precision",
    "pr_auc": "average_precision",
    "auprc": "average_precision",
    "brier_score": "brier",
    "brier_loss": "brier",
    "logloss": "log_loss",
    "cross_entropy": "log_loss",
    "acc": "accuracy",
    "mean_absolute_error": "mae",
    "root_mean_squared_error": "rmse",
    "r2_score": "r2",
}


def canonical(name: str) -> str | None:
    """The name used here for a metric of a metrics file (`eval.test.AUC` → `roc_auc`), or None when unknown."""
    last = name.rsplit(".", 1)[-1].lower().replace("-", "_")
    last = ALIASES.get(last, last)
    return last if last in DIRECTIONS else None
