"""Markdown, logs, diffs and Mermaid's bundle of the sandbox's pages."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile
import tempfile
from pathlib import Path

import pytest

from trackside.errors import DataError
from trackside.sandbox.web import assets, logs, text
from trackside.sandbox.web.look import diff_rows
from trackside.sandbox.web.markdown import Links, render
from trackside.system.process import Processes
from unit.web_samples import REPO, fill, sandbox_with_pages

KNOWN = {("number", "7"): "/o/r/pull/7", ("login", "ada"): "/ada", ("sha", "a" * 40): f"/o/r/commit/{'a' * 40}"}
LINKS = Links(
    reference=lambda kind, value: KNOWN.get((kind, value)),
    base="/o/r/blob/main",
    raw="/o/r/raw/main",
    home="http://127.0.0.1:9",
)
REL = 'rel="nofollow noopener noreferrer"'


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("| a | b |\n| :-- | --: |\n| 1 | 2 |", '<td align="right">2</td>'),
        ("- [x] done", 'type="checkbox"'),
        ("- [x] done", "checked"),
        ("~~gone~~", "<s>gone</s>"),
        ("> [!TIP]\n> words", '<div class="alert alert-tip">\n<p class="alert-title">Tip</p>'),
        ("> [!caution]\n>\n> words", "alert-caution"),
        ("> [!OTHER]\n> words", "<blockquote>"),
        ("see #7", f'<a href="/o/r/pull/7" {REL}>#7</a>'),
        ("see #8", "see #8"),
        ("@ada and @bob", f'<a href="/ada" class="mention" {REL}>@ada</a> and @bob'),
        ("mail x@ada.example", "x@ada.example"),
        ("`#7 @ada`", "<code>#7 @ada</code>"),
        ("[#7](https://x.example)", f'<a href="https://x.example" {REL}>#7</a>'),
        ("a" * 40, f">{'a' * 7}</a>"),
        ("https://x.example/y", '<a href="https://x.example/y"'),
        ("train.py", "<p>train.py</p>"),
        ("http://127.0.0.1:9/o/r/pull/7", 'href="/o/r/pull/7"'),
        ("[x](docs/a.md)", 'href="/o/r/blob/main/docs/a.md"'),
        ("[x](../../../../etc)", 'href="/o/r/blob/main/etc"'),
        ("![x](a.png)", 'src="/o/r/raw/main/a.png"'),
        ("# A b, c!\n# A b, c!", 'id="user-content-a-b-c-1"'),
        ("[x](#usage)", 'href="#user-content-usage"'),
        ("<details><summary>s</summary>\n\n**b**\n\n</details>", "</summary>\n<p><strong>b</strong></p>\n</details>"),
        ("H<sub>2</sub>O <kbd>x</kbd> a<sup>2</sup>", "H<sub>2</sub>O <kbd>x</kbd> a<sup>2</sup>"),
        ('<p align="center"><img src="https://x.example/a.png" width="10"></p>', '<p align="center"><img src="https://x'),
        ("```mermaid\nA-->B\n```", '<pre class="mermaid"><code>A--&gt;B\n</code></pre>'),
        ("```python\nx<1\n```", "<pre><code>x&lt;1\n</code></pre>"),
        ("<!-- marker -->\nwords", "words"),
    ],
)  # fmt: skip
def test_markdown(source: str, wanted: str) -> None:
    assert wanted in str(render(source, LINKS))


def test_hidden_marker_is_not_shown() -> None:
    assert "marker" not in render("<!-- marker -->\nwords", LINKS)
    assert render(None, LINKS) == ""


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("\x1b[31mred\x1b[0m plain", '<span class="a-fg1">red</span> plain'),
        ("\x1b[1;92mx", '<span class="a-bold a-fg10">x</span>'),
        ("\x1b[38;5;3mx\x1b[39my", '<span class="a-fg3">x</span>y'),
        ("\x1b[38;2;1;2;3mx", "x"),
        ("\x1b[38;5mx", "x"),
        ("\x1b[2Ka\x1b[1Gb", "ab"),
        ("10%\r100%", "100%"),
        ("\x1b]0;title\x07x\x07", "x"),
        ("<a>", "&lt;a&gt;"),
        ("\x1b[41;4mx\x1b[22;24my", '<span class="a-bg1 a-under">x</span><span class="a-bg1 a-under">y</span>'),
    ],
)
def test_ansi(source: str, wanted: str) -> None:
    assert str(logs.ansi(source)) == wanted


def test_log_is_split_into_steps_and_groups() -> None:
    source = "before\n##[step]One\n##[group]G\nin\n##[endgroup]\nout\n"
    source += "::warning file=a%2Cb.py,line=2::careful%0Anow\n::add-mask::x\n"
    sections, dropped = logs.read(source)
    assert (dropped, [one.name for one in sections]) == (0, ["", "One"])
    titles = [(group.title, [str(line.html) for line in group.lines]) for group in sections[1].groups]
    assert titles == [("G", ["in"]), (None, ["out", "careful\nnow"])]
    warning = sections[1].groups[1].lines[1]
    assert (warning.level, warning.place, warning.number) == ("warning", "a,b.py:2", 7)


def test_long_logs_lose_their_beginning() -> None:
    sections, dropped = logs.read("x\n" * (logs.MAX_LINES + 5))
    assert (dropped, sections[0].groups[0].lines[0].number) == (5, 6)


def test_diff_rows_count_both_sides() -> None:
    rows = diff_rows("@@ -3,2 +3,3 @@ def f\n same\n-old\n+new\n+more\n\\ No newline at end of file")
    assert [(row.old, row.new, row.kind) for row in rows] == [
        ("", "", "hunk"), ("3", "3", "same"), ("4", "", "del"), ("", "4", "add"), ("", "5", "add"), ("", "", "hunk"),
    ]  # fmt: skip


def test_small_words() -> None:
    assert text.took({"started_at": "2026-01-01T00:00:00Z", "completed_at": "2026-01-01T01:01:05Z"}) == "1h 1m 5s"
    assert text.took({"started_at": "2026-01-01T00:00:00Z", "completed_at": None}) == ""
    assert [text.size(one) for one in (0, 999, 1500, 2_000_000, 5_000_000_000_000)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "2.0 MB",
        "5000.0 GB",
    ]
    assert text.when("2026-11-02T06:05:00Z") == "2 Nov 2026, 06:05 UTC"
    assert text.when("no time") == ""


def _archive(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        info = tarfile.TarInfo("package/dist/mermaid.min.js")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def test_bundle_is_taken_only_from_the_pinned_archive() -> None:
    archive = _archive(b"globalThis.mermaid = {}")
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    assert assets.bundle_of(archive, integrity) == b"globalThis.mermaid = {}"
    with pytest.raises(DataError, match="another mermaid"):
        assets.bundle_of(archive)


def test_bundle_without_npm_is_none_and_with_another_archive_is_refused(tmp_path: Path) -> None:
    assert assets.ensure_mermaid(tmp_path / "cache", {"PATH": str(tmp_path)}) is None
    npm = tmp_path / "npm"
    archive = tmp_path / "archive.tgz"
    archive.write_bytes(_archive(b"evil"))
    npm.write_text(f'#!/bin/sh\ncp {archive} "$6/mermaid-{assets.MERMAID_VERSION}.tgz"\n')
    npm.chmod(0o755)
    with pytest.raises(DataError, match="another mermaid"):
        assets.ensure_mermaid(tmp_path / "cache", {"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert assets.cached_mermaid(tmp_path / "cache") is None


@pytest.mark.net
@pytest.mark.chromium
def test_charts_are_drawn(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    bundle = assets.ensure_mermaid(tmp_path / "cache", env)
    assert bundle is not None
    assert assets.ensure_mermaid(tmp_path / "cache", {}) == bundle
    sandbox = sandbox_with_pages(tmp_path / "state", bundle)
    try:
        ids = fill(sandbox)
        with tempfile.TemporaryDirectory() as profile:
            argv = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
            argv += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
            argv += [f"--user-data-dir={profile}", "--virtual-time-budget=10000", "--dump-dom"]
            page = Processes(env).run([*argv, f"{sandbox.url}/{REPO}/pull/{ids['ready']}"], timeout=120).text
    finally:
        sandbox.stop()
    assert 'data-charts="done"' in page
    assert page.count('class="chart"') == 4
    assert '<pre class="mermaid' not in page
