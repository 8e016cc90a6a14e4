"""Timelines: segments follow each other, and no day's recurring charge bills twice."""

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise, takewhile
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.catalog.tables import Anchor, PlanVersion
from billing.errors import PreconditionError
from billing.periods import Cycle, Interval, Period
from billing.rating.plan import Segment
from billing.subscriptions.planning import switched_to
from billing.subscriptions.tables import Phase, Proration
from billing.subscriptions.timeline import Timeline, begin

ONE, TWO = UUID(int=1), UUID(int=2)
START = date(2026, 3, 10)
MAY = Cycle().containing(date(2026, 5, 10))
PRORATE, FULL, NONE = Proration.PRORATE, Proration.FULL, Proration.NONE


def started(day: date = date(2026, 3, 1), how: Proration = PRORATE, trial: int = 0) -> Timeline:
    return begin(
        Cycle(),
        (day, None),
        plan_version_id=ONE,
        quantity=Decimal(1),
        proration=how,
        trial_ends_on=day + timedelta(days=trial),
    )


def billed(timeline: Timeline, whole: Period = MAY, period: Period | None = None) -> list[int]:
    """Days of a whole period that each segment's recurring charges bill, as rating counts them.

    Args:
        period: the part of it that is billed, if that is not all in which there is a subscription.
    """
    life = Period(timeline.starts_on, timeline.ends_on or date.max)
    period = (period or whole).intersection(life)
    found: list[int] = []
    if period is None:
        return found
    for part in timeline.parts:
        segment = Segment(
            part.starts_on, part.ends_on, (), Decimal(1), part.recurring_from, part.recurring_to
        )
        if segment.within(period) is None:
            continue
        days = segment.recurring_within(period, whole)
        found.append(days.days if days else 0)
    return found


@pytest.mark.parametrize(("how", "days"), [(PRORATE, [22]), (FULL, [31]), (NONE, [0])])
def test_a_start_within_a_period(how: Proration, days: list[int]) -> None:
    assert billed(started(date(2026, 5, 10), how)) == days


@pytest.mark.parametrize(("how", "days"), [(PRORATE, [9, 22]), (FULL, [0, 31]), (NONE, [31, 0])])
def test_a_change_bills_each_its_days_or_one_of_both_the_whole(
    how: Proration, days: list[int]
) -> None:
    changed = started().switched(date(2026, 5, 10), how, plan_version_id=TWO, quantity=Decimal(1))
    assert billed(changed) == days
    assert billed(changed, Cycle().containing(date(2026, 6, 1))) == [30]


@pytest.mark.parametrize(("how", "days"), [(PRORATE, [9]), (FULL, [31]), (NONE, [0])])
def test_an_end_or_a_pause_bills_its_days_or_all_or_nothing(
    how: Proration, days: list[int]
) -> None:
    assert billed(started().ended(date(2026, 5, 10), how)) == days
    paused = started().paused(date(2026, 5, 10), how, resume_on=None)
    assert billed(paused) == [*days, 0]
    assert billed(paused, Cycle().containing(date(2026, 6, 1))) == [0]


def test_a_pause_that_is_over_within_the_period_bills_the_days_around_it() -> None:
    paused = started().paused(date(2026, 5, 10), PRORATE, resume_on=date(2026, 5, 20))
    assert billed(paused) == [9, 0, 12]
    assert [part.phase for part in paused.parts] == [Phase.ACTIVE, Phase.PAUSED, Phase.ACTIVE]
    assert sum(billed(started().paused(date(2026, 5, 10), FULL, resume_on=date(2026, 5, 20)))) == 31


def test_a_trial_bills_nothing_and_then_the_days_that_are_left() -> None:
    trial = started(date(2026, 5, 1), trial=14)
    assert billed(trial) == [0, 17]
    bigger = trial.switched(date(2026, 5, 4), PRORATE, plan_version_id=TWO, quantity=Decimal(2))
    assert billed(bigger) == [0, 0, 17]
    assert [part.plan_version_id for part in bigger.parts] == [ONE, TWO, TWO]
    assert billed(trial.ended(date(2026, 5, 4), PRORATE)) == [0]


def test_after_a_renewal_the_period_of_the_end_is_whole_again() -> None:
    ended = started().ended(date(2026, 5, 10), PRORATE)
    assert billed(ended.renewed(None)) == [31]
    with pytest.raises(PreconditionError, match="later day"):
        ended.renewed(date(2026, 5, 9))


def test_a_change_before_an_agreed_one_is_refused() -> None:
    later = started().switched(date(2026, 6, 10), PRORATE, plan_version_id=TWO, quantity=Decimal(1))
    with pytest.raises(PreconditionError, match="later day"):
        later.switched(date(2026, 5, 1), PRORATE, plan_version_id=ONE, quantity=Decimal(2))


_WISHES = st.lists(
    st.tuples(
        st.sampled_from(["switch", "pause", "resume", "end", "renew", *Interval, *Interval]),
        st.integers(-5, 400),
        st.sampled_from(Proration),
    ),
    max_size=6,
)
_CYCLES = st.one_of(
    st.builds(Cycle, st.just(Interval.WEEK), st.integers(1, 7)),
    st.builds(
        Cycle,
        st.sampled_from([one for one in Interval if one is not Interval.WEEK]),
        st.sampled_from([1, 10, 15, 29, 30, 31]),
        st.integers(1, 12),
    ),
)


