"""Both distributions of a column in a few numbers, for plots: shares of equal steps, or of the largest levels."""

from __future__ import annotations

from typing import Any

import numpy as np

from trackside.documents.profile import Column
from trackside.drift.columns import Floats, Observed
from trackside.drift.measures import counts_by_level

STEPS = 24
LEVELS = 12
COLUMNS = 40
"""Columns that a verdict keeps the shapes of, the strongest first."""
TAIL = 0.005
"""What is cut off the reference at either end, so that one far value does not squeeze the plot."""


def shape(reference: Column, seen: Observed) -> dict[str, Any] | None:
    """`{"kind", "names" or "edges", "reference", "current"}`; shares of all values, which need not add up to 1."""
    if not seen.finite:
        return None
    if reference.type in ("category", "boolean"):
        return _levels(reference, seen)
    if not reference.counts:
        return None
    if reference.distinct == len(reference.counts) <= STEPS:
        total = sum(reference.counts)
        now = seen.counts if seen.counts.size else np.zeros(len(reference.counts))
        return {
            "kind": "values",
            "names": [f"{edge:.6g}" for edge in reference.edges[1:]],
            "reference": _rounded(np.asarray(reference.counts) / total),
            "current": _rounded(now / seen.finite),
        }
    return _steps(reference, seen)


def _levels(reference: Column, seen: Observed) -> dict[str, Any]:
    names, before, now = counts_by_level(reference, seen)
    if not before.sum() or not now.sum():
        return {}
    p, q = before / before.sum(), now / now.sum()
    order = sorted(range(len(names) - 1), key=lambda at: (-max(p[at], q[at]), at))[:LEVELS]
    rest_p, rest_q = 1 - float(p[order].sum()), 1 - float(q[order].sum())
    rest = [("others", rest_p, rest_q)] if max(rest_p, rest_q) > 1e-9 else []
    rows = [(names[at][:60] or "(empty)", float(p[at]), float(q[at])) for at in order] + rest
    return {
        "kind": "levels",
        "names": [name for name, _, _ in rows],
        "reference": [round(one, 6) for _, one, _ in rows],
        "current": [round(one, 6) for _, _, one in rows],
    }


def _steps(reference: Column, seen: Observed) -> dict[str, Any] | None:
    """Equal steps over the reference's middle 99 %, widened to the current values within twice that width."""
    edges = np.asarray(reference.edges)
    before = np.concatenate(([0.0], np.cumsum(reference.counts))) / sum(reference.counts)
    now = (seen.below + np.concatenate(([0], np.cumsum(seen.counts)))) / seen.finite
    low, high = float(np.interp(TAIL, before, edges)), float(np.interp(1 - TAIL, before, edges))
    with np.errstate(over="ignore", invalid="ignore"):
        width = high - low
        low, high = max(min(low, seen.low), low - width), min(max(high, seen.high), high + width)
        marks = np.linspace(low, high, STEPS + 1)
    if not np.isfinite(marks).all() or not high > low:
        return None
    at = np.concatenate(([min(seen.low, edges[0])], edges, [max(seen.high, edges[-1])]))
    return {
        "kind": "steps",
        "edges": [float(f"{one:.6g}") for one in marks],
        "reference": _rounded(np.diff(np.interp(marks, edges, before))),
        "current": _rounded(np.diff(np.interp(marks, at, np.concatenate(([0.0], now, [1.0]))))),
    }


def _rounded(values: Floats) -> list[float]:
    return [round(float(one), 6) for one in values]
