"""A quota as the intake needs it: which events count for it, and since when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from uuid import UUID

from billing.entitlements.tables import QuotaPeriod
from billing.periods import Period, local_day, month_of
from billing.rating.match import counts
from billing.usage.event import EPOCH

_MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Quota:
    """How many units an account may use in a period; pure, kept in memory."""

    entitlement_id: UUID
    event_type: str
    event_filter: Mapping[str, tuple[str, ...]]
    counts_events: bool
    limit_micros: int
    """Millionths of a unit."""
    is_hard: bool
    period: QuotaPeriod
    zone: str

    def micros(self, event_type: str, dimensions: Mapping[str, str], quantity: Decimal) -> int:
        """What an event uses of it, in millionths of a unit; 0 if it does not count."""
        if event_type != self.event_type or not counts(self.event_filter, dimensions):
            return 0
        return _MICROS if self.counts_events else int(quantity * _MICROS)

    def name(self, occurred_us: int) -> str:
        """Under which the period of an instant is counted."""
        return quota_name(self.entitlement_id, self.days(occurred_us).start)

    def days(self, occurred_us: int) -> Period:
        """The local days that are counted together."""
        # midnights of all zones fall on whole quarters of an hour
        return _days(self.period, self.zone, occurred_us // _QUARTER_US)


_QUARTER_US = 15 * 60 * _MICROS


@lru_cache(maxsize=4096)
def _days(period: QuotaPeriod, zone: str, quarter: int) -> Period:
    instant: datetime = EPOCH + timedelta(microseconds=quarter * _QUARTER_US)
    day = local_day(instant, zone)
    if period is QuotaPeriod.MONTH:
        return month_of(day)
    return Period(day, day + timedelta(days=1))


def quota_name(entitlement_id: UUID, starts_on: date) -> str:
    """The name of a counter in Redis."""
    return f"{entitlement_id.hex}:{starts_on:%Y%m%d}"
