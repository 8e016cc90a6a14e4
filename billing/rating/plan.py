"""The part of a plan that rating reads, free of the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final
from uuid import UUID

from billing.periods import Period

FLAT: Final = "flat"
PER_UNIT: Final = "per_unit"
GRADUATED: Final = "graduated"
PACKAGE: Final = "package"
VOLUME: Final = "volume"
STAIRSTEP: Final = "stairstep"
MODELS: Final = frozenset({FLAT, PER_UNIT, GRADUATED, PACKAGE, VOLUME, STAIRSTEP})
COUNT: Final = "count"
SUM: Final = "sum"


@dataclass(frozen=True, slots=True)
class Tier:
    """Units above the previous tier's `up_to`, up to and including this one; None is open."""

    up_to: Decimal | None
    unit_price: Decimal = Decimal(0)
    flat_amount: Decimal = Decimal(0)


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
    """`COUNT` bills events, `SUM` their quantities."""
    prorated: bool = False
    free_units: Decimal = Decimal(0)
    package_size: Decimal | None = None
    """Units in a package; the first tier's unit price is then the price of a package."""
    id: UUID | None = None

    def __post_init__(self) -> None:
        if self.price_model not in MODELS:
            raise ValueError(f"unknown price model {self.price_model}")
        if self.aggregation not in {COUNT, SUM}:
            raise ValueError(f"unknown aggregation {self.aggregation}")
        if (self.price_model == PACKAGE) != bool(self.package_size and self.package_size > 0):
            raise ValueError("a package price, and only it, has a package size above zero")


@dataclass(frozen=True, slots=True)
class Segment:
    """The charges and the quantity a subscription has over a range of local days."""

    starts_on: date
    ends_on: date | None
    charges: tuple[Charge, ...]
    quantity: Decimal = Decimal(1)

    def within(self, period: Period) -> Period | None:
        """Its days in a period, if any."""
        start = max(self.starts_on, period.start)
        end = period.end if self.ends_on is None else min(self.ends_on, period.end)
        return Period(start, end) if start < end else None


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Events of one local day, type and set of dimensions, already counted and summed."""

    day: date
    event_type: str
    dimensions: Mapping[str, str | None]
    event_count: int
    quantity: Decimal
