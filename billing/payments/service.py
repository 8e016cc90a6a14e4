"""Commands on payments: ask for one, note what our calls led to, give money back."""

from datetime import date
from typing import Final, TypeVar
from uuid import UUID

from pydantic import Field, model_validator
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.customers.tables import Account
from billing.errors import FieldError, InvalidError, PreconditionError
from billing.formatting import format_money
from billing.invoices.repository import load_invoice
from billing.invoices.settlement import outstanding_minor
from billing.invoices.tables import Invoice, InvoiceStatus
from billing.money import minor_to_units, split
from billing.payments.advances import tax_on_advance
from billing.payments.facts import DisputeState, PaymentStatus
from billing.payments.inbox import lock_payment
from billing.payments.tables import Payment, PaymentPurpose, Refund, RefundState
from billing.periods import DEFAULT_ZONE, local_day
from billing.wallets.ledger import lock_wallet
from billing.wallets.service import get_wallet
from billing.wallets.tables import AdvancePolicy, Wallet

T = TypeVar("T")

STILL_OPEN: Final = (PaymentStatus.CREATED, PaymentStatus.PENDING, PaymentStatus.AUTHORISED)


class RequestPayment(Request):
    """What to collect: an invoice's open amount, or credits for a wallet."""

    gateway: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")
    invoice_id: UUID | None = None
    wallet_id: UUID | None = None
    credits_minor: int | None = Field(default=None, gt=0, lt=2**53)
    """Of a top-up, exclusive of tax, in minor units."""

    @model_validator(mode="after")
    def _one_purpose(self) -> "RequestPayment":
        if (self.invoice_id is None) == (self.wallet_id is None):
            raise ValueError("name either an invoice_id or a wallet_id")
        if (self.wallet_id is None) != (self.credits_minor is None):
            raise ValueError("credits_minor belongs to a wallet_id, and a wallet_id needs it")
        return self


class RequestRefund(Request):
    """Money to give back."""

    payment_id: UUID
    amount_minor: int = Field(gt=0, lt=2**53)
    reason: str = Field(min_length=3, max_length=500)


@command("payment.request", Permission.PAYMENTS_CREATE)
def request_payment(ctx: Context, request: RequestPayment) -> Payment:
    """Ask for a payment; the gateway is called afterwards, outside of the transaction.

    An invoice for which a payment by the same gateway is still open gives that one again: two
    links for one debt are paid twice.
    """
    return open_payment(ctx, request)


def open_payment(ctx: Context, request: RequestPayment, day: date | None = None) -> Payment:
    """The payment that a request is about: one that is still open, or a new one.

    Args:
        day: on which its money came, if it came already; tax on an advance is that day's.
    """
    if request.invoice_id is not None:
        return _for_invoice(ctx, load_invoice(ctx.session, request.invoice_id, lock=True), request)
    wallet = get_wallet(ctx.session, ctx.actor, _given(request.wallet_id, "wallet_id"))
    credits_minor = _given(request.credits_minor, "credits_minor")
    return top_up_payment(ctx, wallet, credits_minor, request.gateway, day=day)


@command("payment.refund", Permission.PAYMENTS_WRITE)
def request_refund(ctx: Context, request: RequestRefund) -> Refund:
    """Note that money is to go back; the gateway is called afterwards.

    Raises:
        PreconditionError: if it is more than what came in and is not yet going back, or the wallet
            no longer holds the credits.
    """
    return open_refund(ctx, lock_payment(ctx.session, request.payment_id), request)


def open_refund(ctx: Context, payment: Payment, request: RequestRefund) -> Refund:
    """A refund of a locked payment that nothing is known of yet, if there is so much to refund.

    Raises:
        PreconditionError: if it is more than what came in and is not yet going back, or the wallet
            no longer holds the credits.
    """
    ctx.actor.require_customer(payment.customer_id)
    left = payment.captured_minor - max(_going_back(ctx.session, payment), payment.refunded_minor)
    if request.amount_minor > left:
        raise PreconditionError(
            f"Of this payment {format_money(left, payment.currency)} can still be refunded.",
            code="more_than_refundable",
            details={"refundable_minor": left},
        )
    if payment.purpose is PaymentPurpose.TOP_UP:
        _require_credits(ctx.session, payment, request.amount_minor)
    now = ctx.clock.now()
    refund = Refund(
        payment_id=payment.id,
        amount_minor=request.amount_minor,
        reason=request.reason,
        state=RefundState.REQUESTED,
        requested_by=ctx.actor.name,
        created_at=now,
        updated_at=now,
    )
    ctx.session.add(refund)
    return refund


