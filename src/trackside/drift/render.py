"""A verdict with its history → Markdown for a summary, issue or check, and a page that needs nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trackside.documents.verdict import Kind, Test, Verdict
from trackside.drift import drawings, picture, timeline
from trackside.drift.history import SILENT, Point, began, courses, main_test, main_tests, since
from trackside.drift.words import figure
from trackside.report import escape

TEMPLATE = Path(__file__).parent / "templates" / "drift.html.j2"
SIGNS: dict[Kind, str] = {
    "ok": "✅",
    "warning": "⚠️",
    "drift": "🔴",
    "insufficient_data": "⚪",
    "invalid_data": "❌",
}
WORDS: dict[Kind, str] = {
    "ok": "no drift",
    "warning": "look at the data",
    "drift": "drift",
    "insufficient_data": "too little data",
    "invalid_data": "data cannot be judged",
}
HEADINGS = {
    "data_quality": "data quality",
    "features": "feature",
    "prediction": "prediction",
    "target": "target",
    "performance": "metric on labelled data",
}
MARKDOWN_ROWS, PAGE_ROWS, PLOTS = 20, 300, 24
PAGE_LIMIT = 1_000_000
"""Bytes of the page."""


def marker(model: str) -> str:
    """First line of a model's issue."""
    return f"<!-- trackside:drift model={model} -->"


def headline(verdict: Verdict) -> str:
    """What it is and where, in a line of plain text."""
    names = ", ".join(verdict.moved[:3])
    more = f" and {len(verdict.moved) - 3} more" if len(verdict.moved) > 3 else ""
    said: dict[Kind, str] = {
        "ok": "no drift",
        "warning": f"no drift, but look at {names}{more}",
        "drift": f"drift in {names}{more}",
        "insufficient_data": "too little data to judge",
        "invalid_data": f"the data cannot be judged: {names}{more}" if names else "the data cannot be judged",
    }
    return said[verdict.verdict]


def standing(verdict: Verdict, earlier: Sequence[Verdict]) -> str:
    """How long it has been so."""
    if verdict.verdict in SILENT:
        return f"Nothing is known of {verdict.as_of}; the check neither counts nor ends a streak."
    if verdict.verdict != "drift":
        last = next((one.as_of for one in earlier if one.verdict == "drift"), "")
        return f"As of {verdict.as_of}" + (f"; the last drift was on {last}." if last else ".")
    if not verdict.streak and verdict.courses:
        return f"As of {verdict.as_of}: usual for the season, so no reason to retrain."
    first = began(verdict, earlier)
    row = "first check that finds it" if verdict.streak <= 1 else f"{verdict.streak} checks in a row"
    return f"As of {verdict.as_of}: {row}, since {first}."


def sides(verdict: Verdict) -> str:
    """Both windows in words."""
    version = f" of version {verdict.reference.version}" if verdict.reference.version else ""
    return (
        f"{verdict.current.rows:,} current rows ({verdict.current.source}) against "
        f"{verdict.reference.rows:,} reference rows{version}"
    )


