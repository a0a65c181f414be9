"""Date placeholders: the words, their offsets, braces, and what is refused."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackside.errors import ConfigError
from trackside.tables.placeholders import WORDS, fill, parse_date

DAYS = st.dates(date(1000, 1, 1), date(9000, 12, 31))


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("sales/{date}.parquet", "sales/2024-03-01.parquet"),
        ("{yesterday}", "2024-02-29"),
        ("{date-1}", "2024-02-29"),
        ("{date+31}", "2024-04-01"),
        ("{tomorrow}", "2024-03-02"),
        ("{year}/{month}/{day}", "2024/03/01"),
        ("{month-1}", "02"),
        ("{year-month-3}", "2023-12"),
        ("{year-month}", "2024-03"),
        ("{year-1}", "2023"),
        ("Q{quarter}, before Q{quarter-1}", "Q1, before Q4"),
        ("{week} {week-9}", "2024-W09 2023-W52"),
        ("{weekday}", "5"),
        ("{day-1}", "29"),
        ("{{date}} }}", "{date} }"),
        ("https://${USER}:${KEY_2}@host/{date}?x=${KEY_2}", "https://${USER}:${KEY_2}@host/2024-03-01?x=${KEY_2}"),
        ("no placeholder", "no placeholder"),
        ("", ""),
    ],
)
def test_every_word_is_filled(text: str, made: str) -> None:
    assert fill(text, "2024-03-01") == made
    assert fill(text, date(2024, 3, 1)) == made


@pytest.mark.parametrize(
    "text", ["{today}", "{", "}", "{date-}", "{date - 1}", "{DATE}", "{0}", "{date-99999}", "{}", "${1}"]
)
def test_other_braces_are_refused_with_the_words(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fill(f"a{text}b", "2024-03-01")
    assert "{yesterday}" in caught.value.remedy


def test_the_calendar_ends() -> None:
    for text, day in (("{year-9000}", "2024-03-01"), ("{date-9999}", "0001-01-05"), ("{month+9999}", "9999-01-01")):
        with pytest.raises(ConfigError, match="calendar"):
            fill(text, day)


@pytest.mark.parametrize("text", ["", "2024-3-1", "2024-02-30", "20240301", "2024-03-01T00:00", "٢٠٢٤-٠٣-٠١"])
def test_dates_have_one_form(text: str) -> None:
    with pytest.raises(ConfigError, match="no date"):
        parse_date(text)


def test_a_month_back_of_a_long_month_is_its_last_day() -> None:
    assert fill("{year-month-1}", "2023-03-31") == "2023-02"
    assert fill("{year-1}-{month}", "2024-02-29") == "2023-02"


@given(day=DAYS, number=st.integers(0, 9999))
def test_offsets_of_days_are_days(day: date, number: int) -> None:
    if day - date.min > timedelta(days=number):
        assert fill(f"{{date-{number}}}", day) == (day - timedelta(days=number)).isoformat()


@given(day=DAYS, word=st.sampled_from(sorted(WORDS)), number=st.integers(0, 300))
def test_there_and_back(day: date, word: str, number: int) -> None:
    """An offset of nothing changes nothing, and texts without braces stay."""
    assert fill(f"{{{word}-0}}", day) == fill(f"{{{word}}}", day)
    assert len(fill(f"{{year-month-{number}}}", day)) == 7
