"""The part of a plan that rating reads, free of the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final, NamedTuple
from uuid import UUID

from billing.periods import Period

FLAT: Final = "flat"
PER_UNIT: Final = "per_unit"
GRADUATED: Final = "graduated"
PACKAGE: Final = "package"
VOLUME: Final = "volume"
STAIRSTEP: Final = "stairstep"
PERCENTAGE: Final = "percentage"
DYNAMIC: Final = "dynamic"
LICENCE: Final = "licence"
ONE_TIME: Final = "one_time"
COMMITMENT: Final = "commitment"
PERIOD_MODELS: Final = frozenset({FLAT, LICENCE, ONE_TIME})
"""Prices that need no usage."""
TIERED: Final = frozenset({GRADUATED, VOLUME, STAIRSTEP})
MODELS: Final = frozenset(
    {*PERIOD_MODELS, *TIERED, PER_UNIT, PACKAGE, PERCENTAGE, DYNAMIC, COMMITMENT}
)
COUNT: Final = "count"
SUM: Final = "sum"
MAX: Final = "max"
UNIQUE: Final = "unique"
LATEST: Final = "latest"
AGGREGATIONS: Final = frozenset({COUNT, SUM, MAX, UNIQUE, LATEST})
SMS_SEGMENTS: Final = "sms_segments"
UP: Final = "up"
DOWN: Final = "down"
HALF_UP: Final = "half_up"
ARREARS: Final = "arrears"
ADVANCE: Final = "advance"


@dataclass(frozen=True, slots=True)
class Tier:
    """Units above the previous tier's `up_to`, up to and including this one; None is open."""

    up_to: Decimal | None
    unit_price: Decimal = Decimal(0)
    """Of a unit; of a package, if there is a size; for a percentage, the part of an amount."""
    flat_amount: Decimal = Decimal(0)
    """For entering the tier; for a percentage, for each event."""
    package_size: Decimal | None = None
    event_minimum: Decimal | None = None
    """For a percentage: the least and the most that an event comes to."""
    event_maximum: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of a charge for usage that matches, in one currency."""

    ordinal: int
    currency: str
    tiers: tuple[Tier, ...]
    match: Mapping[str, str] = field(default_factory=dict)
    id: UUID | None = None
    key: str = ""
    """What names it in a line's reference: its ordinal, unless it is of a deck or an agreement."""
    precedence: int = 0
    """1 if it was agreed with the account, and so comes before the others."""
    starts_on: date | None = None
    """The first local day it is in force; None from ever."""
    ends_on: date | None = None
    """The first local day it no longer is."""

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", str(self.ordinal))


@dataclass(frozen=True, slots=True)
class Limit:
    """The least and the most that a charge bills for a full period, in one currency."""

    currency: str
    minimum: Decimal | None = None
    maximum: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """One priced item of a plan version, with what its item counts."""

    code: str
    name: str
    item_code: str
    sac: str
    unit: str
    price_model: str
    """One of `MODELS`."""
    rates: tuple[Rate, ...]
    event_type: str | None = None
    event_filter: Mapping[str, Sequence[str]] = field(default_factory=dict)
    aggregation: str = COUNT
    """One of `AGGREGATIONS`: `COUNT` bills events, `SUM` what they add up to, `MAX` the most one of
    them says, `UNIQUE` how many different values they have, `LATEST` what the last one says."""
    property_name: str | None = None
    """The dimension that is read off each event; None for its quantity."""
    conversion: str | None = None
    """`SMS_SEGMENTS`: each event is a message, of which its segments are billed."""
    prorated: bool = False
    """A part of a period bills a part: of a flat price, of a commitment, of the limits."""
    free_units: Decimal = Decimal(0)
    """Per period and rate; for a percentage, the amount that is free."""
    free_pool: str | None = None
    """Charges of a version that name the same one share its free units."""
    dearest_of: str | None = None
    """Of the charges of a version that name the same group, only the one that comes to the most is
    billed for a period; of equal ones the first."""
    free_events: int = 0
    """For a percentage: so many first events are free; with a free amount, until either is used."""
    unit_divisor: Decimal | None = None
    """How much of what is measured makes a unit."""
    unit_rounding: str | None = None
    """To whole units, `UP`, `DOWN` or `HALF_UP`; None leaves them as they come."""
    tier_mode: str | None = None
    """Of a licence with tiers: `GRADUATED`, each seat at the price of its tier, or `VOLUME`, all at
    that of the tier which holds the most seats of the period; None for one price of a seat."""
    bills_zero: bool = False
    """Whether a period without units bills the first tier's flat amount."""
    discount_percent: Decimal = Decimal(0)
    limits: tuple[Limit, ...] = ()
    package_size: Decimal | None = None
    """Units in a package; the first tier's unit price is then the price of a package."""
    timing: str = ARREARS
    """Whether a price per period is billed with its period, or `ADVANCE` with the one before."""
    id: UUID | None = None

    def __post_init__(self) -> None:
        if self.price_model not in MODELS:
            raise ValueError(f"unknown price model {self.price_model}")
        if self.aggregation not in AGGREGATIONS:
            raise ValueError(f"unknown aggregation {self.aggregation}")
        if (self.price_model == PACKAGE) != bool(self.package_size and self.package_size > 0):
            raise ValueError("a package price, and only it, has a package size above zero")

    def limit(self, currency: str) -> Limit:
        """Its limits in a currency."""
        return next((one for one in self.limits if one.currency == currency), Limit(currency))


@dataclass(frozen=True, slots=True)
class Segment:
    """The charges and the quantity a subscription has over a range of local days."""

    starts_on: date
    ends_on: date | None
    charges: tuple[Charge, ...]
    quantity: Decimal = Decimal(1)
    recurring_from: date | None = None
    """First day that its prices per period bill, if that is not its first day."""
    recurring_to: date | None = None
    """First day that they no longer bill, if that is not the day after its last."""
    plan_id: UUID | None = None
    added_on: date | None = None
    """First day of the add-on that it is a part of; the plan's own segments have none."""

    def recurring_within(self, period: Period, whole: Period) -> Period | None:
        """The days of a whole period that its prices per period bill, if any.

        Args:
            period: that whole period, or the part of it in which the subscription was.
        """
        start, end = max(self.starts_on, period.start), period.end
        if self.recurring_from is not None:
            start = max(self.recurring_from, whole.start)
        if self.recurring_to is not None:
            end = min(self.recurring_to, whole.end)
        elif self.ends_on is not None:
            end = min(self.ends_on, period.end)
        return Period(start, end) if start < end else None

    def within(self, period: Period) -> Period | None:
        """Its days in a period, if any."""
        start = max(self.starts_on, period.start)
        end = period.end if self.ends_on is None else min(self.ends_on, period.end)
        return Period(start, end) if start < end else None


class SingleEvent(NamedTuple):
    """An event that is priced or read by itself, in the order of its period."""

    order: tuple[datetime, str, str]
    """When it occurred; at the same instant by source and id, whatever was accepted first."""
    quantity: Decimal
    accepted: tuple[int, int] = (0, 0)
    """Shard and `accept_seq`, which decide between last ones of the same instant."""
    properties: Mapping[str, str] = MappingProxyType({})
    """All its dimensions, those that rates may not name too."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Events of one local day, type and set of dimensions, already counted and summed."""

    day: date
    event_type: str
    dimensions: Mapping[str, str | None]
    event_count: int
    quantity: Decimal
    events: tuple[SingleEvent, ...] = ()
    """Each of them, if a charge prices them one by one."""
