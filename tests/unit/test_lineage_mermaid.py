"""The chart: within the limits, hostile names drawn as they are, and drawn by Mermaid itself in a browser."""

from __future__ import annotations

import html
import os
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineage_samples import data, holds, image, md5, records, release, run

from trackside.documents.run import Source
from trackside.lineage.graph import Deployed, Graph, Records, build
from trackside.lineage.mermaid import MOST_CHARACTERS, MOST_EDGES, label, mermaid
from trackside.lineage.start import of_digests, of_path, of_run, of_version
from trackside.lineage.trace import answer
from trackside.sandbox.web import assets
from trackside.system.process import Processes

NODE = re.compile(
    r'  (\w+)(\[\(|\(\[|\[\[|\[/|\{\{|\[|\()"([^"]*)"(\)\]|\]\)|\]\]|/\]|\}\}|\]|\))(:::(?:start|now|gone))?'
)
EDGE = re.compile(r'  (\w+) (-->|-\.->)\|"[a-z ]+"\| (\w+)')
STYLE = re.compile(r"  classDef [a-z]+ [a-z0-9#:,\- ]+")
TEXT = re.compile(r"(?:[A-Za-z0-9 ./\-]|#\d+;|<br/>)*")
HOSTILE = [
    '"]; click n1 "javascript:alert(1)" %% ',
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "1. item",
    "1) item",
    "- item",
    "* item",
    "+ item",
    "`code`",
    "`**bold**`",
    "__under__",
    "~~struck~~",
    "https://evil.example/x",
    "www.evil.example",
    "WWW.evil.example",
    "a@b.example",
    "end",
    "graph TD; A-->B",
    "#quot;#35;",
    '%%{init: {"theme":"dark"}}%%',
    "%% comment",
    "a|b||c",
    "{{x}}",
    "```\n```mermaid",
    "\u202egnp.exe",
    "# heading",
    "> quote",
    "[x](javascript:alert(1))",
    "![x](https://evil.example/x.png)",
    "&lt;b&gt;&#60;",
    "日本語 \U0001f680",
    "a" * 300,
    "<br/>",
    "classDef x",
    "subgraph",
    "| a |",
    "---",
    "$$x$$",
    "\\n",
    "fa:fa-ban",
]


def hostile() -> Graph:
    """Each name as model, data, commit, repository, stage, branch and file."""
    names = list(enumerate(HOSTILE))
    digests = {name: image("1.0.0", f"r{n}", model=name) for n, name in names}
    return build(
        Records(
            runs=[
                run(
                    f"r{n}",
                    data("data/x.csv", "x"),
                    data(name, f"c{n}"),
                    model=name,
                    source=Source(repository=name, commit=name, pull_request=n + 1),
                )
                for n, name in names
            ],
            releases=[release("1.0.0", f"r{n}", model=name) for n, name in names],
            images=digests.values(),
            holdings=[holds("1.0.0", name, n, model=name) for n, name in names],
            deployed=[
                Deployed(repository="", branch=name, file=name, digests=frozenset({digests[name].digest}))
                for _, name in names
            ],
        )
    )


def well_formed(chart: str) -> tuple[int, int]:
    """Every line is of the grammar of ours; returns nodes and edges."""
    lines = chart.splitlines()
    assert lines[0] == "flowchart LR"
    nodes, edges = set(), []
    for line in lines[1:]:
        if (node := NODE.fullmatch(line)) is not None:
            assert TEXT.fullmatch(node[3]), line
            nodes.add(node[1])
        elif (edge := EDGE.fullmatch(line)) is not None:
            edges.append((edge[1], edge[3]))
        else:
            assert STYLE.fullmatch(line), line
    assert {name for edge in edges for name in edge} <= nodes
    assert len(edges) <= MOST_EDGES
    assert len(chart) <= 50_000
    return len(nodes), len(edges)


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_a_label_holds_nothing_but_plain_text(value: str) -> None:
    assert TEXT.fullmatch(label(value))
    assert "<" not in label(value)
    assert "www." not in label(value).lower()


@settings(max_examples=150, deadline=None)
@given(records())
def test_any_answer_is_a_well_formed_chart(given_records: Records) -> None:
    graph = build(given_records)
    for name in list(graph.runs)[:3]:
        well_formed(mermaid(answer(of_run(graph, name.removeprefix("run:")))))
    for n in range(3):
        well_formed(mermaid(answer(of_digests(graph, [md5(f"c{n}")], {}))))


