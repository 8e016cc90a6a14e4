"""What is sold: billable items, and plans whose versions hold charges, rates and tiers."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from billing.db.base import Base, choices
from billing.decks.tables import RateDeck
from billing.ids import new_id
from billing.periods import Interval


class ItemKind(StrEnum):
    """How a billable item comes about."""

    USAGE = "usage"
    RECURRING = "recurring"
    LICENCE = "licence"
    ONE_TIME = "one_time"


class Aggregation(StrEnum):
    """How the events of a period become one quantity."""

    COUNT = "count"
    SUM = "sum"
    MAX = "max"
    UNIQUE = "unique"
    """How many different values a property has."""
    LATEST = "latest"
    """What the last event says."""


class Conversion(StrEnum):
    """What an event comes to, worked out from what it says."""

    SMS_SEGMENTS = "sms_segments"
    """The SMS that a message of some length and encoding is sent as."""


class VersionStatus(StrEnum):
    """The life of a plan version: edited only as a draft, never changed after."""

    DRAFT = "draft"
    ACTIVE = "active"
    ARCHIVED = "archived"
    DISCARDED = "discarded"
    """A draft that was given up."""


class Anchor(StrEnum):
    """On which day whole billing periods begin."""

    FIXED = "fixed"
    """On a day of the calendar: the 1st, a Monday, or what the subscription names."""
    ANNIVERSARY = "anniversary"
    """On the day of the subscription's first one."""


class PriceModel(StrEnum):
    """How a quantity becomes an amount."""

    FLAT = "flat"
    PER_UNIT = "per_unit"
    GRADUATED = "graduated"
    PACKAGE = "package"
    VOLUME = "volume"
    STAIRSTEP = "stairstep"
    PERCENTAGE = "percentage"
    DYNAMIC = "dynamic"
    LICENCE = "licence"
    ONE_TIME = "one_time"
    COMMITMENT = "commitment"


class UnitRounding(StrEnum):
    """How converted units become whole ones."""

    UP = "up"
    DOWN = "down"
    HALF_UP = "half_up"


class TierMode(StrEnum):
    """How the seats of a licence choose among its tiers."""

    GRADUATED = "graduated"
    """Each seat is at the price of the tier that it falls in."""
    VOLUME = "volume"
    """All are at the price of the tier that holds the most seats of the period."""


class Timing(StrEnum):
    """With which invoice a price per period comes."""

    ARREARS = "arrears"
    """That of the period."""
    ADVANCE = "advance"
    """That of the period before."""


