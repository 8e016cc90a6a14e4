"""Half-open periods of local days, and the instants they stand for.

A period of days means nothing without a zone: `Period.instants` gives the aware UTC bounds that
events are compared with. Start is in, end is out, everywhere.
"""

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

DEFAULT_ZONE = "Asia/Kolkata"


def local_midnight(day: date, zone: str) -> datetime:
    """The instant at which that local day begins, in UTC."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def local_day(instant: datetime, zone: str) -> date:
    """The local day an aware instant falls on."""
    return instant.astimezone(ZoneInfo(zone)).date()


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """The local days from `start` (in) to `end` (out)."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"a period must end after it starts: {self.start} to {self.end}")

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.end - self.start).days

    @property
    def last_day(self) -> date:
        """Its last day, in."""
        return self.end - timedelta(days=1)

    def __contains__(self, day: date) -> bool:
        return self.start <= day < self.end

    def intersection(self, other: "Period") -> "Period | None":
        """The days both have, if any."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Period(start, end) if start < end else None

    def instants(self, zone: str) -> tuple[datetime, datetime]:
        """Its bounds as aware UTC instants."""
        return local_midnight(self.start, zone), local_midnight(self.end, zone)


def month_of(day: date) -> Period:
    """The calendar month that day is in."""
    start = day.replace(day=1)
    return Period(start, add_months(start, 1))


def add_months(day: date, months: int, anchor_day: int | None = None) -> date:
    """That many months later; a day the month does not have becomes its last day.

    Args:
        anchor_day: the day of the month to come back to after a short month (29 to 31).
    """
    index = day.year * 12 + day.month - 1 + months
    year, month = divmod(index, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return date(year, month + 1, min(anchor_day or day.day, last))


class Interval(StrEnum):
    """How long a whole billing period is."""

    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    HALF_YEAR = "half_year"
    YEAR = "year"

    @property
    def months(self) -> int:
        """Its months; a week has none."""
        return _MONTHS[self]


_MONTHS = {
    Interval.WEEK: 0,
    Interval.MONTH: 1,
    Interval.QUARTER: 3,
    Interval.HALF_YEAR: 6,
    Interval.YEAR: 12,
}


@dataclass(frozen=True, slots=True)
class Cycle:
    """How whole periods follow each other: their length, and the day on which they begin."""

    interval: Interval = Interval.MONTH
    anchor_day: int = 1
    """Of the month, where 29 to 31 clamp to its end and come back; of weeks, 1 for Monday to 7."""
    anchor_month: int = 1
    """A month in which one begins, for intervals of several months."""

    def __post_init__(self) -> None:
        last = 7 if self.interval is Interval.WEEK else 31
        if not 1 <= self.anchor_day <= last:
            raise ValueError(f"a {self.interval} begins on a day from 1 to {last}")
        if not 1 <= self.anchor_month <= 12:
            raise ValueError("a month is a number from 1 to 12")

    @classmethod
    def anniversary(cls, interval: Interval, start: date) -> "Cycle":
        """The cycle whose periods begin as the first one did."""
        weekly = interval is Interval.WEEK
        return cls(interval, start.isoweekday() if weekly else start.day, start.month)

    def followed_by(self, interval: Interval, day: date, *, anew: bool = False) -> "Cycle":
        """Periods of another length from a day on; the day of the month stays.

        Amid a period, the first whole one then began up to a month before.

        Args:
            anew: begin them on that day, unless a period ends there all the same.
        """
        is_amid = self.containing(day).start != day
        if Interval.WEEK in {interval, self.interval} or (anew and is_amid):
            return Cycle.anniversary(interval, day)
        monthly = Cycle(Interval.MONTH, self.anchor_day).containing(day)
        return Cycle(interval, self.anchor_day, monthly.start.month)

    def containing(self, day: date) -> Period:
        """The whole period that a day is in."""
        if self.interval is Interval.WEEK:
            start = day - timedelta(days=(day.isoweekday() - self.anchor_day) % 7)
            return Period(start, start + timedelta(days=7))
        first = day.replace(day=1)
        first = add_months(first, -((day.month - self.anchor_month) % self.interval.months))
        if add_months(first, 0, self.anchor_day) > day:
            first = add_months(first, -self.interval.months)
        return Period(
            add_months(first, 0, self.anchor_day),
            add_months(first, self.interval.months, self.anchor_day),
        )

    def tiles(self, start: date) -> Iterator[Period]:
        """Periods from `start` on without end, each following the other; the first may be short."""
        return Calendar(self).tiles(start)


@dataclass(frozen=True, slots=True)
class Calendar:
    """Cycles that follow each other; where another one begins, a period ends."""

    first: Cycle
    later: tuple[tuple[date, Cycle], ...] = ()
    """The others, in order, with the first day of each; one may stand there several times."""

    def on(self, day: date) -> Cycle:
        """The cycle that a day is in."""
        return next((cycle for since, cycle in reversed(self.later) if since <= day), self.first)

    def containing(self, day: date) -> Period:
        """The whole period that a day is in, or is in a part of."""
        return self.on(day).containing(day)

    def period(self, day: date) -> Period:
        """The period that a day is in: a whole one, or what other cycles leave of it."""
        whole = self.containing(day)
        start, end = whole.start, whole.end
        before = self.first
        for since, cycle in self.later:
            if cycle != before and since <= day:
                start = max(start, since)
            elif cycle != before:
                end = min(end, since)
            before = cycle
        return Period(start, end)

    def tiles(self, start: date) -> Iterator[Period]:
        """Periods from `start` on without end, each following the other; the first may be short."""
        current = start
        while True:
            end = self.period(current).end
            yield Period(current, end)
            current = end


def each_day(period: Period) -> Iterator[date]:
    """Its days in order."""
    for offset in range(period.days):
        yield period.start + timedelta(days=offset)
