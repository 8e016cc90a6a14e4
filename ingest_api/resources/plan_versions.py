"""The versions of price plans: drafted, changed, published, compared."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Query
from pydantic import Field

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.diff import Change, diff_versions
from billing.catalog.lifecycle import (
    discard_version,
    publish_version,
)
from billing.catalog.repository import (
    get_plan,
    get_version,
    list_versions,
)
from billing.catalog.requests import (
    ChangedTerms,
    ChangeTerms,
    ChargeInput,
    CopyVersion,
    DiscardVersion,
    DraftVersion,
    PublishVersion,
    ReplaceCharges,
    TemplateName,
    Terms,
)
from billing.catalog.service import (
    change_terms,
    copy_version,
    draft_version,
    replace_charges,
)
from billing.catalog.tables import (
    Anchor,
    Charge,
    PlanVersion,
    PriceModel,
    Rate,
    TierMode,
    Timing,
    UnitRounding,
    VersionStatus,
)
from billing.commands import Request
from billing.periods import Interval
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, ReadSession, build
from ingest_api.envelope import Amount, Answer, Attributes, ListAnswer, Resource, refer

router = APIRouter(tags=["catalogue"])

Reader = Annotated[Actor, needs(Permission.CATALOG_READ)]
Writer = Annotated[Actor, needs(Permission.CATALOG_WRITE)]


class TierAttributes(Attributes):
    """Units above the tier before, up to and including `up_to`; null is open."""

    up_to: Amount | None
    unit_price: Amount
    flat_amount: Amount
    package_size: Amount | None
    event_minimum: Amount | None
    event_maximum: Amount | None


class LimitAttributes(Attributes):
    """The least and the most that a charge bills for a full period, in one currency."""

    currency: str
    minimum: Amount | None
    maximum: Amount | None


class RateAttributes(Attributes):
    """The price of a charge for events that match."""

    id: UUID
    currency: str
    match: dict[str, str]
    tiers: list[TierAttributes]


class ChargeAttributes(Attributes):
    """One priced item of a version."""

    id: UUID
    code: str
    name: str
    item_code: str
    price_model: PriceModel
    prorated: bool
    timing: Timing
    free_units: Amount
    free_pool: str | None
    dearest_of: str | None
    free_events: int
    unit_divisor: Amount | None
    unit_rounding: UnitRounding | None
    tier_mode: TierMode | None
    bills_zero: bool
    discount_percent: Amount
    limits: list[LimitAttributes]
    package_size: Amount | None
    match_dimensions: list[str]
    rates: list[RateAttributes]
    rate_deck: str | None


class VersionSummary(Attributes):
    """Where a version stands."""

    version: int
    status: VersionStatus
    template: str | None
    grace_days: int
    interval: Interval
    anchor: Anchor
    trial_days: int
    created_at: datetime
    published_at: datetime | None


class VersionAttributes(VersionSummary):
    """A version with its prices."""

    charges: list[ChargeAttributes]


class ChangeAttributes(Attributes):
    """One difference: what the older version says, and what the newer one does."""

    path: str
    kind: Literal["added", "removed", "changed"]
    before: str | None
    after: str | None


class DiffAttributes(Attributes):
    """How one version differs from another."""

    changes: list[ChangeAttributes]


class NewVersion(Terms):
    """The prices of a new version."""

    template: TemplateName | None = None
    """For prices that are only to be compared with others."""
    charges: tuple[ChargeInput, ...] = Field(min_length=1, max_length=200)


class NewCopy(Request):
    """What becomes of a copy."""

    template: TemplateName | None = None
    """Its name, if it is only to be compared with; without one it is a draft."""


class NewCharges(Request):
    """Other charges for a draft."""

    charges: tuple[ChargeInput, ...] = Field(min_length=1, max_length=200)


def version_summary(row: PlanVersion) -> Resource[VersionSummary]:
    """A version in a list."""
    return Resource(
        id=str(row.id),
        type="plan_version",
        attributes=VersionSummary.model_validate(row),
        relationships=refer(price_plan=("price_plan", row.plan_id)),
    )


def version_resource(row: PlanVersion) -> Resource[VersionAttributes]:
    """A version with its prices."""
    attributes = VersionAttributes(
        **VersionSummary.model_validate(row).model_dump(),
        charges=[_charge(charge) for charge in row.charges],
    )
    return Resource(
        id=str(row.id),
        type="plan_version",
        attributes=attributes,
        relationships=refer(price_plan=("price_plan", row.plan_id)),
    )


def _charge(row: Charge) -> ChargeAttributes:
    return ChargeAttributes(
        id=row.id,
        code=row.code,
        name=row.name,
        item_code=row.item.code,
        price_model=row.price_model,
        prorated=row.prorated,
        timing=row.timing,
        free_units=row.free_units or Decimal(0),
        free_pool=row.free_pool,
        dearest_of=row.dearest_of,
        free_events=row.free_events,
        unit_divisor=row.unit_divisor,
        unit_rounding=row.unit_rounding,
        tier_mode=row.tier_mode,
        bills_zero=row.bills_zero,
        discount_percent=row.discount_percent,
        limits=[LimitAttributes.model_validate(limit) for limit in row.limits],
        package_size=row.package_size,
        match_dimensions=row.match_dimensions,
        rates=[_rate(rate) for rate in row.rates],
        rate_deck=None if row.rate_deck is None else row.rate_deck.code,
    )


def _rate(row: Rate) -> RateAttributes:
    tiers = [TierAttributes.model_validate(tier) for tier in row.tiers]
    return RateAttributes(id=row.id, currency=row.currency, match=row.match, tiers=tiers)


_NEW_VERSION = {
    "charges": [
        {
            "code": "sms",
            "name": "SMS",
            "item_code": "otp-sms",
            "price_model": "per_unit",
            "match_dimensions": ["country"],
            "rates": [
                {"currency": "INR", "match": {"country": "IN"}, "tiers": [{"unit_price": "0.22"}]},
                {"currency": "INR", "tiers": [{"unit_price": "3.90"}]},
            ],
        }
    ]
}


@router.get("/price-plans/{plan_id}/versions", summary="List a plan's versions")
def list_plan_versions(
    session: ReadSession, actor: Reader, reply: Envelope, plan_id: UUID
) -> ListAnswer[VersionSummary]:
    """All versions, the newest first, without their charges."""
    get_plan(session, actor, plan_id)
    return reply.all(list_versions(session, actor, plan_id), version_summary)


@router.post("/price-plans/{plan_id}/versions", status_code=201, summary="Draft a version")
def draft_plan_version(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    plan_id: UUID,
    body: Annotated[NewVersion, Body(examples=[_NEW_VERSION])],
) -> Answer[VersionAttributes]:
    """Write a new version with all its charges; everything wrong is named with its field."""
    request = build(DraftVersion, plan_id=plan_id, **body.model_dump())
    return _reloaded(ctx, reply, draft_version(ctx, request).id)


@router.get("/plan-versions/{version_id}", summary="Get a plan version")
def get_plan_version(
    session: ReadSession, actor: Reader, reply: Envelope, version_id: UUID
) -> Answer[VersionAttributes]:
    """A version with its charges, rates and tiers."""
    return reply.one(version_resource(get_version(session, actor, version_id)))


@router.post("/plan-versions/{version_id}/copy", status_code=201, summary="Copy a version")
def copy_plan_version(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    version_id: UUID,
    body: Annotated[NewCopy, Body(examples=[{"template": "cheaper-abroad"}])],
) -> Answer[VersionAttributes]:
    """Begin a draft with what a version of the plan says; with a name, a template, which is kept
    to compare prices with and never published itself. A copy of a template is a draft again."""
    request = CopyVersion(plan_version_id=version_id, template=body.template)
    return _reloaded(ctx, reply, copy_version(ctx, request).id)


@router.patch("/plan-versions/{version_id}", summary="Change a draft's terms")
def change_version_terms(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    version_id: UUID,
    body: Annotated[ChangedTerms, Body(examples=[{"grace_days": 5, "trial_days": 14}])],
) -> Answer[VersionAttributes]:
    """Give a draft other terms, those that are named; a published version never changes."""
    request = build(ChangeTerms, plan_version_id=version_id, **body.model_dump())
    return _reloaded(ctx, reply, change_terms(ctx, request).id)


@router.put("/plan-versions/{version_id}/charges", summary="Replace a draft's charges")
def replace_version_charges(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    version_id: UUID,
    body: Annotated[NewCharges, Body(examples=[_NEW_VERSION])],
) -> Answer[VersionAttributes]:
    """Give a draft other charges; a published version never changes."""
    request = build(ReplaceCharges, plan_version_id=version_id, **body.model_dump())
    return _reloaded(ctx, reply, replace_charges(ctx, request).id)


@router.post("/plan-versions/{version_id}/publish", summary="Publish a draft")
def publish_plan_version(
    ctx: Commands, _: Writer, reply: Envelope, version_id: UUID
) -> Answer[VersionAttributes]:
    """Make a draft what new subscriptions get; who has the version before stays on it."""
    published = publish_version(ctx, PublishVersion(plan_version_id=version_id))
    return _reloaded(ctx, reply, published.id)


@router.post("/plan-versions/{version_id}/discard", summary="Discard a draft")
def discard_plan_version(
    ctx: Commands, _: Writer, reply: Envelope, version_id: UUID
) -> Answer[VersionAttributes]:
    """Give a draft up; it stays to be read, and its number is not used again."""
    discarded = discard_version(ctx, DiscardVersion(plan_version_id=version_id))
    return _reloaded(ctx, reply, discarded.id)


@router.get("/plan-versions/{version_id}/diff", summary="Compare two versions")
def diff_plan_versions(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    version_id: UUID,
    against: Annotated[UUID, Query(description="The older version's id.")],
) -> Answer[DiffAttributes]:
    """What this version changes against an older one, path by path."""
    older = get_version(session, actor, against)
    changes = diff_versions(older, get_version(session, actor, version_id))
    return reply.one(_diff_resource(version_id, against, changes))


def _diff_resource(
    version_id: UUID, against: UUID, changes: list[Change]
) -> Resource[DiffAttributes]:
    diff = DiffAttributes(changes=[ChangeAttributes.model_validate(one) for one in changes])
    both = refer(version=("plan_version", version_id), against=("plan_version", against))
    name = f"{version_id}:{against}"
    return Resource(id=name, type="plan_version_diff", attributes=diff, relationships=both)


def _reloaded(ctx: Commands, reply: Envelope, version_id: UUID) -> Answer[VersionAttributes]:
    return reply.one(version_resource(get_version(ctx.session, ctx.actor, version_id)))