def charts() -> list[str]:
    graph = hostile()
    made = [mermaid(answer(of_digests(graph, [md5("x")], {})))]
    return made + [mermaid(answer(of_version(graph, name, "1.0.0"))) for name in HOSTILE]


def test_hostile_names_are_text() -> None:
    made = charts()
    counts = [well_formed(chart) for chart in made]
    print(f"{len(made)} charts of {len(HOSTILE)} hostile names, {sum(nodes for nodes, _ in counts)} nodes")
    assert len(made) == 41
    assert all(nodes >= 7 for nodes, _ in counts)


def test_what_does_not_fit_is_counted_and_what_matters_comes_first() -> None:
    runs = [run(f"q{n}", data("data/x.csv", "x"), data(f"d{n}", f"d{n}")) for n in range(3000)]
    releases = [release(f"1.{n}.0", f"q{n}") for n in range(1000)]
    graph = build(Records(runs=runs, releases=releases, holdings=[holds("1.7.0", "prod", 1)]))
    chart = mermaid(answer(of_digests(graph, [md5("x")], {})))
    nodes, edges = well_formed(chart)
    assert 100 < edges <= MOST_EDGES
    assert len(chart) <= MOST_CHARACTERS + 500
    assert 'only("2000 runs without a version")' in chart
    assert '{{"delay#35;prod"}}:::now' in chart
    assert 'delay#64;v1.7.0"' in chart
    (left,) = re.findall(r'left\["(\d+) more', chart)
    versions, drawn = 1000, len(re.findall(r"delay#64;v", chart))
    assert int(left) == 2 * (versions - drawn)  # each with its run
    print(f"{nodes} nodes and {edges} edges of {drawn} versions; {left} nodes left out")


def test_the_box_of_runs_stands_behind_what_led_to_them() -> None:
    """Two data sets at one path: only one of them was read by runs without a version; and now goes before the past."""
    one, two = data("data/x.csv", "1"), data("data/x.csv", "2")
    graph = build(
        Records(
            runs=[run("aa", one), run("bb", two), run("cc", two)],
            releases=[release("1.0.0", "aa")],
            holdings=[holds("1.0.0", "prod", 1, until="delay#prod#2"), holds("1.0.0", "prod", 3)],
        )
    )
    chart = mermaid(answer(of_path(graph, "data/x.csv", {})))
    (name,) = re.findall(r'  (n\d+) -->\|"led to"\| only', chart)
    assert re.search(rf'{name}\[\("data/x.csv<br/>md5 {md5("2")[4:16]}"', chart)
    assert 'only("2 runs without a version")' in chart
    assert '"holds"' in chart
    assert '"held"' not in chart
    well_formed(chart)


@pytest.mark.net
@pytest.mark.chromium
def test_mermaid_draws_every_chart(tmp_path: Path) -> None:
    """In a browser, with the page script of the sandbox: no chart fails, no name becomes an element or a link."""
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    bundle = assets.ensure_mermaid(tmp_path / "cache", env)
    assert bundle is not None
    script = assets.own("charts.js")
    assert script is not None
    made = charts()
    blocks = "".join(f'<pre class="mermaid">{html.escape(chart)}</pre>' for chart in made)
    page = tmp_path / "page.html"
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><body>{blocks}<script src="file://{bundle}"></script>'
        f"<script>{script.decode()}</script></body>"
    )
    with tempfile.TemporaryDirectory() as profile:
        argv = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        argv += ["--disable-background-networking", "--disable-component-update", "--allow-file-access-from-files"]
        argv += [f"--user-data-dir={profile}", "--virtual-time-budget=60000", "--dump-dom", f"file://{page}"]
        drawn = Processes(env).run(argv, timeout=240).text
    body = re.sub(r"<script.*?</script>", "", drawn, flags=re.DOTALL)
    assert 'data-charts="done"' in drawn
    assert body.count('class="chart"') == len(made)
    for wrong in ("undrawn", "Unsupported markdown", "<a ", "<img", "<script", "Syntax error", "<h1", "<li"):
        assert wrong not in body, wrong
    text = html.unescape(re.sub(r"<[^>]+>", "", body))
    for name in HOSTILE:
        whole = " ".join(name.replace("\u202e", "").split())[:50]
        assert whole.split(" ")[0] in text, name
    assert "<img src=x onerror=alert(1)>" in " ".join(text.split())
