"""The table of tests: one row a test, with its unit, its least effect that matters, and why that one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from trackside.documents.profile import Column
from trackside.documents.verdict import Heading
from trackside.drift import measures
from trackside.drift.columns import LEAST_COUNT, Observed
from trackside.drift.measures import Found

Test = Callable[[Column, Observed, float], "Found | None"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A test of one column. `function(reference, current, level)` is None where it says nothing.

    Of a `one_sided` test only a rise alarms. `threshold` is the least effect that matters, in `unit`. `floor` names a
    further figure that must reach a value, whatever the effect.
    """

    name: str
    applies: frozenset[str]
    function: Test
    unit: str
    threshold: float
    reason: str
    source: str
    heading: Heading | None = None
    one_sided: bool = False
    floor: tuple[str, float] | None = None


def _missing(reference: Column, seen: Observed, level: float) -> Found | None:
    return measures.proportions(reference.missing, reference.count, seen.missing - seen.wrong, seen.rows, level)


def _wrong(reference: Column, seen: Observed, level: float) -> Found | None:
    return measures.proportions(0, reference.count, seen.wrong, seen.rows, level)


def _infinite(reference: Column, seen: Observed, level: float) -> Found | None:
    return measures.proportions(reference.infinite, reference.count, seen.infinite, seen.rows, level)


def _new_levels(reference: Column, seen: Observed, level: float) -> Found | None:
    known = sum(reference.levels.values()) + reference.rest
    if not known or not seen.finite or _unique(reference):
        return None
    return measures.proportions(measures.unseen(reference), known, seen.unknown, seen.finite, level)


def _numbers(reference: Column, seen: Observed, level: float) -> Found | None:
    return measures.kolmogorov_smirnov(reference, seen, level) if reference.counts and seen.finite else None


def _categories(reference: Column, seen: Observed, level: float) -> Found | None:
    counted = sum(reference.levels.values()) + reference.rest
    return measures.chi_square(reference, seen, level) if counted and seen.finite and not _unique(reference) else None


def _unique(reference: Column) -> bool:
    """Names and ids: most values are rare, so that new ones are no news."""
    rare = reference.rest + sum(count for count in reference.levels.values() if count < LEAST_COUNT)
    return 2 * rare > sum(reference.levels.values()) + reference.rest


EVERY = frozenset({"number", "category", "boolean", "datetime"})
_AS_ONE = frozenset({"category", "boolean"})

TESTS: tuple[Row, ...] = (
    Row(
        name="missing",
        applies=EVERY,
        function=_missing,
        unit="difference of shares",
        threshold=0.02,
        reason="one row in fifty more or fewer without a value",
        source="Newcombe 1998, method 10",
        heading="data_quality",
    ),
    Row(
        name="wrong type",
        applies=EVERY,
        function=_wrong,
        unit="share of values",
        threshold=0.01,
        reason="one value in a hundred that is not of the column's type",
        source="Newcombe 1998, method 10",
        heading="data_quality",
        one_sided=True,
    ),
    Row(
        name="infinite",
        applies=frozenset({"number"}),
        function=_infinite,
        unit="difference of shares",
        threshold=0.0,
        reason="infinite values break most models, so any surely higher share matters",
        source="Newcombe 1998, method 10",
        heading="data_quality",
        one_sided=True,
    ),
    Row(
        name="new levels",
        applies=_AS_ONE,
        function=_new_levels,
        unit="difference of shares",
        threshold=0.01,
        reason="one row in a hundred of a category that the model never saw",
        source="Newcombe 1998, method 10; what may be unseen: Good 1953",
        heading="data_quality",
        one_sided=True,
    ),
    Row(
        name="ks",
        applies=frozenset({"number"}),
        function=_numbers,
        unit="D, 0 to 1",
        threshold=0.05,
        reason="a normal column whose mean moves by an eighth of its deviation has D = 0.05",
        source="Kolmogorov 1933, Smirnov 1939; bounds Massart 1990, Wei & Dudley 2012",
    ),
    Row(
        name="chi2",
        applies=_AS_ONE,
        function=_categories,
        unit="Cohen's w",
        threshold=0.1,
        reason="a small effect in Cohen's words (1988): a rate of 50 % moving to 55 %, or 10 % to 13 %",
        source="Pearson 1900; Cohen 1988, ch. 7; interval by the non-central distribution",
        floor=("moved", 0.02),  # w of rare levels is large soon: one row in fifty must have moved as well
    ),
)

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
