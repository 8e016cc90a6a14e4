"""Payments from saved methods: for a debt, and for a wallet that runs low.

Here a charge is only put on record. The gateway is called afterwards (`invoicing.charges`), as
often as it takes, under one key, so that no debt and no wallet is charged twice.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from billing.access.actor import SYSTEM
from billing.access.roles import Permission
from billing.clock import Clock
from billing.commands import Context, Request, command
from billing.customers.tables import Account
from billing.db.unit_of_work import read_only, unit_of_work
from billing.errors import BillingError
from billing.invoices.settlement import outstanding_minor
from billing.invoices.tables import Invoice
from billing.money import minor_to_units
from billing.outbox.service import report
from billing.payments.facts import PaymentStatus
from billing.payments.method_tables import AutoTopUp, MethodState, PaymentMethod
from billing.payments.methods import default_method
from billing.payments.service import STILL_OPEN, new_payment, top_up_payment
from billing.payments.tables import Payment, PaymentPurpose
from billing.periods import local_day, local_midnight
from billing.wallets.ledger import lock_wallet
from billing.wallets.tables import Wallet

WAITS: Final = (timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))
"""How long a wallet waits after its first, second and any further failure in a row."""


class BeginAutoTopUp(Request):
    """The wallet to look at."""

    wallet_id: UUID


def charge_invoice(ctx: Context, invoice: Invoice) -> Payment | None:
    """Put a charge of what is open on record; None if there is nothing to charge it to.

    Args:
        invoice: due, and locked by the caller.
    """
    method = default_method(ctx.session, invoice.account_id)
    if method is None:
        return None
    in_flight = ctx.session.scalars(
        select(Payment).where(
            Payment.invoice_id == invoice.id,
            Payment.payment_method_id.is_not(None),
            Payment.status.in_(STILL_OPEN),
        )
    ).first()
    return in_flight or new_payment(
        ctx,
        purpose=PaymentPurpose.INVOICE,
        customer_id=invoice.customer_id,
        account_id=invoice.account_id,
        invoice_id=invoice.id,
        gateway=method.gateway,
        currency=invoice.currency,
        amount_minor=outstanding_minor(invoice),
        payment_method_id=method.id,
    )


@command("auto_top_up.begin", Permission.PAYMENTS_WRITE)
def begin_auto_top_up(ctx: Context, request: BeginAutoTopUp) -> AutoTopUp:
    """Put a top-up on record if the wallet needs one and may have one now.

    It may not while one is in flight, soon after a failure, or above the cap of the month. After
    too many failures in a row it goes off, and the outbox says so.
    """
    session = ctx.session
    setting = session.get_one(AutoTopUp, request.wallet_id, with_for_update=True)
    wallet = lock_wallet(session, session.get_one(Wallet, setting.wallet_id))
    method = session.get_one(PaymentMethod, setting.payment_method_id)
    now = ctx.clock.now()
    low = wallet.balance_units < minor_to_units(setting.threshold_minor, wallet.currency)
    if not setting.is_on or not low or method.state is not MethodState.ACTIVE:
        return setting
    if _in_flight(session, wallet.id):
        return setting
    failed = _failures(session, setting)
    if len(failed) >= setting.most_failures:
        _switch_off(ctx, setting, wallet, f"{len(failed)} charges in a row failed.")
    elif failed and now < failed[0] + WAITS[min(len(failed), len(WAITS)) - 1]:
        return setting
    elif _bought(session, wallet, now) + setting.credits_minor <= setting.monthly_cap_minor:
        top_up_payment(ctx, wallet, setting.credits_minor, method.gateway, method.id)
    return setting


def begin_auto_top_ups(engine: Engine, clock: Clock) -> int:
    """Put the top-ups of all wallets that run low on record; how many wallets were looked at.

    A wallet for which it cannot be done (no tax profile) does not keep the others from it.
    """
    with read_only(engine) as session:
        low = session.scalars(
            select(AutoTopUp.wallet_id).where(AutoTopUp.is_on).order_by(AutoTopUp.wallet_id)
        ).all()
    for wallet_id in low:
        try:
            with unit_of_work(engine) as session:
                begin_auto_top_up(
                    Context(session, SYSTEM, clock), BeginAutoTopUp(wallet_id=wallet_id)
                )
        except BillingError as error:
            with unit_of_work(engine) as session:
                _tell(session, wallet_id, "auto_top_up_not_possible", error.message, clock.now())
    return len(low)


def _in_flight(session: Session, wallet_id: UUID) -> bool:
    return (
        session.scalar(
            select(func.count())
            .select_from(Payment)
            .where(
                Payment.wallet_id == wallet_id,
                Payment.payment_method_id.is_not(None),
                Payment.status.in_(STILL_OPEN),
            )
        )
        or 0
    ) > 0


def _failures(session: Session, setting: AutoTopUp) -> list[datetime]:
    """When the last charges in a row failed, newest first; none if the last one went through."""
    rows = session.execute(
        select(Payment.status, Payment.updated_at)
        .where(
            Payment.wallet_id == setting.wallet_id,
            Payment.payment_method_id.is_not(None),
            Payment.created_at >= setting.updated_at,
        )
        .order_by(Payment.id.desc())
        .limit(setting.most_failures)
    ).all()
    failed: list[datetime] = []
    for status, at in rows:
        if status is PaymentStatus.CAPTURED:
            break
        failed.append(at)
    return failed


def _bought(session: Session, wallet: Wallet, now: datetime) -> int:
    """Credits bought so in this month of the account's zone, failed charges aside."""
    zone = session.get_one(Account, wallet.account_id).zone
    first = local_midnight(local_day(now, zone).replace(day=1), zone)
    total = session.scalar(
        select(func.coalesce(func.sum(Payment.credits_minor), 0)).where(
            Payment.wallet_id == wallet.id,
            Payment.payment_method_id.is_not(None),
            Payment.created_at >= first,
            Payment.status.not_in([PaymentStatus.FAILED, PaymentStatus.EXPIRED]),
        )
    )
    return int(total or 0)


def _switch_off(ctx: Context, setting: AutoTopUp, wallet: Wallet, reason: str) -> None:
    setting.is_on, setting.off_reason = False, reason
    _tell(ctx.session, wallet.id, "auto_top_up_off", reason, ctx.clock.now())


def _tell(session: Session, wallet_id: UUID, what: str, reason: str, now: datetime) -> None:
    wallet = session.get_one(Wallet, wallet_id)
    report(
        session,
        f"wallet.{what}",
        entity=("wallet", wallet.id),
        account_id=wallet.account_id,
        payload={"reason": reason},
        now=now,
    )
