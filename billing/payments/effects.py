"""From what gateways said to what we hold: invoices settled, wallets filled.

Every function here brings our side to where the facts say it should be, and does nothing when it
is there already. So it can run after every message, in any order, as often as it likes.
"""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.formatting import format_date, format_money
from billing.invoices.settlement import SettlementSource, outstanding_minor, settle
from billing.invoices.tables import Invoice, InvoiceAllocation, InvoiceStatus
from billing.money import minor_to_units, split
from billing.payments.facts import DisputeState, Fact, Picture, fold
from billing.payments.tables import (
    EventOutcome,
    GatewayEvent,
    Payment,
    PaymentPurpose,
    Refund,
    RefundState,
)
from billing.periods import DEFAULT_ZONE, local_day
from billing.tax.timing import time_of_supply_of_excess
from billing.wallets.ledger import Posting, post_adjustment, post_transaction
from billing.wallets.tables import (
    AdvancePolicy,
    LedgerAccount,
    LedgerEntry,
    LedgerKind,
    LedgerTransaction,
    Wallet,
)


def bring_up_to_date(session: Session, payment: Payment, now: datetime, actor: str) -> Payment:
    """Make a payment, and what it pays, agree with everything its gateway has said.

    Args:
        payment: locked by the caller.
        actor: in whose name wallets move.
    """
    picture = picture_of(session, payment)
    payment.status = picture.status
    payment.dispute = picture.dispute
    payment.failure = picture.failure if not picture.captured_minor else None
    payment.captured_minor = picture.captured_minor
    payment.refunded_minor = picture.refunded_minor
    if picture.captured_minor and payment.captured_at is None:
        payment.captured_at = now
    payment.attention = _attention(payment, picture)
    _note_refunds(session, payment, picture, now)
    payment.updated_at = now
    session.flush()
    if payment.purpose is PaymentPurpose.INVOICE:
        _settle_invoice(session, payment, now)
    else:
        _fill_wallet(session, payment, now, actor)
    return payment


def picture_of(session: Session, payment: Payment) -> Picture:
    """What all that its gateway has said about a payment comes to."""
    return fold(_facts(session, payment), payment.currency)


def allocated_minor(session: Session, payment: Payment) -> int:
    """How much of a payment is set against invoices."""
    query = select(func.coalesce(func.sum(InvoiceAllocation.amount_minor), 0))
    return int(session.scalar(query.filter_by(payment_id=payment.id)) or 0)


def _facts(session: Session, payment: Payment) -> list[Fact]:
    kept: Iterable[list[dict[str, Any]]] = session.scalars(
        select(GatewayEvent.facts).where(
            GatewayEvent.payment_id == payment.id, GatewayEvent.outcome == EventOutcome.APPLIED
        )
    )
    return [Fact.from_dict(one) for facts in kept for one in facts]


def _attention(payment: Payment, picture: Picture) -> str | None:
    if picture.strangers:
        named = ", ".join(sorted(picture.strangers))
        return f"Paid in {named} instead of {payment.currency}; nothing was credited for it."
    if picture.dispute in {DisputeState.OPEN, DisputeState.LOST}:
        return f"The payer disputes this payment: {picture.dispute.value}."
    if picture.captured_minor and picture.captured_minor != payment.amount_minor:
        asked, came = (
            format_money(amount_minor, payment.currency)
            for amount_minor in (payment.amount_minor, picture.captured_minor)
        )
        return f"{asked} was asked for and {came} came in.{_taxed_at_once(payment)}"
    return None


def _taxed_at_once(payment: Payment) -> str:
    """What is to be done with too much for an invoice, if it may not wait for the next one."""
    excess_minor = payment.captured_minor - payment.amount_minor
    if payment.invoice_id is None or payment.captured_at is None or payment.currency != "INR":
        return ""
    day = local_day(payment.captured_at, DEFAULT_ZONE)
    if time_of_supply_of_excess(excess_minor, day, next_invoice=date.max) > day:
        return ""
    return (
        f" So much more is taxed as of {format_date(day)} (s.13(2)): set it against another "
        "invoice of that month, or send it back."
    )


def _note_refunds(session: Session, payment: Payment, picture: Picture, now: datetime) -> None:
    known = {
        row.provider_refund_id: row
        for row in session.scalars(select(Refund).filter_by(payment_id=payment.id))
        if row.provider_refund_id
    }
    for refund_id, amount_minor in picture.refunds.items():
        row = known.get(refund_id)
        if row is None:
            session.add(
                Refund(
                    payment_id=payment.id,
                    amount_minor=amount_minor,
                    reason="Made at the gateway",
                    state=RefundState.PROCESSED,
                    provider_refund_id=refund_id,
                    requested_by=payment.gateway,
                    created_at=now,
                    updated_at=now,
                )
            )
        elif row.state is not RefundState.PROCESSED:
            row.state, row.updated_at = RefundState.PROCESSED, now
    for refund_id in picture.failed_refunds & known.keys():
        row = known[refund_id]
        if row.state is not RefundState.FAILED:
            row.state, row.updated_at = RefundState.FAILED, now


