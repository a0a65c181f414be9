"""Dates in texts of the configuration: `sales/{year}-{month}.parquet`, `{date-7}`, `{month-1}`.

Grammar, one for sources, queries and parameters:

    placeholder = "{" word [("-" | "+") number] "}"
    word        = "date" | "yesterday" | "tomorrow" | "year" | "month" | "year-month" | "day" | "quarter" | "week"
                | "weekday"
    "{{", "}}"  = a brace
    "${NAME}"   = left as it is: a credential, see `drift.sources`

The number counts in the word's own unit: days for `date`, `yesterday`, `tomorrow`, `day` and `weekday`, ISO weeks for
`week`, months, quarters or years for the others. An offset moves the whole date for that placeholder alone; write
`{year-month-1}` where the year has to move with the month.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta

from trackside.errors import ConfigError

LARGEST = 9999
_TOKEN = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}|\{\{|\}\}|\{([^{}]*)\}|[{}]")
_WORD = re.compile(r"([a-z]+(?:-[a-z]+)?)(?:([-+])(\d{1,4}))?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def _days(start: date, number: int) -> date:
    return start + timedelta(days=number)


def _months(start: date, number: int) -> date:
    """The same day of another month, or that month's last day."""
    index = start.year * 12 + start.month - 1 + number
    year, month = divmod(index, 12)
    last = (date(year + (month == 11), (month + 1) % 12 + 1, 1) - timedelta(days=1)).day
    return date(year, month + 1, min(start.day, last))


Move = Callable[[date, int], date]
WORDS: dict[str, tuple[str, Move, Callable[[date], str]]] = {
    "date": ("the day of the check, 2026-01-31", _days, date.isoformat),
    "yesterday": ("the day before", _days, lambda day: _days(day, -1).isoformat()),
    "tomorrow": ("the day after", _days, lambda day: _days(day, 1).isoformat()),
    "year": ("2026", lambda day, number: _months(day, 12 * number), lambda day: f"{day.year:04}"),
    "month": ("01 to 12", _months, lambda day: f"{day.month:02}"),
    "year-month": ("2026-01", _months, lambda day: f"{day.year:04}-{day.month:02}"),
    "day": ("01 to 31", _days, lambda day: f"{day.day:02}"),
    "quarter": ("1 to 4", lambda day, number: _months(day, 3 * number), lambda day: str((day.month + 2) // 3)),
    "week": (
        "ISO week, 2026-W05",
        lambda day, number: _days(day, 7 * number),
        lambda day: "{:04}-W{:02}".format(*day.isocalendar()[:2]),
    ),
    "weekday": ("1 (Monday) to 7", _days, lambda day: str(day.isoweekday())),
}


def parse_date(text: str) -> date:
    """`2026-01-31` as a date. Raises ConfigError."""
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text[:40]!r} is no date", remedy="write it as 2026-01-31", link="drift.md") from None


def fill(text: str, as_of: str | date) -> str:
    """The text with every placeholder replaced.

    Raises:
        ConfigError: an unknown placeholder, a lone brace, or a date out of range.
    """
    day = parse_date(as_of) if isinstance(as_of, str) else as_of

    def replaced(found: re.Match[str]) -> str:
        whole, inner = found[0], found[1]
        if whole in ("{{", "}}"):
            return whole[0]
        if whole.startswith("$"):
            return whole
        word = _WORD.fullmatch(inner or "")
        if word is None or word[1] not in WORDS:
            raise ConfigError(
                f"{whole[:60]!r} in {text[:200]!r} is no date placeholder",
                remedy=f"one of {', '.join('{' + name + '}' for name in WORDS)}, with -1 or +1 for another one; "
                "write {{ and }} for braces",
                link="drift.md",
            )
        _, move, show = WORDS[word[1]]
        number = int(word[3] or 0) * (-1 if word[2] == "-" else 1)
        try:
            return show(move(day, number))
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"{whole!r} leads out of the calendar", link="drift.md") from error

    return _TOKEN.sub(replaced, text)
