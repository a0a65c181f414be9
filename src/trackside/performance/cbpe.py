"""Confidence-based performance estimation (CBPE): what a binary classifier's metrics are expected to be without labels.

A calibrated score is the chance that the label is 1, so that every metric of the scores has an expected value
(Kivimäki, Białek, Kuberski & Nurminen 2025, "Performance Estimation in Binary Classification Using Calibrated
Confidence"). It sees another mix of scores; it cannot see that the same scores mean something else by now.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from trackside.performance.measured import EPSILON, LEAST_OF_CLASS, Estimate
from trackside.sketch.values import Floats

FOLDS = 10
BINS = 10
"""Of equal numbers of rows, by which calibration is judged."""
DECIDING = 200_000
"""Rows on which it is decided whether calibration helps; of more, evenly spaced ones."""
PASSES = 50
"""Over the array, before the rest is pooled one by one."""
SEPARATED = 0.999
"""Of a model that ranks nearly perfectly the scores are taken as they are: its calibration is two steps."""
OUTSIDE = 0.05
"""Share of rows outside of the reference from which an estimate is not trusted: the calibration has not seen them."""
MISSED = 3.0
"""Standard errors by which labels may miss the estimate before it is not trusted."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Score → chance of label 1, learnt from the reference: rising steps, straight lines between them.

    `left` and `right` (k,) are the least and greatest score of each step, `chance` (k,) the share of label 1 in it,
    `rows` (k,) its rows. `helps` is false where scores are used as they are. `error` is the mean distance of scores
    as used from shares (expected calibration error, out of fold).
    """

    left: Floats
    right: Floats
    chance: Floats
    rows: Floats
    helps: bool
    error: float

    def chances(self, scores: Floats) -> Floats:
        """Chance of label 1 by score, shape (n,)."""
        if not self.helps:
            return np.clip(scores, 0.0, 1.0)
        return np.interp(scores, np.stack([self.left, self.right], 1).ravel(), np.repeat(self.chance, 2))

    def to_document(self) -> dict[str, Any]:
        """For a profile's details."""
        made: dict[str, Any] = {
            name: [float(f"{one:.9g}") for one in getattr(self, name)] for name in ("left", "right", "chance")
        }
        return made | {"rows": [int(one) for one in self.rows], "helps": self.helps, "error": round(self.error, 6)}

    @classmethod
    def from_document(cls, found: object) -> Calibration | None:
        """None for what is none."""
        if not isinstance(found, Mapping):
            return None
        try:
            made = cls(
                helps=bool(found["helps"]),
                error=float(found["error"]),
                **{name: np.array(found[name], dtype=np.float64) for name in ("left", "right", "chance", "rows")},
            )
        except (KeyError, TypeError, ValueError):
            return None
        sizes = {one.shape for one in (made.left, made.right, made.chance, made.rows)}
        sound = sizes == {(made.left.size,)} and made.left.size > 0 and bool((made.rows > 0).all())
        return made if sound and np.isfinite(made.left).all() and np.isfinite(made.right).all() else None


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Expected metrics by name with standard errors; `note` is why there are none."""

    metrics: dict[str, Estimate] = field(default_factory=dict)
    rows: int = 0
    note: str = ""


def calibration(truth: Floats, scores: Floats) -> Calibration | None:
    """Isotonic calibration of scores within 0..1 (pool adjacent violators), if it makes them better calibrated.

    Whether it does is decided out of fold: ten folds that are interleaved by score, expected calibration error over
    ten bins of equal size, before and after. None for scores that are no chances, or too few rows of a class.

    Args:
        truth: 0 or 1, shape (n,).
        scores: shape (n,).
    """
    ones = float(truth.sum())
    if min(ones, truth.size - ones) < LEAST_OF_CLASS or scores.min() < 0 or scores.max() > 1:
        return None
    order = np.lexsort((truth, scores))
    truth, scores = truth[order], scores[order]
    step = math.ceil(truth.size / DECIDING)
    few_truth, few_scores = truth[::step], scores[::step]
    out = few_scores.copy()
    fold = np.empty(few_truth.size, dtype=np.int64)
    for label in (0.0, 1.0):  # each class spread evenly over the folds
        chosen = few_truth == label
        fold[chosen] = np.arange(int(chosen.sum())) % FOLDS
    for at in range(FOLDS):
        inner = fold != at
        if inner.all() or not inner.any():
            continue
        out[~inner] = _steps(few_truth[inner], few_scores[inner], helps=True).chances(few_scores[~inner])
    before, after = calibration_error(few_truth, few_scores), calibration_error(few_truth, out)
    helps = after < before and _area(few_truth, few_scores) <= SEPARATED
    return _steps(truth, scores, helps=helps, error=after if helps else before)


def _steps(truth: Floats, scores: Floats, *, helps: bool, error: float = 0.0) -> Calibration:
    """The isotonic regression of labels on sorted scores, ties first counted as one."""
    starts = np.flatnonzero(np.concatenate(([True], np.diff(scores) > 0)))
    sizes = np.diff(np.concatenate((starts, [scores.size]))).astype(np.float64)
    heads, sums, rows = pooled(np.add.reduceat(truth, starts), sizes)
    unique = scores[starts]
    return Calibration(
        left=unique[heads],
        right=unique[np.concatenate((heads[1:], [unique.size])) - 1],
        chance=sums / rows,
        rows=rows,
        helps=helps,
        error=error,
    )


def pooled(sums: Floats, sizes: Floats) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """Pool adjacent violators (Ayer et al. 1955): first places, sums and sizes of blocks whose means rise strictly.

    Runs that do not rise belong to one block, so that each pass over the array pools all of them at once; what few
    passes leave is pooled one by one.
    """
    heads = np.arange(sums.size)
    for _ in range(PASSES):
        means = sums / sizes
        begins = np.flatnonzero(np.concatenate(([True], means[1:] > means[:-1])))
        if begins.size == heads.size:
            return heads, sums, sizes
        heads, sums, sizes = heads[begins], np.add.reduceat(sums, begins), np.add.reduceat(sizes, begins)
    blocks: list[tuple[int, float, float]] = []
    for one in zip(heads.tolist(), sums.tolist(), sizes.tolist(), strict=True):
        head, total, size = one
        while blocks and blocks[-1][1] * size >= total * blocks[-1][2]:
            head, more, others = blocks.pop()
            total, size = total + more, size + others
        blocks.append((head, total, size))
    places, whole, counts = zip(*blocks, strict=True)
    return np.array(places), np.array(whole), np.array(counts)


def calibration_error(truth: Floats, chances: Floats) -> float:
    """Mean distance of chances from shares of label 1, over bins of equal numbers of rows by chance."""
    _, codes, counts = np.unique(chances, return_inverse=True, return_counts=True)
    truth = (np.bincount(codes, weights=truth) / counts)[codes]  # a bin may end amid equal chances
    order = np.argsort(chances, kind="stable")
    ends = np.linspace(0, truth.size, min(BINS, max(1, truth.size // 2)) + 1).astype(np.int64)
    gaps = np.add.reduceat(chances[order] - truth[order], ends[:-1])
    return float(np.abs(gaps).sum() / truth.size)


def _area(truth: Floats, scores: Floats) -> float:
    from trackside.performance.measured import auc

    return auc(truth, scores).value


def expected(found: Calibration, scores: Floats, *, decision: float) -> Expected:
    """Expected metrics of scores without labels, each with a standard error.

    The error has two parts, both from the metric's derivative by each row's chance p: labels vary as Bernoulli(p),
    and a step of the calibration is itself a share of `rows` rows of the reference.

    Args:
        scores: finite, shape (n,).
        decision: score from which a row counts as positive.
    """
    if not scores.size:
        return Expected(note="no row has a score")
    if scores.min() < 0 or scores.max() > 1:
        return Expected(rows=int(scores.size), note="scores are not within 0..1: nothing is estimated")
    chances = found.chances(scores)
    noise = chances * (1 - chances)
    made = {}
    for name, (value, slope) in _derived(chances, scores, decision).items():
        variance = float((slope * slope * noise).sum()) + _of_calibration(found, scores, slope)
        made[name] = Estimate(value=value, error=math.sqrt(variance))
    return Expected(metrics=made, rows=int(scores.size))


def _of_calibration(found: Calibration, scores: Floats, slope: Floats) -> float:
    """Variance of a metric by that of the calibration's steps; without calibration there is none."""
    if not found.helps:
        return 0.0
    step = np.clip(np.searchsorted(found.left, scores, side="right") - 1, 0, found.left.size - 1)
    pull = np.bincount(step, weights=slope, minlength=found.left.size)
    # The share of a step of few rows is 0 or 1 often: the variance is that with a success and a failure more.
    share = (found.chance * found.rows + 1) / (found.rows + 2)
    return float((pull * pull * share * (1 - share) / (found.rows + 2)).sum())


