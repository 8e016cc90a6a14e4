"""Periods of local days: half-open, tiling, and bounded by the right instants."""

import os
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise, product, takewhile
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from billing.db.engine import open_engine
from billing.periods import (
    Calendar,
    Cycle,
    Interval,
    Period,
    add_months,
    each_day,
    local_day,
    local_midnight,
    month_of,
)

DAYS = st.dates(date(2020, 1, 1), date(2040, 12, 31))
NOT_IN_SQL = {"localtime", "Factory"}
SEEN_BY_SQL = """
    SELECT zone, day, (noon AT TIME ZONE zone) = day + time '12:00' AS same_noon,
        (at AT TIME ZONE zone)::date = day
            AND ((at - interval '1 microsecond') AT TIME ZONE zone)::date = day - 1 AS same_day
    FROM unnest(
        CAST(:zones AS text[]), CAST(:days AS date[]), CAST(:at AS timestamptz[]),
        CAST(:noons AS timestamptz[])
    ) AS bound (zone, day, at, noon)
    WHERE zone IN (SELECT name FROM pg_timezone_names)
"""
ZONES = st.sampled_from(
    ["Asia/Kolkata", "Asia/Jakarta", "America/New_York", "Pacific/Auckland", "America/Sao_Paulo"]
)


MONTHLY = [interval for interval in Interval if interval is not Interval.WEEK]
CYCLES = st.one_of(
    st.builds(Cycle, st.just(Interval.WEEK), st.integers(1, 7)),
    st.builds(Cycle, st.sampled_from(MONTHLY), st.integers(1, 31), st.integers(1, 12)),
)


def tiles(cycle: Cycle, start: date, end: date) -> list[Period]:
    return list(takewhile(lambda period: period.start < end, cycle.tiles(start)))


@pytest.mark.parametrize("interval", Interval)
def test_ten_years_are_tiled_without_gap_or_overlap_by_every_anchor(interval: Interval) -> None:
    start, end = date(2024, 1, 17), date(2034, 1, 17)
    last = 7 if interval is Interval.WEEK else 31
    for anchor, month in product(range(1, last + 1), range(1, max(interval.months, 1) + 1)):
        cycle = Cycle(interval, anchor, month)
        periods = tiles(cycle, start, end)
        assert periods[0].start == start
        assert periods[-1].end >= end
        for before, after in pairwise(periods):
            assert before.end == after.start
            assert cycle.containing(after.start) == cycle.containing(after.last_day) == after
            if interval is Interval.WEEK:
                assert after.start.isoweekday() == anchor
            else:
                last_of_month = (month_of(after.start).end - timedelta(days=1)).day
                assert after.start.day == min(anchor, last_of_month)
                assert (after.start.month - month) % interval.months == 0


@given(cycle=CYCLES, start=DAYS, length=st.integers(1, 800))
def test_any_start_is_tiled_and_every_day_is_in_exactly_one_period(
    cycle: Cycle, start: date, length: int
) -> None:
    periods = tiles(cycle, start, start + timedelta(days=length))
    days = [day for period in periods for day in each_day(period)]
    assert days[:length] == [start + timedelta(days=offset) for offset in range(length)]
    for period in periods:
        whole = cycle.containing(period.start)
        assert whole.start <= period.start < period.end == whole.end


def test_an_anchor_of_31_clamps_and_comes_back() -> None:
    periods = tiles(Cycle(Interval.MONTH, 31), date(2026, 1, 31), date(2026, 6, 1))
    assert [period.start for period in periods] == [
        date(2026, 1, 31),
        date(2026, 2, 28),
        date(2026, 3, 31),
        date(2026, 4, 30),
        date(2026, 5, 31),
    ]


@pytest.mark.parametrize(
    ("interval", "start", "following"),
    [
        (Interval.WEEK, date(2026, 7, 1), date(2026, 7, 8)),
        (Interval.MONTH, date(2026, 1, 31), date(2026, 2, 28)),
        (Interval.QUARTER, date(2025, 11, 30), date(2026, 2, 28)),
        (Interval.HALF_YEAR, date(2025, 8, 31), date(2026, 2, 28)),
        (Interval.YEAR, date(2024, 2, 29), date(2025, 2, 28)),
    ],
)
def test_an_anniversary_is_the_day_of_the_first_one(
    interval: Interval, start: date, following: date
) -> None:
    cycle = Cycle.anniversary(interval, start)
    assert cycle.containing(start) == Period(start, following)


