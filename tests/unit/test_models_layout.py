"""Tables that fit a terminal, times as people say them, and texts that cannot steer a terminal."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.models.layout import LINES, age, clip, printable, size, stamp, table, utc, width, wrapped
from trackside.models.progress import EVERY, FIRST, Progress

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TEXT = st.text(max_size=60)


@pytest.mark.parametrize(
    ("ago", "said"),
    [
        (timedelta(seconds=-200), "just now"),
        (timedelta(seconds=-301), "ahead"),
        (timedelta(days=-400), "ahead"),
        (timedelta(seconds=59), "just now"),
        (timedelta(seconds=60), "1 minute"),
        (timedelta(minutes=59, seconds=59), "59 minutes"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(hours=47), "1 day"),
        (timedelta(days=2), "2 days"),
        (timedelta(days=31), "1 month"),
        (timedelta(days=364), "11 months"),
        (timedelta(days=800), "2 years"),
    ],
)
def test_ages_in_words(ago: timedelta, said: str) -> None:
    assert age((NOW - ago).isoformat(), NOW) == said


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "0", "\x1b[31m", "9" * 400])
def test_what_is_no_time_is_shown_as_it_is(text: str) -> None:
    assert age(text, NOW) == ""
    assert utc(text) == text


def test_times_are_shown_in_utc() -> None:
    assert utc("2026-11-21T01:30:00+05:30") == "2026-11-20 20:00"
    assert stamp("2026-11-21T01:30:00+05:30") == "2026-11-20T20:00:00Z"
    assert stamp("no time") == "no time"
    assert utc("2026-11-21T01:30:00Z") == "2026-11-21 01:30"
    assert utc("2026-11-21T01:30:00") == "2026-11-21 01:30"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (1_500_000, "1.5 MB"),
        (123_456_789, "123 MB"),
        (2**31, "2.1 GB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_sizes(number: int, said: str) -> None:
    assert size(number) == said


def test_wide_characters_take_two_cells() -> None:
    assert [width(text) for text in ("abc", "日本", "\u00e9", "e\u0301", "🚀")] == [3, 4, 1, 1, 2]
    assert clip("日本語テスト", 7) == "日本語…"
    lines = table(["A", "B"], [["日本", "x"], ["ab", "y"]]).splitlines()
    assert {width(line[: line.index(sign)]) for line, sign in zip(lines, "Bxy", strict=True)} == {6}


@settings(max_examples=300, deadline=None)
@given(text=TEXT, room=st.integers(2, 40))
def test_what_is_clipped_or_wrapped_fits(text: str, room: int) -> None:
    text = printable(text)
    assert width(clip(text, room)) <= room
    lines = wrapped(text, room)
    assert 1 <= len(lines) <= LINES
    assert all(width(line) <= room for line in lines)
    if width(text) <= room:
        assert clip(text, room) == text == lines[0]


@settings(max_examples=300, deadline=None)
@given(rows=st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=6), room=st.integers(60, 130))
def test_tables_fit_and_hold_nothing_that_steers(rows: list[tuple[str, str, str]], room: int) -> None:
    made = table(["NAME", "WHAT", "WHY"], rows, room=room, shrink={2: 8, 1: 8, 0: 8})
    for line in made.split("\n"):
        assert width(line) <= room
        assert all(char.isprintable() for char in line)


def test_columns_without_content_are_left_out() -> None:
    assert table(["A", "B", "C"], [["1", "", "3"], ["2", "", ""]]) == "A  C\n1  3\n2"
    assert table(["A"], [[""]]) == ""
    assert table(["A"], []) == ""


def test_the_first_column_that_may_shrink_gives_way_first() -> None:
    row = ["delay", "prod v1.0.0, staging v1.1.0", "Is a flight late by fifteen minutes or more than that?"]
    wide = table(["MODEL", "STAGES", "DESCRIPTION"], [row], room=120, shrink={2: 24, 1: 16})
    assert len(wide.splitlines()) == 2
    narrow = table(["MODEL", "STAGES", "DESCRIPTION"], [row], room=80, shrink={2: 24, 1: 16}).splitlines()
    assert "prod v1.0.0, staging v1.1.0" in narrow[1]
    assert len(narrow) == 3
    least = table(["MODEL", "STAGES", "DESCRIPTION"], [row], room=50, shrink={2: 24, 1: 16}).splitlines()
    assert max(map(len, least)) <= 50


def test_a_bar_renews_itself_and_goes() -> None:
    out, now = io.StringIO(), [0.0]
    with Progress("delay", 1000, out, 60, lambda: now[0]) as told:
        for done in range(0, 1001, 100):
            now[0] += 0.06
            told(done)
    text = out.getvalue()
    states = text.split("\r")[1:]
    assert all(width(one.removesuffix("\x1b[K")) < 60 for one in states)
    assert text.endswith("\r\x1b[K")
    assert 4 <= len(states) <= 8
    assert "100 %" not in states[0]


def test_without_a_terminal_there_are_lines_and_few() -> None:
    out, now = io.StringIO(), [100.0]
    with Progress("delay", 1000, out, 0, lambda: now[0]) as told:
        for done in range(0, 1001, 10):
            now[0] += 0.5
            told(done)
    lines = out.getvalue().splitlines()
    assert "\r" not in out.getvalue()
    assert len(lines) == 1 + int((50.5 - FIRST) / EVERY)
    assert lines[0].startswith("delay: ")
    assert "left" in lines[0]


def test_speed_counts_only_what_came_now() -> None:
    bar = Progress("delay", 1_000_000, io.StringIO(), 0, lambda: 0.0)
    bar(900_000)
    assert "50.0 kB/s, 1 s left" in bar.line(950_000, 1.0)


def test_quick_downloads_and_quiet_ones_say_nothing() -> None:
    out = io.StringIO()
    with Progress("delay", 10, out, 0, lambda: 0.0) as told:
        told(10)
    with Progress("delay", 10, None, 0, lambda: 99.0) as told:
        told(10)
    assert out.getvalue() == ""
