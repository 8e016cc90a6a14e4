"""Commands on what is agreed with one account. An agreement is never edited: it ends."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from pydantic import Field
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, selectinload

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.ambiguity import equal_matches
from billing.catalog.price_rules import WITHOUT_USAGE
from billing.catalog.requests import ChargeInput, RateInput, TierInput
from billing.catalog.rules import errors_in
from billing.catalog.tables import Charge, PlanVersion, PriceModel, PricePlan
from billing.commands import Context, Request, command
from billing.customers.repository import load_account
from billing.customers.tables import Account, BillingMode
from billing.db.locks import lock_for_transaction
from billing.decks.tables import DECK_DIMENSIONS, RateDeck
from billing.errors import (
    ConflictError,
    FieldError,
    InvalidError,
    NotFoundError,
    PreconditionError,
    not_found,
)
from billing.overrides.tables import PriceOverride, PriceOverrideTier
from billing.rating.cumulative import cumulative_price
from billing.rating.plan import Tier
from billing.subscriptions.ahead import refuse_billed_ahead
from billing.subscriptions.history import refuse_billed


class CreateOverride(Request):
    """A rate that comes before those of a charge, or before the rows of a deck."""

    account_id: UUID
    plan_code: str | None = None
    charge_code: str | None = None
    deck_code: str | None = None
    """Either a plan and the code of its charge, or a deck."""
    match: dict[str, str] = Field(default_factory=dict)
    tiers: tuple[TierInput, ...] = Field(min_length=1, max_length=50)
    starts_on: date
    ends_on: date | None = None
    """The first local day it no longer holds."""
    reason: str = Field(min_length=1, max_length=500)


class EndOverride(Request):
    """The first local day on which the plan's or the deck's own prices hold again."""

    override_id: UUID
    ends_on: date


@command("price_override.create", Permission.SUBSCRIPTIONS_WRITE)
def create_override(ctx: Context, request: CreateOverride) -> PriceOverride:
    """Agree a price with an account for some days."""
    account = load_account(ctx.session, request.account_id)
    if request.ends_on is not None and request.ends_on <= request.starts_on:
        raise InvalidError(
            "An agreement ends after it starts.",
            fields=[FieldError("ends_on", "use a later day")],
        )
    charge, target = _target(ctx.session, account, request)
    _require_fit(account, charge, request)
    refuse_billed(ctx.session, account.id, request.starts_on)
    if request.charge_code is not None:
        refuse_billed_ahead(ctx.session, account.id, request.charge_code, request.starts_on)
    lock_for_transaction(ctx.session, f"overrides:{account.id}")
    now = ctx.clock.now()
    last = ctx.session.scalar(
        select(func.max(PriceOverride.number)).filter_by(account_id=account.id)
    )
    override = PriceOverride(
        account_id=account.id,
        number=(last or 0) + 1,
        **target,
        currency=account.currency,
        match=request.match,
        starts_on=request.starts_on,
        ends_on=request.ends_on,
        reason=request.reason,
        created_at=now,
        updated_at=now,
        tiers=[
            PriceOverrideTier(
                ordinal=ordinal,
                up_to=tier.up_to,
                unit_price=tier.unit_price,
                flat_amount=tier.flat_amount,
            )
            for ordinal, tier in enumerate(request.tiers, 1)
        ],
    )
    _refuse_ambiguous(ctx.session, override)
    ctx.session.add(override)
    return override


@command("price_override.end", Permission.SUBSCRIPTIONS_WRITE)
def end_override(ctx: Context, request: EndOverride) -> PriceOverride:
    """End an agreement; on its first day, it is withdrawn before it priced anything."""
    override = ctx.session.scalars(
        select(PriceOverride)
        .filter_by(id=request.override_id)
        .options(selectinload(PriceOverride.tiers))
        .with_for_update()
    ).one_or_none()
    if override is None:
        raise not_found("price override", request.override_id)
    latest = override.ends_on
    if request.ends_on < override.starts_on or (latest is not None and request.ends_on > latest):
        raise PreconditionError(
            f"The agreement holds from {override.starts_on}"
            + (f" to {latest}" if latest else "")
            + "; end it within these days. For later days make another.",
            code="outside_agreement",
        )
    account = load_account(ctx.session, override.account_id)
    refuse_billed(ctx.session, account.id, request.ends_on)
    if override.charge_code is not None:
        refuse_billed_ahead(ctx.session, account.id, override.charge_code, request.ends_on)
    override.ends_on = request.ends_on
    override.updated_at = ctx.clock.now()
    return override


def list_overrides(
    session: Session, actor: Actor, account_id: UUID | None = None
) -> Sequence[PriceOverride]:
    """Agreements by account and number, with their tiers; a customer sees its own."""
    actor.require(Permission.SUBSCRIPTIONS_READ)
    query = (
        select(PriceOverride)
        .join(Account, Account.id == PriceOverride.account_id)
        .options(selectinload(PriceOverride.tiers))
        .order_by(PriceOverride.account_id, PriceOverride.number)
    )
    if actor.customer_id is not None:
        query = query.where(Account.customer_id == actor.customer_id)
    if account_id is not None:
        query = query.where(PriceOverride.account_id == account_id)
    return session.scalars(query).all()


def get_override(session: Session, actor: Actor, override_id: UUID) -> PriceOverride:
    """One agreement, with its tiers."""
    found = [one for one in list_overrides(session, actor) if one.id == override_id]
    if not found:
        raise not_found("price override", override_id)
    return found[0]


def _target(
    session: Session, account: Account, request: CreateOverride
) -> tuple[ChargeInput, dict[str, object]]:
    """The charge as it would be with this rate, and the columns that name what it comes before."""
    rate = RateInput(currency=account.currency, match=request.match, tiers=request.tiers)
    if (request.deck_code is None) == (request.plan_code is None) or (
        request.plan_code is None
    ) != (request.charge_code is None):
        raise InvalidError(
            "Name a plan and the code of its charge, or a deck.",
            fields=[FieldError("deck_code", "give this, or plan_code and charge_code")],
        )
    if request.deck_code is not None:
        deck_id = session.scalar(select(RateDeck.id).filter_by(code=request.deck_code))
        if deck_id is None:
            raise NotFoundError(f"There is no rate deck {request.deck_code}.", code="not_found")
        charge = ChargeInput(
            code="deck",
            name="deck",
            item_code="deck",
            price_model=PriceModel.PER_UNIT,
            match_dimensions=DECK_DIMENSIONS,
            rates=(rate,),
        )
        return charge, {"deck_id": deck_id}
    row = session.execute(
        select(Charge, PlanVersion.plan_id)
        .join(PlanVersion, PlanVersion.id == Charge.plan_version_id)
        .join(PricePlan, PricePlan.id == PlanVersion.plan_id)
        .where(
            PricePlan.code == request.plan_code,
            Charge.code == request.charge_code,
            PlanVersion.published_at.is_not(None),
        )
        .order_by(PlanVersion.version.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        raise NotFoundError(
            f"No published version of the plan {request.plan_code} has a charge "
            f"{request.charge_code}.",
            code="not_found",
        )
    stored, plan_id = row
    charge = ChargeInput(
        code=stored.code,
        name=stored.name,
        item_code="charge",
        price_model=stored.price_model,
        prorated=stored.prorated,
        tier_mode=stored.tier_mode,
        free_units=stored.free_units,
        package_size=stored.package_size,
        match_dimensions=tuple(stored.match_dimensions),
        rates=(rate,),
    )
    return charge, {"plan_id": plan_id, "charge_code": stored.code}


def _require_fit(account: Account, charge: ChargeInput, request: CreateOverride) -> None:
    """Refuse a rate that its charge could not have, or that a wallet could not be debited by.

    Raises:
        InvalidError: with the wrong fields.
    """
    inside = "charges.0.rates.0."
    known = {"up_to", "unit_price", "flat_amount"}
    wrong = [
        FieldError(error.field.removeprefix(inside), error.message)
        for error in errors_in([charge], {})
        if error.field.startswith(inside)
    ]
    wrong += [
        FieldError(f"tiers.{index}.{name}", "only the charge itself can say this")
        for index, tier in enumerate(request.tiers)
        for name in sorted(tier.model_fields_set - known)
    ]
    if not wrong and account.billing_mode is BillingMode.PREPAID:
        tiers = [Tier(tier.up_to, tier.unit_price, tier.flat_amount) for tier in request.tiers]
        try:
            if charge.price_model not in WITHOUT_USAGE:
                cumulative_price(
                    charge.price_model,
                    tiers,
                    free_units=charge.free_units,
                    package_size=charge.package_size,
                    code=account.currency,
                )
        except ValueError as error:
            wrong.append(FieldError("tiers", f"for a prepaid account, {error}"))
    if wrong:
        raise InvalidError("The charge cannot be sold at this price.", fields=wrong)


def _refuse_ambiguous(session: Session, override: PriceOverride) -> None:
    """Refuse an agreement that an event could match as well as another of the same days."""
    others = session.scalars(
        select(PriceOverride).where(
            PriceOverride.account_id == override.account_id,
            PriceOverride.plan_id.is_not_distinct_from(override.plan_id),
            PriceOverride.charge_code.is_not_distinct_from(override.charge_code),
            PriceOverride.deck_id.is_not_distinct_from(override.deck_id),
            PriceOverride.currency == override.currency,
            or_(PriceOverride.ends_on.is_(None), PriceOverride.ends_on > override.starts_on),
            or_(PriceOverride.ends_on.is_(None), PriceOverride.ends_on > PriceOverride.starts_on),
            PriceOverride.starts_on < (override.ends_on or date.max),
        )
    ).all()
    for other in others:
        if equal_matches([other, override]):
            raise ConflictError(
                f"An event could match agreement {other.number}, which holds from "
                f"{other.starts_on}, equally well; end that one first.",
                code="agreement_overlaps",
                details={"override_id": str(other.id)},
            )
