"""Commands of finance: money that came by bank, where it belongs, what will not come.

A transfer is a payment like any other, through the gateway `manual`: recorded as a message that
says it was captured, so everything that follows from it is the same.
"""

from datetime import date
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from pydantic import Field, model_validator
from sqlalchemy import select

from billing.access.roles import Permission
from billing.commands import Context, Request, canonical_json, command
from billing.errors import ConflictError, FieldError, InvalidError, PreconditionError
from billing.formatting import format_money
from billing.invoices.repository import default_registration, load_invoice
from billing.invoices.return_periods import hold_open
from billing.invoices.settlement import SettlementSource, settle
from billing.invoices.tables import Invoice, InvoiceAllocation, SupplierRegistration
from billing.payments.effects import allocated_minor
from billing.payments.facts import Fact, FactKind, Notice
from billing.payments.inbox import apply_to, keep, lock_payment
from billing.payments.repository import provider_payments_of
from billing.payments.service import RequestPayment, RequestRefund, open_payment, open_refund
from billing.payments.tables import GatewayEvent, Payment
from billing.periods import DEFAULT_ZONE, local_day, local_midnight
from billing.wallets.service import get_wallet
from billing.wallets.tables import AdvancePolicy

MANUAL: Final = "manual"

_FROM_WALLET: Final = {
    SettlementSource.WALLET.value,
    SettlementSource.DEPOSIT.value,
    SettlementSource.TOP_UP.value,
}

_REFERENCE = Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:/-]+$")


class RecordReceipt(Request):
    """Money that arrived on our account, for an invoice or for a wallet."""

    reference: str = _REFERENCE
    """Of the bank: the same one is never recorded twice."""
    received_on: date
    """The bank's day, in India: an advance is taxed, and is in the return, by it."""
    amount_minor: int = Field(gt=0, lt=2**53)
    invoice_id: UUID | None = None
    wallet_id: UUID | None = None
    credits_minor: int | None = Field(default=None, gt=0, lt=2**53)
    note: str = Field(default="", max_length=500)

    @model_validator(mode="after")
    def _one_purpose(self) -> "RecordReceipt":
        if (self.invoice_id is None) == (self.wallet_id is None):
            raise ValueError("name either an invoice_id or a wallet_id")
        if (self.wallet_id is None) != (self.credits_minor is None):
            raise ValueError("credits_minor belongs to a wallet_id, and a wallet_id needs it")
        return self


class BankRefund(Request):
    """Money that left our account, back to whom it came from."""

    reference: str = _REFERENCE
    """Of the bank: the same one is never recorded twice."""
    sent_on: date
    """The bank's day, in India."""
    amount_minor: int = Field(gt=0, lt=2**53)
    reason: str = Field(min_length=3, max_length=500)


class RecordRefund(BankRefund):
    """Of which transfer that came in."""

    payment_id: UUID


class AllocatePayment(Request):
    """Set what is left of a payment against another invoice of the same customer."""

    payment_id: UUID
    invoice_id: UUID
    amount_minor: int = Field(gt=0, lt=2**53)


class SettlementLine(Request):
    """What stands for money: tax the customer deducted, a difference, a debt given up."""

    source: Literal["tds_income_tax", "tds_gst", "write_off", "fx_difference"]
    amount_minor: int = Field(gt=0, lt=2**53)
    reference: str = _REFERENCE
    section: str | None = Field(default=None, max_length=40)
    """Of tax deducted: the section, such as `393(1)`."""
    rate: Decimal | None = Field(default=None, ge=0, le=100)
    base_minor: int | None = Field(default=None, gt=0)
    certificate: str | None = Field(default=None, max_length=80)
    note: str = Field(default="", max_length=500)


class AddSettlementLine(SettlementLine):
    """Such a line for an invoice."""

    invoice_id: UUID


class ReverseSettlementLine(Request):
    """Take a settlement line back that was entered by mistake."""

    invoice_id: UUID
    reference: str = Field(min_length=1, max_length=200)
    reason: str = Field(min_length=3, max_length=500)


