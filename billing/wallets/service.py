"""Commands on wallets: open one, top it up, correct, set its limits; `grants.py` grants."""

from typing import Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.customers.tables import Account, BillingMode
from billing.errors import ConflictError, FieldError, InvalidError, PreconditionError, not_found
from billing.money import WALLET_UNITS_LIMIT, currency, minor_to_units
from billing.payments.advances import tax_received
from billing.periods import DEFAULT_ZONE, local_day
from billing.wallets.ledger import Posting, lock_wallet, post_adjustment, status_of, tax_held
from billing.wallets.tables import (
    AdvancePolicy,
    LedgerAccount,
    LedgerKind,
    Wallet,
    WalletAdjustment,
    WalletStatus,
)

REFERENCE: Final = Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:/-]+$")
NOTE: Final = Field(default="", max_length=500)


class CreateWallet(Request):
    """A wallet for a prepaid account, in the account's currency; amounts in minor units."""

    account_id: UUID
    credit_line_minor: int = Field(default=0, ge=0)
    low_balance_minor: int = Field(default=0, ge=0)


class SetWalletLimits(Request):
    """How far below zero a wallet may go, and when it counts as low; in minor units."""

    wallet_id: UUID
    credit_line_minor: int = Field(ge=0, lt=2**53)
    low_balance_minor: int = Field(ge=0, lt=2**53)


class SetAdvancePolicy(Request):
    """How top-ups of a wallet are taxed."""

    wallet_id: UUID
    policy: AdvancePolicy


class TopUp(Request):
    """Money that came in: credits, exclusive of tax, and the tax that was paid with them."""

    wallet_id: UUID
    amount_minor: int = Field(gt=0, lt=2**53)
    tax_minor: int | None = Field(default=None, ge=0, lt=2**53)
    """None is what is due on the credits by the customer's tax profile of the day."""
    reference: str = REFERENCE
    """Natural key of the payment: the same one is never credited twice."""
    note: str = NOTE


class CorrectWallet(Request):
    """A correction in wallet units, either way, with its reason."""

    wallet_id: UUID
    amount_units: int
    reference: str = REFERENCE
    note: str = Field(min_length=3, max_length=500)


@command("wallet.create", Permission.WALLETS_WRITE)
def create_wallet(ctx: Context, request: CreateWallet) -> Wallet:
    """Open a prepaid account's wallet, empty."""
    account = ctx.session.get(Account, request.account_id, with_for_update=True)
    if account is None:
        raise not_found("account", request.account_id)
    ctx.actor.require_customer(account.customer_id)
    if account.billing_mode is not BillingMode.PREPAID:
        raise PreconditionError("Only prepaid accounts have wallets.", code="not_prepaid")
    if ctx.session.scalar(
        select(Wallet.id).filter_by(account_id=account.id, currency=account.currency)
    ):
        raise ConflictError("The account has a wallet already.", code="wallet_exists")
    now, code = ctx.clock.now(), account.currency
    wallet = Wallet(
        account_id=account.id,
        currency=code,
        shard=account.shard,
        balance_units=0,
        credit_line_units=units_of(request.credit_line_minor, code, "credit_line_minor"),
        low_balance_units=units_of(request.low_balance_minor, code, "low_balance_minor"),
        status=WalletStatus.SUSPENDED,
        created_at=now,
        updated_at=now,
    )
    wallet.status = status_of(wallet)
    ctx.session.add(wallet)
    return wallet


@command("wallet.set_limits", Permission.WALLETS_WRITE)
def set_wallet_limits(ctx: Context, request: SetWalletLimits) -> Wallet:
    """Change the credit line and the low-balance mark."""
    wallet = lock_wallet(ctx.session, get_wallet(ctx.session, ctx.actor, request.wallet_id))
    if wallet.advance_policy is AdvancePolicy.TAX_INVOICE and request.credit_line_minor:
        raise _no_credit()
    wallet.credit_line_units = units_of(
        request.credit_line_minor, wallet.currency, "credit_line_minor"
    )
    wallet.low_balance_units = units_of(
        request.low_balance_minor, wallet.currency, "low_balance_minor"
    )
    wallet.status = status_of(wallet)
    wallet.updated_at = ctx.clock.now()
    return wallet


@command("wallet.set_advance_policy", Permission.INVOICES_APPROVE)
def set_advance_policy(ctx: Context, request: SetAdvancePolicy) -> Wallet:
    """Say what money paid into a wallet from now on is in the eyes of GST.

    Raises:
        PreconditionError: while the wallet holds money that came under another policy, or tax that
            came with it waits for its invoice.
    """
    wallet = lock_wallet(ctx.session, get_wallet(ctx.session, ctx.actor, request.wallet_id))
    if wallet.advance_policy is request.policy:
        return wallet
    if wallet.balance_units > 0 or tax_held(ctx.session, wallet) > 0:
        raise PreconditionError(
            "The wallet holds money that came under the other policy; use it up, invoice it or "
            "refund it first.",
            code="wallet_not_empty",
        )
    if request.policy is AdvancePolicy.TAX_INVOICE and wallet.credit_line_units:
        raise _no_credit()
    wallet.advance_policy, wallet.updated_at = request.policy, ctx.clock.now()
    return wallet


