"""Is the difference between two models more than chance? Paired bootstrap over the rows both predicted.

Each resample draws rows with replacement and scores both models on the same rows, so that what the models share
cancels out. Intervals are percentile intervals (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13).
Rank metrics sort the scores once; a resample is then a vector of row counts, so its cost is linear in the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trackside.documents.run import Comparison, Interval, SliceRow
from trackside.errors import DataError
from trackside.report.names import DIRECTIONS, canonical

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Task = Literal["binary", "regression"]

TASKS: Mapping[Task, tuple[str, ...]] = {
    "binary": ("roc_auc", "average_precision", "brier", "log_loss", "accuracy"),
    "regression": ("mae", "rmse", "r2"),
}

RESAMPLES = 1000
WORK = 60_000_000
"""Rows x resamples: larger tables get fewer resamples, never fewer than `LEAST`."""
LEAST = 200
SLICE_ROWS = 50
"""A slice with fewer rows says too little."""
SLICE_VALUES = 50
SLICES_SHOWN = 10
EPSILON = 1e-15


def task_of(label: Sequence[Any] | npt.NDArray[Any]) -> Task:
    """`binary` for two classes (of any type) or only 0/1, else `regression`.

    Raises:
        DataError: no rows, missing labels, or text with more than two classes.
    """
    values = np.asarray(label)
    if values.ndim != 1 or values.size == 0:
        raise DataError("predictions need at least one row and one label a row")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError("the label column has missing or infinite values")
    try:
        classes = np.unique(values)
    except TypeError as error:
        raise DataError("the label column mixes types or has missing values", why=str(error)) from error
    if classes.size == 2 or (classes.dtype.kind in "biuf" and np.isin(classes, (0, 1)).all()):
        return "binary"
    if classes.dtype.kind not in "iuf":
        raise DataError(f"labels have {classes.size} classes; two classes or numbers can be compared")
    return "regression"


def compare_predictions(
    label: Sequence[Any] | npt.NDArray[Any],
    baseline_score: Sequence[float] | npt.NDArray[Any],
    current_score: Sequence[float] | npt.NDArray[Any],
    *,
    metrics: Sequence[str] = (),
    slices: Mapping[str, Sequence[Any] | npt.NDArray[Any]] | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    baseline_run: str = "",
) -> Comparison:
    """Both models on the same rows, with intervals for every difference and the slices that got worst.

    Args:
        label: true class or value, shape (n,). Of two classes the larger one is the positive.
        baseline_score: predicted probability of the positive class, or value, shape (n,).
        current_score: likewise for this run.
        metrics: names as in metrics files; those unknown or of the other task are left out. Empty: all of the task.
            Slices are compared by the first one.
        slices: a column of group names, shape (n,), by title.
        level: of the intervals, per metric and slice (not adjusted for their number).
        resamples: fewer are drawn for tables above `WORK` / resamples rows.
        seed: the same seed gives the same intervals.
        baseline_run: id recorded in the result.

    Raises:
        DataError: lengths differ, values are missing, or the labels cannot be judged.
    """
    task = task_of(label)
    table = _Table.of(task, np.asarray(label), _numbers(baseline_score, "baseline"), _numbers(current_score, "current"))
    names, left_out = _chosen(task, metrics, table)
    draws = min(resamples, max(LEAST, WORK // table.rows))
    rng = np.random.Generator(np.random.PCG64(seed))
    intervals = table.intervals(names, level=level, resamples=draws, rng=rng)
    rows: list[SliceRow] = []
    if names:
        for column, values in (slices or {}).items():
            rows += _slice_rows(table, column, np.asarray(values), names[0], level, min(draws, 500), rng)
    return Comparison(
        baseline_run=baseline_run,
        rows=table.rows,
        metrics=intervals,
        slices=sorted(rows, key=_harm)[:SLICES_SHOWN],
        note=left_out,
    )


def _numbers(values: Sequence[float] | npt.NDArray[Any], which: str) -> Floats:
    try:
        made = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"the {which} scores are not numbers", why=str(error)) from error
    if made.ndim != 1 or not np.isfinite(made).all():
        raise DataError(f"the {which} scores have missing or infinite values")
    return made


def _chosen(task: Task, metrics: Sequence[str], table: _Table) -> tuple[tuple[str, ...], str]:
    """Metrics of the task among those asked for, and a note on what cannot be computed."""
    known = [name for name in map(canonical, metrics) if name] or list(TASKS[task])
    chosen = [name for name in dict.fromkeys(known) if name in TASKS[task]]
    if task == "binary" and not table.probabilities:
        dropped = [name for name in chosen if name in ("brier", "log_loss", "accuracy")]
        chosen = [name for name in chosen if name not in dropped]
        if dropped:
            return tuple(chosen), f"scores are not within 0..1: {', '.join(dropped)} left out"
    return tuple(chosen), ""


def _harm(row: SliceRow) -> tuple[float, float, str, str]:
    """Surest harm first: by the bound that favours this run, so that small noisy slices do not lead the list."""
    best_case = row.high if DIRECTIONS[row.metric] == "max" else None if row.low is None else -row.low
    delta = row.delta if row.delta is not None else 0.0
    oriented = delta if DIRECTIONS[row.metric] == "max" else -delta
    return (best_case if best_case is not None else float("inf"), oriented, row.column, row.value)


def _slice_rows(
    table: _Table,
    column: str,
    values: npt.NDArray[Any],
    metric: str,
    level: float,
    resamples: int,
    rng: np.random.Generator,
) -> Iterator[SliceRow]:
    """One row a value with enough rows, the most frequent ones only."""
    if values.shape != (table.rows,):
        raise DataError(f"slice column {column!r} has {values.size} values for {table.rows} rows")
    names, codes, counts = np.unique(values.astype(str), return_inverse=True, return_counts=True)
    for code in np.argsort(-counts, kind="stable")[:SLICE_VALUES]:
        if counts[code] < SLICE_ROWS:
            break
        (interval,) = table.take(codes == code).intervals((metric,), level=level, resamples=resamples, rng=rng)
        if interval.delta is None:
            continue
        yield SliceRow(
            column=column,
            value=str(names[code]),
            metric=metric,
            n=int(counts[code]),
            baseline=interval.baseline,
            current=interval.current,
            delta=interval.delta,
            low=interval.low,
            high=interval.high,
        )


@dataclass(frozen=True, kw_only=True)
class _Table:
    """Labels (0/1 or values) and both models' scores, shape (n,) each."""

    task: Task
    label: Floats
    scores: tuple[Floats, Floats]

    @classmethod
    def of(cls, task: Task, label: npt.NDArray[Any], baseline: Floats, current: Floats) -> _Table:
        if not label.shape == baseline.shape == current.shape:
            raise DataError(
                f"{label.size} labels, {baseline.size} baseline and {current.size} current scores: "
                "both models must have predicted the same rows"
            )
        if task == "binary":
            classes = np.unique(label)
            positive = classes[-1] if classes.size == 2 or classes[-1] == 1 else None
            label = label == positive if positive is not None else np.zeros(label.shape)
        return cls(task=task, label=label.astype(np.float64), scores=(baseline, current))

    @property
    def rows(self) -> int:
        return int(self.label.size)

    @property
    def probabilities(self) -> bool:
        return all(float(score.min()) >= 0.0 and float(score.max()) <= 1.0 for score in self.scores)

    def take(self, mask: npt.NDArray[np.bool_]) -> _Table:
        return _Table(task=self.task, label=self.label[mask], scores=(self.scores[0][mask], self.scores[1][mask]))

    def intervals(
        self, names: Sequence[str], *, level: float, resamples: int, rng: np.random.Generator
    ) -> list[Interval]:
        """One interval a metric for current - baseline; bounds are None where resamples are degenerate."""
        if not names:
            return []
        scorers = [_Scorer(self.task, self.label, score, names) for score in self.scores]
        everything = np.ones(self.rows, dtype=np.int64)
        baseline, current = (scorer(everything) for scorer in scorers)
        deltas = np.empty((resamples, len(names)))
        for index in range(resamples):
            counts = np.bincount(rng.integers(0, self.rows, self.rows), minlength=self.rows)
            deltas[index] = scorers[1](counts) - scorers[0](counts)
        made = []
        for column, name in enumerate(names):
            low, high = _percentile(deltas[:, column], level)
            made.append(
                Interval(
                    metric=name,
                    baseline=_number(baseline[column]),
                    current=_number(current[column]),
                    delta=_number(current[column] - baseline[column]),
                    low=low,
                    high=high,
                    level=level,
                    n=self.rows,
                    method=f"paired percentile bootstrap, {resamples} resamples",
                )
            )
        return made


