"""Commands on entitlements, and reading them."""

from collections.abc import Collection, Sequence
from uuid import UUID

from pydantic import Field
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.tables import Aggregation, BillableItem, ItemKind
from billing.commands import Context, Request, command
from billing.customers.repository import load_account
from billing.customers.tables import Account
from billing.entitlements.quotas import Quota
from billing.entitlements.tables import Enforcement, Entitlement, QuotaPeriod
from billing.errors import ConflictError, PreconditionError, not_found
from billing.rating.measures import reads_events

_MICROS = 1_000_000
_MOST_UNITS = 1_000_000_000


class CreateEntitlement(Request):
    """How many units of an item an account may use in each period."""

    account_id: UUID
    item_id: UUID
    included_units: int = Field(ge=0, le=_MOST_UNITS)
    enforcement: Enforcement
    period: QuotaPeriod = QuotaPeriod.MONTH


class ChangeEntitlement(Request):
    """Another number of units, or another way to deal with the limit."""

    entitlement_id: UUID
    included_units: int = Field(ge=0, le=_MOST_UNITS)
    enforcement: Enforcement


class EndEntitlement(Request):
    """An entitlement that no longer limits anything."""

    entitlement_id: UUID


@command("entitlement.create", Permission.SUBSCRIPTIONS_WRITE)
def create_entitlement(ctx: Context, request: CreateEntitlement) -> Entitlement:
    """Limit an account's use of an item, this period's earlier use included."""
    load_account(ctx.session, request.account_id, lock=True)
    item = ctx.session.get(BillableItem, request.item_id)
    if item is None:
        raise not_found("billable item", request.item_id)
    if item.kind is not ItemKind.USAGE or reads_events(item):
        raise PreconditionError(
            "Only items that count events or sum their quantities can be limited.",
            code="not_countable",
        )
    taken = select(Entitlement.id).filter_by(
        account_id=request.account_id, item_id=item.id, period=request.period, ended_at=None
    )
    if ctx.session.scalar(taken):
        raise ConflictError("There is one already: change that.", code="entitlement_exists")
    now = ctx.clock.now()
    entitlement = Entitlement(**request.model_dump(), created_at=now, updated_at=now, ended_at=None)
    ctx.session.add(entitlement)
    return entitlement


@command("entitlement.change", Permission.SUBSCRIPTIONS_WRITE)
def change_entitlement(ctx: Context, request: ChangeEntitlement) -> Entitlement:
    """Change the limit; what was used in this period stays used."""
    entitlement = _open(ctx.session, request.entitlement_id)
    entitlement.included_units = request.included_units
    entitlement.enforcement = request.enforcement
    entitlement.updated_at = ctx.clock.now()
    return entitlement


@command("entitlement.end", Permission.SUBSCRIPTIONS_WRITE)
def end_entitlement(ctx: Context, request: EndEntitlement) -> Entitlement:
    """Limit nothing any more."""
    entitlement = _open(ctx.session, request.entitlement_id)
    entitlement.ended_at = entitlement.updated_at = ctx.clock.now()
    return entitlement


def get_entitlement(session: Session, actor: Actor, entitlement_id: UUID) -> Entitlement:
    """One entitlement that the actor may see.

    Raises:
        NotFoundError: if there is none, or it is another customer's.
    """
    actor.require(Permission.SUBSCRIPTIONS_READ)
    found = session.get(Entitlement, entitlement_id)
    if found is None:
        raise not_found("entitlement", entitlement_id)
    actor.require_customer(load_account(session, found.account_id).customer_id)
    return found


def list_entitlements(
    session: Session,
    actor: Actor,
    *,
    account_id: UUID | None = None,
    limit: int = 50,
    after: UUID | None = None,
) -> Sequence[Entitlement]:
    """Entitlements by id, one page at a time; ended ones too."""
    actor.require(Permission.SUBSCRIPTIONS_READ)
    query = select(Entitlement).order_by(Entitlement.id).limit(limit)
    if actor.customer_id is not None:
        query = query.join(Account, Account.id == Entitlement.account_id).where(
            Account.customer_id == actor.customer_id
        )
    if account_id is not None:
        query = query.where(Entitlement.account_id == account_id)
    if after is not None:
        query = query.where(Entitlement.id > after)
    return session.scalars(query).all()


def load_quotas_of(
    session: Session, account_ids: Collection[UUID]
) -> dict[UUID, tuple[Quota, ...]]:
    """The quotas that hold now, of many accounts."""
    found: dict[UUID, tuple[Quota, ...]] = {}
    for entitlement, item, account in session.execute(_held().where(Account.id.in_(account_ids))):
        quota = _quota(entitlement, item, account)
        found[account.id] = (*found.get(account.id, ()), quota)
    return found


def _held() -> Select[Entitlement, BillableItem, Account]:
    return (
        select(Entitlement, BillableItem, Account)
        .join(BillableItem, BillableItem.id == Entitlement.item_id)
        .join(Account, Account.id == Entitlement.account_id)
        .where(Entitlement.ended_at.is_(None))
        .order_by(Entitlement.id)
    )


def _quota(entitlement: Entitlement, item: BillableItem, account: Account) -> Quota:
    return Quota(
        entitlement_id=entitlement.id,
        event_type=item.event_type or "",
        event_filter={name: tuple(values) for name, values in item.event_filter.items()},
        counts_events=item.aggregation is Aggregation.COUNT,
        limit_micros=entitlement.included_units * _MICROS,
        is_hard=entitlement.enforcement is Enforcement.HARD,
        period=entitlement.period,
        zone=account.zone,
    )


def _open(session: Session, entitlement_id: UUID) -> Entitlement:
    found = session.get(Entitlement, entitlement_id, with_for_update=True)
    if found is None:
        raise not_found("entitlement", entitlement_id)
    if found.ended_at is not None:
        raise PreconditionError("It has ended; make a new one.", code="entitlement_ended")
    return found
