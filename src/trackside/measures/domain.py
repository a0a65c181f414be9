"""All columns at once: how well a classifier tells current rows from the reference's, and by which columns.

It finds what no single column shows, such as two columns that no longer move together. Boosted trees of depth 3
(Friedman 2001, with the second-order gain of Chen & Guestrin 2016) on columns in bins; the area under the curve is of
rows that the trees have not seen, with DeLong's interval (1988).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from trackside.measures.chance import normal_tail
from trackside.measures.found import Found
from trackside.sketch.numbers import Floats

ROWS = 5000
"""Rows of either side that are looked at."""
BINS = 16
TREES = 40
DEPTH = 3
FOLDS = 4
RATE = 0.15
RIDGE = 5.0
"""Weight of the penalty on leaves: of so many second derivatives a leaf counts half."""
THRESHOLD = 0.05
"""Above one half: of 100 pairs of rows, one a side, 55 are told apart rightly."""

Bins = npt.NDArray[np.int64]
Truths = npt.NDArray[np.bool_]


def domain(before: Mapping[str, Floats], now: Mapping[str, Floats], level: float) -> Found | None:
    """AUC - 1/2 of telling both sides apart, of rows held out; `extra` has each column's share of the trees' gain.

    Args:
        before: by column, values with NaN where missing, shape (n,); of a category, its codes.
        now: the same columns, shape (m,); codes mean the same levels.
    """
    names = [name for name in before if name in now]
    if not names:
        return None
    picked = [_picked(np.column_stack([side[name] for name in names])) for side in (before, now)]
    if min(one.shape[0] for one in picked) < 10 * FOLDS:
        return None
    values = np.concatenate(picked)
    truth = np.repeat([False, True], [one.shape[0] for one in picked])
    binned = np.column_stack([_binned(values[:, at]) for at in range(len(names))])
    fold = np.random.default_rng(0).permutation(truth.size) % FOLDS
    gains = np.zeros(len(names))
    areas, variances = [], []
    for held in range(FOLDS):
        there = fold == held
        model = _Trees(binned[~there], truth[~there])
        gains += model.gains
        area, variance = auc(truth[there], model.score(binned[there]))
        areas.append(area)
        variances.append(variance)
    effect = float(np.mean(areas)) - 0.5
    # Folds train on the same rows, so that their areas move together (Nadeau & Bengio 2003).
    error = math.sqrt(float(np.mean(variances)) * (1 / FOLDS + 1 / (FOLDS - 1)))
    reach = NormalDist().inv_cdf((1 + level) / 2) * error
    shares = gains / gains.sum() if gains.sum() > 0 else gains
    return Found(
        effect=effect,
        low=effect - reach,
        high=effect + reach,
        beyond=lambda least: normal_tail((effect - least) / error) if error else float(effect <= least),
        certain=(effect, effect),
        extra={name: float(share) for name, share in zip(names, shares, strict=True)},
    )


def _picked(rows: Floats) -> Floats:
    """At most `ROWS` rows, even over the table."""
    if rows.shape[0] <= ROWS:
        return rows
    return np.asarray(rows[np.linspace(0, rows.shape[0] - 1, ROWS).astype(np.int64)])


def _binned(values: Floats) -> Bins:
    """Bins of equal share, 0 to `BINS` - 1; missing values have the last bin of their own."""
    there = np.isfinite(values)
    edges = np.unique(np.quantile(values[there], np.arange(1, BINS) / BINS)) if there.any() else np.zeros(0)
    return np.where(there, np.searchsorted(edges, values, side="left"), BINS).astype(np.int64)


def auc(truth: Truths, score: Floats) -> tuple[float, float]:
    """Area under the curve, ties as halves, and its variance (DeLong, DeLong & Clarke-Pearson 1988)."""
    ones, zeros = np.sort(score[truth]), np.sort(score[~truth])
    below = (np.searchsorted(zeros, ones, "left") + np.searchsorted(zeros, ones, "right")) / (2 * zeros.size)
    above = 1 - (np.searchsorted(ones, zeros, "left") + np.searchsorted(ones, zeros, "right")) / (2 * ones.size)
    variance = float(below.var(ddof=1)) / ones.size + float(above.var(ddof=1)) / zeros.size
    return float(below.mean()), variance


@dataclass(frozen=True)
class _Split:
    """Rows of a `node` whose bin of `column` is at most `edge` go left."""

    node: int
    column: int
    edge: int
    gain: float


class _Trees:
    """Trees that predict the log odds of a row's side."""

    def __init__(self, binned: Bins, truth: Truths) -> None:
        self.gains = np.zeros(binned.shape[1])
        self._columns = binned.shape[1]
        self._start = math.log(truth.sum() / (truth.size - truth.sum()))
        self._trees: list[tuple[list[list[_Split]], Floats]] = []
        score = np.full(truth.size, self._start)
        for _ in range(TREES):
            chance = 1 / (1 + np.exp(-score))
            score += self._grow(binned, chance - truth, chance * (1 - chance))

    def score(self, binned: Bins) -> Floats:
        made = np.full(binned.shape[0], self._start)
        for levels, leaves in self._trees:
            node = np.zeros(binned.shape[0], dtype=np.int64)
            for splits in levels:
                node = _moved(node, splits, binned)
            made += leaves[node]
        return made

    def _grow(self, binned: Bins, slope: Floats, curve: Floats) -> Floats:
        node = np.zeros(slope.size, dtype=np.int64)
        levels = []
        for depth in range(DEPTH):
            splits = self._splits(node, 2**depth, binned, slope, curve)
            for split in splits:
                self.gains[split.column] += split.gain
            levels.append(splits)
            node = _moved(node, splits, binned)
        sums = np.bincount(node, weights=slope, minlength=2**DEPTH)
        curves = np.bincount(node, weights=curve, minlength=2**DEPTH)
        leaves = -RATE * sums / (curves + RIDGE)
        self._trees.append((levels, leaves))
        return np.asarray(leaves[node])

    def _splits(self, node: Bins, nodes: int, binned: Bins, slope: Floats, curve: Floats) -> list[_Split]:
        """The best split of every node that gains by one."""
        width = BINS + 1
        place = (node[:, None] * self._columns + np.arange(self._columns)) * width + binned
        shape = (nodes, self._columns, width)
        size = nodes * self._columns * width
        sums = np.bincount(place.ravel(), np.repeat(slope, self._columns), size).reshape(shape)
        curves = np.bincount(place.ravel(), np.repeat(curve, self._columns), size).reshape(shape)
        left, weight = np.cumsum(sums, axis=2), np.cumsum(curves, axis=2)
        whole, total = left[:, :, -1:], weight[:, :, -1:]
        gain = left**2 / (weight + RIDGE) + (whole - left) ** 2 / (total - weight + RIDGE) - whole**2 / (total + RIDGE)
        best = gain[:, :, :-1].reshape(nodes, -1).argmax(axis=1)
        found = gain[:, :, :-1].reshape(nodes, -1)[np.arange(nodes), best]
        return [
            _Split(at, int(best[at]) // BINS, int(best[at]) % BINS, float(found[at]))
            for at in range(nodes)
            if found[at] > 0
        ]


def _moved(node: Bins, splits: list[_Split], binned: Bins) -> Bins:
    """Children of node k are 2 k (left, or not split) and 2 k + 1."""
    made = 2 * node
    for split in splits:
        made += (node == split.node) & (binned[:, split.column] > split.edge)
    return made
