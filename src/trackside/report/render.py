"""Report document → Markdown (comment, job summary), HTML, JSON. Pure but for reading the package's templates."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from markupsafe import escape as markupsafe_escape

from trackside.config.model import Config
from trackside.documents.codec import dump
from trackside.documents.report import DataRow, MetricRow, Plot, Report
from trackside.documents.run import SliceRow
from trackside.errors import ConfigError
from trackside.report import advice, charts, escape, text
from trackside.report.environment import render
from trackside.report.marker import marker
from trackside.report.names import DIRECTIONS

COMMENT_LIMIT = 60_000
"""GitHub takes 65,536 characters a comment; the rest is for what a publisher may add."""
SUMMARY_LIMIT = 900_000
"""A step's job summary may have 1 MiB."""
_LINK = re.compile(r"https?://[A-Za-z0-9.-]+(:\d+)?(/[A-Za-z0-9._~/%?&=+-]*)?")


@dataclass(frozen=True, kw_only=True)
class Detail:
    """How much is shown: rows of metrics and other tables, plots, characters of the log."""

    metrics: int
    rows: int
    plots: int
    log: int


COMMENT = (
    Detail(metrics=40, rows=30, plots=6, log=6000),
    Detail(metrics=25, rows=12, plots=4, log=3000),
    Detail(metrics=12, rows=6, plots=1, log=1500),
    Detail(metrics=5, rows=3, plots=0, log=500),
)
SUMMARY = (
    Detail(metrics=2000, rows=500, plots=12, log=20_000),
    Detail(metrics=300, rows=100, plots=6, log=6000),
    *COMMENT,
)


def render_comment(report: Report, *, config: Config | None = None, templates: Mapping[str, str] | None = None) -> str:
    """Markdown for a pull request comment: at most 60,000 characters, first line is the marker."""
    return _fitting(report, COMMENT, COMMENT_LIMIT, config, templates, elsewhere="the job summary and the artifact")


def render_summary(report: Report, *, config: Config | None = None, templates: Mapping[str, str] | None = None) -> str:
    """The same Markdown with more rows, for the job summary or a file."""
    return _fitting(report, SUMMARY, SUMMARY_LIMIT, config, templates, elsewhere="the artifact")


def render_html(report: Report, *, config: Config | None = None, templates: Mapping[str, str] | None = None) -> str:
    """A page that needs nothing else: styles and plots are in it, light or dark as the reader's system is.

    A user's template that cannot be rendered is left out.
    """
    detail = Detail(metrics=10_000, rows=10_000, plots=12, log=100_000)
    context = _context(report, detail, config, "the JSON document")
    context["drawings"] = [
        {"title": plot.title, "svg": charts.svg(plot), "table": charts.table(plot), "kind": plot.kind}
        for plot in charts.shown(report.plots)
    ]
    if templates and "report.html.j2" in templates:
        with contextlib.suppress(ConfigError):
            return render("report.html.j2", context, _html_filters(), user=templates, markdown=False)
    return render("report.html.j2", context, _html_filters(), markdown=False)


def render_json(report: Report) -> str:
    """The report document itself."""
    return dump(report).decode()


def _fitting(
    report: Report,
    details: tuple[Detail, ...],
    limit: int,
    config: Config | None,
    templates: Mapping[str, str] | None,
    *,
    elsewhere: str,
) -> str:
    """The most detailed text that fits. A user's template that cannot be rendered, or never fits, is left out."""
    note = ""
    if templates:
        try:
            for detail in details:
                made = _markdown(report, detail, config, elsewhere, templates)
                if len(made) <= limit:
                    return made
            note = "The report template was left out: its text is too long."
        except ConfigError as error:
            note = f"The report template was left out: {error.message}. {error.why}"
    for detail in details:
        made = _markdown(report, detail, config, elsewhere, None, note=note)
        if len(made) <= limit:
            break
    return made


def _markdown(
    report: Report,
    detail: Detail,
    config: Config | None,
    elsewhere: str,
    templates: Mapping[str, str] | None,
    *,
    note: str = "",
) -> str:
    context = _context(report, detail, config, elsewhere)
    context["plots"] = [_plot(plot) for plot in charts.shown(report.plots)[: detail.plots]]
    first = marker(report.model, experiment=report.experiment)
    body = render("report.md.j2", {**context, "marker": ""}, _markdown_filters(), user=templates)
    body = re.sub(r"\n{3,}", "\n\n", body.strip("\n"))
    if note:
        body += f"\n\n> [!WARNING]\n> {escape.inline(note, 500)}"
    return f"{first}\n{body}\n"


def _context(report: Report, detail: Detail, config: Config | None, elsewhere: str) -> dict[str, Any]:
    rows = report.metrics[: detail.metrics]
    comparison = report.comparison
    level = comparison.metrics[0].level if comparison and comparison.metrics else 0.95
    worst = list(comparison.slices) if comparison else []
    slices = [_slice(row, report) for row in worst]
    return {
        "report": report,
        "sign": advice.sign(report),
        "standing": advice.standing(report),
        "counts": advice.counts(report),
        "advice": advice.advise(report, config),
        "effort": advice.effort(report),
        "reproduce": advice.reproduce(report),
        "parameter_change": advice.parameter_change(report),
        "rows": rows,
        "hidden": len(report.metrics) - len(rows),
        "intervals": any(row.low is not None for row in rows),
        "level": f"{level * 100:g} %",
        "method": comparison.metrics[0].method if comparison and comparison.metrics else "",
        "slices": slices[: min(8, detail.rows)],
        "worse_slices": sum(one["worse"] for one in slices),
        "params": report.params[: detail.rows],
        "data": report.data[: detail.rows],
        "environment": report.environment[: detail.rows],
        "stages": report.stages[: detail.rows],
        "log_limit": detail.log,
        "quiet": report.status != "succeeded",
        "elsewhere": elsewhere,
        "marker": "",
    }


