"""Commands on saved methods of payment, and on wallets that fill themselves from one."""

from collections.abc import Sequence
from uuid import UUID

from pydantic import Field
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.customers.repository import load_account
from billing.errors import PreconditionError, not_found
from billing.payments.method_tables import AutoTopUp, MethodState, PaymentMethod
from billing.wallets.service import get_wallet


class BeginMethod(Request):
    """For which account a method is to be saved, and where."""

    account_id: UUID
    gateway: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")


class NoteSetup(Request):
    """The page that a gateway made for saving a method."""

    method_id: UUID
    provider_customer_id: str
    provider_setup_id: str
    url: str


class NoteMethod(Request):
    """What the gateway saved."""

    method_id: UUID
    provider_method_id: str
    label: str


class ChangeMethod(Request):
    """The method that is meant."""

    method_id: UUID


class SetAutoTopUp(Request):
    """When a wallet fills itself; amounts are minor units of its currency, exclusive of tax."""

    wallet_id: UUID
    payment_method_id: UUID
    threshold_minor: int = Field(ge=0, lt=2**53)
    credits_minor: int = Field(gt=0, lt=2**53)
    monthly_cap_minor: int = Field(gt=0, lt=2**53)
    most_failures: int = Field(default=3, ge=1, le=10)
    is_on: bool = True


@command("payment_method.begin", Permission.PAYMENTS_CREATE)
def begin_method(ctx: Context, request: BeginMethod) -> PaymentMethod:
    """Note that a customer wants to save a method; the gateway is called afterwards."""
    account = load_account(ctx.session, request.account_id)
    ctx.actor.require_customer(account.customer_id)
    now = ctx.clock.now()
    method = PaymentMethod(
        customer_id=account.customer_id,
        account_id=account.id,
        gateway=request.gateway,
        state=MethodState.PENDING,
        is_default=False,
        created_at=now,
        updated_at=now,
    )
    ctx.session.add(method)
    return method


@command("payment_method.note_setup", Permission.PAYMENTS_WRITE)
def note_setup(ctx: Context, request: NoteSetup) -> PaymentMethod:
    """Write down where a method can be saved."""
    method = _lock(ctx, request.method_id)
    method.provider_customer_id = request.provider_customer_id
    method.provider_setup_id, method.setup_url = request.provider_setup_id, request.url
    method.updated_at = ctx.clock.now()
    return method


@command("payment_method.note_saved", Permission.PAYMENTS_WRITE)
def note_saved(ctx: Context, request: NoteMethod) -> PaymentMethod:
    """Write down what was saved; an account's first method is its default."""
    method = _lock(ctx, request.method_id)
    if method.state is not MethodState.PENDING:
        return method
    method.provider_method_id, method.label = request.provider_method_id, request.label
    method.state, method.updated_at = MethodState.ACTIVE, ctx.clock.now()
    method.is_default = default_method(ctx.session, method.account_id) is None
    return method


@command("payment_method.make_default", Permission.PAYMENTS_CREATE)
def make_default(ctx: Context, request: ChangeMethod) -> PaymentMethod:
    """Let an account's reminders charge this method."""
    method = _lock(ctx, request.method_id)
    _require_active(method)
    ctx.session.execute(
        update(PaymentMethod).filter_by(account_id=method.account_id).values(is_default=False)
    )
    method.is_default, method.updated_at = True, ctx.clock.now()
    return method


@command("payment_method.remove", Permission.PAYMENTS_CREATE)
def remove_method(ctx: Context, request: ChangeMethod) -> PaymentMethod:
    """Charge a method no more; wallets that filled themselves from it stop doing so."""
    method = _lock(ctx, request.method_id)
    method.state, method.is_default = MethodState.REMOVED, False
    method.updated_at = ctx.clock.now()
    for setting in ctx.session.scalars(
        select(AutoTopUp).filter_by(payment_method_id=method.id, is_on=True).with_for_update()
    ):
        setting.is_on, setting.off_reason = False, "Its method of payment was removed."
        setting.updated_at = ctx.clock.now()
    return method


@command("auto_top_up.set", Permission.PAYMENTS_CREATE)
def set_auto_top_up(ctx: Context, request: SetAutoTopUp) -> AutoTopUp:
    """Let a wallet fill itself from a saved method, or stop it.

    Raises:
        PreconditionError: if the method is not one of the wallet's account that can be charged, or
            the monthly cap allows not even one top-up.
    """
    wallet = get_wallet(ctx.session, ctx.actor, request.wallet_id)
    method = _lock(ctx, request.payment_method_id)
    _require_active(method)
    if method.account_id != wallet.account_id:
        raise PreconditionError("That method is another account's.", code="other_party")
    if request.monthly_cap_minor < request.credits_minor:
        raise PreconditionError(
            "The monthly cap must allow one top-up at least.", code="cap_too_small"
        )
    setting = ctx.session.get(AutoTopUp, wallet.id, with_for_update=True)
    if setting is None:
        setting = AutoTopUp(wallet_id=wallet.id)
        ctx.session.add(setting)
    for name, value in request.model_dump(exclude={"wallet_id"}).items():
        setattr(setting, name, value)
    setting.off_reason = None if request.is_on else f"Switched off by {ctx.actor.name}."
    setting.updated_at = ctx.clock.now()
    return setting


def default_method(session: Session, account_id: UUID) -> PaymentMethod | None:
    """What an account's reminders charge."""
    return session.scalars(
        select(PaymentMethod).filter_by(
            account_id=account_id, is_default=True, state=MethodState.ACTIVE
        )
    ).first()


def get_method(session: Session, actor: Actor, method_id: UUID) -> PaymentMethod:
    """A method that the actor may see.

    Raises:
        NotFoundError: if there is none, or it is another customer's.
    """
    actor.require(Permission.PAYMENTS_READ)
    method = session.get(PaymentMethod, method_id)
    if method is None:
        raise not_found("payment method", method_id)
    actor.require_customer(method.customer_id)
    return method


def list_methods(
    session: Session,
    actor: Actor,
    *,
    account_id: UUID | None = None,
    limit: int = 50,
    after: UUID | None = None,
) -> Sequence[PaymentMethod]:
    """Saved methods, newest first."""
    actor.require(Permission.PAYMENTS_READ)
    query = select(PaymentMethod).order_by(PaymentMethod.id.desc()).limit(limit)
    if actor.customer_id is not None:
        query = query.where(PaymentMethod.customer_id == actor.customer_id)
    if account_id is not None:
        query = query.where(PaymentMethod.account_id == account_id)
    if after is not None:
        query = query.where(PaymentMethod.id < after)
    return session.scalars(query).all()


def _lock(ctx: Context, method_id: UUID) -> PaymentMethod:
    method = ctx.session.get(PaymentMethod, method_id, with_for_update=True)
    if method is None:
        raise not_found("payment method", method_id)
    ctx.actor.require_customer(method.customer_id)
    return method


def _require_active(method: PaymentMethod) -> None:
    if method.state is not MethodState.ACTIVE:
        raise PreconditionError(
            f"That method is {method.state.value}; it cannot be charged.", code="not_active"
        )
