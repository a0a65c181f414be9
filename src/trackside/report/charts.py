"""Plots → Mermaid text, inline SVG and plain tables; all three from the same evenly spaced points."""

from __future__ import annotations

import bisect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from markupsafe import Markup, escape

from trackside.documents.report import Plot, Series
from trackside.report import text
from trackside.report.escape import title

POINTS = 21
LARGEST = 1e15
"""Figures beyond this are no metrics; nothing is drawn."""
COLOURS = {"baseline": "#8c959f", "this run": "#0969da"}
NAMES = {"baseline": "grey", "this run": "blue"}
OTHER = "#bf8700"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Series at the same evenly spaced x; None where a series does not reach."""

    x: list[float]
    lines: list[tuple[str, list[float | None]]]
    low: float
    high: float


def grid(plot: Plot, points: int = POINTS, *, common: bool = False) -> Grid | None:
    """Linear interpolation over the range of x; None when there is nothing to draw.

    `common`: only the range that every series covers, where that is at least half of the whole.
    """
    series = [one for one in plot.series if len(one.x) > 1 and len(one.x) == len(one.y)]
    if not series:
        return None
    start, end = min(one.x[0] for one in series), max(one.x[-1] for one in series)
    if not end - start > 1e-9 * max(abs(start), abs(end)) or max(abs(start), abs(end)) > LARGEST:
        return None
    if common:
        inner = max(one.x[0] for one in series), min(one.x[-1] for one in series)
        start, end = inner if inner[1] - inner[0] >= (end - start) / 2 else (start, end)
    x = [start + (end - start) * index / (points - 1) for index in range(points)]
    lines = [(one.name, [_at(one, place) for place in x]) for one in series]
    known = [value for _, line in lines for value in line if value is not None]
    if not known:
        return None
    low, high = min(known), max(known)
    size = max(abs(low), abs(high))
    if size > LARGEST:
        return None
    if low >= 0 and high <= 1:
        low, high = (0.0, 1.0) if high - low > 0.4 else (low, high)
    if high - low <= 1e-9 * size or size < 1 / LARGEST:
        low, high = low - max(0.5, size / 2), high + max(0.5, size / 2)
    return Grid(x=x, lines=lines, low=low, high=high)


def _at(series: Series, place: float) -> float | None:
    """Value at x = place. At a jump (equal x, as in a ROC curve) the upper end counts."""
    slack = 1e-9 * max(1.0, abs(place))
    if place < series.x[0] - slack or place > series.x[-1] + slack:
        return None
    right = bisect.bisect_right(series.x, place + slack)
    if right >= len(series.x):
        return series.y[-1]
    if right == 0:
        return series.y[0]
    x0, x1, y0, y1 = series.x[right - 1], series.x[right], series.y[right - 1], series.y[right]
    if x1 <= x0:
        return y0
    share = min(1.0, max(0.0, (place - x0) / (x1 - x0)))
    return y0 * (1 - share) + y1 * share


def mermaid(plot: Plot) -> str:
    """An `xychart-beta` with one line a series that spans the whole range; empty when nothing can be drawn."""
    made = grid(plot, common=True)
    if made is None:
        return ""
    lines = [(name, [v for v in line if v is not None]) for name, line in made.lines if None not in line]
    if not lines:
        return ""
    palette = ", ".join(COLOURS.get(name, OTHER) for name, _ in lines)
    settings = {
        "xyChart": {"width": 560, "height": 320},
        "themeVariables": {"xyChart": {"plotColorPalette": palette}},
    }
    rows = [
        f"%%{{init: {json.dumps(settings)}}}%%",
        "xychart-beta",
        f'    title "{title(plot.title)}"',
        f'    x-axis "{title(plot.x_label) or "x"}" {_plain(made.x[0])} --> {_plain(made.x[-1])}',
        f'    y-axis "{title(plot.y_label) or "y"}" {_plain(made.low)} --> {_plain(made.high)}',
        *(f"    line [{', '.join(_plain(value) for value in line)}]" for _, line in lines),
    ]
    return "\n".join(rows)


def legend(plot: Plot) -> str:
    """Which colour is which line, in words, and which line is too short to be drawn."""
    made = grid(plot, common=True)
    lines = made.lines if made else ()
    return " · ".join(
        f"{name} covers too small a part: see the table" if None in line else f"{NAMES.get(name, 'yellow')}: {name}"
        for name, line in lines
    )


def table(plot: Plot, points: int = 11) -> tuple[list[str], list[list[str]]]:
    """Head and rows: x and every series at a few places, or the matrix of a confusion plot."""
    if plot.kind == "confusion":
        head = [f"{plot.y_label or 'actual'} ↓ {plot.x_label or 'predicted'} →", *plot.labels]
        return head, [[label, *cells] for label, cells in zip(plot.labels, _matrix(plot), strict=False)]
    made = grid(plot, points)
    if made is None:
        return [], []
    head = [plot.x_label or "x", *(name for name, _ in made.lines)]
    columns = [line for _, line in made.lines]
    return head, [
        [text.number(x, 3), *(text.number(line[index], 4) for line in columns)] for index, x in enumerate(made.x)
    ]


def _matrix(plot: Plot) -> list[list[str]]:
    """Counts of this run with the change against the baseline."""
    rows = []
    for index, row in enumerate(plot.current_matrix):
        before = plot.baseline_matrix[index] if index < len(plot.baseline_matrix) else []
        cells = []
        for place, count in enumerate(row):
            delta = count - before[place] if place < len(before) else 0.0
            cells.append(f"{count:,g}" + (f" ({delta:+,g})".replace("-", text.MINUS) if delta else ""))
        rows.append(cells)
    return rows


def svg(plot: Plot, width: int = 420, height: int = 260) -> Markup:
    """A line chart that takes its colours from the page (`currentColor`); empty when nothing can be drawn."""
    made = grid(plot, 101)
    if made is None:
        return Markup("")
    left, right, top, bottom = 52, 12, 12, 40
    wide, tall = width - left - right, height - top - bottom
    span = made.x[-1] - made.x[0]

    def across(value: float) -> float:
        return left + wide * (value - made.x[0]) / span

    def up(value: float) -> float:
        return top + tall * (1 - (value - made.low) / (made.high - made.low))

    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(plot.title)}">',
        f'<path class="axis" d="M{left} {top}V{top + tall}H{left + wide}"/>',
    ]
    for index in range(5):
        y = made.low + (made.high - made.low) * index / 4
        x = made.x[0] + span * index / 4
        parts.append(f'<path class="rule" d="M{left} {up(y):.1f}H{left + wide}"/>')
        parts.append(f'<text x="{left - 6}" y="{up(y) + 4:.1f}" text-anchor="end">{text.number(y, 2)}</text>')
        parts.append(f'<text x="{across(x):.1f}" y="{top + tall + 16}" text-anchor="middle">{text.number(x, 2)}</text>')
    for name, line in made.lines:
        points = [f"{across(x):.1f},{up(y):.1f}" for x, y in zip(made.x, line, strict=True) if y is not None]
        kind = "now" if name == "this run" else "before"
        parts.append(f'<polyline class="{kind}" points="{" ".join(points)}"/>')
    middle = left + wide / 2
    parts.append(f'<text x="{middle}" y="{height - 6}" text-anchor="middle">{escape(plot.x_label)}</text>')
    turned = f"translate(12 {top + tall / 2}) rotate(-90)"
    parts.append(f'<text transform="{turned}" text-anchor="middle">{escape(plot.y_label)}</text>')
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 - numbers, and labels escaped above


def _plain(value: float) -> str:
    """A number as Mermaid reads it: five significant digits, never an exponent."""
    made = format(Decimal(f"{value:.5g}"), "f")
    made = made.rstrip("0").rstrip(".") if "." in made else made
    return "0" if made in ("-0", "") else made


def shown(plots: Sequence[Plot]) -> list[Plot]:
    """Those of which anything can be drawn."""
    return [plot for plot in plots if plot.kind == "confusion" or grid(plot) is not None]