def _settle_invoice(session: Session, payment: Payment, now: datetime) -> None:
    """Set the net amount against the invoice as far as it is open; more stays on the payment."""
    invoice = session.scalars(
        select(Invoice)
        .where(Invoice.id == payment.invoice_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()
    over = allocated_minor(session, payment) - payment.net_minor
    if over > 0:
        _take_back(session, payment, invoice, over, now)
    elif over < 0 and invoice.status is InvoiceStatus.DUE:
        amount_minor = min(-over, outstanding_minor(invoice))
        if amount_minor:
            settle(
                session, invoice, SettlementSource.PAYMENT, amount_minor, now, payment=payment.id
            )


def _take_back(
    session: Session, payment: Payment, own: Invoice, amount_minor: int, now: datetime
) -> None:
    """Undo allocations of money that went back, on the payment's own invoice first."""
    held = session.execute(
        select(InvoiceAllocation.invoice_id, func.sum(InvoiceAllocation.amount_minor))
        .where(InvoiceAllocation.payment_id == payment.id)
        .group_by(InvoiceAllocation.invoice_id)
    ).all()
    for invoice_id, held_minor in sorted(held, key=lambda row: row[0] != own.id):
        part = min(amount_minor, int(held_minor))
        if part <= 0:
            continue
        invoice = session.get_one(Invoice, invoice_id, with_for_update=True, populate_existing=True)
        settle(session, invoice, SettlementSource.REFUND, -part, now, payment=payment.id)
        amount_minor -= part


def _fill_wallet(session: Session, payment: Payment, now: datetime, actor: str) -> None:
    """Give the wallet the credits of the net amount, and put its tax aside for the invoice."""
    wallet = session.get_one(Wallet, payment.wallet_id)
    credits_minor = payment.credits_minor or 0
    paid = split(payment.net_minor, [credits_minor, payment.amount_minor - credits_minor])
    held_units, held_tax_units = _held(session, payment)
    credit_units = minor_to_units(paid[0], payment.currency) - held_units
    tax_units = minor_to_units(paid[1], payment.currency) - held_tax_units
    kind = _kind(session, payment, wallet, comes_in=credit_units + tax_units > 0)
    tax = [
        Posting(LedgerAccount.TAX_ON_ADVANCES, tax_units),
        Posting(LedgerAccount.CASH, -tax_units),
    ]
    reference = _posting_name(session, payment)
    if credit_units:
        post_adjustment(
            session,
            wallet,
            amount_units=credit_units,
            kind=kind,
            counter_account=LedgerAccount.CASH,
            reference=reference,
            note=f"{payment.gateway} payment",
            actor=actor,
            now=now,
            further=tax if tax_units else (),
        )
    elif tax_units:
        post_transaction(session, wallet, kind=kind, reference=reference, postings=tax, now=now)


def _kind(session: Session, payment: Payment, wallet: Wallet, *, comes_in: bool) -> LedgerKind:
    """What a payment was when it first came, it stays, whatever its wallet holds to now."""
    first = session.scalar(
        select(LedgerTransaction.kind).filter_by(reference=f"payment:{payment.id}:1")
    )
    is_deposit = wallet.advance_policy is AdvancePolicy.DEPOSIT
    if first is not None:
        is_deposit = first is LedgerKind.DEPOSIT
    if is_deposit:
        return LedgerKind.DEPOSIT if comes_in else LedgerKind.DEPOSIT_REFUND
    return LedgerKind.TOP_UP if comes_in else LedgerKind.REFUND


def _held(session: Session, payment: Payment) -> tuple[int, int]:
    """Credits and tax that the ledger holds of this payment, in wallet units."""
    rows = session.execute(
        select(LedgerEntry.account, func.sum(LedgerEntry.amount_units))
        .join(LedgerTransaction, LedgerTransaction.id == LedgerEntry.transaction_id)
        .where(LedgerTransaction.reference.startswith(f"payment:{payment.id}:"))
        .group_by(LedgerEntry.account)
    )
    sums = {row[0]: int(row[1]) for row in rows}
    return sums.get(LedgerAccount.WALLET, 0), sums.get(LedgerAccount.TAX_ON_ADVANCES, 0)


def _posting_name(session: Session, payment: Payment) -> str:
    """The next natural key: postings of a payment are numbered, and it is locked."""
    count = session.scalar(
        select(func.count())
        .select_from(LedgerTransaction)
        .where(LedgerTransaction.reference.startswith(f"payment:{payment.id}:"))
    )
    return f"payment:{payment.id}:{(count or 0) + 1}"
