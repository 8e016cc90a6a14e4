"""Commands on billable items, plans and their versions."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.access.roles import Permission
from billing.catalog.copies import copied
from billing.catalog.repository import load_draft, load_plan, load_version, refuse_archived
from billing.catalog.requests import (
    ChangeTerms,
    ChargeInput,
    CopyVersion,
    CreateItem,
    CreatePlan,
    DraftVersion,
    ReplaceCharges,
    Terms,
)
from billing.catalog.rules import errors_in, measure_errors
from billing.catalog.tables import (
    BillableItem,
    Charge,
    ChargeLimit,
    ItemKind,
    PlanVersion,
    PricePlan,
    Rate,
    RateTier,
    VersionStatus,
)
from billing.commands import Context, command
from billing.db.locks import lock_for_transaction
from billing.decks.tables import RateDeck
from billing.errors import ConflictError, FieldError, InvalidError
from billing.rating.match import DIMENSIONS

_OF_THEIR_OWN: Final = {"item_code", "match_dimensions", "rates", "limits", "rate_deck"}
"""What of a charge is not a column."""


@command("billable_item.create", Permission.CATALOG_WRITE)
def create_item(ctx: Context, request: CreateItem) -> BillableItem:
    """Define something that can be a line on an invoice."""
    wrong = []
    if (request.kind is ItemKind.USAGE) != (request.event_type is not None):
        wrong.append(FieldError("event_type", "usage items, and only they, count an event type"))
    if unknown := sorted(set(request.event_filter) - set(DIMENSIONS)):
        wrong.append(FieldError(f"event_filter.{unknown[0]}", f"use {', '.join(DIMENSIONS)}"))
    wrong += measure_errors(request)
    if wrong:
        raise InvalidError("The billable item is not consistent.", fields=wrong)
    _refuse_taken(ctx.session, BillableItem, request.code)
    item = BillableItem(
        **request.model_dump(exclude={"event_filter"}),
        event_filter={name: list(values) for name, values in request.event_filter.items()},
        created_at=ctx.clock.now(),
    )
    ctx.session.add(item)
    return item


@command("price_plan.create", Permission.CATALOG_WRITE)
def create_plan(ctx: Context, request: CreatePlan) -> PricePlan:
    """Name a new offer."""
    _refuse_taken(ctx.session, PricePlan, request.code)
    if (request.family is None) is not (request.tier is None):
        wrong = FieldError("tier", "a family and the tier in it go together")
        raise InvalidError("The plan's place is not complete.", fields=[wrong])
    if request.family is not None:
        lock_for_transaction(ctx.session, f"plans:{request.family}")
        place = {"family": request.family, "tier": request.tier}
        if other := ctx.session.scalar(select(PricePlan.code).filter_by(**place)):
            raise ConflictError(
                f"The plan {other} is tier {request.tier} of {request.family}.", code="tier_taken"
            )
    plan = PricePlan(**request.model_dump(), created_at=ctx.clock.now())
    ctx.session.add(plan)
    return plan


@command("plan_version.draft", Permission.CATALOG_WRITE)
def draft_version(ctx: Context, request: DraftVersion) -> PlanVersion:
    """Begin a new version of a plan."""
    refuse_archived(load_plan(ctx.session, request.plan_id))
    terms = request.model_dump(include=set(Terms.model_fields))
    charges = _charges(ctx.session, request.charges)
    return _draft(ctx, request.plan_id, request.template, terms, charges)


@command("plan_version.copy", Permission.CATALOG_WRITE)
def copy_version(ctx: Context, request: CopyVersion) -> PlanVersion:
    """Begin a draft, or a template, with what another version of the plan says."""
    source = load_version(ctx.session, request.plan_version_id)
    refuse_archived(load_plan(ctx.session, source.plan_id))
    terms = {name: getattr(source, name) for name in Terms.model_fields}
    charges = [copied(charge) for charge in source.charges]
    return _draft(ctx, source.plan_id, request.template, terms, charges)


def _draft(
    ctx: Context,
    plan_id: UUID,
    template: str | None,
    terms: Mapping[str, Any],
    charges: list[Charge],
) -> PlanVersion:
    lock_for_transaction(ctx.session, f"plan:{plan_id}")
    place = {"plan_id": plan_id, "template": template, "status": VersionStatus.DRAFT}
    if template is not None and ctx.session.scalar(select(PlanVersion.id).filter_by(**place)):
        raise ConflictError(
            f"The plan has a template {template}; discard it, or choose another name.",
            code="template_taken",
        )
    last = ctx.session.scalar(select(func.max(PlanVersion.version)).filter_by(plan_id=plan_id))
    version = PlanVersion(
        **place,
        **terms,
        version=(last or 0) + 1,
        created_at=ctx.clock.now(),
        charges=charges,
    )
    ctx.session.add(version)
    return version


@command("plan_version.replace_charges", Permission.CATALOG_WRITE)
def replace_charges(ctx: Context, request: ReplaceCharges) -> PlanVersion:
    """Give a draft other charges."""
    version = load_draft(ctx.session, request.plan_version_id)
    version.charges.clear()
    ctx.session.flush()
    version.charges = _charges(ctx.session, request.charges)
    return version


@command("plan_version.change_terms", Permission.CATALOG_WRITE)
def change_terms(ctx: Context, request: ChangeTerms) -> PlanVersion:
    """Give a draft other terms."""
    version = load_draft(ctx.session, request.plan_version_id)
    for name, value in request.model_dump(exclude={"plan_version_id"}, exclude_none=True).items():
        setattr(version, name, value)
    return version


def _charges(session: Session, inputs: Sequence[ChargeInput]) -> list[Charge]:
    wanted = {charge.item_code for charge in inputs}
    items = {
        item.code: item
        for item in session.scalars(select(BillableItem).where(BillableItem.code.in_(wanted)))
    }
    if wrong := errors_in(inputs, items):
        raise InvalidError("The charges cannot be sold like this.", fields=wrong)
    decks = _decks(session, inputs)
    return [
        Charge(
            ordinal=ordinal,
            rate_deck=None if charge.rate_deck is None else decks[charge.rate_deck],
            item_id=items[charge.item_code].id,
            item=items[charge.item_code],
            match_dimensions=list(charge.match_dimensions),
            rates=_rates(charge),
            limits=[ChargeLimit(**limit.model_dump()) for limit in charge.limits],
            **charge.model_dump(
                exclude={"item_code", "match_dimensions", "rates", "limits", "rate_deck"}
            ),
        )
        for ordinal, charge in enumerate(inputs, start=1)
    ]


def _decks(session: Session, inputs: Sequence[ChargeInput]) -> dict[str, RateDeck]:
    """The decks that charges name, by code.

    Raises:
        InvalidError: with the charges whose deck there is none of.
    """
    wanted = {charge.rate_deck for charge in inputs if charge.rate_deck is not None}
    decks = {
        deck.code: deck
        for deck in session.scalars(select(RateDeck).where(RateDeck.code.in_(wanted)))
    }
    wrong = [
        FieldError(f"charges.{index}.rate_deck", f"there is no rate deck {charge.rate_deck}")
        for index, charge in enumerate(inputs)
        if charge.rate_deck is not None and charge.rate_deck not in decks
    ]
    if wrong:
        raise InvalidError("The charges cannot be sold like this.", fields=wrong)
    return decks


def _rates(charge: ChargeInput) -> list[Rate]:
    return [
        Rate(
            ordinal=ordinal,
            currency=rate.currency,
            match=rate.match,
            tiers=[
                RateTier(ordinal=position, **tier.model_dump())
                for position, tier in enumerate(rate.tiers, start=1)
            ],
        )
        for ordinal, rate in enumerate(charge.rates, start=1)
    ]


def _refuse_taken(session: Session, table: type[BillableItem] | type[PricePlan], code: str) -> None:
    if session.scalar(select(table.id).filter_by(code=code)):
        raise ConflictError(f"The code {code} is taken; choose another.", code="code_taken")
