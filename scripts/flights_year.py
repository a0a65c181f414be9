"""Judge the sample's year month by month and put what was found into docs/drift-flights.md, with its picture.

The reference is January to March; the model learnt from half of their days. Packages of the sample go to build/ by uv.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from trackside.documents.codec import load
from trackside.documents.verdict import Test, Verdict
from trackside.drift import render
from trackside.drift.history import streak

ROOT = Path(__file__).parent.parent
SAMPLE, BUILD, PAGE = ROOT / "examples" / "flights", ROOT / "build" / "flights-year", ROOT / "docs" / "drift-flights.md"
MONTHS = ("April", "May", "June", "July", "August", "September", "October", "November", "December")
POLICY = """version: 1
models:
  delay:
    path: models/delay.skops
    drift:
      reference: reference.parquet
      current: "{month}.parquet"
      prediction: score
      label: label
      ignore: [id]
      key: id
      slices: [origin]
      thresholds: {weekday: 0.2}
"""
NO_LABELS = POLICY.replace("{month}", "unlabelled/{month}")


def main() -> None:
    python = BUILD / "venv" / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "uv", "venv", "--quiet", BUILD / "venv")
        run(
            sys.executable,
            "-m",
            "uv",
            "pip",
            "install",
            "--quiet",
            "--python",
            python,
            "-r",
            SAMPLE / "requirements.txt",
        )
    tables = BUILD / "tables"
    if not (tables / "reference.parquet").exists():
        env = {**os.environ, "PYTHONPATH": "src"}
        run(python, "-m", "flights.fetch", cwd=SAMPLE, env=env)
        run(python, "-m", "flights.months", "data/flights.csv", tables, cwd=SAMPLE, env=env)
    verdicts: list[Verdict] = []
    for month in range(4, 13):
        one = judged(tables, month, POLICY)
        verdicts.append(msgspec.structs.replace(one, streak=streak(one, verdicts[::-1])))
    expected = [judged(tables, month, NO_LABELS) for month in range(4, 13)]
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(between(text, table(verdicts, expected)), encoding="utf-8")
    picture = render.picture_of(verdicts[-1], verdicts[-2::-1])
    (PAGE.parent / "images" / "drift-flights.svg").write_text(picture, encoding="utf-8")
    (BUILD / "report.html").write_text(render.page(verdicts[-1], verdicts[-2::-1]), encoding="utf-8")


def run(*args: object, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    subprocess.run([str(one) for one in args], cwd=cwd, env=env, check=True)


def judged(tables: Path, month: int, policy: str) -> Verdict:
    """A month's verdict as `trackside drift check` gives it."""
    import pyarrow.parquet as pq

    rows = pq.read_table(tables / f"{month:02}.parquet")
    (tables / "unlabelled").mkdir(exist_ok=True)
    pq.write_table(rows.drop_columns(["label"]), tables / "unlabelled" / f"{month:02}.parquet")
    (tables / "trackside.yaml").write_text(policy)
    out = tables / f"{month:02}.json"
    run(
        sys.executable, "-m", "trackside", "drift", "check", "--as-of", f"2013-{month:02}-28", "--format", "json",
        "--out", out, "--fail-on", "never", cwd=tables,
    )  # fmt: skip
    return load(Verdict, out.read_bytes())


def table(verdicts: list[Verdict], expected: list[Verdict]) -> str:
    """A row a month: what alarmed, and the metric with and without labels."""
    lines = [
        "| month | flights | late | features that moved | ROC AUC | expected without labels | Brier score |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    for name, one, blind in zip(MONTHS, verdicts, expected, strict=True):
        found = [test for test in one.tests if test.alarm and test.heading == "features" and not test.segment]
        moved = "<br>".join(f"`{test.column}` {sign(test)}: {test.sentence}" for test in found)
        late = one.shapes["label"]["current"][one.shapes["label"]["names"].index("1")]
        lines.append(
            f"| {name} | {one.current.rows:,} | {100 * late:.1f} % | {moved or 'none'} "
            f"| {metric(one, 'roc_auc', 'metric')} | {metric(blind, 'roc_auc', 'estimate')} "
            f"| {metric(one, 'brier', 'metric')} |"
        )
    return "\n".join(lines)


def sign(test: Test) -> str:
    symbol = {"chi2": "w", "ks": "D", "wasserstein": "σ"}.get(test.test, test.test)
    return f"{symbol} = {test.effect:.2f}"


def metric(verdict: Verdict, name: str, test: str) -> str:
    """A value with its interval; bold where it alarms."""
    for one in verdict.tests:
        if (one.heading, one.column, one.test, one.segment) == ("performance", name, test, ""):
            now, half = one.extra["now"], ((one.high or 0.0) - (one.low or 0.0)) / 2
            text = f"{now:.3f} ± {half:.3f}"
            return f"**{text}**" if one.alarm else text
    return ""


def between(text: str, made: str) -> str:
    """The page with what stands between its markers replaced."""
    begin, end = "<!-- year: made by scripts/flights_year.py -->\n", "\n<!-- /year -->"
    before, rest = text.split(begin)
    return before + begin + "\n" + made + "\n" + end + rest.split(end)[1]


if __name__ == "__main__":
    main()