@command("wallet.top_up", Permission.WALLETS_WRITE)
def top_up(ctx: Context, request: TopUp) -> Wallet:
    """Credit a payment: the wallet gains the credits, the tax waits for the invoice."""
    wallet = get_wallet(ctx.session, ctx.actor, request.wallet_id)
    reference = f"top_up:{request.reference}"
    credits_units = units_of(request.amount_minor, wallet.currency, "amount_minor")
    if not _was_posted(ctx.session, wallet, reference, credits_units):
        credit_payment(ctx, wallet, request)
    return wallet


def credit_payment(ctx: Context, wallet: Wallet, request: TopUp) -> WalletAdjustment:
    """Post what came in; the wallet's policy says what it is.

    Raises:
        PreconditionError: if tax is said to have come with it that is not what is due, or what is
            due cannot be told.
        ConflictError: if its reference was posted before.
    """
    credits_units = units_of(request.amount_minor, wallet.currency, "amount_minor")
    tax_units = units_of(_tax_received(ctx, wallet, request), wallet.currency, "tax_minor")
    is_deposit = wallet.advance_policy is AdvancePolicy.DEPOSIT
    tax = [
        Posting(LedgerAccount.TAX_ON_ADVANCES, tax_units),
        Posting(LedgerAccount.CASH, -tax_units),
    ]
    return post_adjustment(
        ctx.session,
        wallet,
        amount_units=credits_units,
        kind=LedgerKind.DEPOSIT if is_deposit else LedgerKind.TOP_UP,
        counter_account=LedgerAccount.CASH,
        reference=f"top_up:{request.reference}",
        note=request.note,
        actor=ctx.actor.name,
        now=ctx.clock.now(),
        further=tax if tax_units else (),
    )


@command("wallet.correct", Permission.WALLETS_WRITE)
def correct_wallet(ctx: Context, request: CorrectWallet) -> Wallet:
    """Correct a balance, visibly."""
    wallet = get_wallet(ctx.session, ctx.actor, request.wallet_id)
    if not request.amount_units or abs(request.amount_units) >= WALLET_UNITS_LIMIT:
        raise InvalidError(
            "A correction must move something, and less than a wallet can hold.",
            fields=[FieldError("amount_units", "must not be 0, and be below 2^53")],
        )
    reference = f"correction:{request.reference}"
    if not _was_posted(ctx.session, wallet, reference, request.amount_units):
        post_adjustment(
            ctx.session,
            wallet,
            amount_units=request.amount_units,
            kind=LedgerKind.CORRECTION,
            counter_account=LedgerAccount.CORRECTION,
            reference=reference,
            note=request.note,
            actor=ctx.actor.name,
            now=ctx.clock.now(),
        )
    return wallet


def get_wallet(session: Session, actor: Actor, wallet_id: UUID) -> Wallet:
    """A wallet that the actor may see.

    Raises:
        NotFoundError: if there is none, or it is another customer's.
    """
    wallet = session.get(Wallet, wallet_id)
    if wallet is None:
        raise not_found("wallet", wallet_id)
    actor.require_customer(session.get_one(Account, wallet.account_id).customer_id)
    return wallet


def _tax_received(ctx: Context, wallet: Wallet, request: TopUp) -> int:
    """The tax that came with credits, in minor units; with a deposit there comes none."""
    if wallet.advance_policy is AdvancePolicy.DEPOSIT:
        if request.tax_minor:
            raise PreconditionError(
                "Money paid into this wallet is a deposit: no tax comes with it.", code="deposit"
            )
        return 0
    return tax_received(
        ctx.session,
        ctx.session.get_one(Account, wallet.account_id).customer_id,
        wallet.currency,
        credits_minor=request.amount_minor,
        said_minor=request.tax_minor,
        day=local_day(ctx.clock.now(), DEFAULT_ZONE),
    )


def _no_credit() -> PreconditionError:
    return PreconditionError(
        "Where tax is charged with the top-up, usage on credit would go untaxed: the credit line "
        "of such a wallet is 0.",
        code="no_credit_line",
    )


def _was_posted(session: Session, wallet: Wallet, reference: str, amount_units: int) -> bool:
    """Whether this reference was credited before; the wallet is locked, so two cannot race.

    Raises:
        ConflictError: if it was, with another amount or on another wallet.
    """
    lock_wallet(session, wallet)
    earlier = session.scalars(select(WalletAdjustment).filter_by(reference=reference)).one_or_none()
    if earlier is None:
        return False
    if (earlier.wallet_id, earlier.amount_units) != (wallet.id, amount_units):
        raise ConflictError(
            f"The reference {reference} was used before with another amount or wallet.",
            code="reference_reused",
        )
    return True


def units_of(amount_minor: int, code: str, field: str) -> int:
    """An amount of a request in wallet units.

    Raises:
        InvalidError: if it is more than a wallet can hold; it names the field.
    """
    units = minor_to_units(amount_minor, currency(code).code)
    if units >= WALLET_UNITS_LIMIT:
        raise InvalidError(
            "The amount is more than a wallet can hold.",
            code="out_of_range",
            fields=[FieldError(field, "is more than a wallet can hold")],
        )
    return units