def markdown(verdict: Verdict, earlier: Sequence[Verdict] = (), *, link: str = "", limit: int = MARKDOWN_ROWS) -> str:
    """The verdict for people on GitHub; every name in it is escaped.

    Args:
        earlier: verdicts of earlier days, newest first.
        link: page of the workflow run, with the whole report as an artifact.
    """
    sign, head = SIGNS[verdict.verdict], escape.inline(headline(verdict))
    lines = [f"## {sign} `{verdict.model}`: {head}", "", f"{escape.inline(standing(verdict, earlier))}  "]
    lines += [str(escape.inline(sides(verdict), 600)), ""]
    lines += [f"> {escape.inline(one, 600)}\n" for one in [*verdict.problems[:10], *_estimates(verdict)]]
    alarmed = _alarmed(verdict)
    if alarmed:
        lines += [
            "| Column | What happened | Effect (interval) | Matters from | Since |",
            "| --- | --- | ---: | ---: | --- |",
        ]
        for test in alarmed[:limit]:
            effect = f"**{figure(test.effect)}** {_unit(test)}{_interval(test)}" if test.effect is not None else ""
            lines.append(
                f"| {escape.code(named(test))}<br>{HEADINGS[test.heading]} | {_said(test, verdict)} "
                f"| {effect} | {figure(test.threshold) if test.threshold is not None else ''} "
                f"| {since(test.column, verdict, earlier)} |"
            )
        if len(alarmed) > limit:
            lines.append(f"\n{len(alarmed) - limit} more: see the report.")
        lines.append("")
    rows = list(reversed([verdict, *earlier]))
    if len(rows) > 1:
        days = "".join(SIGNS[one.verdict] for one in rows[-31:])
        lines += [f"{rows[-31:][0].as_of} {days} {verdict.as_of}", ""]
    rest = sum(not one.alarm for one in verdict.tests)
    lines.append(f"{rest} other tests are within what matters." if rest else "")
    if link:
        lines.append(f"[Whole report]({link}), artifact `trackside-drift`.")
    return "\n".join(lines).rstrip() + "\n"


def named(test: Test) -> str:
    """A test's column, with the segment that it is of."""
    return f"{test.column} of {test.segment}" if test.segment else test.column


def _said(test: Test, verdict: Verdict) -> str:
    """What happened, and how it runs."""
    course = verdict.courses.get(test.column) if not test.segment else None
    words = f"<br>*{course.kind}*: {escape.inline(course.evidence, 200)}" if course else ""
    return f"{escape.inline(test.sentence, 300)}{words}"


def _estimates(verdict: Verdict) -> list[str]:
    """Performance without labels in a line, and why it may be wrong."""
    found = [one for one in verdict.tests if one.test == "estimate" and "now" in one.extra]
    said = ", ".join(f"{one.column} {figure(one.extra['before'])} → {figure(one.extra['now'])}" for one in found)
    return [f"Expected without labels: {said}.", *verdict.doubts[:5]] if found else []


def _alarmed(verdict: Verdict) -> list[Test]:
    """By column in the order of `moved`, the graver first; of several tests of one distribution the strongest."""
    strongest: dict[tuple[str, ...], Test] = {}
    for one in verdict.tests:
        if one.alarm:
            own = one.test if one.heading in ("data_quality", "performance") else ""
            key = (one.column, one.segment, one.heading, own)
            if key not in strongest or _strength(one) > _strength(strongest[key]):
                strongest[key] = one
    place = {name: at for at, name in enumerate(verdict.moved)}
    return sorted(strongest.values(), key=lambda one: place.get(one.column, len(place)))


def _strength(test: Test) -> float:
    return (test.low or 0.0) / (test.threshold or 1.0)


def _unit(test: Test) -> str:
    return {"ks": "D", "wasserstein": "σ", "chi2": "w"}.get(test.test, "")


def _interval(test: Test) -> str:
    return f" ({figure(test.low)} to {figure(test.high)})" if test.low is not None and test.high is not None else ""


def page(verdict: Verdict, earlier: Sequence[Verdict] = (), *, alpha: float = 0.05) -> str:
    """One HTML file with plots and styles in it, at most 1 MB: rows and plots that do not fit are left out."""
    for rows, plots in ((PAGE_ROWS, PLOTS), (100, 12), (20, 4), (5, 0)):
        made = _page(verdict, earlier, alpha, rows, plots)
        if len(made.encode("utf-8", "replace")) <= PAGE_LIMIT:
            break
    return made


def picture_of(verdict: Verdict, earlier: Sequence[Verdict] = ()) -> str:
    """The verdict as one SVG."""
    return picture.svg(verdict, escape.plain(headline(verdict)), escape.plain(standing(verdict, earlier)), earlier)


