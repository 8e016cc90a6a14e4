"""Periods of local days: half-open, tiling, and bounded by the right instants."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.periods import (
    Period,
    add_months,
    each_day,
    local_day,
    local_midnight,
    month_of,
    monthly_periods,
)

DAYS = st.dates(date(2020, 1, 1), date(2040, 12, 31))
ZONES = st.sampled_from(
    ["Asia/Kolkata", "Asia/Jakarta", "America/New_York", "Pacific/Auckland", "America/Sao_Paulo"]
)


@pytest.mark.parametrize("anchor", range(1, 32))
def test_ten_years_are_tiled_without_gap_or_overlap_by_every_anchor(anchor: int) -> None:
    start, end = date(2024, 1, 17), date(2034, 1, 17)
    periods = list(monthly_periods(start, anchor, end))
    assert periods[0].start == start
    assert periods[-1].end >= end > periods[-1].start
    for before, after in pairwise(periods):
        assert before.end == after.start
        last_of_month = (month_of(after.start).end - timedelta(days=1)).day
        assert after.start.day == min(anchor, last_of_month)
    assert all(27 < period.days < 32 for period in periods[1:])


@given(start=DAYS, anchor=st.integers(1, 31), length=st.integers(1, 800))
def test_any_start_is_tiled_and_every_day_is_in_exactly_one_period(
    start: date, anchor: int, length: int
) -> None:
    end = start + timedelta(days=length)
    periods = list(monthly_periods(start, anchor, end))
    days = [day for period in periods for day in each_day(period)]
    assert days[:length] == [start + timedelta(days=offset) for offset in range(length)]
    assert all(period.days <= 31 for period in periods)


def test_an_anchor_of_31_clamps_and_comes_back() -> None:
    starts = [period.start for period in monthly_periods(date(2026, 1, 31), 31, date(2026, 6, 1))]
    assert starts == [
        date(2026, 1, 31),
        date(2026, 2, 28),
        date(2026, 3, 31),
        date(2026, 4, 30),
        date(2026, 5, 31),
    ]


@given(day=DAYS, zone=ZONES)
def test_the_instants_of_a_period_hold_exactly_its_local_days(day: date, zone: str) -> None:
    begins, ends = Period(day, day + timedelta(days=1)).instants(zone)
    assert begins.tzinfo is UTC
    assert local_day(begins, zone) == day
    assert local_day(ends - timedelta(microseconds=1), zone) == day
    assert local_day(begins - timedelta(microseconds=1), zone) == day - timedelta(days=1)
    assert local_day(ends, zone) == day + timedelta(days=1)


def test_a_day_in_india_begins_at_half_past_six_in_the_evening_before() -> None:
    assert local_midnight(date(2026, 7, 1), "Asia/Kolkata") == datetime(
        2026, 6, 30, 18, 30, tzinfo=UTC
    )


@given(one=st.tuples(DAYS, st.integers(1, 90)), other=st.tuples(DAYS, st.integers(1, 90)))
def test_an_intersection_has_the_days_that_both_have(
    one: tuple[date, int], other: tuple[date, int]
) -> None:
    first, second = (Period(day, day + timedelta(days=length)) for day, length in (one, other))
    shared = first.intersection(second)
    both = {day for day in each_day(first) if day in second}
    assert both == (set(each_day(shared)) if shared else set())
    assert shared == second.intersection(first)


@given(day=DAYS)
def test_a_period_that_ends_before_or_as_it_starts_is_none(day: date) -> None:
    for end in (day, day - timedelta(days=1)):
        with pytest.raises(ValueError, match="must end after it starts"):
            Period(day, end)


@given(day=DAYS, months=st.integers(-60, 60))
def test_months_are_added_within_the_calendar(day: date, months: int) -> None:
    moved = add_months(day, months)
    assert (moved.year * 12 + moved.month) - (day.year * 12 + day.month) == months
    assert moved.day in {day.day, (month_of(moved).end - timedelta(days=1)).day}
