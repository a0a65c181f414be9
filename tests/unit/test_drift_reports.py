"""What a person sees of a verdict: sizes hold, strangers' names stay text, and each drawing shows its data."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest

from trackside.documents.verdict import Test as Found
from trackside.documents.verdict import Verdict, Window
from trackside.drift import drawings, picture, render, timeline

HOSTILE = "</text><script>alert(1)</script>|`'\"&\u202e\n@all"
LEVELS = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]


def shape() -> dict[str, Any]:
    return {
        "kind": "steps",
        "edges": [float(at) for at in range(25)],
        "reference": [1 / 24] * 24,
        "current": [at / 276 for at in range(24)],
        "quantiles": {
            "at": LEVELS,
            "reference": [float(at) for at in range(7)],
            "current": [at + 0.5 for at in range(7)],
        },
    }


def found(column: str, effect: float, **more: Any) -> Found:
    alarm = effect > 0.07
    return Found(
        heading="features", column=column, test="ks", effect=effect, low=effect - 0.02, high=effect + 0.02,
        threshold=0.05, alarm=alarm, kind="drift" if alarm else "ok", sentence=f"{column} moved", **more,
    )  # fmt: skip


def metric(now: float, **more: Any) -> Found:
    given: dict[str, Any] = {"test": "metric", "alarm": now < 0.6, **more}
    return Found(
        heading="performance", column="roc_auc", effect=0.66 - now, low=0.64 - now, high=0.68 - now, threshold=0.02,
        extra={"before": 0.66, "now": now}, **given,
    )  # fmt: skip


def verdict(day: int, tests: list[Found], **more: Any) -> Verdict:
    moved = [one.column for one in tests if one.alarm]
    return Verdict(
        model="delay", verdict="drift" if moved else "ok", reason_code="drift_found", checked_at="2026-03-01T00:00:00Z",
        as_of=(date(2026, 3, 1) + timedelta(days=day)).isoformat(),
        reference=Window(source="r", rows=9, version="1.0.0"),
        current=Window(source="c", rows=9), tests=tests, moved=moved, **more,
    )  # fmt: skip


def test_a_page_of_thousands_of_columns_and_sixty_days_stays_below_a_megabyte() -> None:
    columns = 2000
    names = [f"{HOSTILE}{at}" * 3 for at in range(columns)]
    days = [verdict(day, [found(name, 0.1 + day / 1000) for name in names]) for day in range(60)]
    last = verdict(60, [found(name, 0.2) for name in names], shapes={name: shape() for name in names[:40]})
    page = render.page(last, days[::-1])
    words = render.markdown(last, days[::-1])
    drawn = render.picture_of(last, days[::-1])
    print(f"{columns} columns, 61 days: page {len(page.encode())}, Markdown {len(words)}, picture {len(drawn)} bytes")
    assert len(page.encode()) <= 1_000_000
    assert len(words) <= 60_000
    assert "<script" not in page
    assert "<script" not in words
    assert "<script" not in drawn
    ET.fromstring(drawn)


def test_the_heat_map_has_a_cell_a_day_and_marks_alarms() -> None:
    days = [verdict(day, [found("quiet", 0.01), found("loud", 0.01 + 0.03 * day)]) for day in range(5)]
    drawn = ET.fromstring(timeline.heat(days))
    names = [one.text for one in drawn.iter("text")]
    assert names[:2] == ["loud", "quiet"]
    assert names[-1] == "2026-03-01 to 2026-03-05"
    cells = list(drawn.iter("rect"))
    assert [one.get("class") for one in cells[:5]] == ["s0", "s3", "s3", "s4", "s4"]
    assert [one.get("class") for one in cells[5:]] == ["s0"] * 5
    assert len(list(drawn.iter("circle"))) == sum(0.01 + 0.03 * day > 0.07 for day in range(5)) == 2
    assert timeline.heat(days[:1]) == ""
    silent = msgspec.structs.replace(days[2], tests=[], verdict="insufficient_data")
    titles = [one.text for one in ET.fromstring(timeline.heat([*days[:2], silent, *days[3:]])).iter("title")]
    assert titles[2] == "2026-03-03: not judged"


def test_a_metric_is_drawn_with_its_interval_and_estimates_are_hollow() -> None:
    days = [verdict(0, [metric(0.66)]), verdict(1, [metric(0.62, test="estimate")]), verdict(2, [metric(0.55)])]
    drawn = ET.fromstring(timeline.metric(days, "roc_auc"))
    assert [one.get("class") for one in drawn.iter("circle")] == ["dot", "hollow", "alarm"]
    assert next(one.text for one in drawn.iter("title")) == "2026-03-01: 0.66 (0.64 to 0.68)"
    heights = [float(one.get("cy") or 0) for one in drawn.iter("circle")]
    assert heights == sorted(heights)
    assert timeline.metric(days, "brier") == ""


def test_quantiles_show_how_far_each_one_moved() -> None:
    drawn = drawings.quantiles(shape(), HOSTILE)
    words = [one.text for one in ET.fromstring(drawn).iter("text")]
    assert words[:2] == ["1 %", "+0.5"]
    assert words[-2:] == ["0", "6.5"]
    for broken in (None, {}, {"quantiles": {"at": [0.5], "reference": [], "current": [1]}}, {"quantiles": 3}):
        assert drawings.quantiles(broken, "x") == ""
    far = {"quantiles": {"at": [0.5], "reference": [float("inf")], "current": [1.0]}}
    assert drawings.quantiles(far, "x") == ""


def test_a_picture_stands_alone_as_svg_and_png() -> None:
    days = [verdict(day, [found(HOSTILE, 0.02 * day)], shapes={HOSTILE: shape()}) for day in range(6)]
    text = render.picture_of(days[-1], days[-2::-1])
    root = ET.fromstring(text)
    assert root.get("width") == "960"
    assert "var(" not in text
    assert "http" not in re.sub(r'xmlns="[^"]*"', "", text)
    pytest.importorskip("resvg_py", reason="resvg-py is not installed")
    data = picture.png(text)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(data[16:20], "big") == 2 * 960
    assert int.from_bytes(data[20:24], "big") == 2 * int(root.get("height") or 0)