class BillableItem(Base):
    """Something that can be a line on an invoice."""

    __tablename__ = "billable_items"
    __table_args__ = (
        CheckConstraint("(kind = 'usage') = (event_type IS NOT NULL)", name="usage_has_event_type"),
        CheckConstraint("sac ~ '^[0-9]{6}$'", name="sac_six_digits"),
        CheckConstraint(
            "CASE aggregation WHEN 'count' THEN num_nonnulls(property_name, conversion) = 0 "
            "WHEN 'unique' THEN property_name IS NOT NULL AND conversion IS NULL ELSE true END",
            name="aggregation_has_what_it_reads",
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    kind: Mapped[ItemKind] = mapped_column(choices(ItemKind))
    event_type: Mapped[str | None]
    event_filter: Mapped[dict[str, Any]]
    """Dimension name to the list of values that count; empty counts every event."""
    aggregation: Mapped[Aggregation] = mapped_column(choices(Aggregation))
    property_name: Mapped[str | None]
    """The dimension that is read off each event; None for its quantity."""
    conversion: Mapped[Conversion | None] = mapped_column(choices(Conversion))
    unit: Mapped[str]
    sac: Mapped[str]
    """Services Accounting Code for GST, six digits."""
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]
    """Since when no new prices can be made for it."""


class PricePlan(Base):
    """A named offer."""

    __tablename__ = "price_plans"
    __table_args__ = (
        UniqueConstraint("family", "tier"),
        CheckConstraint("num_nonnulls(family, tier) IN (0, 2)", name="tier_of_family"),
        CheckConstraint("tier > 0", name="tier_positive"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    is_add_on: Mapped[bool] = mapped_column(default=False)
    """Whether it is sold beside another plan, on the same subscription."""
    family: Mapped[str | None]
    """Plans that a customer chooses among, such as good, better and best."""
    tier: Mapped[int | None] = mapped_column(Integer)
    """Its place in the family; a higher one is more."""
    created_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]
    """Since when nobody new gets it; who has it keeps it."""


class PlanVersion(Base):
    """The prices of a plan as they stand; frozen when published."""

    __tablename__ = "price_plan_versions"
    __table_args__ = (
        UniqueConstraint("plan_id", "version"),
        Index(
            "uq_price_plan_versions_active",
            "plan_id",
            unique=True,
            postgresql_where=text("status = 'active'"),
        ),
        CheckConstraint(
            "(status IN ('draft', 'discarded')) = (published_at IS NULL)",
            name="published_unless_draft",
        ),
        CheckConstraint("trial_days >= 0", name="trial_not_negative"),
        Index(
            "uq_price_plan_versions_template",
            "plan_id",
            "template",
            unique=True,
            postgresql_where=text("status = 'draft'"),
        ),
        CheckConstraint(
            "template IS NULL OR published_at IS NULL", name="templates_are_not_published"
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    plan_id: Mapped[UUID] = mapped_column(ForeignKey("billing.price_plans.id"))
    version: Mapped[int] = mapped_column(Integer)
    status: Mapped[VersionStatus] = mapped_column(choices(VersionStatus))
    template: Mapped[str | None]
    """What it is called beside the plan's other drafts, if it is kept to compare prices with and
    never published itself."""
    grace_days: Mapped[int] = mapped_column(Integer, default=3)
    """Days after a period's end in which late events still join it."""
    interval: Mapped[Interval] = mapped_column(choices(Interval), default=Interval.MONTH)
    anchor: Mapped[Anchor] = mapped_column(choices(Anchor), default=Anchor.FIXED)
    trial_days: Mapped[int] = mapped_column(Integer, default=0)
    """Days from a subscription's start on which recurring charges bill nothing."""
    created_at: Mapped[datetime]
    published_at: Mapped[datetime | None]

    charges: Mapped[list["Charge"]] = relationship(
        lazy="raise", order_by="Charge.ordinal", cascade="all, delete-orphan"
    )


class Charge(Base):
    """One priced item of a plan version."""

    __tablename__ = "charges"
    __table_args__ = (
        UniqueConstraint("plan_version_id", "code"),
        CheckConstraint("free_units >= 0 AND free_units <> 'NaN'", name="free_units_not_negative"),
        CheckConstraint(
            "CASE WHEN price_model = 'package' THEN coalesce(package_size > 0, false) "
            "AND package_size <> 'NaN' ELSE package_size IS NULL END",
            name="packages_have_a_size",
        ),
        CheckConstraint("free_events >= 0", name="free_events_not_negative"),
        CheckConstraint("unit_divisor > 0 AND unit_divisor <> 'NaN'", name="unit_divisor_positive"),
        CheckConstraint(
            "unit_divisor IS NOT NULL OR unit_rounding IS NULL", name="rounding_needs_divisor"
        ),
        CheckConstraint(
            "discount_percent >= 0 AND discount_percent <= 100", name="discount_is_percentage"
        ),
        CheckConstraint(
            "timing = 'arrears' OR price_model IN ('flat', 'licence')",
            name="only_periods_in_advance",
        ),
        CheckConstraint(
            "dearest_of IS NULL OR free_pool IS NULL "
            "AND price_model NOT IN ('flat', 'licence', 'one_time', 'commitment')",
            name="dearest_of_usage",
        ),
        CheckConstraint(
            "tier_mode IS NULL OR price_model = 'licence'", name="only_licences_have_tier_modes"
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    plan_version_id: Mapped[UUID] = mapped_column(ForeignKey("billing.price_plan_versions.id"))
    item_id: Mapped[UUID] = mapped_column(ForeignKey("billing.billable_items.id"))
    ordinal: Mapped[int] = mapped_column(Integer)
    code: Mapped[str]
    name: Mapped[str]
    price_model: Mapped[PriceModel] = mapped_column(choices(PriceModel))
    prorated: Mapped[bool] = mapped_column(default=False)
    """Whether a part of a period has its part of a flat price, a commitment or the limits."""
    timing: Mapped[Timing] = mapped_column(choices(Timing), default=Timing.ARREARS)
    free_units: Mapped[Decimal] = mapped_column(default=Decimal(0))
    """Units per period and rate that cost nothing; for a percentage, the amount that is free."""
    free_pool: Mapped[str | None]
    """Charges of the version that name the same pool share one allowance of free units."""
    dearest_of: Mapped[str | None]
    """Charges of the version that name the same group bill only what the dearest comes to."""
    free_events: Mapped[int] = mapped_column(Integer, default=0)
    """For a percentage: the first events of a period that cost nothing."""
    unit_divisor: Mapped[Decimal | None]
    """How much of what is measured makes a unit."""
    unit_rounding: Mapped[UnitRounding | None] = mapped_column(choices(UnitRounding))
    """To whole units; None leaves converted units as they come."""
    tier_mode: Mapped[TierMode | None] = mapped_column(choices(TierMode))
    """Of a licence with tiers; None for one price of a seat."""
    bills_zero: Mapped[bool] = mapped_column(default=False)
    """Whether a period without units bills the first tier's flat amount."""
    discount_percent: Mapped[Decimal] = mapped_column(default=Decimal(0))
    package_size: Mapped[Decimal | None]
    """Units that are sold together, begun packages whole; the unit price is that of a package."""
    match_dimensions: Mapped[list[str]]
    """The event dimensions its rates may name, such as `["country", "channel"]`."""
    rate_deck_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("billing.rate_decks.id"), index=True
    )
    """The deck whose rows are its rates; it then has none of its own."""

    item: Mapped[BillableItem] = relationship(lazy="raise")
    rate_deck: Mapped[RateDeck | None] = relationship(lazy="joined")
    rates: Mapped[list["Rate"]] = relationship(
        lazy="raise", order_by="Rate.ordinal", cascade="all, delete-orphan"
    )
    limits: Mapped[list["ChargeLimit"]] = relationship(
        lazy="selectin", order_by="ChargeLimit.currency", cascade="all, delete-orphan"
    )


class ChargeLimit(Base):
    """The least and the most that a charge bills for a full period, in one currency."""

    __tablename__ = "charge_limits"
    __table_args__ = (
        CheckConstraint("minimum >= 0 AND minimum <> 'NaN'", name="minimum_not_negative"),
        CheckConstraint(
            "maximum >= coalesce(minimum, 0) AND maximum <> 'NaN'", name="limits_in_order"
        ),
        CheckConstraint("num_nonnulls(minimum, maximum) > 0", name="limits_something"),
    )

    charge_id: Mapped[UUID] = mapped_column(ForeignKey("billing.charges.id"), primary_key=True)
    currency: Mapped[str] = mapped_column(ForeignKey("billing.currencies.code"), primary_key=True)
    minimum: Mapped[Decimal | None]
    maximum: Mapped[Decimal | None]


class Rate(Base):
    """The price of a charge for events that match, in one currency."""

    __tablename__ = "rates"
    precedence: ClassVar[int] = 0
    __table_args__ = (UniqueConstraint("charge_id", "currency", "match"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    charge_id: Mapped[UUID] = mapped_column(ForeignKey("billing.charges.id"))
    ordinal: Mapped[int] = mapped_column(Integer)
    currency: Mapped[str] = mapped_column(ForeignKey("billing.currencies.code"))
    match: Mapped[dict[str, Any]]
    """Dimension to exact value; an absent dimension matches anything. Most exact matches win."""

    tiers: Mapped[list["RateTier"]] = relationship(
        lazy="raise", order_by="RateTier.ordinal", cascade="all, delete-orphan"
    )


class RateTier(Base):
    """One step of a rate: units above the previous `up_to`, up to and including this one.

    A per-unit rate has one tier with a unit price; a flat one has one tier with a flat amount. A
    percentage has one, whose unit price is a part of an amount, and whose flat amount an event's.
    """

    __tablename__ = "rate_tiers"
    __table_args__ = (
        CheckConstraint("up_to > 0 AND up_to <> 'NaN'", name="up_to_positive"),
        CheckConstraint("unit_price >= 0 AND unit_price <> 'NaN'", name="unit_price_not_negative"),
        CheckConstraint(
            "flat_amount >= 0 AND flat_amount <> 'NaN'", name="flat_amount_not_negative"
        ),
        CheckConstraint("package_size > 0 AND package_size <> 'NaN'", name="package_size_positive"),
        CheckConstraint(
            "event_minimum >= 0 AND event_minimum <> 'NaN'", name="event_minimum_not_negative"
        ),
        CheckConstraint(
            "event_maximum >= coalesce(event_minimum, 0) AND event_maximum <> 'NaN'",
            name="event_bounds_in_order",
        ),
    )

    rate_id: Mapped[UUID] = mapped_column(ForeignKey("billing.rates.id"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True)
    up_to: Mapped[Decimal | None]
    unit_price: Mapped[Decimal] = mapped_column(default=Decimal(0))
    flat_amount: Mapped[Decimal] = mapped_column(default=Decimal(0))
    package_size: Mapped[Decimal | None]
    """Units of the tier that are sold together; its unit price is then that of a package."""
    event_minimum: Mapped[Decimal | None]
    """For a percentage: the least and the most that one event comes to."""
    event_maximum: Mapped[Decimal | None]
