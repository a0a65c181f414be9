"""Inline SVG: two distributions over each other, and a column's effect over time. Colours come from the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from trackside.drift.history import Point
from trackside.drift.words import figure, share

WIDTH, HEIGHT = 420, 170
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 8, 26


def distribution(shape: Any, name: str) -> Markup:
    """Bars of the reference behind, the current data as an outline before; empty for what cannot be drawn."""
    if not isinstance(shape, dict):
        return Markup("")
    before, now = _shares(shape.get("reference")), _shares(shape.get("current"))
    if not before or len(before) != len(now):
        return Markup("")
    if shape.get("kind") == "levels":
        return _levels(shape, before, now, name)
    return _columns(shape, before, now, name)


def _shares(values: Any) -> list[float]:
    return [min(1.0, max(0.0, float(one))) for one in values] if isinstance(values, list) else []


def _open(name: str, height: int) -> str:
    label = escape(f"{name}: reference and current data")
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">'


def _columns(shape: dict[str, Any], before: list[float], now: list[float], name: str) -> Markup:
    top = max(*before, *now, 1e-9)
    wide, tall = (WIDTH - LEFT - RIGHT) / len(before), HEIGHT - TOP - BOTTOM
    parts = [_open(name, HEIGHT)]
    for part in (0.0, 0.5, 1.0):
        y = TOP + tall * (1 - part)
        parts.append(f'<path class="rule" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{escape(share(top * part))}</text>')
    outline = [f"M{LEFT} {TOP + tall}"]
    for at, (p, q) in enumerate(zip(before, now, strict=True)):
        x, height = LEFT + at * wide, tall * p / top
        parts.append(
            f'<rect class="before" x="{x + 0.5:.1f}" y="{TOP + tall - height:.1f}" width="{max(wide - 1, 0.5):.1f}" '
            f'height="{height:.1f}"/>'
        )
        outline.append(f"V{TOP + tall * (1 - q / top):.1f}H{x + wide:.1f}")
    parts.append(f'<path class="now" d="{"".join(outline)}V{TOP + tall}"/>')
    for x, anchor, text in _ticks(shape, len(before), wide):
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{escape(text)}</text>')
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 - numbers, and texts escaped above


def _ticks(shape: dict[str, Any], count: int, wide: float) -> list[tuple[float, str, str]]:
    if shape.get("kind") == "values":
        names = [str(one)[:12] for one in shape.get("names", [])][:count]
        step = max(1, -(-len(names) // 12))
        return [(LEFT + (at + 0.5) * wide, "middle", names[at]) for at in range(0, len(names), step)]
    edges = shape.get("edges", [])
    if len(edges) != count + 1:
        return []
    marks = [(0, "start"), (count // 2, "middle"), (count, "end")]
    return [(LEFT + at * wide, anchor, figure(float(edges[at]))) for at, anchor in marks]


def _levels(shape: dict[str, Any], before: list[float], now: list[float], name: str) -> Markup:
    """Lying bars, two a level: names need room."""
    row, side = 24, 120
    names = [str(one) for one in shape.get("names", [])]
    if len(names) != len(before):
        return Markup("")
    top, wide = max(*before, *now, 1e-9), WIDTH - side - 112
    parts = [_open(name, row * len(names) + 6)]
    for at, (text, p, q) in enumerate(zip(names, before, now, strict=True)):
        y = 4 + at * row
        short = text if len(text) <= 18 else text[:17] + "…"
        parts.append(f'<text x="{side - 6}" y="{y + 14}" text-anchor="end">{escape(short)}</text>')
        parts.append(f'<rect class="before" x="{side}" y="{y + 1}" width="{wide * p / top:.1f}" height="8"/>')
        parts.append(f'<rect class="fill" x="{side}" y="{y + 10}" width="{wide * q / top:.1f}" height="8"/>')
        parts.append(
            f'<text x="{WIDTH - 2}" y="{y + 14}" text-anchor="end">{escape(f"{share(p)} → {share(q)}")}</text>'
        )
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 - numbers, and texts escaped above


def course(points: Sequence[Point], threshold: float | None, width: int = 180, height: int = 34) -> Markup:
    """A small line of effects with the least that matters dashed; days that alarmed are dots. Two days are needed."""
    if len(points) < 2:
        return Markup("")
    top = max([abs(one.effect) for one in points] + [threshold or 0.0, 1e-9]) * 1.1
    low = min(0.0, *(one.effect for one in points))

    def up(value: float) -> float:
        return 3 + (height - 6) * (1 - (value - low) / (top - low))

    step = (width - 10) / (len(points) - 1)
    line = " ".join(f"{5 + at * step:.1f},{up(one.effect):.1f}" for at, one in enumerate(points))
    parts = [
        f'<svg class="course" viewBox="0 0 {width} {height}" role="img" aria-label="effect over {len(points)} checks">'
    ]
    if threshold:
        parts.append(f'<path class="limit" d="M0 {up(threshold):.1f}H{width}"/>')
    parts.append(f'<polyline class="now" points="{line}"/>')
    for at, one in enumerate(points):
        if one.alarm:
            parts.append(f'<circle class="alarm" cx="{5 + at * step:.1f}" cy="{up(one.effect):.1f}" r="2.5"/>')
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 - numbers only


def quantiles(shape: Any, name: str) -> Markup:
    """How far each quantile moved: a row a quantile, from the reference's value to the current one; empty without."""
    rows = _quantiles(shape.get("quantiles")) if isinstance(shape, dict) else []
    if not rows:
        return Markup("")
    row, side = 17, LEFT
    values = [value for _, *pair in rows for value in pair]
    low, high = min(values), max(values)
    wide, span = WIDTH - side - 66, (high - low) or 1.0
    label = escape(f"{name}: quantiles of the reference and of current data")
    height = row * len(rows) + 18
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">']
    for at, (part, before, now) in enumerate(rows):
        y = 10 + at * row
        x, new = side + 4 + wide * (before - low) / span, side + 4 + wide * (now - low) / span
        parts.append(f'<text x="{side - 5}" y="{y + 4}" text-anchor="end">{escape(f"{100 * part:g} %")}</text>')
        parts.append(
            f'<path class="now" d="M{x:.1f} {y}H{new:.1f}"/><circle class="before" cx="{x:.1f}" cy="{y}" r="4"/>'
        )
        parts.append(f'<circle class="fill" cx="{new:.1f}" cy="{y}" r="4"/>')
        parts.append(f'<text x="{WIDTH - 2}" y="{y + 4}" text-anchor="end">{escape(_signed(now - before))}</text>')
    for value, x, anchor in ((low, side, "start"), (high, side + 8 + wide, "end")):
        parts.append(f'<text x="{x}" y="{height - 3}" text-anchor="{anchor}">{escape(figure(value))}</text>')
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 - numbers, and texts escaped above


def _quantiles(found: Any) -> list[tuple[float, float, float]]:
    """Share, reference's and current value; empty unless all three lists are finite and of one length."""
    if not isinstance(found, dict):
        return []
    lists = [one for name in ("at", "reference", "current") if isinstance(one := found.get(name), list)]
    if len(lists) != 3 or len({len(one) for one in lists}) != 1:
        return []
    rows = [tuple(float(value) for value in row) for row in zip(*lists, strict=True)]
    return [(part, before, now) for part, before, now in rows if all(map(math.isfinite, (part, before, now)))]


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{figure(value)}" if value else "0"
