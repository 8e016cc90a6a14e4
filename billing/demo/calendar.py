"""The demo's months: three complete ones before the current one, and today's so far."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from billing.demo.merchants import INDIA
from billing.periods import add_months, local_day

COMPLETE_MONTHS = 3
ISSUE_DAY = 4
"""Invoices of a month are approved on this day of the next one, when its grace has passed."""


@dataclass(frozen=True, slots=True)
class DemoCalendar:
    """Which months the demo covers.

    Args:
        anchor: first day of the current month, in India.
        until: nothing happens at or after this instant.
    """

    anchor: date
    until: datetime

    @classmethod
    def at(cls, now: datetime) -> "DemoCalendar":
        """The calendar of a demo that starts now."""
        return cls(local_day(now, INDIA).replace(day=1), now)

    @property
    def first_month(self) -> date:
        """First day of the first complete month."""
        return add_months(self.anchor, -COMPLETE_MONTHS)

    @property
    def complete_months(self) -> list[date]:
        """First days of the complete months, in order."""
        return [add_months(self.first_month, index) for index in range(COMPLETE_MONTHS)]

    @property
    def days(self) -> list[date]:
        """Every local day up to today."""
        count = (local_day(self.until, INDIA) - self.first_month).days + 1
        return [self.first_month + timedelta(days=offset) for offset in range(count)]

    def month_index(self, day: date) -> int:
        """0 for the first complete month, 3 for the current one."""
        return (day.year - self.first_month.year) * 12 + day.month - self.first_month.month

    @staticmethod
    def issue_date(month: date) -> date:
        """The day a month's invoices are issued."""
        return add_months(month, 1).replace(day=ISSUE_DAY)
