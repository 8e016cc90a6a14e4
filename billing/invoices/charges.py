"""Charges by hand: what a person adds to the invoice of an account and month.

They join the rated lines when drafts are made, and are taxed, settled and printed like those.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.customers.tables import Account
from billing.errors import FieldError, InvalidError, PreconditionError, not_found
from billing.fields import ExactDecimal
from billing.invoices.beside import CustomCharge
from billing.invoices.consolidation import issued_for
from billing.money import to_minor


class PricedItem(Request):
    """Something sold by quantity and price; the amount is rounded once."""

    description: str = Field(min_length=1, max_length=300)
    sac: str = Field(default="998413", pattern=r"^99[0-9]{4}$")
    quantity: ExactDecimal = Field(default=Decimal(1), gt=0, max_digits=20, decimal_places=6)
    unit: str = Field(default="unit", min_length=1, max_length=40)
    unit_price: ExactDecimal = Field(ge=0, max_digits=20, decimal_places=8)
    """Exclusive of tax, in the account's currency."""

    def amount_minor(self, currency: str) -> int:
        """Quantity times price, rounded once.

        Raises:
            InvalidError: if that is nothing.
        """
        amount_minor = to_minor(self.quantity * self.unit_price, currency)
        if amount_minor <= 0:
            raise InvalidError(
                f"{self.description}: the amount rounds to nothing.",
                fields=[FieldError("unit_price", "the amount must be at least one minor unit")],
            )
        return amount_minor


class AddCharge(PricedItem):
    """Put a charge on what an account is invoiced for a month."""

    account_id: UUID
    invoice_month: date
    """Its first day."""


class CancelCharge(Request):
    """Take a charge off again, before its month is invoiced."""

    charge_id: UUID


@command("custom_charge.add", Permission.INVOICES_WRITE)
def add_charge(ctx: Context, request: AddCharge) -> CustomCharge:
    """Add a charge; it stands on the draft when the month's drafts are made again.

    Raises:
        InvalidError: if the month is not written by its first day, or the amount is nothing.
        PreconditionError: if the month was invoiced; a custom invoice takes its place then.
    """
    if request.invoice_month.day != 1:
        raise InvalidError(
            "A month is named by its first day.", fields=[FieldError("invoice_month", "day 1")]
        )
    account = ctx.session.get(Account, request.account_id)
    if account is None:
        raise not_found("account", request.account_id)
    _refuse_invoiced(ctx.session, account.id, request.invoice_month)
    charge = CustomCharge(
        **request.model_dump(),
        amount_minor=request.amount_minor(account.currency),
        created_by=ctx.actor.name,
        created_at=ctx.clock.now(),
    )
    ctx.session.add(charge)
    return charge


@command("custom_charge.cancel", Permission.INVOICES_WRITE)
def cancel_charge(ctx: Context, request: CancelCharge) -> CustomCharge:
    """Take a charge off; cancelled twice, it is off.

    Raises:
        PreconditionError: if its month was invoiced with it; a credit note corrects that.
    """
    charge = ctx.session.get(CustomCharge, request.charge_id, with_for_update=True)
    if charge is None:
        raise not_found("custom charge", request.charge_id)
    if charge.cancelled_at is None:
        _refuse_invoiced(ctx.session, charge.account_id, charge.invoice_month)
        charge.cancelled_at = ctx.clock.now()
    return charge


def charges_of(
    session: Session, invoice_month: date, account_id: UUID | None = None
) -> Sequence[tuple[CustomCharge, Account]]:
    """The charges of a month that were not cancelled, in the order they were made."""
    query = (
        select(CustomCharge, Account)
        .join(Account, Account.id == CustomCharge.account_id)
        .where(CustomCharge.invoice_month == invoice_month, CustomCharge.cancelled_at.is_(None))
        .order_by(CustomCharge.id)
    )
    if account_id is not None:
        query = query.where(CustomCharge.account_id == account_id)
    return [(charge, account) for charge, account in session.execute(query)]


def list_charges(
    session: Session,
    actor: Actor,
    *,
    account_id: UUID | None = None,
    invoice_month: date | None = None,
    limit: int = 50,
    after: UUID | None = None,
) -> Sequence[CustomCharge]:
    """Charges, newest first, cancelled ones too."""
    actor.require(Permission.INVOICES_READ)
    query = select(CustomCharge).order_by(CustomCharge.id.desc()).limit(limit)
    if account_id is not None:
        query = query.where(CustomCharge.account_id == account_id)
    if invoice_month is not None:
        query = query.where(CustomCharge.invoice_month == invoice_month)
    if after is not None:
        query = query.where(CustomCharge.id < after)
    return session.scalars(query).all()


def _refuse_invoiced(session: Session, account_id: UUID, invoice_month: date) -> None:
    issued = issued_for(session, account_id, invoice_month)
    if issued is not None:
        raise PreconditionError(
            f"{invoice_month:%Y-%m} is invoiced ({issued}); correct it with a note, or make a "
            "custom invoice.",
            code="already_billed",
        )
