"""Payments: ask for one, see how it stands, set it against invoices, give money back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Query
from pydantic import Field

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.db.unit_of_work import read_only
from billing.invoices.repository import get_invoice
from billing.invoices.settlement import SettlementSource
from billing.invoices.tables import InvoiceAllocation
from billing.payments.facts import DisputeState, PaymentStatus
from billing.payments.receipts import (
    AddSettlementLine,
    AllocatePayment,
    ReverseSettlementLine,
    SettlementLine,
    add_settlement_line,
    allocate_payment,
    reverse_settlement_line,
)
from billing.payments.repository import (
    get_payment,
    list_payments,
    provider_payments_of,
    refunds_of,
    settlement_lines,
)
from billing.payments.service import RequestPayment, RequestRefund
from billing.payments.tables import Payment, PaymentPurpose, Refund, RefundState
from billing.wallets.service import get_wallet
from ingest_api.auth import needs
from ingest_api.dependencies import (
    Commands,
    CurrentServices,
    Envelope,
    IdempotencyKey,
    Paging,
    ReadSession,
    build,
)
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource, refer
from ingest_api.services import Services
from invoicing.collect import Collector, gateway_for
from invoicing.gateways.registry import gateways
from invoicing.gateways.settings import GatewaySettings

router = APIRouter(tags=["payments"])

Reader = Annotated[Actor, needs(Permission.PAYMENTS_READ)]
Payer = Annotated[Actor, needs(Permission.PAYMENTS_CREATE)]
Writer = Annotated[Actor, needs(Permission.PAYMENTS_WRITE)]


class RefundAttributes(Attributes):
    """Money that goes back."""

    id: UUID
    amount_minor: int
    reason: str
    state: RefundState
    provider_refund_id: str | None
    created_at: datetime
    updated_at: datetime


class PaymentSummary(Attributes):
    """A payment; amounts are minor units of its currency."""

    purpose: PaymentPurpose
    gateway: str
    status: PaymentStatus
    dispute: DisputeState
    currency: str
    amount_minor: int
    credits_minor: int | None
    captured_minor: int
    refunded_minor: int
    checkout_url: str | None
    failure: str | None
    attention: str | None
    captured_at: datetime | None
    created_at: datetime
    updated_at: datetime


class PaymentAttributes(PaymentSummary):
    """A payment with the gateway's names for it and its refunds."""

    provider_order_id: str | None
    provider_payment_ids: list[str]
    refunds: list[RefundAttributes]


class SettlementLineAttributes(Attributes):
    """What settles part of an invoice; negative where it takes an earlier line back."""

    source: SettlementSource
    reference: str
    amount_minor: int
    details: dict[str, Any]
    recorded_at: datetime


class NewPayment(Request):
    """Either an invoice to pay, or a wallet with the credits to buy."""

    invoice_id: UUID | None = None
    wallet_id: UUID | None = None
    credits_minor: int | None = Field(
        default=None, gt=0, lt=2**53, description="Exclusive of tax, in minor units."
    )
    gateway: str | None = Field(
        default=None,
        pattern=r"^[a-z][a-z0-9_-]{0,31}$",
        description="The first that takes the currency, if left out.",
    )


class NewRefund(Request):
    """Money to give back."""

    amount_minor: int = Field(gt=0, lt=2**53)
    reason: str = Field(min_length=3, max_length=500)


class NewAllocation(Request):
    """What is left of a payment, for another invoice."""

    invoice_id: UUID
    amount_minor: int = Field(gt=0, lt=2**53)


class Reversal(Request):
    """Why a line is taken back."""

    reference: str = Field(min_length=1, max_length=200)
    reason: str = Field(min_length=3, max_length=500)


def collector_of(services: Services) -> Collector:
    """What calls the gateways for this process."""
    return Collector(services.engine, services.clock, gateways(), GatewaySettings.load())


def payment_summary(row: Payment) -> Resource[PaymentSummary]:
    """A payment in a list."""
    return Resource(
        id=str(row.id),
        type="payment",
        attributes=PaymentSummary.model_validate(row),
        relationships=_relations(row),
    )


def payment_resource(
    row: Payment, names: Sequence[str], refunds: Sequence[Refund]
) -> Resource[PaymentAttributes]:
    """A payment with all that is known of it."""
    return Resource(
        id=str(row.id),
        type="payment",
        attributes=PaymentAttributes(
            **PaymentSummary.model_validate(row).model_dump(),
            provider_order_id=row.provider_order_id,
            provider_payment_ids=list(names),
            refunds=[RefundAttributes.model_validate(one) for one in refunds],
        ),
        relationships=_relations(row),
    )


def line_resource(row: InvoiceAllocation) -> Resource[SettlementLineAttributes]:
    """A settlement line as the API shows it."""
    return Resource(
        id=str(row.id),
        type="settlement_line",
        attributes=SettlementLineAttributes.model_validate(row),
        relationships=refer(
            invoice=("invoice", row.invoice_id), payment=("payment", row.payment_id)
        ),
    )


def _relations(row: Payment) -> Any:
    return refer(
        customer=("customer", row.customer_id),
        account=("account", row.account_id),
        invoice=("invoice", row.invoice_id),
        wallet=("wallet", row.wallet_id),
    )


_NEW = {"invoice_id": "019aa000-0000-7000-8000-000000000004", "gateway": "razorpay"}
_TDS = {
    "source": "tds_income_tax",
    "amount_minor": 20000,
    "reference": "FY2627-Q3",
    "section": "393(1)",
    "rate": "2",
    "base_minor": 1000000,
}


_ALLOCATION = {"invoice_id": "019aa000-0000-7000-8000-000000000004", "amount_minor": 50000}
_REVERSAL = {"reference": "tds_income_tax:FY2627-Q3", "reason": "The certificate is another's."}