def _page(verdict: Verdict, earlier: Sequence[Verdict], alpha: float, rows: int, plots: int) -> str:
    from jinja2 import Environment, StrictUndefined

    engine = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    days = list(reversed([verdict, *earlier]))
    alarmed = _alarmed(verdict)
    rest = [one for one in verdict.tests if not one.alarm]
    counts = Counter(one.verdict for one in days)
    lines, followed = courses(days), main_tests(verdict)
    return engine.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        model=verdict.model,
        kind=verdict.verdict,
        sign=SIGNS[verdict.verdict],
        headline=escape.plain(headline(verdict)),
        standing=standing(verdict, earlier),
        sides=escape.plain(sides(verdict), 600),
        problems=[escape.plain(one, 600) for one in [*verdict.problems[:20], *_estimates(verdict)]],
        days=[{"kind": one.verdict, "as_of": one.as_of, "words": WORDS[one.verdict]} for one in days],
        days_words=", ".join(f"{count} {WORDS[kind]}" for kind, count in counts.items()),
        moved=[_row(one, verdict, earlier, lines if followed.get(one.column) == one else {}) for one in alarmed[:rows]],
        drawings=_drawings(verdict, plots),
        heat=timeline.heat(days) if plots else "",
        metrics=_over_time(days) if plots else [],
        rest=[_row(one, verdict, (), {}) for one in rest[:rows]],
        rest_total=len(rest),
        alpha=f"{alpha:g}",
        level=f"{100 * (1 - alpha):g} %",
        reference=escape.plain(
            f"{verdict.reference.source}, {verdict.reference.rows:,} rows, {verdict.reference.digest[:19]}", 400
        ),
    )


def _row(
    test: Test, verdict: Verdict, earlier: Sequence[Verdict], lines: Mapping[str, Sequence[Point]]
) -> dict[str, Any]:
    line = drawings.course(lines.get(test.column, ()), test.threshold)
    found = verdict.courses.get(test.column) if test.alarm and not test.segment else None
    course = f"; {found.kind}: {found.evidence}" if found else ""
    return {
        "column": escape.plain(named(test), 160),
        "heading": HEADINGS[test.heading],
        "test": test.test,
        "sentence": escape.plain(test.sentence + course, 600),
        "effect": f"{figure(test.effect)} {_unit(test)}".strip() if test.effect is not None else "",
        "interval": _interval(test).strip(" ()"),
        "threshold": figure(test.threshold) if test.threshold is not None else "",
        "q": figure(test.q_value) if test.q_value is not None else "",
        "tone": "unclear" if test.kind == "warning" else "bad",
        "since": since(test.column, verdict, earlier) if test.alarm else "",
        "course": line,
    }


def _over_time(days: Sequence[Verdict]) -> list[dict[str, Any]]:
    """A drawing a metric that any of the days has."""
    names = sorted({test.column for day in days for test in day.tests if test.heading == "performance"})
    made = [{"name": escape.plain(name, 60), "svg": timeline.metric(days, name)} for name in names[:12]]
    return [one for one in made if one["svg"]]


def _drawings(verdict: Verdict, plots: int) -> list[dict[str, Any]]:
    """What moved first, then the others as the verdict keeps them."""
    place = {name: at for at, name in enumerate(verdict.moved)}
    made: list[dict[str, Any]] = []
    for column in sorted(verdict.shapes, key=lambda name: place.get(name, len(place))):
        shape = verdict.shapes[column]
        svg = drawings.distribution(shape, escape.plain(column, 60))
        if svg and len(made) < plots:
            test = main_test(verdict, column)
            words = escape.plain(test.sentence, 200) if test else ""
            steps = isinstance(shape, dict) and shape.get("kind") == "steps"  # a few values show it themselves
            moved = drawings.quantiles(shape, escape.plain(column, 60)) if steps and column in place else ""
            made.append({"column": escape.plain(column, 100), "sentence": words, "svg": svg, "quantiles": moved})
    return made
