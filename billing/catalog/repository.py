"""Reading the catalogue."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, object_session, selectinload

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.tables import (
    BillableItem,
    Charge,
    PlanVersion,
    PricePlan,
    Rate,
    VersionStatus,
)
from billing.decks.rates import priced_in
from billing.errors import NotFoundError, PreconditionError, not_found


def load_version(session: Session, plan_version_id: UUID, *, lock: bool = False) -> PlanVersion:
    """A version with its charges, rates and tiers, whoever asks; for commands.

    Args:
        lock: hold the row until the transaction ends.

    Raises:
        NotFoundError: if there is none.
    """
    charges = selectinload(PlanVersion.charges)
    query = (
        select(PlanVersion)
        .where(PlanVersion.id == plan_version_id)
        .options(
            charges.selectinload(Charge.rates).selectinload(Rate.tiers),
            charges.selectinload(Charge.item),
        )
        .execution_options(populate_existing=True)
    )
    if lock:
        query = query.with_for_update()
    version = session.scalars(query).one_or_none()
    if version is None:
        raise not_found("plan version", plan_version_id)
    return version


def load_draft(session: Session, plan_version_id: UUID) -> PlanVersion:
    """A version that may still be changed, held until the transaction ends.

    Raises:
        NotFoundError: if there is none.
        PreconditionError: if it was published or discarded.
    """
    version = load_version(session, plan_version_id, lock=True)
    if version.status is VersionStatus.DISCARDED:
        raise PreconditionError(
            f"Version {version.version} was discarded; draft a new one.", code="version_discarded"
        )
    if version.status is not VersionStatus.DRAFT:
        raise PreconditionError(
            f"Version {version.version} is {version.status.value}; its prices never change. "
            "Draft a new version.",
            code="version_published",
        )
    return version


def active_version(session: Session, plan_code: str) -> PlanVersion:
    """The version of a plan that new subscriptions get.

    Raises:
        NotFoundError: if there is no such plan, or none of its versions is active.
        PreconditionError: if the plan is archived.
    """
    found = session.execute(
        select(PricePlan, PlanVersion.id)
        .join(PlanVersion, PricePlan.id == PlanVersion.plan_id)
        .where(PricePlan.code == plan_code, PlanVersion.status == VersionStatus.ACTIVE)
    ).one_or_none()
    if found is None:
        raise NotFoundError(
            f"There is no plan {plan_code} with an active version; publish one first.",
            code="no_active_version",
        )
    plan, version_id = found
    refuse_archived(plan)
    return load_version(session, version_id)


def load_plan(session: Session, plan_id: UUID, *, lock: bool = False) -> PricePlan:
    """A plan, whoever asks; for commands.

    Args:
        lock: hold the row until the transaction ends.

    Raises:
        NotFoundError: if there is none.
    """
    plan = session.get(PricePlan, plan_id, with_for_update=lock or None)
    if plan is None:
        raise not_found("price plan", plan_id)
    return plan


def refuse_archived(plan: PricePlan) -> None:
    """Sell nothing new of a plan that is archived."""
    if plan.archived_at is not None:
        raise PreconditionError(
            f"The plan {plan.code} is archived: who has it keeps it, and nobody new gets it. "
            "Choose another, or restore it.",
            code="plan_archived",
        )


def is_priced_in(charge: Charge, currency: str) -> bool:
    """Whether a stored charge, or the deck it uses, has a price in a currency."""
    if charge.rate_deck_id is None:
        return any(rate.currency == currency for rate in charge.rates)
    session = object_session(charge)
    return session is not None and priced_in(session, [charge.rate_deck_id], currency)


def get_version(session: Session, actor: Actor, plan_version_id: UUID) -> PlanVersion:
    """A version with everything in it."""
    actor.require(Permission.CATALOG_READ)
    return load_version(session, plan_version_id)


def list_versions(session: Session, actor: Actor, plan_id: UUID) -> Sequence[PlanVersion]:
    """A plan's versions, the newest first, without their charges."""
    actor.require(Permission.CATALOG_READ)
    return session.scalars(
        select(PlanVersion).filter_by(plan_id=plan_id).order_by(PlanVersion.version.desc())
    ).all()


def list_plans(session: Session, actor: Actor, *, family: str | None = None) -> Sequence[PricePlan]:
    """All plans by code, or those of a family from the lowest tier up."""
    actor.require(Permission.CATALOG_READ)
    query = select(PricePlan).order_by(PricePlan.code)
    if family is not None:
        query = select(PricePlan).filter_by(family=family).order_by(PricePlan.tier)
    return session.scalars(query).all()


def get_plan(session: Session, actor: Actor, plan_id: UUID) -> PricePlan:
    """One plan."""
    actor.require(Permission.CATALOG_READ)
    return load_plan(session, plan_id)


def list_items(session: Session, actor: Actor) -> Sequence[BillableItem]:
    """All billable items by code."""
    actor.require(Permission.CATALOG_READ)
    return session.scalars(select(BillableItem).order_by(BillableItem.code)).all()
