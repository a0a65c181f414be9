"""Texts of which most are different, such as names and ids: what their lengths and shapes tell of their format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trackside.measures import levels, numeric
from trackside.measures.found import Found
from trackside.sketch.column import Sketch

if TYPE_CHECKING:
    from trackside.measures.exact import Exact


def lengths(before: Sketch, now: Sketch, level: float, exact: Exact | None) -> Found | None:
    """Kolmogorov-Smirnov of the lengths in characters; None where the levels themselves can be compared."""
    del exact
    if before.lengths is None or now.lengths is None or not levels.mostly_rare(before):
        return None
    one, two = (Sketch(kind="number", rows=side.count, numbers=side) for side in (before.lengths, now.lengths))
    return numeric.kolmogorov_smirnov(one, two, level, None) if one.rows and two.rows else None


def patterns(before: Sketch, now: Sketch, level: float, exact: Exact | None) -> Found | None:
    """Share of texts of a shape that the reference lacks; None where the levels themselves can be compared."""
    if before.patterns is None or now.patterns is None or not levels.mostly_rare(before):
        return None
    one, two = (Sketch(kind="category", rows=side.count, levels=side) for side in (before.patterns, now.patterns))
    return levels.new_levels(one, two, level, exact)