class _Scorer:
    """Metrics of one model as a function of how often each row was drawn."""

    def __init__(self, task: Task, label: Floats, score: Floats, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.ranked = any(name in ("roc_auc", "average_precision") for name in names)
        if self.ranked:
            self.order = np.argsort(score, kind="stable")
            ordered = score[self.order]
            self.starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
            self.tied = self.starts.size < score.size
            self.positive = label[self.order].astype(np.int64)
        self.label = label
        self.losses = {name: _loss(name, label, score) for name in names if name in _LOSSES}

    def __call__(self, counts: Counts) -> Floats:
        weights = counts / counts.sum()
        found = self._ranks(counts) if self.ranked else {}
        for name, losses in self.losses.items():
            mean = _dot(weights, losses)
            found[name] = float(np.sqrt(mean)) if name == "rmse" else mean
            if name == "r2":
                found[name] = self._explained(weights, mean)
        return np.array([found[name] for name in self.names])

    def _explained(self, weights: Floats, mean_square: float) -> float:
        """1 - residual / total sum of squares; NaN for a constant label."""
        spread = _dot(weights, (self.label - _dot(weights, self.label)) ** 2)
        return 1 - mean_square / spread if spread > 0 else float("nan")

    def _ranks(self, counts: Counts) -> dict[str, float]:
        """ROC AUC as the Mann-Whitney statistic (ties count half) and average precision (Σ ΔR·P, ties as one step)."""
        drawn = counts[self.order]
        positive = drawn * self.positive
        negative = drawn - positive
        if self.tied:
            positive = np.add.reduceat(positive, self.starts)
            negative = np.add.reduceat(negative, self.starts)
        below = np.cumsum(negative)
        made = {"roc_auc": float("nan"), "average_precision": float("nan")}
        positives, negatives = int(positive.sum()), int(below[-1])
        if positives and negatives and "roc_auc" in self.names:
            wins = _dot(positive, below) - 0.5 * _dot(positive, negative)
            made["roc_auc"] = wins / (positives * negatives)
        if positives and "average_precision" in self.names:
            true_above = positives - np.cumsum(positive) + positive
            false_above = negatives - below + negative
            steps = np.flatnonzero(positive)
            true_at = true_above[steps]
            precision = true_at / (true_at + false_above[steps])
            made["average_precision"] = _dot(positive[steps], precision) / positives
        return made


_LOSSES = ("brier", "log_loss", "accuracy", "mae", "rmse", "r2")


def _dot(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> float:
    """Sum of products in this thread: BLAS would start threads of its own for vectors this short."""
    return float(np.einsum("i,i->", left, right))


def _loss(name: str, label: Floats, score: Floats) -> Floats:
    """Per-row term whose mean is the metric (its square for rmse and r2)."""
    made: Floats = score - label
    if name == "log_loss":
        safe = np.clip(score, EPSILON, 1 - EPSILON)
        made = -(label * np.log(safe) + (1 - label) * np.log1p(-safe))
    elif name == "accuracy":
        made = ((score >= 0.5) == (label == 1)).astype(np.float64)
    else:
        made = np.abs(made) if name == "mae" else made * made
    return made


def _percentile(deltas: Floats, level: float) -> tuple[float | None, float | None]:
    """Bounds of the middle `level` of the resampled differences; None when over 5 % of them are undefined."""
    finite = deltas[np.isfinite(deltas)]
    if finite.size < 0.95 * deltas.size:
        return None, None
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
