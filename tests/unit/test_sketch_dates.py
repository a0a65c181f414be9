"""Calendars of times: against the standard library, and whatever the split."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.sketch.dates import Calendar, cadence, calendar_of, together
from trackside.sketch.numbers import CELLS, Numbers

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
moments = st.datetimes(timezones=st.just(UTC))


def same(first: Calendar, second: Calendar) -> bool:
    return all(np.array_equal(getattr(first, part), getattr(second, part)) for part in ("hours", "weekdays", "months"))


@settings(deadline=None)
@given(st.lists(moments, max_size=30))
def test_calendars_agree_with_the_standard_library(times: list[datetime]) -> None:
    # Whole seconds: doubles hold them exactly.
    times = [time.replace(microsecond=0) for time in times]
    found = calendar_of(np.array([(time - EPOCH) // timedelta(seconds=1) for time in times], dtype=np.float64))
    assert found.hours.tolist() == [sum(time.hour == hour for time in times) for hour in range(24)]
    assert found.weekdays.tolist() == [sum(time.weekday() == day for time in times) for day in range(7)]
    assert found.months.tolist() == [sum(time.month == month for time in times) for month in range(1, 13)]
    assert found.count == len(times)


@settings(deadline=None)
@given(st.lists(st.floats(-4e10, 4e10), max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_calendars_merge(seconds: list[float], one: int, two: int) -> None:
    times = np.array(seconds, dtype=np.float64)
    first, second, third = (calendar_of(part) for part in np.split(times, sorted((one, two))))
    assert same(together(first, second, third), calendar_of(times))
    assert same(together(third, together(second, first)), calendar_of(times))
    assert same(together(), Calendar())


def test_times_beyond_the_calendar_are_left_out() -> None:
    assert calendar_of(np.array([1e308, -1e308, 2.0**63, 0.0])).count == 1
    assert calendar_of(np.array([1e30])).count == 0
    # The greatest times of 64-bit seconds have an hour, a weekday and a month.
    assert calendar_of(np.array([np.nextafter(2.0**63, 0), -np.nextafter(2.0**63, 0)])).count == 2


@pytest.mark.parametrize("step", [1.0, 60.0, 900.0, 86_400.0])
def test_cadence_is_the_distance_of_neighbours(step: float) -> None:
    times = 1.7e9 + step * np.arange(5000)
    assert cadence(Numbers.of_sorted(np.repeat(times, 3))) == (step, step)
    # A gap and a time long ago change nothing.
    gapped = np.concatenate([[0.0], times, times[-1] + 1e7 + step * np.arange(4000)])
    assert cadence(Numbers.of_sorted(gapped)) == (step, step)


@pytest.mark.parametrize("repeats", [1, 4])
def test_cadence_of_many_times_is_bounded(repeats: int) -> None:
    times = np.repeat(1.7e9 + 60.0 * np.arange(8 * CELLS), repeats)
    lower, upper = cadence(Numbers.of_sorted(times))
    assert lower < upper
    assert lower <= 60 * (1 + 1e-3)
    assert upper >= 60
    if repeats == 1:
        assert lower >= 60 * (1 - 1e-3)


def test_cadence_of_too_few_times_is_unknown() -> None:
    assert all(math.isnan(bound) for bound in cadence(Numbers()))
    assert all(math.isnan(bound) for bound in cadence(Numbers.of_sorted(np.full(9, 1.7e9))))