def _derived(chances: Floats, scores: Floats, decision: float) -> dict[str, tuple[float, Floats]]:
    """Each metric with its derivative by every row's chance, shape (n,)."""
    n = scores.size
    yes = (scores >= decision).astype(np.float64)
    hits, positives, called = float((yes * chances).sum()), float(chances.sum()), float(yes.sum())
    made = {
        "accuracy": (float((yes * chances + (1 - yes) * (1 - chances)).mean()), (2 * yes - 1) / n),
        "brier": (float((scores * scores - 2 * scores * chances + chances).mean()), (1 - 2 * scores) / n),
    }
    safe = np.clip(scores, EPSILON, 1 - EPSILON)
    up, down = np.log(safe), np.log1p(-safe)
    made["log_loss"] = (float(-(chances * up + (1 - chances) * down).mean()), (down - up) / n)
    if called:
        made["precision"] = (hits / called, yes / called)
    if positives > 0:
        recall, both = hits / positives, called + positives
        f1 = 2 * hits / both
        made["recall"] = (recall, (yes - recall) / positives)
        made["f1"] = (f1, (2 * yes - f1) / both)
    if min(positives, n - positives) > 0:
        made["roc_auc"] = _auc(chances, scores)
    return made


def _auc(chances: Floats, scores: Floats) -> tuple[float, Floats]:
    """Expected ROC AUC: pairs of a chance for 1 and one for 0, ties counting half, over all such pairs."""
    _, codes = np.unique(scores, return_inverse=True)
    ones = np.bincount(codes, weights=chances)
    zeros = np.bincount(codes, weights=1 - chances)
    below = np.cumsum(zeros) - zeros / 2  # chances for 0 at lower scores, half of the ties
    above = ones.sum() - np.cumsum(ones) + ones / 2
    total_ones, total_zeros = float(ones.sum()), float(zeros.sum())
    area = float((ones * below).sum()) / (total_ones * total_zeros)
    slope = ((below - above)[codes] - area * (total_zeros - total_ones)) / (total_ones * total_zeros)
    return area, slope