def _for_invoice(ctx: Context, invoice: Invoice, request: RequestPayment) -> Payment:
    ctx.actor.require_customer(invoice.customer_id)
    if invoice.status is not InvoiceStatus.DUE:
        raise PreconditionError(
            f"This invoice is {invoice.status.value}; only one that is due can be paid.",
            code="not_due",
        )
    amount_minor = outstanding_minor(invoice)
    earlier = ctx.session.scalars(
        select(Payment)
        .filter_by(invoice_id=invoice.id, gateway=request.gateway, amount_minor=amount_minor)
        .where(Payment.status.in_(STILL_OPEN), Payment.payment_method_id.is_(None))
    ).first()
    if earlier is not None:
        return earlier
    return new_payment(
        ctx,
        purpose=PaymentPurpose.INVOICE,
        customer_id=invoice.customer_id,
        account_id=invoice.account_id,
        invoice_id=invoice.id,
        gateway=request.gateway,
        currency=invoice.currency,
        amount_minor=amount_minor,
    )


def top_up_payment(
    ctx: Context,
    wallet: Wallet,
    credits_minor: int,
    gateway: str,
    method_id: UUID | None = None,
    day: date | None = None,
) -> Payment:
    """A payment for credits and the tax on them, by a page or by a saved method.

    Args:
        day: whose tax is due; today's if none is named.
    """
    account = ctx.session.get_one(Account, wallet.account_id)
    day = day or local_day(ctx.clock.now(), DEFAULT_ZONE)
    tax_minor = 0
    if wallet.advance_policy is not AdvancePolicy.DEPOSIT:
        tax_minor = tax_on_advance(
            ctx.session, account.customer_id, credits_minor, wallet.currency, day
        )
    return new_payment(
        ctx,
        purpose=PaymentPurpose.TOP_UP,
        customer_id=account.customer_id,
        account_id=account.id,
        wallet_id=wallet.id,
        gateway=gateway,
        currency=wallet.currency,
        amount_minor=credits_minor + tax_minor,
        credits_minor=credits_minor,
        payment_method_id=method_id,
    )


def new_payment(ctx: Context, **fields: object) -> Payment:
    """A payment that nothing is known of yet; the gateway is called once it is on record."""
    now = ctx.clock.now()
    payment = Payment(
        status=PaymentStatus.CREATED,
        dispute=DisputeState.NONE,
        captured_minor=0,
        refunded_minor=0,
        created_at=now,
        updated_at=now,
        **fields,
    )
    ctx.session.add(payment)
    ctx.session.flush()
    return payment


def _going_back(session: Session, payment: Payment) -> int:
    """Refunds that were asked for and did not fail, whether or not the gateway made them yet."""
    total = session.scalar(
        select(func.coalesce(func.sum(Refund.amount_minor), 0)).where(
            Refund.payment_id == payment.id, Refund.state != RefundState.FAILED
        )
    )
    return int(total or 0)


def _require_credits(session: Session, payment: Payment, amount_minor: int) -> None:
    wallet = lock_wallet(session, session.get_one(Wallet, payment.wallet_id))
    credits_minor = payment.credits_minor or 0
    share = split(amount_minor, [credits_minor, payment.amount_minor - credits_minor])[0]
    if wallet.balance_units < minor_to_units(share, payment.currency):
        raise PreconditionError(
            "The wallet no longer holds the credits of this payment; only what is unused can be "
            "refunded.",
            code="credits_used",
        )


def _given(value: T | None, field: str) -> T:
    if value is None:
        raise InvalidError(
            f"A payment into a wallet needs `{field}`.", fields=[FieldError(field, "is missing")]
        )
    return value
