"""Usage by day and dimension, from `marts.fct_usage_daily`.

Units are the events' quantities, which is what is billed: one event may stand for many messages.
"""

from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from billing.access.roles import Permission
from console.queries.reading import fetch, mart

DIMENSIONS = ("event_type", "channel", "country", "status")
"""What usage can be filtered by, besides customer and period."""

_WHERE = """
    where (cast(:confined as uuid) is null or u.customer_id = :confined)
      and (cast(:customer_id as uuid) is null or u.customer_id = :customer_id)
      and u.usage_day >= :first_day and u.usage_day < :end_day
      and (cast(:event_type as text[]) is null or u.event_type = any(:event_type))
      and (cast(:channel as text[]) is null or u.channel = any(:channel))
      and (cast(:country as text[]) is null or u.country = any(:country))
      and (cast(:status as text[]) is null or u.status = any(:status))
"""


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """What usage to look at; the period is half-open, an empty tuple means all."""

    first_day: date
    end_day: date
    customer_id: UUID | None = None
    event_type: tuple[str, ...] = ()
    channel: tuple[str, ...] = ()
    country: tuple[str, ...] = ()
    status: tuple[str, ...] = ()

    def before(self) -> "UsageFilter":
        """The same filter over the period of equal length that ended when this one begins."""
        length = self.end_day - self.first_day
        return UsageFilter(
            **{**asdict(self), "first_day": self.first_day - length, "end_day": self.first_day}
        )

    def parameters(self, confined: UUID | None) -> dict[str, object]:
        """The bound parameters of a statement."""
        values = {
            name: list(chosen) if isinstance(chosen, tuple) else chosen
            for name, chosen in asdict(self).items()
        }
        return {name: value or None for name, value in values.items()} | {"confined": confined}


class UsageBounds(NamedTuple):
    """The first and the last day there is usage for."""

    first_day: date | None
    last_day: date | None


class UsageTotals(NamedTuple):
    """How much was sent, in units."""

    units: int
    events: int
    delivered: int
    failed: int
    customers: int
    countries: int


class DailyChannel(NamedTuple):
    """Units of one day on one channel."""

    usage_day: date
    channel: str
    units: int


class CountryStatus(NamedTuple):
    """Units of one country that ended in one status."""

    country: str
    status: str
    units: int


class UsageRow(NamedTuple):
    """One row of the usage table."""

    customer: str
    event_type: str
    channel: str
    country: str
    status: str
    events: int
    quantity: Decimal
    vendor_cost: Decimal


@mart(Permission.USAGE_READ)
def bounds(confined: UUID | None) -> UsageBounds:
    """Which days can be chosen."""
    (row,) = fetch(
        """
        select min(usage_day), max(usage_day) from marts.fct_usage_daily
        where cast(:confined as uuid) is null or customer_id = :confined
        """,
        {"confined": confined},
    )
    return UsageBounds(*row)


@mart(Permission.USAGE_READ)
def choices(confined: UUID | None) -> dict[str, list[str]]:
    """The values each dimension has."""
    rows = fetch(
        """
        select distinct event_type, channel, country, status from marts.fct_usage_daily
        where cast(:confined as uuid) is null or customer_id = :confined
        """,
        {"confined": confined},
    )
    return {
        name: sorted({row[position] for row in rows}) for position, name in enumerate(DIMENSIONS)
    }


@mart(Permission.USAGE_READ)
def totals(confined: UUID | None, chosen: UsageFilter) -> UsageTotals:
    """The headline numbers of a filter."""
    (row,) = fetch(
        f"""
        select round(coalesce(sum(u.quantity), 0))::bigint,
               coalesce(sum(u.event_count), 0)::bigint,
               round(coalesce(sum(u.quantity) filter (where u.status = 'delivered'), 0))::bigint,
               round(coalesce(sum(u.quantity) filter (where u.status = 'failed'), 0))::bigint,
               count(distinct u.customer_id), count(distinct u.country)
        from marts.fct_usage_daily u {_WHERE}
        """,
        chosen.parameters(confined),
    )
    return UsageTotals(*row)


@mart(Permission.USAGE_READ)
def daily_by_channel(confined: UUID | None, chosen: UsageFilter) -> list[DailyChannel]:
    """The daily trend."""
    rows = fetch(
        f"""
        select u.usage_day, u.channel, round(sum(u.quantity))::bigint
        from marts.fct_usage_daily u {_WHERE}
        group by u.usage_day, u.channel order by u.usage_day, u.channel
        """,
        chosen.parameters(confined),
    )
    return [DailyChannel(*row) for row in rows]


@mart(Permission.USAGE_READ)
def by_country_and_status(confined: UUID | None, chosen: UsageFilter) -> list[CountryStatus]:
    """Where units went, and how they ended."""
    rows = fetch(
        f"""
        select u.country, u.status, round(sum(u.quantity))::bigint
        from marts.fct_usage_daily u {_WHERE}
        group by u.country, u.status order by 3 desc, 1, 2
        """,
        chosen.parameters(confined),
    )
    return [CountryStatus(*row) for row in rows]


@mart(Permission.USAGE_READ)
def breakdown(confined: UUID | None, chosen: UsageFilter) -> list[UsageRow]:
    """The usage table: everything of the period by customer and dimension."""
    rows = fetch(
        f"""
        select c.name, u.event_type, u.channel, u.country, u.status, sum(u.event_count)::bigint,
               sum(u.quantity), coalesce(sum(u.vendor_cost), 0)
        from marts.fct_usage_daily u join billing.customers c on c.id = u.customer_id {_WHERE}
        group by c.id, c.name, u.event_type, u.channel, u.country, u.status
        order by 7 desc, c.name, u.event_type, u.channel, u.country, u.status
        """,
        chosen.parameters(confined),
    )
    return [UsageRow(*row) for row in rows]
