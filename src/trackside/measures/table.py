"""The table of tests: one row a test, with its unit, its least effect that matters, and why that one.

A test more is a row here and a function beside; `make docs` writes its line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trackside.measures import detectable, levels, numeric, quality, shares, texts
from trackside.measures.detectable import Detect
from trackside.measures.found import Found
from trackside.sketch.column import Sketch

if TYPE_CHECKING:
    from trackside.measures.exact import Exact

Test = Callable[[Sketch, Sketch, float, "Exact | None"], "Found | None"]
"""`(reference, current, level, exact)`; None where the test says nothing of such columns."""
Group = Literal["every", "measured", "counted", "text", "dates"]
"""What a test applies to: every column; numbers; categories, truths and numbers of few values; texts; dates."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A test of one column.

    One that `judges` alarms from its `threshold` on, the least effect that matters, in `unit`; the others are shown
    beside. Of a `rises` test only a rise alarms. `floor` names a further figure that must reach a value, whatever the
    effect. Tests of the values' state have `quality`: they say that a pipeline broke, not that the world moved; those
    that are `invalid`, that the column cannot be judged at all. `detect` tells the least effect that is found.
    """

    name: str
    applies: tuple[Group, ...]
    function: Test
    unit: str
    source: str
    threshold: float | None = None
    reason: str = ""
    quality: bool = False
    rises: bool = False
    invalid: bool = False
    floor: tuple[str, float] | None = None
    detect: Detect | None = None

    @property
    def judges(self) -> bool:
        return self.threshold is not None


def groups(one: Sketch) -> frozenset[Group]:
    """What a column of the reference is, for `applies`."""
    if one.kind == "datetime":
        return frozenset({"every", "dates"})
    if one.kind != "number" or levels.few_values(one):
        return frozenset({"every", "counted", "text"} if one.kind == "category" else {"every", "counted"})
    return frozenset({"every", "measured"})


TESTS: tuple[Row, ...] = (
    Row(
        name="missing",
        applies=("every",),
        function=quality.missing,
        detect=detectable.missing,
        unit="difference of shares",
        threshold=0.02,
        reason="one row in fifty more or fewer without a value",
        source="Newcombe 1998, method 10",
        quality=True,
    ),
    Row(
        name="wrong type",
        applies=("every",),
        function=quality.wrong_type,
        detect=detectable.nothing_yet,
        unit="share of rows",
        threshold=0.01,
        reason="one value in a hundred that is not of the column's type",
        source="Newcombe 1998, method 10",
        quality=True,
        rises=True,
        invalid=True,
    ),
    Row(
        name="infinite",
        applies=("measured", "counted"),
        function=quality.infinite,
        unit="difference of shares",
        threshold=0.0,
        reason="infinite values break most models, so any surely higher share matters",
        source="Newcombe 1998, method 10",
        quality=True,
        rises=True,
    ),
    Row(
        name="range",
        applies=("measured",),
        function=quality.out_of_range,
        unit="share of values",
        threshold=0.01,
        reason="one value in a hundred that the model never saw the like of",
        source="Wilks 1942: the mass beyond a sample's extremes",
        quality=True,
        rises=True,
    ),
    Row(
        name="new levels",
        applies=("counted",),
        function=levels.new_levels,
        detect=detectable.nothing_yet,
        unit="difference of shares",
        threshold=0.01,
        reason="one row in a hundred of a category that the model never saw",
        source="Newcombe 1998, method 10; what may be unseen: Good 1953, Esty 1983",
        quality=True,
        rises=True,
    ),
    Row(
        name="vanished",
        applies=("counted",),
        function=levels.vanished,
        unit="share of the largest",
        threshold=0.01,
        reason="a category of one row in a hundred that is gone; what fills it may be broken",
        source="Newcombe 1998, method 10; Bonferroni over levels as large",
        quality=True,
        rises=True,
    ),
    Row(
        name="pattern",
        applies=("text",),
        function=texts.patterns,
        unit="difference of shares",
        threshold=0.02,
        reason="names and ids have no levels to compare; one in fifty is of another format",
        source="as new levels, of the texts' shapes: letters a, digits 9, runs as one",
        quality=True,
        rises=True,
    ),
    Row(
        name="length",
        applies=("text",),
        function=texts.lengths,
        unit="D, 0 to 1",
        threshold=0.1,
        reason="one name or id in ten is shorter or longer, so that something else fills the column",
        source="as ks",
        quality=True,
    ),
    Row(
        name="ks",
        applies=("measured",),
        function=numeric.kolmogorov_smirnov,
        detect=detectable.kolmogorov,
        unit="D, 0 to 1",
        threshold=0.05,
        reason="a normal column whose mean moves by an eighth of its deviation has D = 0.05",
        source="Kolmogorov 1933, Smirnov 1939; bounds Massart 1990, Wei & Dudley 2012",
    ),
    Row(
        name="wasserstein",
        applies=("measured",),
        function=numeric.wasserstein,
        detect=detectable.shift,
        unit="reference deviations",
        threshold=0.08,
        reason="values lie a twelfth of a deviation off on average: a third of what 2,000 rows surely show",
        source="Kantorovich 1942: bounds by the means of functions of slope 1",
    ),
    Row(
        name="chi2",
        applies=("counted",),
        function=levels.chi_square,
        detect=detectable.levels_moved,
        unit="Cohen's w",
        threshold=0.06,
        reason="a rate of 50 % moving to 53 %, or 10 % to 12 %: below a small effect in Cohen's words (0.1)",
        source="Pearson 1900; Cohen 1988, ch. 7; interval by the non-central distribution",
        floor=("moved", 0.02),  # w of rare levels is large soon: one row in fifty must surely have moved as well
    ),
    Row(
        name="cramer_von_mises",
        applies=("measured",),
        function=numeric.cramer_von_mises,
        unit="criterion T",
        source="Anderson 1962",
    ),
    Row(
        name="anderson_darling",
        applies=("measured",),
        function=numeric.anderson_darling,
        unit="statistic A²",
        source="Scholz & Stephens 1987, with mid-ranks",
    ),
    Row(
        name="psi",
        applies=("measured", "counted"),
        function=shares.shown(shares.stability),
        unit="nats",
        source="Jeffreys 1946; tenths of the reference, empty cells as half a row",
    ),
    Row(
        name="jensen_shannon",
        applies=("measured", "counted"),
        function=shares.shown(shares.jensen_shannon),
        unit="distance, 0 to 1",
        source="Lin 1991; Endres & Schindelin 2003",
    ),
    Row(
        name="kullback_leibler",
        applies=("measured", "counted"),
        function=shares.shown(shares.kullback_leibler),
        unit="nats",
        source="Kullback & Leibler 1951; current data from the reference",
    ),
    Row(
        name="hellinger",
        applies=("measured", "counted"),
        function=shares.shown(shares.hellinger),
        unit="distance, 0 to 1",
        source="Hellinger 1909",
    ),
    Row(
        name="total_variation",
        applies=("measured", "counted"),
        function=shares.shown(shares.total_variation),
        unit="share of rows",
        source="half the sum of differences of shares",
    ),
    Row(
        name="cramers_v",
        applies=("counted",),
        function=shares.shown(shares.cramers_v),
        unit="0 to 1",
        source="Cramér 1946",
    ),
    Row(
        name="cardinality",
        applies=("counted",),
        function=quality.cardinality,
        unit="logarithm of the ratio",
        source="distinct values, which grow with the rows",
    ),
    Row(
        name="entropy",
        applies=("counted",),
        function=quality.entropy_change,
        unit="nats",
        source="Shannon 1948",
    ),
    Row(
        name="mode",
        applies=("counted",),
        function=quality.mode,
        unit="difference of shares",
        source="Newcombe 1998, method 10",
    ),
)
