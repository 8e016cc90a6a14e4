"""Credit grants: credits with a priority, and a scope and an end if they have them.

A grant for everything is in the balance from the start, as any credits are; its priority and end
say when its lot is used (`lots.py`). A grant for some items is not: whoever debits an event would
have to know which credits it may take. It gets into the balance when an invoice is settled, as much
of it as the lines of its items come to (`grant_draws.py`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from billing.access.actor import SYSTEM, Actor
from billing.access.roles import Permission
from billing.catalog.tables import BillableItem
from billing.clock import Clock
from billing.commands import Context, Request, command
from billing.customers.tables import Account
from billing.db.unit_of_work import read_only, unit_of_work
from billing.errors import ConflictError, FieldError, InvalidError, PreconditionError, not_found
from billing.ids import new_id
from billing.periods import local_day, local_midnight
from billing.wallets.allocations import allocate
from billing.wallets.grant_draws import POSTED_AS, drawn_of, in_turn, is_over
from billing.wallets.ledger import lock_wallet, post_adjustment
from billing.wallets.lots import USUAL_PRIORITY, Lot, end_reference, lots_of
from billing.wallets.repository import find_wallet
from billing.wallets.service import NOTE, REFERENCE, TopUp, credit_payment, get_wallet, units_of
from billing.wallets.tables import (
    CreditGrant,
    GrantKind,
    LedgerKind,
    Wallet,
    WalletAdjustment,
)

LOOKED_AFTER: Final = timedelta(days=70)
"""How long after its end a grant may get something back: events are amended for 35 days, and their
month's invoice, of which a true-up may give back, is issued within a month more."""


class GrantState(StrEnum):
    """Whether a grant can be used."""

    OPEN = "open"
    USED = "used"
    EXPIRED = "expired"
    VOIDED = "voided"


class GrantCredits(Request):
    """Credits for a wallet, in minor units."""

    wallet_id: UUID
    kind: GrantKind = GrantKind.PROMOTIONAL
    amount_minor: int = Field(gt=0, lt=2**53)
    tax_minor: int | None = Field(default=None, ge=0, lt=2**53)
    """Paid on top of purchased ones; None is what is due on them."""
    priority: int = Field(default=USUAL_PRIORITY, ge=0, le=100)
    """The lower it is, the earlier the credits are used; other credits have 50."""
    item_codes: tuple[str, ...] = Field(default=(), max_length=100)
    """Billable items that the credits pay for; none is everything."""
    expires_on: date | None = Field(default=None, ge=date(1970, 1, 1), lt=date(3000, 1, 1))
    """The first local day on which they no longer hold."""
    reference: str = REFERENCE
    note: str = NOTE


class VoidGrant(Request):
    """Take back what is left of a grant."""

    wallet_id: UUID
    grant_id: UUID
    reason: str = Field(min_length=3, max_length=500)


