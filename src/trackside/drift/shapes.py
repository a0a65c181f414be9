"""Both distributions of a column in a few numbers, for plots: shares of equal steps, or of the largest levels."""

from __future__ import annotations

from typing import Any

import numpy as np

from trackside.drift.sentences import shown_level
from trackside.measures import levels
from trackside.sketch.column import Sketch
from trackside.sketch.numbers import Floats, Numbers

STEPS = 24
LEVELS = 12
COLUMNS = 40
"""Columns that a verdict keeps the shapes of, the strongest first."""
TAIL = 0.005
"""What is cut off the reference at either end, so that one far value does not squeeze the plot."""
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def shape(before: Sketch, now: Sketch) -> dict[str, Any] | None:
    """`{"kind", "names" or "edges", "reference", "current"}`; shares of all values, which need not add up to 1. Numbers
    have `quantiles` too.
    """
    if not before.finite or not now.finite:
        return None
    if before.numbers is None or now.numbers is None:
        return _levels(before, now)
    if not before.numbers.count or not now.numbers.count:
        return None
    quantiles = {
        "at": list(QUANTILES),
        "reference": _short(_quantiles(before.numbers)),
        "current": _short(_quantiles(now.numbers)),
    }
    made = _values(before, now) if levels.few_values(before) else _steps(before.numbers, now.numbers)
    return {**made, "quantiles": quantiles} if made else None


def _quantiles(one: Numbers) -> Floats:
    """Within a cell as if its values lay even; of exact cells the values themselves."""
    ranks = np.asarray(QUANTILES) * one.count
    ends = np.cumsum(one.counts)
    at = np.minimum(np.searchsorted(ends, ranks), ends.size - 1)
    part = np.clip((ranks - (ends[at] - one.counts[at])) / one.counts[at], 0, 1)
    low, high = one.lower[at], one.upper[at]
    return np.asarray(low * (1 - part) + high * part)


def _values(before: Sketch, now: Sketch) -> dict[str, Any] | None:
    found = levels.counts(before, now)
    if found is None:
        return None
    order = sorted(range(len(found.names)), key=lambda at: float(found.names[at]))
    known = [at for at in order if found.before[at] > 0]
    return {
        "kind": "values",
        "names": [f"{float(found.names[at]):.6g}" for at in known],
        "reference": _rounded(found.before[known] / before.finite),
        "current": _rounded(found.now[known] / now.finite),
    }


def _levels(before: Sketch, now: Sketch) -> dict[str, Any] | None:
    found = levels.counts(before, now)
    if found is None:
        return None
    p = found.before / (found.before.sum() + found.rest_before)
    q = found.now / (found.now.sum() + found.rest_now)
    order = sorted(range(len(found.names)), key=lambda at: (-max(p[at], q[at]), at))[:LEVELS]
    rest_p, rest_q = 1 - float(p[order].sum()), 1 - float(q[order].sum())
    rest = [("others", rest_p, rest_q)] if max(rest_p, rest_q) > 1e-9 else []
    rows = [(shown_level(found.names[at], 60), float(p[at]), float(q[at])) for at in order] + rest
    return {
        "kind": "levels",
        "names": [name for name, _, _ in rows],
        "reference": [round(one, 6) for _, one, _ in rows],
        "current": [round(one, 6) for _, _, one in rows],
    }


def _steps(before: Numbers, now: Numbers) -> dict[str, Any] | None:
    """Equal steps over the reference's middle 99 %, widened to the current values within twice that width."""
    low, high = _at(before, TAIL), _at(before, 1 - TAIL)
    with np.errstate(over="ignore", invalid="ignore"):
        width = high - low
        low, high = max(min(low, now.low), low - width), min(max(high, now.high), high + width)
        marks = np.linspace(low, high, STEPS + 1)
    if not np.isfinite(marks).all() or not high > low:
        return None
    return {
        "kind": "steps",
        "edges": [float(f"{one:.6g}") for one in marks],
        "reference": _rounded(_shares(before, marks)),
        "current": _rounded(_shares(now, marks)),
    }


def _at(one: Numbers, part: float) -> float:
    """The value at a rank, by its cell's upper end."""
    return float(one.upper[int(np.searchsorted(np.cumsum(one.counts), part * one.count))])


def _shares(one: Numbers, marks: Floats) -> Floats:
    """Share of values in each step; a cell that is wider than a step is spread over what it covers."""
    ends = np.cumsum(one.counts) / one.count
    starts = ends - one.counts / one.count
    lower, upper = one.lower, one.upper
    at = np.searchsorted(lower, marks, side="left") - 1  # the last cell that begins below the mark
    inner = np.clip(at, 0, None)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        part = np.where(upper[inner] > lower[inner], (marks - lower[inner]) / (upper[inner] - lower[inner]), 1.0)
    below = np.where(at < 0, 0.0, starts[inner] + np.clip(part, 0, 1) * (ends - starts)[inner])
    below[-1] = ends[np.searchsorted(lower, marks[-1], side="right") - 1] if marks[-1] >= lower[0] else 0.0
    return np.asarray(np.diff(below))


def _rounded(values: Floats) -> list[float]:
    return [round(float(one), 6) for one in values]


def _short(values: Floats) -> list[float]:
    return [float(f"{one:.6g}") for one in values]
