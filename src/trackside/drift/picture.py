"""A verdict as one picture, SVG or PNG, for pages and chats that show neither Markdown nor HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup, escape

from trackside.documents.verdict import Verdict
from trackside.drift import drawings, timeline
from trackside.errors import ToolError
from trackside.report.escape import plain

WIDTH, MARGIN, GAP, PLOTS = 960, 24, 16, 4
_DAY = 14
_STYLE = """
text { font: 11px system-ui, "DejaVu Sans", sans-serif; fill: #59636e }
.title { font-size: 20px; font-weight: 600; fill: #1f2328 } .name { font-size: 13px; font-weight: 600; fill: #1f2328 }
.words { font-size: 13px } .rule { stroke: #d1d9e0; stroke-dasharray: 2 3; fill: none }
.limit { stroke: #9a6700; stroke-dasharray: 3 3; fill: none } .before { fill: #afb8c1 } .fill { fill: #0969da }
.now { stroke: #0969da; fill: none; stroke-width: 2 } .alarm { fill: #cf222e } .heat .alarm { fill: #fff }
.dot { fill: #0969da } .hollow { fill: #fff; stroke: #0969da; stroke-width: 2 } .none { fill: #f6f8fa }
.s0 { fill: #dfe4e9 } .s1 { fill: #e3d6db } .s2 { fill: #e3b9be } .s3 { fill: #dd8086 } .s4 { fill: #cf222e }
.ok { fill: #1a7f37 } .warning { fill: #9a6700 } .drift, .invalid_data { fill: #cf222e }
.insufficient_data { fill: #d1d9e0 }
"""


def svg(verdict: Verdict, headline: str, standing: str, earlier: Sequence[Verdict] = ()) -> str:
    """What moved, how the days went, and the heat map; needs no style of a page.

    Args:
        headline, standing: the verdict's own words, one line each.
        earlier: verdicts of earlier days, newest first.
    """
    days = list(reversed([verdict, *earlier]))[-timeline.DAYS :]
    parts: list[str] = [
        f'<text class="title" x="{MARGIN}" y="38">{escape(_line(f"{verdict.model}: {headline}", 84))}</text>',
        f'<text class="words" x="{MARGIN}" y="60">{escape(_line(standing, 130))}</text>',
    ]
    parts += [
        f'<rect class="{one.verdict}" x="{MARGIN + at * _DAY}" y="72" width="12" height="18" rx="2"/>'
        for at, one in enumerate(days)
    ]
    y = 106.0
    wide = (WIDTH - 2 * MARGIN - GAP) / 2
    names = [name for name in verdict.moved if name in verdict.shapes] or list(verdict.shapes)
    for pair in range(0, min(PLOTS, len(names)), 2):
        tall = 0.0
        for at, name in enumerate(names[pair : pair + 2]):
            drawn = drawings.distribution(verdict.shapes[name], plain(name, 60))
            x = MARGIN + at * (wide + GAP)
            if drawn:
                parts.append(f'<text class="name" x="{x}" y="{y + 12}">{escape(_line(plain(name, 60), 48))}</text>')
                parts.append(_placed(drawn, x, y + 18, wide))
                tall = max(tall, 18 + wide * _ratio(drawn))
        y += tall + GAP
    heat = timeline.heat(days)
    if heat:
        room = min(WIDTH - 2.0 * MARGIN, _size(heat)[0])
        parts.append(_placed(heat, MARGIN, y, room))
        y += room * _ratio(heat) + GAP
    label = escape(_line(f"{verdict.model}: {headline}", 200))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y:.0f}" viewBox="0 0 {WIDTH} {y:.0f}" '
        f'role="img" aria-label="{label}"><style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
        + "".join(parts)
        + "</svg>\n"
    )


def png(text: str) -> bytes:
    """An SVG as a bitmap, twice as fine for dense screens.

    Raises:
        ToolError: the package that draws is not installed.
    """
    try:
        import resvg_py
    except ImportError as error:
        raise ToolError(
            "PNG needs the package resvg-py",
            remedy="pip install 'trackside[drift]', or write SVG: --format svg",
            link="drift.md",
            reason_code="tool_missing",
        ) from error
    return bytes(resvg_py.svg_to_bytes(svg_string=text, zoom=2))


def _line(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"


def _size(drawn: Markup) -> tuple[float, float]:
    found = re.search(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', drawn)
    return (float(found[1]), float(found[2])) if found else (1.0, 1.0)


def _ratio(drawn: Markup) -> float:
    width, height = _size(drawn)
    return height / width


def _placed(drawn: Markup, x: float, y: float, width: float) -> str:
    """A drawing laid into the picture."""
    place = f'<svg x="{x:g}" y="{y:g}" width="{width:g}" height="{width * _ratio(drawn):.1f}" '
    return str(drawn).replace("<svg ", place, 1)