def _slice(row: SliceRow, report: Report) -> dict[str, Any]:
    """A slice with its figures as text; `worse` when its interval lies wholly on the wrong side of the tolerance."""
    as_metric = MetricRow(
        name=row.metric,
        file="",
        direction=DIRECTIONS.get(row.metric, "none"),
        baseline=row.baseline,
        current=row.current,
        delta=row.delta,
        verdict="changed",
        low=row.low,
        high=row.high,
    )
    tolerance = max((one.tolerance or 0.0 for one in report.metrics if _ends_in(one.name, row.metric)), default=0.0)
    places = text.decimals(as_metric)
    best = row.high if as_metric.direction == "max" else None if row.low is None else -row.low
    return {
        "name": f"{row.column} = {row.value}",
        "metric": row.metric,
        "n": f"{row.n:,}",
        "baseline": text.number(row.baseline, places),
        "current": text.number(row.current, places),
        "delta": text.change(as_metric),
        "interval": text.interval(as_metric),
        "worse": best is not None and best < -tolerance,
    }


def _ends_in(name: str, metric: str) -> bool:
    return name.rsplit(".", 1)[-1] == metric


def _plot(plot: Plot) -> dict[str, Any]:
    head, body = charts.table(plot)
    return {
        "title": plot.title,
        "mermaid": charts.mermaid(plot),
        "legend": charts.legend(plot),
        "note": "rows: actual, columns: predicted" if plot.kind == "confusion" else "at a few places",
        "head": head,
        "body": body,
    }


ARROWS = {"max": Markup("&nbsp;↑"), "min": Markup("&nbsp;↓"), "none": Markup("")}


def _verdict(row: MetricRow) -> str:
    """`worse (≥ 0.7, ±0.005)`."""
    words, limits = advice.WORDS[row.verdict], text.limits(row)
    return f"{words} ({limits})" if limits and row.gated else words


def _markdown_filters() -> dict[str, Callable[..., Any]]:
    return {
        **_filters(),
        "code": escape.code,
        "code_html": lambda value: Markup(f"<code>{escape.inline(value)}</code>"),  # noqa: S704 - escaped inside
        "limit": escape.inline,
        "with_ids": escape.with_ids,
        "fence": lambda value, language="", limit=6000: escape.fence(
            value, language, limit=limit, tail=language == "text"
        ),
        "link": _link,
        "is_link": lambda value: bool(_LINK.fullmatch(str(value))),
        "verdict": _bold_verdict,
        "change": _bold_change,
        "interval": lambda row: _unbroken(text.interval(row)),
        "unbroken": _unbroken,
    }


def _weighty(row: MetricRow) -> bool:
    """Whether the eye should fall on it."""
    return row.gated and row.verdict not in ("unchanged", "new")


def _bold_verdict(row: MetricRow) -> Markup:
    word, _, rest = _verdict(row).partition(" (")
    shown = Markup(f"**{escape.inline(word)}**") if _weighty(row) else escape.inline(word)  # noqa: S704 - escaped
    return shown + escape.inline(f" ({rest}") if rest else shown


def _unbroken(figures: str) -> Markup:
    """Figures that stay on one line of a narrow table."""
    return Markup(str(escape.inline(figures)).replace(" ", "&nbsp;"))  # noqa: S704 - escaped


def _bold_change(row: MetricRow) -> Markup:
    shown = escape.inline(text.change(row))
    return Markup(f"**{shown}**") if _weighty(row) and row.delta else shown  # noqa: S704 - escaped


def _html_filters() -> dict[str, Callable[..., Any]]:
    return {
        **_filters(),
        "verdict": _verdict,
        "change": text.change,
        "block": escape.clean_block,
        "lines": markupsafe_escape,
        "is_link": lambda value: bool(_LINK.fullmatch(str(value))),
    }


def _filters() -> dict[str, Callable[..., Any]]:
    return {
        "row_sign": advice.row_sign,
        "arrow": lambda row: ARROWS[row.direction],
        "before": lambda row: text.number(row.baseline, text.decimals(row)),
        "now": lambda row: text.number(row.current, text.decimals(row)),
        "interval": text.interval,
        "value": text.value,
        "short": text.short,
        "duration": text.duration,
        "sizes": _sizes,
    }


def _sizes(row: DataRow) -> str:
    """`1.2 MB → 1.4 MB`, or the one that is known."""
    both = [text.size(count) for count in (row.baseline_size, row.current_size) if count is not None]
    return " → ".join(dict.fromkeys(both))


def _link(value: Any) -> Markup:
    """An address that GitHub itself gave; anything else becomes empty."""
    found = str(value)
    return Markup(found) if _LINK.fullmatch(found) else Markup("")  # noqa: S704 - characters of the pattern only


def quoted(note: str) -> Markup:
    """A note of ours that may hold others' words, on one line of Markdown."""
    return escape.inline(note, 1000)