def on_interval(
    timeline: Timeline, interval: Interval, day: date, how: Proration, *, anew: bool = True
) -> Timeline:
    """Another plan by that interval."""
    anchor = Anchor.ANNIVERSARY if anew else Anchor.FIXED
    version = PlanVersion(id=TWO, interval=interval, anchor=anchor, charges=[])
    return switched_to(timeline, version, day, how, Decimal(2))[0]


def periods(timeline: Timeline, until: date) -> list[Period]:
    """Those that begin before a day."""
    tiles = timeline.calendar.tiles(timeline.starts_on)
    return list(takewhile(lambda period: period.start < until, tiles))


def days_billed(timeline: Timeline, until: date = date(2027, 9, 1)) -> list[list[int]]:
    """Days that each segment bills, by period."""
    calendar = timeline.calendar
    return [
        billed(timeline, calendar.containing(period.start), period)
        for period in periods(timeline, until)
    ]


@pytest.mark.parametrize(
    ("how", "anew", "days"),
    [
        # from the 10th of May a year of 365 days, or one whose months begin on the 1st
        (PRORATE, True, [[9], [365]]),
        (PRORATE, False, [[9], [356]]),
        (FULL, True, [[9], [365]]),
        (FULL, False, [[0], [365]]),
        (NONE, True, [[31], [343]]),
        (NONE, False, [[31], [334]]),
    ],
)
def test_a_year_that_begins_amid_a_month_cuts_it_short(
    how: Proration, anew: bool, days: list[list[int]]
) -> None:
    changed = on_interval(
        started(date(2026, 5, 1)), Interval.YEAR, date(2026, 5, 10), how, anew=anew
    )
    assert days_billed(changed, date(2027, 5, 1)) == days
    first, year = periods(changed, date(2027, 5, 1))
    assert (first, year.start) == (Period(date(2026, 5, 1), date(2026, 5, 10)), first.end)
    assert year.end == (date(2027, 5, 10) if anew else date(2027, 5, 1))


@pytest.mark.parametrize(
    ("how", "year", "months"),
    [
        (PRORATE, 59 + 14, [17, 30, 31]),
        (FULL, 59, [31, 30, 31]),
        # the year is billed whole: months cost nothing until it would have ended
        (NONE, 365, [0, 0, 0]),
    ],
)
def test_months_that_begin_amid_a_year_bill_no_day_that_it_has_billed(
    how: Proration, year: int, months: list[int]
) -> None:
    yearly = begin(
        Cycle(Interval.YEAR), (date(2026, 1, 1), None), plan_version_id=ONE, quantity=Decimal(1),
        proration=PRORATE,
    )  # fmt: skip
    changed = on_interval(yearly, Interval.MONTH, date(2026, 3, 15), how, anew=False)
    found = days_billed(changed, date(2027, 3, 1))
    assert [sum(one) for one in found[:4]] == [year, *months]
    if how is NONE:
        assert [sum(one) for one in found[-3:]] == [0, 31, 28]  # from the next January on
        seats = changed.switched(
            date(2026, 7, 10), PRORATE, plan_version_id=TWO, quantity=Decimal(9)
        )
        assert [sum(one) for one in days_billed(seats, date(2027, 3, 1))] == [
            sum(one) for one in found
        ]
        ended = changed.ended(date(2026, 7, 10), PRORATE)
        assert sum(days_billed(ended, date(2026, 3, 1))[0]) == year


def test_the_interval_of_before_comes_back_on_the_same_day() -> None:
    day = date(2026, 5, 10)
    monthly = started(date(2026, 5, 1))
    yearly = on_interval(monthly, Interval.YEAR, day, PRORATE)
    assert days_billed(on_interval(yearly, Interval.MONTH, day, PRORATE), date(2026, 7, 1)) == [
        [9, 22],
        [30],
    ]


def wish(timeline: Timeline, what: str, day: date, how: Proration) -> Timeline:
    if isinstance(what, Interval):
        return on_interval(timeline, what, day, how, anew=day.toordinal() % 2 == 0)
    if what == "switch":
        return timeline.switched(day, how, plan_version_id=TWO, quantity=Decimal(2))
    if what == "pause":
        return timeline.paused(day, how, resume_on=None)
    if what == "resume":
        return timeline.resumed(day, how)
    return timeline.ended(day, how) if what == "end" else timeline.renewed(day)


@settings(max_examples=50, deadline=None)
@given(cycle=_CYCLES, trial=st.integers(0, 40), how=st.sampled_from(Proration), wishes=_WISHES)
def test_whatever_happens_no_period_bills_more_than_its_whole_price(
    cycle: Cycle, trial: int, how: Proration, wishes: list[tuple[str, int, Proration]]
) -> None:
    timeline = begin(
        cycle,
        (START, None),
        plan_version_id=ONE,
        quantity=Decimal(1),
        proration=how,
        trial_ends_on=START + timedelta(days=trial),
    )
    for what, offset, proration in wishes:
        try:
            timeline = wish(timeline, what, START + timedelta(days=offset), proration)
        except PreconditionError:
            continue
        assert timeline.starts_on == START
        for before, after in pairwise(timeline.parts):
            assert before.ends_on == after.starts_on
        spans = sorted(
            (part.recurring_from, part.recurring_to or date.max)
            for part in timeline.parts
            if part.bills
        )
        for (_, end), (begins, _) in pairwise(spans):
            assert end <= begins
        tiles = periods(timeline, START + timedelta(days=offset + 40))
        for one, following in pairwise(tiles):
            assert one.end == following.start
        for period in tiles:
            whole = timeline.calendar.containing(period.start)
            assert whole.start <= period.start < period.end <= whole.end
            assert sum(billed(timeline, whole, period)) <= whole.days
