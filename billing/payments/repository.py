"""Reading payments, within what the actor may see."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.errors import not_found
from billing.invoices.tables import InvoiceAllocation
from billing.payments.facts import PaymentStatus
from billing.payments.tables import Payment, ProviderPayment, Refund


def list_payments(
    session: Session,
    actor: Actor,
    *,
    status: PaymentStatus | None = None,
    customer_id: UUID | None = None,
    invoice_id: UUID | None = None,
    wallet_id: UUID | None = None,
    attention: bool | None = None,
    limit: int = 50,
    after: UUID | None = None,
) -> Sequence[Payment]:
    """Payments, newest first, one page at a time.

    Args:
        attention: only those that a person has to look at.
        after: the id of the last payment of the page before.
    """
    actor.require(Permission.PAYMENTS_READ)
    query = select(Payment).order_by(Payment.id.desc()).limit(limit)
    if actor.customer_id is not None:
        query = query.where(Payment.customer_id == actor.customer_id)
    wanted = {
        Payment.status: status,
        Payment.customer_id: customer_id,
        Payment.invoice_id: invoice_id,
        Payment.wallet_id: wallet_id,
    }
    for column, value in wanted.items():
        if value is not None:
            query = query.where(column == value)
    if attention is not None:
        query = query.where(Payment.attention.is_not(None) == attention)
    if after is not None:
        query = query.where(Payment.id < after)
    return session.scalars(query).all()


def get_payment(session: Session, actor: Actor, payment_id: UUID) -> Payment:
    """One payment.

    Raises:
        NotFoundError: if there is none, or it is another customer's.
    """
    actor.require(Permission.PAYMENTS_READ)
    payment = session.get(Payment, payment_id)
    if payment is None:
        raise not_found("payment", payment_id)
    actor.require_customer(payment.customer_id)
    return payment


def refunds_of(session: Session, payment: Payment) -> Sequence[Refund]:
    """What of a payment goes or went back, oldest first."""
    return session.scalars(
        select(Refund).filter_by(payment_id=payment.id).order_by(Refund.id)
    ).all()


def provider_payments_of(session: Session, payment: Payment) -> Sequence[str]:
    """The gateway's names of a payment's movements of money."""
    return session.scalars(
        select(ProviderPayment.provider_payment_id)
        .filter_by(payment_id=payment.id)
        .order_by(ProviderPayment.provider_payment_id)
    ).all()


def settlement_lines(session: Session, invoice_id: UUID) -> Sequence[InvoiceAllocation]:
    """What settles an invoice, in the order it was entered."""
    return session.scalars(
        select(InvoiceAllocation)
        .filter_by(invoice_id=invoice_id)
        .order_by(InvoiceAllocation.recorded_at, InvoiceAllocation.id)
    ).all()


def find_payment(
    session: Session,
    gateway: str,
    *,
    reference: str | None = None,
    order_id: str | None = None,
    provider_ids: Collection[str] = (),
) -> UUID | None:
    """The payment that any of a gateway's names means; None if it is not one of ours.

    Args:
        reference: what we called it; other people's references are no error.
        order_id: the gateway's name of the order, link or session.
        provider_ids: the gateway's names of movements of money.
    """
    names: list[ColumnElement[bool]] = [
        Payment.id.in_(
            select(ProviderPayment.payment_id).where(
                ProviderPayment.gateway == gateway,
                ProviderPayment.provider_payment_id.in_(sorted(provider_ids)),
            )
        )
    ]
    if order_id is not None:
        names.append(Payment.provider_order_id == order_id)
    if reference is not None:
        with suppress(ValueError):
            names.append(Payment.id == UUID(reference))
    return session.scalars(select(Payment.id).filter_by(gateway=gateway).where(or_(*names))).first()
