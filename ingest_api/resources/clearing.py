"""Clearing: every invoice and every payment, with what it consists of and a remainder of 0."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.payments.clearing import INVOICES, PAYMENTS, ClearingPage, list_clearing
from billing.payments.tables import PaymentPurpose
from ingest_api.auth import needs
from ingest_api.dependencies import Envelope, Paging, ReadSession
from ingest_api.envelope import Amount, Attributes, ListAnswer, Resource, refer

router = APIRouter(prefix="/clearing", tags=["payments"])

Reader = Annotated[Actor, needs(Permission.PAYMENTS_READ, staff_only=True)]
Clears = Annotated[bool | None, Query(description="Only what clears, or only what does not.")]
Customer = Annotated[UUID | None, Query()]


class InvoiceClearing(Attributes):
    """An invoice: its total is what settled it and what is outstanding, in minor units."""

    number: str | None
    currency: str
    total_minor: int
    settled_minor: int
    outstanding_minor: int
    remainder_minor: int


class PaymentClearing(Attributes):
    """A payment: what was captured went back, settles invoices, is in a wallet, or is left.

    Amounts are minor units; what wallets hold may have parts of one.
    """

    gateway: str
    purpose: PaymentPurpose
    currency: str
    captured_minor: int
    refunded_minor: int
    allocated_minor: int
    credited_minor: Amount
    left_minor: int
    remainder_minor: Amount


@router.get("/invoices", summary="List how invoices clear")
def invoices(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    page: Paging,
    clears: Clears = None,
    customer_id: Customer = None,
) -> ListAnswer[InvoiceClearing]:
    """Issued invoices, newest first."""
    wanted = ClearingPage(clears, customer_id, **page.fetch)
    rows = list_clearing(session, actor, INVOICES, wanted)
    return reply.page(rows, page.limit, _invoice)


@router.get("/payments", summary="List how payments clear")
def payments(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    page: Paging,
    clears: Clears = None,
    customer_id: Customer = None,
) -> ListAnswer[PaymentClearing]:
    """Payments, newest first."""
    wanted = ClearingPage(clears, customer_id, **page.fetch)
    rows = list_clearing(session, actor, PAYMENTS, wanted)
    return reply.page(rows, page.limit, _payment)


def _invoice(row: Any) -> Resource[InvoiceClearing]:
    return Resource(
        id=str(row.invoice_id),
        type="invoice_clearing",
        attributes=InvoiceClearing.model_validate(row),
        relationships=refer(
            invoice=("invoice", row.invoice_id), customer=("customer", row.customer_id)
        ),
    )


def _payment(row: Any) -> Resource[PaymentClearing]:
    return Resource(
        id=str(row.payment_id),
        type="payment_clearing",
        attributes=PaymentClearing.model_validate(row),
        relationships=refer(
            payment=("payment", row.payment_id), customer=("customer", row.customer_id)
        ),
    )
