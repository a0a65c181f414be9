"""The table of metrics of labelled rows: one row a metric, with the least change that matters, and why that one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal[1, -1]


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """A metric of labelled rows. `worse` is the sign of a change for the worse; a `relative` threshold is a share of
    the reference's value.
    """

    name: str
    worse: Direction
    threshold: float
    relative: bool
    reason: str
    source: str


METRICS: tuple[MetricRow, ...] = (
    MetricRow(
        name="roc_auc",
        worse=-1,
        threshold=0.02,
        relative=False,
        reason="two pairs in a hundred more are ranked wrongly",
        source="DeLong, DeLong & Clarke-Pearson 1988",
    ),
    MetricRow(
        name="brier",
        worse=1,
        threshold=0.05,
        relative=True,
        reason="the mean squared error of the probabilities grows by a twentieth",
        source="Brier 1950; normal interval of a mean",
    ),
    MetricRow(
        name="log_loss",
        worse=1,
        threshold=0.05,
        relative=True,
        reason="the mean surprise at a label grows by a twentieth",
        source="Good 1952; normal interval of a mean",
    ),
    MetricRow(
        name="mae",
        worse=1,
        threshold=0.05,
        relative=True,
        reason="the mean error grows by a twentieth",
        source="normal interval of a mean",
    ),
    MetricRow(
        name="rmse",
        worse=1,
        threshold=0.05,
        relative=True,
        reason="the root mean squared error grows by a twentieth",
        source="normal interval of a mean, delta method",
    ),
)