@given(CYCLES, st.sampled_from(Interval), DAYS)
def test_another_interval_begins_where_a_period_ends(
    cycle: Cycle, interval: Interval, day: date
) -> None:
    last = cycle.containing(day)
    calendar = Calendar(cycle, ((last.end, cycle.followed_by(interval, last.end)),))
    first, second = list(islice(calendar.tiles(last.start), 2))
    assert (first, second.start) == (last, calendar.containing(last.end).start)
    assert calendar.containing(last.last_day) == last
    assert second == calendar.on(second.last_day).containing(second.last_day)


@given(
    CYCLES, DAYS, st.lists(st.tuples(st.integers(1, 500), st.sampled_from(Interval), st.booleans()))
)
def test_whatever_intervals_follow_each_other_every_day_is_in_exactly_one_period(
    cycle: Cycle, start: date, changes: list[tuple[int, Interval, bool]]
) -> None:
    calendar, day = Calendar(cycle), start
    for days, interval, anew in changes[:5]:
        day += timedelta(days=days)
        following = calendar.on(day).followed_by(interval, day, anew=anew)
        whole = following.containing(day)
        assert day in whole
        assert whole.start == day or day <= add_months(whole.start, 1)
        calendar = Calendar(cycle, (*calendar.later, (day, following)))
    periods = list(takewhile(lambda one: one.start <= day, calendar.tiles(start)))
    assert periods[0].start == start
    for before, after in pairwise(periods):
        assert before.end == after.start
    for period in periods[1:]:
        assert calendar.period(period.start) == calendar.period(period.last_day) == period
        assert period.intersection(calendar.containing(period.start)) == period


@pytest.mark.parametrize("wrong", [(Interval.WEEK, 8), (Interval.MONTH, 0), (Interval.YEAR, 1, 13)])
def test_an_anchor_outside_the_calendar_is_none(wrong: tuple[Interval, int]) -> None:
    with pytest.raises(ValueError, match=r"begins on a day|from 1 to 12"):
        Cycle(*wrong)


def test_periods_tile_in_every_zone_of_the_world_and_sql_sees_the_same_days(
    database_url: str,
) -> None:
    """Quarters of an anchor for each zone; TEST_ALL_ANCHORS=1 tries months of all 31 with each.

    Zones whose law changed between the two databases of zones at hand are told by their noons.
    """
    every = "TEST_ALL_ANCHORS" in os.environ
    bounds = []
    for number, zone in enumerate(sorted(available_timezones() - NOT_IN_SQL)):
        one = Cycle(Interval.QUARTER, number % 31 + 1, number % 3 + 1)
        for cycle in [Cycle(Interval.MONTH, day) for day in range(1, 32)] if every else [one]:
            periods = tiles(cycle, date(2026, 1, 1), date(2036, 1, 1))
            instants = [period.instants(zone) for period in periods]
            assert all(one[1] == other[0] for one, other in pairwise(instants))
            bounds += [(zone, p.start, i[0]) for p, i in zip(periods, instants, strict=True)]
    noons = [
        datetime.combine(day, time(12), ZoneInfo(zone)).astimezone(UTC) for zone, day, _ in bounds
    ]
    columns = [list(column) for column in zip(*bounds, strict=True)]
    engine = open_engine(database_url, application="test-zones", pool_size=1)
    with engine.connect() as connection:
        found = connection.execute(
            text(SEEN_BY_SQL),
            dict(zip(("zones", "days", "at"), columns, strict=True)) | {"noons": noons},
        ).all()
    engine.dispose()
    other_law = {zone for zone, _, same_noon, _ in found if not same_noon}
    assert len({zone for zone, *_ in found}) > 400
    assert len(other_law) < 40
    assert [row for row in found if not row.same_day and row.zone not in other_law] == []


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
