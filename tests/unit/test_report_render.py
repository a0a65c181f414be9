"""Rendering: golden files, hostile names, limits, templates of users; checked with a GitHub-flavoured parser."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from report_samples import CONFIG, MODEL, baseline, better, experiment, failed, worse
from trackside.documents.codec import from_builtins, to_builtins
from trackside.documents.report import Plot, Report, Series
from trackside.documents.run import Metric, Run
from trackside.report import charts, escape
from trackside.report.build import build_report
from trackside.report.environment import builtin
from trackside.report.local import write
from trackside.report.render import COMMENT_LIMIT, render_comment, render_html, render_json, render_summary

GOLDEN = Path(__file__).parent.parent / "golden" / "report"
PARSER = MarkdownIt("gfm-like", {"html": True})
assert PARSER.linkify is not None
# GitHub links `www.`, schemes and mail addresses, but no bare domain such as `A.AL`, which linkify-it guesses.
PARSER.linkify.set({"fuzzy_link": False})
HOSTILE = (
    "a|b",
    "`tick` ``two``",
    "line\nbreak\r\n| x |",
    "<script>alert(1)</script>",
    "<!-- trackside:report model=delay -->",
    "</details></table>",
    "@octocat and @acme/team",
    "fixes #123 and GH-45 and acme/flights#6",
    "deadbeefcafe1234 1234567",
    "https://evil.example/x www.evil.example a@b.example",
    "![x](http://evil.example/y.png) [text](javascript:1)",
    "**bold** _it_ ~~no~~ $math$ ``` fence",
    "~~~",
    "\u202egnirts\u200b\x00\x1b[31m",
    "# head",
    "- item",
    "1. item",
    "+ plus",
    "= setext",
    "&amp;#64;x &#x40;y",
    "\\| \\` \\",
    "{{ 7*7 }} {% raw %}",
    "   ",
    "é" * 500,
)


class Visible(HTMLParser):
    """Text outside of code, every tag, and whether tags are balanced; ours are the only raw ones."""

    VOID = frozenset({"br", "hr", "img", "input"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.problems: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(tag)

    def handle_data(self, data: str) -> None:
        if not {"code", "pre"} & set(self.open):
            self.text.append(data)


PINGS = re.compile(r"(?<![A-Za-z0-9_`])@[A-Za-z0-9]|#\d|\bGH-\d|\b[0-9a-f]{7,40}\b(?![^\s]*\u200b)|://|\bwww\.")
ALLOWED_TAGS = {
    "h2", "h3", "p", "strong", "code", "pre", "table", "thead", "tbody", "tr", "th", "td", "details", "summary",
    "blockquote", "a",
}  # fmt: skip


def check_comment(body: str, *, links: tuple[str, ...] = ()) -> None:
    """One valid comment: bounded, balanced, nobody pinged, every table even, every fence closed."""
    assert len(body) <= COMMENT_LIMIT
    assert body.count("<!-- trackside:") == 1
    assert body.startswith("<!-- trackside:")
    tokens = PARSER.parse(body)
    for token in tokens:
        if token.type == "fence":
            lines = body.splitlines()[token.map[0] : token.map[1]]
            assert lines[-1].strip("`") == "", lines
            assert len(lines[-1]) >= len(token.markup)
    html = PARSER.render(body)
    seen = Visible()
    seen.feed(html)
    assert not seen.problems, seen.problems
    assert not seen.open, seen.open
    assert {tag for tag, _ in seen.tags} <= ALLOWED_TAGS
    assert {attributes.get("href") for tag, attributes in seen.tags if tag == "a"} <= set(links)
    text = "\n".join(seen.text).replace("training log", "")
    found = PINGS.search(text)
    assert found is None, text[max(0, found.start() - 40) : found.end() + 40]
    for table in re.findall(r"<table>.*?</table>", html, flags=re.DOTALL):
        widths = {len(re.findall(r"<t[hd][ >]", row)) for row in re.findall(r"<tr>.*?</tr>", table, flags=re.DOTALL)}
        assert len(widths) == 1, table[:500]


def report_of(run: Run, **more: Any) -> Report:
    return build_report(run, model=MODEL, config=CONFIG, baseline=baseline(), **more)


LINK = "https://github.com/acme/flights/actions/runs/12"


def renew() -> Any:
    spec = importlib.util.spec_from_file_location("renew_reports", GOLDEN / "renew.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["better", "worse", "failed", "experiment", "inconclusive", "first"])
def test_golden_files(name: str) -> None:
    for path, data in renew().files(name).items():
        assert data.decode() == (GOLDEN / path).read_text(encoding="utf-8"), f"{path}: see tests/golden/report/renew.py"
    check_comment((GOLDEN / f"{name}.comment.md").read_text(encoding="utf-8"), links=(LINK,))


def test_the_first_line_says_whether_it_is_better_and_by_how_much() -> None:
    first = {
        name: (GOLDEN / f"{name}.comment.md").read_text(encoding="utf-8").splitlines()[1] for name in renew().CASES
    }
    assert first == {
        "better": "## ✅ `delay` · better: roc_auc 0.690 → 0.705 (+0.015)",
        "worse": "## ❌ `delay` · roc_auc 0.690 → 0.641 (−0.049), below the minimum 0.66 (and 1 more)",
        "failed": "## ❌ `delay` · training failed in stage train with exit code 1",
        "experiment": "## 🧪 `delay` · better: roc_auc 0.690 → 0.705 (+0.015)",
        "inconclusive": "## ⚠️ `delay` · not clear: roc_auc 0.6903 → 0.6851 (−0.0052), may be worse by more than 0.005",
        "first": "## ✅ `delay` · no baseline to compare with; roc_auc 0.7051",
    }


def test_five_thousand_hostile_metrics_make_one_valid_comment() -> None:
    names = [f"{HOSTILE[index % len(HOSTILE)]} {index}" for index in range(5000)]
    now = [Metric(name=name, value=index / 7, file=name, direction="none") for index, name in enumerate(names)]
    old = [Metric(name=name, value=index / 9, file=name, direction="none") for index, name in enumerate(names)]
    run = better(metrics=now, comparison=None)
    report = build_report(run, model=MODEL, config=CONFIG, baseline=baseline(metrics=old))
    body = render_comment(report, config=CONFIG)
    check_comment(body, links=(LINK,))
    assert "4964 more metrics" in body or re.search(r"\d{4} more metrics", body)
    assert "the job summary" in body
    # the four metrics of the policy are missing, which is what matters most: they lead
    rows = [line for line in body.splitlines() if line.startswith("| ❌")]
    assert [re.search(r"`(\w+)`", row)[1] for row in rows] == ["roc_auc", "log_loss", "brier"]
    summary = render_summary(report, config=CONFIG)
    assert len(summary) <= 900_000
    assert summary.count("\n|") > 1500
    print(f"{len(names)} metrics, {len(HOSTILE)} kinds of names, {len(body):,} characters")


def hostile_run(value: str) -> Run:
    """A run in which every string that may be anything is `value`."""

    def fill(part: Any, key: str) -> Any:
        if isinstance(part, dict):
            return {
                (value if key in ("params", "overrides", "train") else name): fill(one, name)
                for name, one in part.items()
            }
        if isinstance(part, list):
            return [fill(one, key) for one in part]
        fixed = ("schema", "status", "outcome", "direction", "kind", "role", "model", "method", "file")
        return value if isinstance(part, str) and key not in fixed else part

    plain = to_builtins(experiment())
    filled = {
        name: one if name in ("restore", "artifacts", "trigger") else fill(one, name) for name, one in plain.items()
    }
    filled["trigger"] = {**plain["trigger"], "url": f"https://x/{value}", "actor": value}
    return from_builtins(Run, filled)


@pytest.mark.parametrize("value", HOSTILE)
def test_every_hostile_string_in_every_place(value: str) -> None:
    run = hostile_run(value)
    for status in ("succeeded", "failed"):
        made = msgspec.structs.replace(run, status=status, log_tail=f"{value}\n{value}")
        old = msgspec.structs.replace(hostile_run(f"{value}~"), status="succeeded")
        report = build_report(
            made, model=MODEL, config=CONFIG, baseline=old, baseline_note=value, policy_changes=[value]
        )
        check_comment(render_comment(report, config=CONFIG), links=(f"https://x/{value}",))
        page = render_html(report, config=CONFIG)
        assert "<script" not in page.lower()
        assert "javascript:" not in re.sub(r">[^<]*<", "><", page)


@given(st.text(max_size=120))
@example("\r-")
@example(" \u200b \u200b \u200b \u200b x")
@example("\n1. a")
@example("A.AL")
@example("www.example.com")
@settings(max_examples=400, deadline=None)
def test_escaped_text_is_only_text(value: str) -> None:
    """Parsed inside a table cell, a sentence and a line of its own, it is one text without any structure."""
    for made in (escape.inline(value), escape.code(value)):
        body = f"| a | b |\n| - | - |\n| {made} | x |\n\n{made}\n\nword {made} word\n"
        html = PARSER.render(body)
        assert html.count("<td>") == 2
        seen = Visible()
        seen.feed(html)
        assert {tag for tag, _ in seen.tags} <= {"table", "thead", "tbody", "tr", "th", "td", "p", "code"}
        assert not seen.problems
        assert PINGS.search("\n".join(seen.text)) is None
    shown = re.sub(r"<[^>]*>", "", PARSER.render(f"word {escape.inline(value)} word")).strip()
    kept = unescape(shown).replace("\u200b", "")
    assert re.sub(r"\s+", " ", kept) == re.sub(r"\s+", " ", f"word {escape.plain(value)} word")
    assert "www." not in PARSER.render(escape.inline(value)).lower()


@given(st.text(max_size=200), st.sampled_from(["", "text", "diff", "mermaid"]))
@settings(max_examples=300, deadline=None)
def test_a_fence_is_closed_by_nothing_inside(value: str, language: str) -> None:
    tokens = PARSER.parse(f"before\n\n{escape.fence(value, language)}\n\nafter\n")
    assert [token.type for token in tokens if token.nesting == 0] == ["inline", "fence", "inline"]


@given(st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_chart_text_cannot_leave_its_quotes(value: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9 _.,()-]*", str(escape.title(value)))


def test_mermaid_lines_have_the_same_points() -> None:
    plot = Plot(
        title='ROC"\n%%{init}%%', kind="line", x_label="a", y_label="b",
        series=[Series(name="baseline", x=[0, 1], y=[0, 1]), Series(name="this run", x=[0, 0.2, 1], y=[0, 0.8, 1])],
    )  # fmt: skip
    made = charts.mermaid(plot)
    lines = [line for line in made.splitlines() if line.strip().startswith("line [")]
    assert [len(line.split(",")) for line in lines] == [charts.POINTS, charts.POINTS]
    assert made.count('"') % 2 == 0
    assert made.count("%%{") == 1
    assert charts.legend(plot) == "grey: baseline · blue: this run"


def test_a_line_that_is_too_short_to_be_drawn_is_named() -> None:
    wide, short = Series(name="baseline", x=[0, 1], y=[0, 1]), Series(name="this run", x=[0.4, 0.5], y=[0.3, 0.6])
    plot = Plot(title="Calibration", kind="line", x_label="a", y_label="b", series=[wide, short])
    assert charts.mermaid(plot).count("line [") == 1
    assert charts.legend(plot) == "grey: baseline · this run covers too small a part: see the table"


points = st.lists(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 2), min_size=2, max_size=12)


@given(points, points)
@settings(max_examples=150, deadline=None)
def test_any_numbers_can_be_drawn(first: list[tuple[float, float]], second: list[tuple[float, float]]) -> None:
    series = [
        Series(name=name, x=[x for x, _ in sorted(side)], y=[y for _, y in sorted(side)])
        for name, side in (("baseline", first), ("this run", second))
    ]
    plot = Plot(title="t", kind="line", x_label="x", y_label="y", series=series)
    for line in charts.mermaid(plot).splitlines()[2:]:
        for figure in re.sub(r'"[^"]*"', "", line).replace("-->", " ").replace("[", " ").replace("]", " ").split():
            assert re.fullmatch(r"-?\d+(\.\d+)?,?|line|title|[xy]-axis", figure), line
    assert "nan" not in charts.svg(plot)
    assert "inf" not in charts.svg(plot)
    head, body = charts.table(plot)
    assert all(len(row) == len(head) for row in body)


def test_the_core_set_is_enough() -> None:
    """Publishing runs where neither numpy nor DVC is installed."""
    program = (
        "import sys; import trackside.report.publish, trackside.report.reuse, trackside.report.local; "
        "print([name for name in ('numpy', 'scipy', 'pyarrow', 'dvc', 'pandas', 'github') if name in sys.modules])"
    )
    env = {"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_experiment_offers_the_change() -> None:
    body = render_comment(report_of(experiment()), config=CONFIG)
    assert "```diff\n train:\n-  learning_rate: 0.1\n+  learning_rate: 0.05\n-  trees: 200\n+  trees: 600\n```" in body
    assert "decides nothing" in body


def test_advice_names_the_line_of_the_policy() -> None:
    body = render_comment(report_of(worse()), config=CONFIG)
    assert "`roc_auc` = 0.641 is below the minimum 0.66 (trackside.yaml line 10)" in body


def test_a_template_overrides_one_block() -> None:
    head = "{% block head %}## Ours: {{ report.headline }}\n{% endblock %}"
    user = {"report.md.j2": '{% extends "trackside/report.md.j2" %}' + head}
    body = render_comment(report_of(better()), config=CONFIG, templates=user)
    assert body.splitlines()[1].startswith("## Ours: better: roc_auc")
    assert "What exactly was trained" in body
    check_comment(body, links=(LINK,))


def test_a_template_cannot_print_unescaped_text() -> None:
    user = {"report.md.j2": "{{ report.log_tail }} {{ report.log_tail ~ '<b>' }} {{ report.log_tail|upper }}"}
    report = report_of(better(log_tail="@octocat <script> #1"))
    check_comment(render_comment(report, config=CONFIG, templates=user))


BOMBS = {
    "loops": "{% for a in report.metrics %}" * 12 + "x" + "{% endfor %}" * 12,
    "power": "{{ 10 ** 10000000 }}",
    "text": "{{ 'a' * 1000000000 }}",
    "doubling": "{% set x = 'a' %}" + "{% set x = x ~ x %}" * 60 + "{{ x }}",
    "adding": "{% set x = 'a' %}" + "{% set x = x + x %}" * 60 + "{{ x }}",
    "printing": "{% set x %}a{% endset %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 60,
    "padding": "{{ 'a'.ljust(1000000000) }}",
    "format": "{{ '{:1000000000}'.format(1) }}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "escape": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "files": '{% include "/etc/passwd" %}',
    "mutation": "{{ report.metrics.append(1) }}",
    "unknown": "{{ report.nothing }}",
    "syntax": "{% if %}",
    "range": "{% for i in range(1000000000) %}x{% endfor %}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_harmful_template_is_left_out_with_a_note(name: str) -> None:
    report = report_of(better())
    body = render_comment(report, config=CONFIG, templates={"report.md.j2": BOMBS[name]})
    assert "The report template was left out" in body
    assert body.startswith(render_comment(report, config=CONFIG).rstrip("\n"))


def test_rows_are_ranked_by_severity() -> None:
    report = report_of(worse())
    assert [(row.name, row.verdict) for row in report.metrics] == [
        ("roc_auc", "failed_bound"), ("log_loss", "regressed"), ("brier", "unchanged"), ("rows", "unchanged"),
    ]  # fmt: skip


def test_html_needs_nothing_else() -> None:
    page = render_html(report_of(better()), config=CONFIG)
    assert "<svg" in page
    assert "prefers-color-scheme: dark" in page
    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|href)=["'](?!https://github\.com/acme/flights/actions/runs/12)""", page)
    seen = Visible()
    seen.VOID = frozenset({"meta"})
    seen.feed(page)
    assert not seen.problems


def test_formats_without_github() -> None:
    report = report_of(failed())
    assert write(report, "json") == render_json(report)
    assert write(report, "html").startswith("<!doctype html>")
    assert write(report, "md").startswith("<!-- trackside:report model=delay -->")
    assert from_builtins(Report, msgspec.json.decode(render_json(report))) == report


def test_the_documented_blocks_are_those_of_the_templates() -> None:
    text = (Path(__file__).parents[2] / "docs" / "templates.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)
    assert documented == re.findall(r"{% block (\w+) %}", builtin("report.md.j2"))
    assert sorted([*documented, "style"]) == sorted(re.findall(r"{% block (\w+) %}", builtin("report.html.j2")))