class ExpireGrant(Request):
    """Take away what is left of a grant whose time is over."""

    grant_id: UUID


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant, and what is left of it; in wallet units."""

    row: CreditGrant
    used_units: int
    left_units: int
    state: GrantState


@command("wallet.grant", Permission.WALLETS_WRITE)
def grant_credits(ctx: Context, request: GrantCredits) -> CreditGrant:
    """Give credits, sell them, or lend them on a commitment; a reference is granted once.

    Raises:
        InvalidError: if kind, scope and end do not go together, or an item is not known.
        ConflictError: if the reference was used before, for another grant or top-up.
    """
    wallet = lock_wallet(ctx.session, get_wallet(ctx.session, ctx.actor, request.wallet_id))
    earlier = ctx.session.scalars(
        select(CreditGrant).filter_by(kind=request.kind, reference=request.reference)
    ).one_or_none()
    zone = ctx.session.get_one(Account, wallet.account_id).zone
    ends = request.expires_on
    grant = CreditGrant(
        id=new_id(),
        wallet_id=wallet.id,
        kind=request.kind,
        priority=request.priority,
        item_codes=sorted(set(request.item_codes)),
        amount_units=units_of(request.amount_minor, wallet.currency, "amount_minor"),
        expires_on=ends,
        expires_at=None if ends is None else local_midnight(ends, zone),
        reference=request.reference,
        note=request.note,
        granted_by=ctx.actor.name,
        granted_at=ctx.clock.now(),
    )
    if earlier is not None:
        return _same(earlier, grant)
    _require_sound(ctx, request, local_day(ctx.clock.now(), zone))
    if not grant.item_codes:
        grant.ledger_transaction_id = _post(ctx, wallet, grant, request).ledger_transaction_id
    ctx.session.add(grant)
    ctx.session.flush()
    return grant


@command("wallet.void_grant", Permission.WALLETS_WRITE)
def void_grant(ctx: Context, request: VoidGrant) -> CreditGrant:
    """Take back what is left of a grant; what was used stays used.

    Raises:
        PreconditionError: if it was paid for: that is refunded instead.
    """
    grant = load_grant(ctx.session, request.grant_id)
    if grant.wallet_id != request.wallet_id:
        raise not_found("grant", request.grant_id)
    wallet = lock_wallet(ctx.session, get_wallet(ctx.session, ctx.actor, grant.wallet_id))
    if grant.kind is GrantKind.PURCHASED:
        raise PreconditionError(
            "These credits were paid for; refund the payment.", code="grant_was_paid"
        )
    if grant.voided_at is None:
        grant.voided_at, grant.void_reason = ctx.clock.now(), request.reason
        _end(ctx, wallet, grant, LedgerKind.VOID, request.reason)
    return grant


@command("wallet.expire_grant", Permission.WALLETS_WRITE)
def expire_grant(ctx: Context, request: ExpireGrant) -> CreditGrant:
    """Take away what is left of a grant whose time is over; again if something came back since."""
    grant = load_grant(ctx.session, request.grant_id)
    wallet = lock_wallet(ctx.session, get_wallet(ctx.session, ctx.actor, grant.wallet_id))
    if not is_over(grant, ctx.clock.now()):
        raise PreconditionError("The grant still holds.", code="grant_holds")
    if grant.voided_at is None:
        _end(ctx, wallet, grant, LedgerKind.EXPIRY, f"Expired on {grant.expires_on}")
    return grant


def expire_grants(engine: Engine, clock: Clock) -> int:
    """Take away what is left of all grants whose time is over; returns how many had something."""
    now = clock.now()
    with read_only(engine) as session:
        over = session.scalars(
            select(CreditGrant)
            .where(
                CreditGrant.expires_at <= now,
                CreditGrant.expires_at > now - LOOKED_AFTER,
                CreditGrant.voided_at.is_(None),
                CreditGrant.ledger_transaction_id.is_not(None),
            )
            .order_by(CreditGrant.expires_at, CreditGrant.id)
        ).all()
        left = _left_in(session, {grant.wallet_id for grant in over})
        due = [grant.id for grant in over if left.get(grant.ledger_transaction_id)]
    for grant_id in due:
        with unit_of_work(engine) as session:
            expire_grant(Context(session, SYSTEM, clock), ExpireGrant(grant_id=grant_id))
    return len(due)


def load_grant(session: Session, grant_id: UUID) -> CreditGrant:
    """A grant by its id.

    Raises:
        NotFoundError: if there is none.
    """
    grant = session.get(CreditGrant, grant_id)
    if grant is None:
        raise not_found("grant", grant_id)
    return grant


def list_grants(session: Session, actor: Actor, wallet_id: UUID, now: datetime) -> list[Grant]:
    """A wallet's grants in the order in which they are used.

    Raises:
        NotFoundError: if there is no such wallet, or it is another customer's.
    """
    wallet = find_wallet(session, actor, wallet_id)
    lots = {lot.source.id: lot for lot in lots_of(session, actor, wallet.id)}
    drawn = drawn_of(session, wallet)
    return [_grant(row, lots, drawn, now) for row in in_turn(session, wallet)]


def grant_of(session: Session, actor: Actor, row: CreditGrant, now: datetime) -> Grant:
    """One grant with what is left of it."""
    return next(one for one in list_grants(session, actor, row.wallet_id, now) if one.row is row)


def _require_sound(ctx: Context, request: GrantCredits, today: date) -> None:
    wrong = []
    if request.kind is GrantKind.PURCHASED:
        # the tax on them is paid, and what would be forfeited with them is not settled law
        if request.expires_on is not None:
            wrong.append(FieldError("expires_on", "credits that were paid for do not expire"))
        if request.item_codes:
            wrong.append(FieldError("item_codes", "credits that were paid for pay everything"))
    elif request.tax_minor:
        wrong.append(FieldError("tax_minor", "only purchased credits come with tax"))
    if request.expires_on is not None and request.expires_on <= today:
        wrong.append(FieldError("expires_on", "use a later day"))
    known = set(
        ctx.session.scalars(
            select(BillableItem.code).where(BillableItem.code.in_(request.item_codes))
        )
    )
    wrong += [
        FieldError("item_codes", f"there is no billable item {code}")
        for code in sorted(set(request.item_codes) - known)
    ]
    if wrong:
        raise InvalidError("The grant cannot be made as it is.", fields=wrong)


def _same(earlier: CreditGrant, wanted: CreditGrant) -> CreditGrant:
    names = ("wallet_id", "priority", "item_codes", "amount_units", "expires_on")
    if any(getattr(earlier, name) != getattr(wanted, name) for name in names):
        raise ConflictError(
            f"The reference {wanted.reference} was used before for another grant.",
            code="reference_reused",
        )
    return earlier


def _post(
    ctx: Context, wallet: Wallet, grant: CreditGrant, request: GrantCredits
) -> WalletAdjustment:
    if grant.kind is GrantKind.PURCHASED:
        payment = TopUp(
            wallet_id=wallet.id,
            amount_minor=request.amount_minor,
            tax_minor=request.tax_minor,
            reference=request.reference,
            note=request.note,
        )
        return credit_payment(ctx, wallet, payment)
    kind, counter_account = POSTED_AS[grant.kind]
    return post_adjustment(
        ctx.session,
        wallet,
        amount_units=grant.amount_units,
        kind=kind,
        counter_account=counter_account,
        reference=f"{kind.value}:{grant.reference}",
        note=grant.note,
        actor=ctx.actor.name,
        now=ctx.clock.now(),
    )


def _end(ctx: Context, wallet: Wallet, grant: CreditGrant, kind: LedgerKind, note: str) -> None:
    """Post what is left of a grant out of the balance, as often as there is something left."""
    lot_id = grant.ledger_transaction_id
    if lot_id is None:
        return
    allocate(ctx.session, wallet, ctx.clock.now())
    left_units = _lot(ctx.session, ctx.actor, grant).left_units
    if not left_units:
        return
    before = ctx.session.scalar(
        select(func.count()).where(
            WalletAdjustment.wallet_id == wallet.id,
            WalletAdjustment.reference.startswith(end_reference(kind, lot_id, 0)[:-1]),
        )
    )
    post_adjustment(
        ctx.session,
        wallet,
        amount_units=-left_units,
        kind=kind,
        counter_account=POSTED_AS[grant.kind][1],
        reference=end_reference(kind, lot_id, (before or 0) + 1),
        note=note,
        actor=ctx.actor.name,
        now=ctx.clock.now(),
    )
    allocate(ctx.session, wallet, ctx.clock.now())


def _left_in(session: Session, wallet_ids: Collection[UUID]) -> dict[UUID | None, int]:
    """What is left of each lot of these wallets, in wallet units; each wallet is read once."""
    return {
        lot.source.id: lot.left_units
        for wallet_id in wallet_ids
        for lot in lots_of(session, SYSTEM, wallet_id)
    }


def _lot(session: Session, actor: Actor, grant: CreditGrant) -> Lot:
    lots = lots_of(session, actor, grant.wallet_id)
    return next(lot for lot in lots if lot.source.id == grant.ledger_transaction_id)


def _grant(
    row: CreditGrant, lots: Mapping[UUID, Lot], drawn: Mapping[UUID, int], now: datetime
) -> Grant:
    if row.ledger_transaction_id is None:
        used_units = drawn.get(row.id, 0)
        left_units = 0 if row.voided_at else row.amount_units - used_units
    else:
        lot = lots[row.ledger_transaction_id]
        used_units, left_units = lot.used_units, lot.left_units
    if row.voided_at is not None:
        state = GrantState.VOIDED
    elif used_units >= row.amount_units:
        state = GrantState.USED
    elif is_over(row, now):
        state = GrantState.EXPIRED
    else:
        state = GrantState.OPEN
    return Grant(row, used_units, left_units, state)