@command("payment.record", Permission.PAYMENTS_WRITE)
def record_receipt(ctx: Context, request: RecordReceipt) -> Payment:
    """Record money that came without a gateway, and set it against what it is for.

    Raises:
        ConflictError: if that reference was recorded before with other particulars.
        InvalidError: if it is said to have arrived in the future.
        PreconditionError: if it is an advance of a month whose return is locked.
    """
    today = local_day(ctx.clock.now(), DEFAULT_ZONE)
    if request.received_on > today:
        raise InvalidError(
            "Money cannot have arrived in the future.",
            fields=[FieldError("received_on", "must not be after today")],
        )
    earlier = _recorded_before(ctx, request)
    if earlier is not None:
        return earlier
    asked = RequestPayment(
        gateway=MANUAL,
        invoice_id=request.invoice_id,
        wallet_id=request.wallet_id,
        credits_minor=request.credits_minor,
    )
    _require_open_month(ctx, request)
    payment = open_payment(ctx, asked, day=request.received_on)
    if request.received_on < today:
        payment.captured_at = local_midnight(request.received_on, DEFAULT_ZONE)
        ctx.session.flush()
    fact = Fact(
        FactKind.CAPTURED,
        provider_payment_id=request.reference,
        amount_minor=request.amount_minor,
        currency=payment.currency,
    )
    _take_note(ctx, payment, request, "receipt.recorded", fact)
    return payment


@command("payment.record_refund", Permission.PAYMENTS_WRITE)
def record_refund(ctx: Context, request: RecordRefund) -> Payment:
    """Record that a transfer, or part of it, was sent back from our bank.

    Raises:
        ConflictError: if that reference was recorded before with other particulars.
        InvalidError: if it is said to have been sent in the future.
        PreconditionError: if it came through a gateway, more than is left of it went back, or the
            wallet no longer holds the credits.
    """
    if request.sent_on > local_day(ctx.clock.now(), DEFAULT_ZONE):
        raise InvalidError(
            "Money cannot have been sent in the future.",
            fields=[FieldError("sent_on", "must not be after today")],
        )
    earlier = _recorded_before(ctx, request)
    if earlier is not None:
        return earlier
    payment = lock_payment(ctx.session, request.payment_id)
    if payment.gateway != MANUAL:
        raise PreconditionError(
            f"This came through {payment.gateway}: refund it there.", code="not_by_bank"
        )
    asked = RequestRefund(
        payment_id=payment.id, amount_minor=request.amount_minor, reason=request.reason
    )
    open_refund(ctx, payment, asked).provider_refund_id = request.reference
    ctx.session.flush()
    fact = Fact(
        FactKind.REFUNDED,
        provider_payment_id=provider_payments_of(ctx.session, payment)[0],
        amount_minor=request.amount_minor,
        currency=payment.currency,
        refund_id=request.reference,
    )
    _take_note(ctx, payment, request, "refund.recorded", fact)
    return payment


@command("payment.allocate", Permission.PAYMENTS_WRITE)
def allocate_payment(ctx: Context, request: AllocatePayment) -> InvoiceAllocation:
    """Set what is left of a payment against an invoice.

    Raises:
        PreconditionError: if less is left, or the invoice is another customer's or in another
            currency.
    """
    payment = lock_payment(ctx.session, request.payment_id)
    ctx.actor.require_customer(payment.customer_id)
    invoice = load_invoice(ctx.session, request.invoice_id, lock=True)
    if (invoice.customer_id, invoice.currency) != (payment.customer_id, payment.currency):
        raise PreconditionError(
            "A payment settles invoices of its own customer in its own currency only.",
            code="other_party",
        )
    left = payment.net_minor - allocated_minor(ctx.session, payment)
    if payment.invoice_id is None or request.amount_minor > left:
        left = left if payment.invoice_id else 0
        raise PreconditionError(
            f"Of this payment {format_money(left, payment.currency)} is left.",
            code="more_than_left",
            details={"left_minor": left},
        )
    return settle(
        ctx.session,
        invoice,
        SettlementSource.PAYMENT,
        request.amount_minor,
        ctx.clock.now(),
        payment=payment.id,
    )


@command("invoice.settle", Permission.PAYMENTS_WRITE)
def add_settlement_line(ctx: Context, request: AddSettlementLine) -> InvoiceAllocation:
    """Settle part of an invoice with something that is not money; a write-off needs an approver.

    Raises:
        ForbiddenError: if a debt is given up by somebody who may not approve invoices.
        PreconditionError: if the debt is above what one person may decide.
        ConflictError: if that reference stands on the invoice already with another amount.
    """
    if request.source == "write_off":
        ctx.actor.require(Permission.INVOICES_APPROVE)
    invoice = load_invoice(ctx.session, request.invoice_id, lock=True)
    ctx.actor.require_customer(invoice.customer_id)
    if request.source == "write_off":
        _require_small(ctx, invoice, request.amount_minor)
    reference = f"{request.source}:{request.reference}"
    earlier = _line(ctx, request.invoice_id, reference)
    if earlier is not None:
        if earlier.amount_minor != request.amount_minor:
            raise ConflictError(
                f"{reference} stands on this invoice with another amount.", code="reference_reused"
            )
        return earlier
    details = request.model_dump(
        mode="json",
        exclude={"invoice_id", "source", "amount_minor", "reference"},
        exclude_none=True,
    )
    return settle(
        ctx.session,
        invoice,
        SettlementSource(request.source),
        request.amount_minor,
        ctx.clock.now(),
        reference=reference,
        details=details,
    )


