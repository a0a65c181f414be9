"""The metric itself, once labels are there: values with standard errors in closed form, so that a million rows cost
seconds and two checks of the same rows agree to the last digit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trackside.performance.labels import Rows, read
from trackside.sketch.values import Floats
from trackside.tables.table import Table

EPSILON = 1e-15
LEAST_OF_CLASS = 10
"""Rows of either class below which a ranking says nothing."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A metric with its standard error."""

    value: float
    error: float


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Labels (numbers, or texts) and scores of the rows that have both, shape (n,) each."""

    labels: npt.NDArray[Any]
    scores: Floats

    @property
    def rows(self) -> int:
        return int(self.scores.size)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Metrics by name; `positive` is the label that counts as 1 (empty for values), `note` why there are none."""

    metrics: dict[str, Estimate] = field(default_factory=dict)
    rows: int = 0
    positive: str = ""
    note: str = ""


def pairs(table: Table, *, label: str, score: str) -> Pairs:
    """Rows with a label and a finite score. Raises DataError for files that cannot be read."""
    return pairs_of(read(table, score=score, label=label))


def pairs_of(rows: Rows) -> Pairs:
    """Those of rows that have both."""
    there = rows.labelled
    labels: npt.NDArray[Any] = np.zeros(0)
    if rows.classes is not None:
        labels = np.array(rows.classes.names, dtype=object)[rows.classes.codes[there]]
    elif rows.numbers is not None:
        labels = rows.numbers[there]
    return Pairs(labels=labels, scores=rows.scores[there])


def _name(value: Any) -> str:
    """A label as text; whole numbers without a point."""
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def measured(found: Pairs, *, positive: str | None = None, decision: float = 0.5) -> Measured:
    """The metrics of a model's scores: for two classes ROC AUC, Brier score, log loss, and accuracy, precision, recall
    and F1 of calling positive what scores at least `decision`; MAE and RMSE for values.

    `positive` is the reference's: a label that means 1, or "" for values; None decides by the labels, where of two
    classes the larger one is positive.
    """
    if not found.rows:
        return Measured(note="no row has a label and a score", positive=positive or "")
    text = found.labels.dtype == object
    values, codes = np.unique(found.labels.astype(str) if text else found.labels, return_inverse=True)
    names = [_name(one) for one in values]
    if positive is None:
        if set(names) <= {"0", "1"}:
            positive = "1"
        elif len(names) == 2:
            positive = names[-1]
        elif text:
            return Measured(
                rows=found.rows, note=f"labels have {len(names)} classes; two classes or numbers are judged"
            )
        else:
            positive = ""
    if positive:
        truth = np.array([name == positive for name in names])[codes].astype(np.float64)
        return _binary(truth, found.scores, positive, decision)
    if text:
        return Measured(rows=found.rows, note="labels are no numbers")
    return Measured(metrics=_values(found), rows=found.rows)


def _mean(losses: Floats) -> Estimate:
    spread = float(losses.std(ddof=1)) if losses.size > 1 else 0.0
    return Estimate(value=float(losses.mean()), error=spread / math.sqrt(losses.size))


def _ratio(part: Floats, whole: Floats) -> Estimate:
    """A ratio of two sums over rows, its error by the delta method; of nothing it is no number."""
    total = float(whole.sum())
    if not total:
        return Estimate(value=math.nan, error=math.nan)
    value = float(part.sum()) / total
    return Estimate(value=value, error=math.sqrt(float(((part - value * whole) ** 2).sum())) / total)


def _values(found: Pairs) -> dict[str, Estimate]:
    off = found.scores - found.labels.astype(np.float64)
    squares = _mean(off * off)
    root = math.sqrt(squares.value)
    return {
        "mae": _mean(np.abs(off)),
        "rmse": Estimate(value=root, error=squares.error / (2 * root) if root else 0.0),  # delta method
    }


def _binary(truth: Floats, scores: Floats, positive: str, decision: float) -> Measured:
    made: dict[str, Estimate] = {}
    note = ""
    ones = int(truth.sum())
    if min(ones, truth.size - ones) >= LEAST_OF_CLASS:
        made["roc_auc"] = auc(truth, scores)
    else:
        note = f"only {min(ones, truth.size - ones)} rows of one class: no ROC AUC"
    if float(scores.min()) >= 0.0 and float(scores.max()) <= 1.0:
        made["brier"] = _mean((scores - truth) ** 2)
        safe = np.clip(scores, EPSILON, 1 - EPSILON)
        called = (scores >= decision).astype(np.float64)
        ratios = {
            "accuracy": _mean((called == truth).astype(np.float64)),
            "precision": _ratio(called * truth, called),
            "recall": _ratio(called * truth, truth),
            "f1": _ratio(2 * called * truth, called + truth),
        }
        made |= {name: one for name, one in ratios.items() if math.isfinite(one.value)}
        made["log_loss"] = _mean(-(truth * np.log(safe) + (1 - truth) * np.log1p(-safe)))
    else:
        note = (note + "; " if note else "") + "scores are not within 0..1: only their ranking is judged"
    return Measured(metrics=made, rows=int(truth.size), positive=positive, note=note)


def auc(truth: Floats, scores: Floats) -> Estimate:
    """ROC AUC with the variance of DeLong, DeLong & Clarke-Pearson (1988), by mid-ranks (Sun & Xu 2014).

    Args:
        truth: 0 or 1, shape (n,), both present.
        scores: higher for 1, shape (n,).
    """
    positive, negative = scores[truth == 1], scores[truth == 0]
    every = _midranks(scores)
    wins = (every[truth == 1] - _midranks(positive)) / negative.size
    losses = 1 - (every[truth == 0] - _midranks(negative)) / positive.size
    variance = float(wins.var(ddof=1)) / wins.size + float(losses.var(ddof=1)) / losses.size
    return Estimate(value=float(wins.mean()), error=math.sqrt(variance))


def _midranks(values: Floats) -> Floats:
    """Ranks from 1, ties sharing their mean."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Floats = (ends - (counts - 1) / 2)[codes]
    return ranks