@router.get("/payments", summary="List payments")
def list_all(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    page: Paging,
    status: Annotated[PaymentStatus | None, Query()] = None,
    customer_id: Annotated[UUID | None, Query()] = None,
    invoice_id: Annotated[UUID | None, Query()] = None,
    wallet_id: Annotated[UUID | None, Query()] = None,
    attention: Annotated[bool | None, Query(description="Only what needs a look.")] = None,
) -> ListAnswer[PaymentSummary]:
    """Payments, newest first."""
    rows = list_payments(
        session,
        actor,
        status=status,
        customer_id=customer_id,
        invoice_id=invoice_id,
        wallet_id=wallet_id,
        attention=attention,
        **page.fetch,
    )
    return reply.page(rows, page.limit, payment_summary)


@router.post("/payments", status_code=201, summary="Ask for a payment")
def create(
    services: CurrentServices,
    actor: Payer,
    reply: Envelope,
    body: Annotated[NewPayment, Body(examples=[_NEW])],
    idempotency_key: IdempotencyKey = None,
) -> Answer[PaymentAttributes]:
    """Make a page on which an invoice is paid or a wallet filled: `checkout_url`."""
    collector = collector_of(services)
    with read_only(services.engine) as session:
        if body.invoice_id is not None:
            currency = get_invoice(session, actor, body.invoice_id).currency
        elif body.wallet_id is not None:
            currency = get_wallet(session, actor, body.wallet_id).currency
        else:
            currency = ""
    gateway = body.gateway or gateway_for(collector.gateways, None, currency).name
    request = build(RequestPayment, **{**body.model_dump(), "gateway": gateway})
    payment_id = collector.request(actor, request, idempotency_key)
    return _shown(services, actor, reply, payment_id)


@router.get("/payments/{payment_id}", summary="Get a payment")
def get(
    session: ReadSession, actor: Reader, reply: Envelope, payment_id: UUID
) -> Answer[PaymentAttributes]:
    """One payment, with the gateway's names for it and its refunds."""
    return reply.one(shown_payment(session, actor, payment_id))


@router.post("/payments/{payment_id}/look-up", summary="Ask the gateway how a payment stands")
def look_up(
    services: CurrentServices, actor: Payer, reply: Envelope, payment_id: UUID
) -> Answer[PaymentAttributes]:
    """Fetch what the gateway knows, in case its message never came."""
    collector_of(services).look_up(payment_id, actor)
    return _shown(services, actor, reply, payment_id)


@router.post("/payments/{payment_id}/refunds", status_code=201, summary="Refund a payment")
def refund(
    services: CurrentServices,
    actor: Writer,
    reply: Envelope,
    payment_id: UUID,
    body: Annotated[NewRefund, Body(examples=[{"amount_minor": 1000, "reason": "Paid twice"}])],
    idempotency_key: IdempotencyKey = None,
) -> Answer[PaymentAttributes]:
    """Send money back through the gateway it came through."""
    request = build(RequestRefund, payment_id=payment_id, **body.model_dump())
    collector_of(services).refund(actor, request, idempotency_key)
    return _shown(services, actor, reply, payment_id)


@router.post("/payments/{payment_id}/allocations", status_code=201, summary="Allocate a payment")
def allocate(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    payment_id: UUID,
    body: Annotated[NewAllocation, Body(examples=[_ALLOCATION])],
) -> Answer[SettlementLineAttributes]:
    """Set what is left of a payment against another invoice of the same customer."""
    request = build(AllocatePayment, payment_id=payment_id, **body.model_dump())
    return reply.one(line_resource(allocate_payment(ctx, request)))


@router.get("/invoices/{invoice_id}/settlement-lines", summary="List what settles an invoice")
def lines(
    session: ReadSession, actor: Reader, reply: Envelope, invoice_id: UUID
) -> ListAnswer[SettlementLineAttributes]:
    """Payments, wallet, tax deducted at source, write-offs, in the order they were entered."""
    get_invoice(session, actor, invoice_id)
    rows = settlement_lines(session, invoice_id)
    return reply.all(rows, line_resource)


@router.post(
    "/invoices/{invoice_id}/settlement-lines", status_code=201, summary="Add a settlement line"
)
def add_line(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    invoice_id: UUID,
    body: Annotated[SettlementLine, Body(examples=[_TDS])],
) -> Answer[SettlementLineAttributes]:
    """Note what stands for money: tax deducted at source, a difference, a debt given up."""
    request = build(AddSettlementLine, invoice_id=invoice_id, **body.model_dump())
    return reply.one(line_resource(add_settlement_line(ctx, request)))


@router.post(
    "/invoices/{invoice_id}/settlement-lines/reversals",
    status_code=201,
    summary="Take a settlement line back",
)
def reverse_line(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    invoice_id: UUID,
    body: Annotated[Reversal, Body(examples=[_REVERSAL])],
) -> Answer[SettlementLineAttributes]:
    """Take a line back that was entered by mistake."""
    request = build(ReverseSettlementLine, invoice_id=invoice_id, **body.model_dump())
    return reply.one(line_resource(reverse_settlement_line(ctx, request)))


def _shown(
    services: Services, actor: Actor, reply: Envelope, payment_id: UUID
) -> Answer[PaymentAttributes]:
    with read_only(services.engine) as session:
        return reply.one(shown_payment(session, actor, payment_id))


def shown_payment(
    session: ReadSession, actor: Actor, payment_id: UUID
) -> Resource[PaymentAttributes]:
    """A payment that the actor may see, with all that is known of it."""
    payment = get_payment(session, actor, payment_id)
    names = provider_payments_of(session, payment)
    return payment_resource(payment, names, refunds_of(session, payment))
