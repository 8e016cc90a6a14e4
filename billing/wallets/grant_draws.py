"""What grants for some items pay of invoices."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.commands import Context
from billing.money import currency
from billing.wallets.ledger import post_adjustment
from billing.wallets.tables import (
    CreditGrant,
    CreditGrantDraw,
    GrantKind,
    LedgerAccount,
    LedgerKind,
    Wallet,
)

POSTED_AS: Final = {
    GrantKind.PROMOTIONAL: (LedgerKind.PROMOTION, LedgerAccount.PROMOTION),
    GrantKind.COMMITMENT: (LedgerKind.COMMITMENT, LedgerAccount.COMMITMENT),
}
"""What a grant is posted as; credits that were paid for are a top-up."""


def is_over(grant: CreditGrant, now: datetime) -> bool:
    """Whether its time is over."""
    return grant.expires_at is not None and grant.expires_at <= now


def in_turn(session: Session, wallet: Wallet) -> Sequence[CreditGrant]:
    """A wallet's grants in the order in which they are used."""
    return session.scalars(
        select(CreditGrant)
        .filter_by(wallet_id=wallet.id)
        .order_by(CreditGrant.priority, CreditGrant.expires_at.nulls_last(), CreditGrant.granted_at)
        .order_by(CreditGrant.id)
    ).all()


def drawn_of(session: Session, wallet: Wallet) -> dict[UUID, int]:
    """What invoices took of the grants for some items, in wallet units."""
    rows = session.execute(
        select(CreditGrantDraw.grant_id, func.sum(CreditGrantDraw.amount_units))
        .join(CreditGrant, CreditGrant.id == CreditGrantDraw.grant_id)
        .where(CreditGrant.wallet_id == wallet.id)
        .group_by(CreditGrantDraw.grant_id)
    )
    return {grant_id: int(units) for grant_id, units in rows}


def draw_for_invoice(
    ctx: Context,
    wallet: Wallet,
    invoice_id: UUID,
    *,
    begins_at: datetime,
    minor_by_item: Mapping[str, int],
) -> None:
    """Put into the balance what grants for some items pay of an invoice.

    Args:
        wallet: locked by the caller.
        begins_at: when the period of the invoice begins; what has ended by then does not pay it.
        minor_by_item: what its lines come to by item, before tax.
    """
    left = {code: minor for code, minor in minor_by_item.items() if minor > 0}
    drawn = drawn_of(ctx.session, wallet)
    scale = currency(wallet.currency).units_per_minor
    for grant in in_turn(ctx.session, wallet):
        is_gone = grant.voided_at is not None or is_over(grant, begins_at)
        if not grant.item_codes or is_gone:
            continue
        open_minor = (grant.amount_units - drawn.get(grant.id, 0)) // scale
        taken = _take(left, grant.item_codes, open_minor)
        if not taken:
            continue
        kind, counter_account = POSTED_AS[grant.kind]
        posted = post_adjustment(
            ctx.session,
            wallet,
            amount_units=taken * scale,
            kind=kind,
            counter_account=counter_account,
            # its origin is the invoice, which takes it before all other lots
            reference=f"invoice:{invoice_id}:{grant.id}",
            note=grant.note,
            actor=ctx.actor.name,
            now=ctx.clock.now(),
        )
        ctx.session.add(
            CreditGrantDraw(
                grant_id=grant.id,
                ledger_transaction_id=posted.ledger_transaction_id,
                amount_units=taken * scale,
                recorded_at=ctx.clock.now(),
            )
        )
    ctx.session.flush()


def _take(left: dict[str, int], item_codes: Iterable[str], most: int) -> int:
    """Take at most so much of what is left to pay of these items."""
    taken = 0
    for code in item_codes:
        part = min(left.get(code, 0), most - taken)
        if part:
            left[code] -= part
            taken += part
    return taken
