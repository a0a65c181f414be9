"""Inline SVG over the days: a heat map of columns, and metrics with their intervals. Colours come from the page."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from trackside.documents.verdict import Test, Verdict
from trackside.drift.history import SILENT, main_tests
from trackside.drift.words import figure

COLUMNS, DAYS = 24, 62
SIDE, CELL, ROW = 150, 14, 18
STEPS = 5
"""Shades: below a fourth of what matters, a half, three fourths, beyond, and surely beyond, which alarms."""


def ratio(test: Test | None) -> float | None:
    """An effect as a multiple of the least that matters; None where there is no such test."""
    if test is None or test.effect is None or not test.threshold:
        return None
    return max(0.0, test.effect / test.threshold)


def heat(days: Sequence[Verdict], columns: int = COLUMNS) -> Markup:
    """A row a column, those first that matter most today; a cell a day. Two days are needed.

    Args:
        days: oldest first.
    """
    days = days[-DAYS:]
    if len(days) < 2:
        return Markup("")
    rows = _rows(days)[:columns]
    if not rows:
        return Markup("")
    width, height = SIDE + max(CELL * len(days) + 4, 160), ROW * len(rows) + 20
    label = escape(f"effects of {len(rows)} columns on {len(days)} days")
    parts = [f'<svg class="heat" viewBox="0 0 {width} {height}" style="max-width:{width}px" role="img" '
             f'aria-label="{label}">']  # fmt: skip
    for at, (name, tests) in enumerate(rows):
        y = at * ROW
        short = name if len(name) <= 22 else name[:21] + "…"
        parts.append(f'<text x="{SIDE - 6}" y="{y + 13}" text-anchor="end">{escape(short)}</text>')
        for place, (day, test) in enumerate(zip(days, tests, strict=True)):
            parts.append(_cell(SIDE + place * CELL, y, day, test))
    foot = height - 6
    parts.append(f'<text x="{SIDE}" y="{foot}">{escape(days[0].as_of)} to {escape(days[-1].as_of)}</text></svg>')
    return Markup("".join(parts))  # noqa: S704 - numbers, and texts escaped above


def _rows(days: Sequence[Verdict]) -> list[tuple[str, list[Test | None]]]:
    """Columns with their main test of every day: today's order, then those that once alarmed, then by effect."""
    names = dict.fromkeys(
        [
            *days[-1].moved,
            *(test.column for day in reversed(days) for test in day.tests if test.heading != "performance"),
        ]
    )
    found = [main_tests(day) for day in days]
    made = [(name, [one.get(name) for one in found]) for name in names]
    made = [(name, tests) for name, tests in made if any(ratio(one) is not None for one in tests)]
    place = {name: at for at, name in enumerate(days[-1].moved)}

    def rank(row: tuple[str, list[Test | None]]) -> tuple[int, int, float]:
        name, tests = row
        alarms = sum(one is not None and one.alarm for one in tests)
        return place.get(name, len(place)), -alarms, -max(ratio(one) or 0.0 for one in tests)

    return sorted(made, key=rank)


def _cell(x: int, y: int, day: Verdict, test: Test | None) -> str:
    share = ratio(test)
    if share is None:
        words, tone = ("not judged", "none") if day.verdict in SILENT else ("no such test", "none")
    else:
        step = STEPS - 1 if test is not None and test.alarm else min(STEPS - 2, int(share * (STEPS - 1)))
        words = f"{figure(test.effect) if test else ''}, {share:.2g} of what matters"
        tone = f"s{step}"
    alarm = test is not None and test.alarm
    mark = f'<circle class="alarm" cx="{x + 6.5}" cy="{y + 8.5}" r="2.5"/>' if alarm else ""
    title = escape(f"{day.as_of}: {words}{', alarm' if alarm else ''}")
    return (
        f'<g><title>{title}</title><rect class="{tone}" x="{x}" y="{y + 2}" width="13" height="13" rx="2"/>{mark}</g>'
    )


def metric(days: Sequence[Verdict], name: str, tests: Sequence[str] = ("metric", "estimate")) -> Markup:
    """A metric's value over the days with its interval, and the reference's as a line; estimates are hollow.

    Args:
        days: oldest first.
        name: of the metric, which is the column of its tests.
    """
    found = [
        (day.as_of, test)
        for day in days[-DAYS:]
        for test in day.tests
        if test.heading == "performance"
        and test.column == name
        and test.test in tests
        and "now" in test.extra
        and not test.segment
    ]
    if not found:
        return Markup("")
    width, height, left, foot = 420, 150, 52, 24
    reach = [_reach(test) for _, test in found]
    before = found[-1][1].extra["before"]
    low, high = min([before, *(one[0] for one in reach)]), max([before, *(one[1] for one in reach)])
    span = (high - low) or abs(high) or 1.0
    low, high = low - 0.08 * span, high + 0.08 * span

    def up(value: float) -> float:
        return 6 + (height - foot - 6) * (1 - (value - low) / (high - low))

    step = (width - left - 16) / max(1, len(found) - 1)
    label = escape(f"{name} over {len(found)} checks")
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">']
    for value in (low + 0.05 * (high - low), before, high - 0.05 * (high - low)):
        parts.append(f'<text x="{left - 6}" y="{up(value) + 4:.1f}" text-anchor="end">{escape(figure(value))}</text>')
    parts.append(f'<path class="limit" d="M{left} {up(before):.1f}H{width - 8}"/>')
    for at, ((as_of, test), (bottom, top)) in enumerate(zip(found, reach, strict=True)):
        x, now = left + 8 + at * step, test.extra["now"]
        tone = "alarm" if test.alarm else "hollow" if test.test == "estimate" else "dot"
        title = escape(f"{as_of}: {figure(now)} ({figure(bottom)} to {figure(top)})")
        parts.append(
            f'<g><title>{title}</title><path class="now" d="M{x:.1f} {up(bottom):.1f}V{up(top):.1f}"/>'
            f'<circle class="{tone}" cx="{x:.1f}" cy="{up(now):.1f}" r="3"/></g>'
        )
    parts.append(f'<text x="{left}" y="{height - 6}">{escape(found[0][0])}</text>')
    parts.append(f'<text x="{width - 4}" y="{height - 6}" text-anchor="end">{escape(found[-1][0])}</text></svg>')
    return Markup("".join(parts))  # noqa: S704 - numbers, and texts escaped above


def _reach(test: Test) -> tuple[float, float]:
    """The metric's own interval: that of its change, laid around its value."""
    now = test.extra["now"]
    if test.low is None or test.high is None:
        return now, now
    half = (test.high - test.low) / 2
    return now - half, now + half
