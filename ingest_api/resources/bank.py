"""Money by bank: what came, and what was sent back."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.db.unit_of_work import after_commit
from billing.payments.receipts import (
    BankRefund,
    RecordReceipt,
    RecordRefund,
    record_receipt,
    record_refund,
)
from billing.payments.tables import Payment, PaymentPurpose
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, CurrentServices, Envelope, build
from ingest_api.envelope import Answer
from ingest_api.resources.payments import PaymentAttributes, shown_payment
from ingest_api.services import Services
from invoicing.vouchers import issue_missing_vouchers

router = APIRouter(tags=["payments"])

Writer = Annotated[Actor, needs(Permission.PAYMENTS_WRITE)]

_RECEIPT = {
    "reference": "NEFT-AXISN26215001",
    "received_on": "2026-11-03",
    "amount_minor": 1180000,
    "invoice_id": "019aa000-0000-7000-8000-000000000004",
}
_SENT_BACK = {
    "reference": "NEFT-AXISN26219007",
    "sent_on": "2026-11-07",
    "amount_minor": 118000,
    "reason": "Unused credits, asked for by the customer",
}


@router.post("/payments/receipts", status_code=201, summary="Record money that came by bank")
def record(
    ctx: Commands,
    services: CurrentServices,
    actor: Writer,
    reply: Envelope,
    body: Annotated[RecordReceipt, Body(examples=[_RECEIPT])],
) -> Answer[PaymentAttributes]:
    """Record a transfer or cheque; its reference is recorded once."""
    payment = record_receipt(ctx, body)
    _paper_advance(ctx, services, payment)
    return reply.one(shown_payment(ctx.session, actor, payment.id))


@router.post(
    "/payments/{payment_id}/bank-refunds", status_code=201, summary="Record money sent back by bank"
)
def record_sent_back(
    ctx: Commands,
    services: CurrentServices,
    actor: Writer,
    reply: Envelope,
    payment_id: UUID,
    body: Annotated[BankRefund, Body(examples=[_SENT_BACK])],
) -> Answer[PaymentAttributes]:
    """Record that a transfer, or part of it, was sent back; its reference is recorded once.

    What settled an invoice is due again, and what filled a wallet leaves it, with a refund voucher.
    """
    payment = record_refund(ctx, build(RecordRefund, payment_id=payment_id, **body.model_dump()))
    _paper_advance(ctx, services, payment)
    return reply.one(shown_payment(ctx.session, actor, payment.id))


def _paper_advance(ctx: Commands, services: Services, payment: Payment) -> None:
    """Issue the voucher of what came into a wallet or left it, once that is on record."""

    def paper() -> None:
        issue_missing_vouchers(services.engine, services.clock, payment_id=payment.id)

    if payment.purpose is PaymentPurpose.TOP_UP:
        after_commit(ctx.session, paper)
