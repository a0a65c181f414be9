"""What of a sketch is published: nothing that names single rows, and no more than fits."""

from __future__ import annotations

from dataclasses import replace

from trackside.sketch import codec, levels
from trackside.sketch.column import Sketch
from trackside.sketch.numbers import Numbers

BYTES = 20_000
"""Bytes of a column's numbers: a profile of 30 columns stays below a megabyte."""


def published(sketch: Sketch) -> Sketch:
    """The sketch with rare levels of categories by a digest and rare patterns among the rest; of many numbers that
    share few bits, fewer bits: a profile does not list the values of every row.
    """
    patterns, named = sketch.patterns, sketch.levels
    if named is not None and sketch.kind == "category":
        named = levels.published(named)
    if patterns is not None:
        common = sum(count >= levels.LEAST_COUNT for count in patterns.counts.values())
        patterns = levels.published(patterns, limit=common)
    return replace(
        sketch,
        numbers=_fitting(sketch.numbers),
        levels=named,
        lengths=_fitting(sketch.lengths),
        patterns=patterns,
        otherwise=(),
    )


def _fitting(numbers: Numbers | None) -> Numbers | None:
    """At the depth at which they fit, near enough."""
    while numbers is not None and (spare := codec.size_of(numbers) - BYTES) > 0:
        numbers = numbers.at(max(0, numbers.depth - max(1, 8 * spare // len(numbers.keys))))
    return numbers
