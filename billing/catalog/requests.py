"""What a plan version is made from: charges with their rates and tiers, as a person writes them."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import Field

from billing.catalog.tables import Aggregation, ItemKind, PriceModel
from billing.commands import Request
from billing.fields import ExactDecimal

_CODE = r"^[a-z0-9][a-z0-9_-]{0,62}$"
_TEXT = r"^[^\x00]*$"


Price = Annotated[ExactDecimal, Field(ge=0, max_digits=20)]
"""An amount of the rate's currency."""

Units = Annotated[ExactDecimal, Field(ge=0, max_digits=20, decimal_places=12)]


class TierInput(Request):
    """Units above the tier before, up to and including `up_to`; the last tier is open."""

    up_to: Units | None = None
    unit_price: Price = Decimal(0)
    flat_amount: Price = Decimal(0)


class RateInput(Request):
    """The price for events that match, in one currency."""

    currency: str
    match: dict[str, Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        default_factory=dict
    )
    tiers: tuple[TierInput, ...] = Field(min_length=1, max_length=50)


class ChargeInput(Request):
    """One priced item."""

    code: str = Field(pattern=_CODE)
    name: str = Field(min_length=1, max_length=200, pattern=_TEXT)
    item_code: str
    price_model: PriceModel
    prorated: bool = False
    free_units: Units = Decimal(0)
    package_size: Units | None = None
    """Units in a package, for that price model: its unit price is the price of a package."""
    match_dimensions: tuple[str, ...] = ()
    rates: tuple[RateInput, ...] = Field(min_length=1, max_length=500)


class CreateItem(Request):
    """Something that can be a line on an invoice."""

    code: str = Field(pattern=_CODE)
    name: str = Field(min_length=1, max_length=200, pattern=_TEXT)
    kind: ItemKind
    event_type: str | None = Field(default=None, pattern=r"^[a-z0-9_.]{1,64}$")
    event_filter: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    aggregation: Aggregation = Aggregation.SUM
    unit: str = Field(min_length=1, max_length=40, pattern=_TEXT)
    sac: str = Field(pattern=r"^[0-9]{6}$")


class CreatePlan(Request):
    """A named offer, without prices yet."""

    code: str = Field(pattern=_CODE)
    name: str = Field(min_length=1, max_length=200, pattern=_TEXT)


class DraftVersion(Request):
    """A new version of a plan, to be edited until it is published."""

    plan_id: UUID
    grace_days: int = Field(default=3, ge=0, le=30)
    charges: tuple[ChargeInput, ...] = Field(min_length=1, max_length=200)


class ReplaceCharges(Request):
    """Other charges for a version that is still a draft."""

    plan_version_id: UUID
    charges: tuple[ChargeInput, ...] = Field(min_length=1, max_length=200)


class PublishVersion(Request):
    """Make a draft the version that new subscriptions get."""

    plan_version_id: UUID