@command("invoice.reverse_settlement", Permission.PAYMENTS_WRITE)
def reverse_settlement_line(ctx: Context, request: ReverseSettlementLine) -> InvoiceAllocation:
    """Take a line back; what came from a payment or a wallet is taken back where it came from.

    Raises:
        PreconditionError: if there is no such line, or it is money.
    """
    invoice = load_invoice(ctx.session, request.invoice_id, lock=True)
    ctx.actor.require_customer(invoice.customer_id)
    line = _line(ctx, request.invoice_id, request.reference)
    if line is None or line.payment_id is not None or line.source in _FROM_WALLET:
        raise PreconditionError(
            "Only a line that was entered by hand can be taken back; refund money instead.",
            code="not_reversible",
        )
    reference = f"reversal:{request.reference}"
    return _line(ctx, request.invoice_id, reference) or settle(
        ctx.session,
        invoice,
        SettlementSource.REVERSAL,
        -line.amount_minor,
        ctx.clock.now(),
        reference=reference,
        details={"reason": request.reason},
    )


def _recorded_before(ctx: Context, request: RecordReceipt | RecordRefund) -> Payment | None:
    """The payment that this entry of the bank was recorded for, if it was."""
    earlier = ctx.session.get(GatewayEvent, (MANUAL, request.reference))
    if earlier is None:
        return None
    if earlier.body != canonical_json(request).encode() or earlier.payment_id is None:
        raise ConflictError(
            f"{request.reference} was recorded before with other particulars.",
            code="reference_reused",
        )
    return lock_payment(ctx.session, earlier.payment_id)


def _take_note(
    ctx: Context, payment: Payment, request: RecordReceipt | RecordRefund, kind: str, fact: Fact
) -> None:
    """Keep what the bank did as a message, and apply it as one of a gateway is applied."""
    notice = Notice(request.reference, kind, (fact,), reference=str(payment.id))
    keep(ctx.session, ctx, MANUAL, notice, canonical_json(request).encode())
    event = ctx.session.get_one(GatewayEvent, (MANUAL, request.reference))
    apply_to(ctx, lock_payment(ctx.session, payment.id), [event])


def _require_open_month(ctx: Context, request: RecordReceipt) -> None:
    """An advance is in table 11A of the month in which it came; that return must still be made."""
    if request.wallet_id is None:
        return
    wallet = get_wallet(ctx.session, ctx.actor, request.wallet_id)
    supplier = default_registration(ctx.session)
    if supplier is None or wallet.advance_policy is not AdvancePolicy.RECEIPT_VOUCHER:
        return
    try:
        hold_open(ctx.session, supplier.gstin, request.received_on)
    except PreconditionError as locked:
        raise PreconditionError(
            f"An advance received on {request.received_on} belongs in table 11A of "
            f"{request.received_on:%Y-%m}, and that return of {supplier.gstin} is locked. Agree "
            "with finance how it is amended; here it can only be recorded as received in a month "
            "that is still open.",
            code="return_period_locked",
        ) from locked


def _require_small(ctx: Context, invoice: Invoice, amount_minor: int) -> None:
    supplier = ctx.session.scalars(
        select(SupplierRegistration).filter_by(gstin=invoice.supplier_gstin)
    ).one_or_none()
    limit = supplier.second_approval_above_minor if supplier else None
    # the limit is in paise; what one person may give up abroad is not said, so two decide
    if limit is not None and (invoice.currency != "INR" or amount_minor > limit):
        raise PreconditionError(
            "A debt of that size is given up by two persons: propose a write-off.",
            code="second_person",
        )


def _line(ctx: Context, invoice_id: UUID, reference: str) -> InvoiceAllocation | None:
    return ctx.session.scalars(
        select(InvoiceAllocation).filter_by(invoice_id=invoice_id, reference=reference)
    ).one_or_none()
