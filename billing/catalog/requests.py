"""What a plan version is made from: charges with their rates and tiers, as a person writes them."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import Field

from billing.catalog.tables import (
    Aggregation,
    Anchor,
    Conversion,
    ItemKind,
    PriceModel,
    TierMode,
    Timing,
    UnitRounding,
)
from billing.commands import Request
from billing.fields import ExactDecimal
from billing.periods import Interval

_CODE = r"^[a-z0-9][a-z0-9_-]{0,62}$"
_TEXT = r"^[^\x00]*$"


Price = Annotated[ExactDecimal, Field(ge=0, max_digits=20)]
"""An amount of the rate's currency."""

Code = Annotated[str, Field(pattern=_CODE)]

TemplateName = Code
"""Of prices that are kept to be compared with others and never published themselves."""

Units = Annotated[ExactDecimal, Field(ge=0, max_digits=20, decimal_places=12)]


class TierInput(Request):
    """Units above the tier before, up to and including `up_to`; the last tier is open."""

    up_to: Units | None = None
    unit_price: Price = Decimal(0)
    """Of a unit, or of a package; of a percentage, the part of an amount: 0.029 is 2.9 %."""
    flat_amount: Price = Decimal(0)
    """For entering the tier; of a percentage, for each event."""
    package_size: Units | None = None
    """Units of this tier that are sold together, for graduated and volume prices."""
    event_minimum: Price | None = None
    """Of a percentage: the least and the most that one event comes to."""
    event_maximum: Price | None = None


class RateInput(Request):
    """The price for events that match, in one currency."""

    currency: str
    match: dict[str, Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        default_factory=dict
    )
    tiers: tuple[TierInput, ...] = Field(min_length=1, max_length=50)


class LimitInput(Request):
    """The least and the most that the charge bills for a full period, in one currency."""

    currency: str
    minimum: Price | None = None
    maximum: Price | None = None


class ChargeInput(Request):
    """One priced item."""

    code: str = Field(pattern=_CODE)
    name: str = Field(min_length=1, max_length=200, pattern=_TEXT)
    item_code: str
    price_model: PriceModel
    prorated: bool = False
    """By days: a flat price, a commitment, and the limits of any charge."""
    timing: Timing = Timing.ARREARS
    """A flat price or a licence `advance` is billed with the period before its own."""
    free_units: Units = Decimal(0)
    """For each period and rate; of a percentage, the amount that is free."""
    free_pool: str | None = Field(default=None, pattern=_CODE)
    """Charges that name the same one have the same free units, and share them."""
    dearest_of: str | None = Field(default=None, pattern=_CODE)
    """Of the charges that name the same group, only the one that comes to the most is billed."""
    free_events: int = Field(default=0, ge=0, le=2**31 - 1)
    """Of a percentage: so many first events are free."""
    unit_divisor: Units | None = None
    """How much of what is measured makes a unit, such as 1000."""
    unit_rounding: UnitRounding | None = None
    """Of the units of a segment, to whole ones; without it they keep 6 decimals."""
    tier_mode: TierMode | None = None
    """Of a licence: how its seats choose among tiers with a `unit_price` for a seat."""
    bills_zero: bool = False
    """A period without units bills the flat amount of the first tier."""
    discount_percent: Annotated[ExactDecimal, Field(ge=0, le=100, decimal_places=4)] = Decimal(0)
    limits: tuple[LimitInput, ...] = Field(default=(), max_length=10)
    package_size: Units | None = None
    """Units in a package, for that price model: its unit price is the price of a package."""
    match_dimensions: tuple[str, ...] = ()
    rates: tuple[RateInput, ...] = Field(default=(), max_length=500)
    rate_deck: str | None = None
    """The code of a deck whose rows are the rates, instead of rates of its own."""


class CreateItem(Request):
    """Something that can be a line on an invoice."""

    code: str = Field(pattern=_CODE)
    name: str = Field(min_length=1, max_length=200, pattern=_TEXT)
    kind: ItemKind
    event_type: str | None = Field(default=None, pattern=r"^[a-z0-9_.]{1,64}$")
    event_filter: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    aggregation: Aggregation = Aggregation.SUM
    property_name: str | None = Field(default=None, min_length=1, max_length=64, pattern=_TEXT)
    """The dimension that is read off each event, rather than its quantity."""
    conversion: Conversion | None = None
    """`sms_segments` reads `message_length` (or `property_name`) and `encoding` (gsm7, ucs2)."""
    unit: str = Field(min_length=1, max_length=40, pattern=_TEXT)
    sac: str = Field(pattern=r"^[0-9]{6}$")


class Named(Request):
    """A code that is given once, and what people call it."""

    code: str = Field(pattern=_CODE)
    name: str = Field(min_length=1, max_length=200, pattern=_TEXT)


class CreatePlan(Named):
    """A named offer, without prices yet."""

    is_add_on: bool = False
    """Sold beside another plan, for what that has no price for."""
    family: str | None = Field(default=None, pattern=_CODE)
    """The plans that a customer chooses among, such as good, better and best."""
    tier: int | None = Field(default=None, ge=1, le=1000)
    """Its place in the family; to a higher one is an upgrade."""


class Terms(Request):
    """How the subscriptions of a version are billed."""

    grace_days: int = Field(default=3, ge=0, le=30)
    """Days after a period's end in which late events still join it."""
    interval: Interval = Interval.MONTH
    anchor: Anchor = Anchor.FIXED
    """Whether periods begin on a day of the calendar, or on that of the subscription's start."""
    trial_days: int = Field(default=0, ge=0, le=3660)
    """Days from the start without recurring charges; usage is billed."""


class DraftVersion(Terms):
    """A new version of a plan, to be edited until it is published."""

    plan_id: UUID
    template: TemplateName | None = None
    charges: tuple[ChargeInput, ...] = Field(min_length=1, max_length=200)


class CopyVersion(Request):
    """A draft with the charges and terms of another version, of whatever status."""

    plan_version_id: UUID
    template: TemplateName | None = None


class ReplaceCharges(Request):
    """Other charges for a version that is still a draft."""

    plan_version_id: UUID
    charges: tuple[ChargeInput, ...] = Field(min_length=1, max_length=200)


class ChangedTerms(Request):
    """Other terms for a draft; what is left out stays."""

    grace_days: int | None = Field(default=None, ge=0, le=30)
    interval: Interval | None = None
    anchor: Anchor | None = None
    trial_days: int | None = Field(default=None, ge=0, le=3660)


class ChangeTerms(ChangedTerms):
    """Other terms for a version that is still a draft."""

    plan_version_id: UUID


class PublishVersion(Request):
    """Make a draft the version that new subscriptions get."""

    plan_version_id: UUID


class DiscardVersion(Request):
    """Give up a draft; its number is not used again."""

    plan_version_id: UUID


class ArchivePlan(Request):
    """Sell a plan to nobody new."""

    plan_id: UUID


class RestorePlan(Request):
    """Sell an archived plan again."""

    plan_id: UUID


class RetireItem(Request):
    """Make no new prices for an item."""

    item_id: UUID


class RestoreItem(Request):
    """Let plans price a retired item again."""

    item_id: UUID