def interval(found: Estimate, level: float, *, bounded: bool) -> tuple[float, float]:
    """Normal interval of an estimate; of a metric within 0..1 it stays there."""
    reach = NormalDist().inv_cdf((1 + level) / 2) * found.error
    low, high = found.value - reach, found.value + reach
    return (max(0.0, low), min(1.0, high)) if bounded else (max(0.0, low), high)


def strange(outside: Mapping[str, float]) -> list[str]:
    """Columns whose values the reference lacks, in sentences: the calibration has not seen such rows.

    Args:
        outside: by column, the share of rows outside of the reference's range or levels.
    """
    far = sorted(((share, name) for name, share in outside.items() if share > OUTSIDE), reverse=True)
    made = [
        f"{100 * share:.1f} % of rows have a value of {name} that the reference lacks: the calibration never saw them"
        for share, name in far[:3]
    ]
    return [*made, f"so it is with {len(far) - 3:,} more columns"] if len(far) > 3 else made


def doubts(measured: Mapping[str, Estimate], estimated: Mapping[str, Estimate], *, labelled: int) -> list[str]:
    """Why estimates cannot be trusted, in sentences; what they never see is said always, last.

    Args:
        measured: metrics of the rows that have labels already; `labelled` rows.
        estimated: those of the same rows, without their labels.
    """
    made = []
    for name in ("roc_auc", "log_loss", "brier"):
        told, was = estimated.get(name), measured.get(name)
        if told is None or was is None:
            continue
        error = math.hypot(told.error, was.error)
        if error and abs(was.value - told.value) > MISSED * error:
            made.append(
                f"on {labelled:,} labelled rows {name} is {was.value:.4g}, estimated {told.value:.4g}: the same score"
                " means something else by now (concept drift)"
            )
            break
    made.append("an estimate takes it that a score means what it meant in the reference: concept drift it cannot see")
    return made
