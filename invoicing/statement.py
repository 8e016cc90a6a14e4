"""A statement of account: what was invoiced and what was set against it, over some days.

It is no document of GST: it has no number and asks for nothing that its invoices do not ask for.
"""

from datetime import date, timedelta
from enum import StrEnum
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, model_validator
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.customers.tables import Account, Customer
from billing.errors import FieldError, InvalidError, not_found
from billing.invoices.repository import default_registration
from billing.invoices.tables import Invoice, InvoiceAllocation, InvoiceStatus
from billing.periods import DEFAULT_ZONE, Period, local_day
from billing.tax.einvoice import DocumentType

_ISSUED = (InvoiceStatus.DUE, InvoiceStatus.PAID)
_NAMES = {
    DocumentType.INVOICE: "Invoice",
    DocumentType.DEBIT_NOTE: "Debit note",
    DocumentType.BILL_OF_SUPPLY: "Bill of supply",
    DocumentType.STATEMENT: "Statement of usage",
}


class EntryKind(StrEnum):
    """Which way an entry goes."""

    CHARGED = "charged"
    SETTLED = "settled"


class Entry(BaseModel):
    """One entry; `amount_minor` is negative where it lowers what is owed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    day: date
    kind: EntryKind
    text: str
    reference: str
    amount_minor: int
    balance_minor: int
    """What was owed after it."""


class Statement(BaseModel):
    """What an account owed at the start, what happened, and what it owes at the end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    supplier_name: str
    customer_name: str
    customer_code: str
    account_name: str
    currency: str
    start: date
    end: date
    """The first day after it."""
    opening_minor: int
    entries: tuple[Entry, ...]
    closing_minor: int

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        moved = sum(entry.amount_minor for entry in self.entries)
        if self.opening_minor + moved != self.closing_minor:
            raise ValueError("the closing balance is not the opening one and the entries")
        return self

    @property
    def charged_minor(self) -> int:
        """Everything that was invoiced."""
        return sum(one.amount_minor for one in self.entries if one.kind is EntryKind.CHARGED)

    @property
    def settled_minor(self) -> int:
        """Everything that was set against invoices, as a positive number."""
        return -sum(one.amount_minor for one in self.entries if one.kind is EntryKind.SETTLED)


def statement_of(
    session: Session, actor: Actor, account_id: UUID, start: date, end: date
) -> Statement:
    """The statement of an account.

    Args:
        start: first day, of India.
        end: first day after it.

    Raises:
        InvalidError: if it does not end after it starts.
        NotFoundError: if there is no such account, or not for this actor.
    """
    actor.require(Permission.INVOICES_READ)
    if end <= start:
        raise InvalidError(
            "A statement ends after it starts.", fields=[FieldError("end", "after start")]
        )
    account = session.get(Account, account_id)
    if account is None:
        raise not_found("account", account_id)
    actor.require_customer(account.customer_id)
    customer = session.get_one(Customer, account.customer_id)
    supplier = default_registration(session)
    opening = _charged_before(session, account_id, start) - _settled_before(
        session, account_id, start
    )
    entries = _entries(session, account_id, start, end, opening)
    return Statement(
        supplier_name=supplier.legal_name if supplier else "",
        customer_name=customer.name,
        customer_code=customer.code,
        account_name=account.name,
        currency=account.currency,
        start=start,
        end=end,
        opening_minor=opening,
        entries=tuple(entries),
        closing_minor=entries[-1].balance_minor if entries else opening,
    )


def _charged_before(session: Session, account_id: UUID, day: date) -> int:
    return int(
        session.scalar(
            select(func.coalesce(func.sum(Invoice.total_minor), 0)).where(
                Invoice.account_id == account_id,
                Invoice.status.in_(_ISSUED),
                Invoice.issue_date < day,
            )
        )
        or 0
    )


def _settled_before(session: Session, account_id: UUID, day: date) -> int:
    instant, _ = Period(day, day + timedelta(days=1)).instants(DEFAULT_ZONE)
    return int(
        session.scalar(
            select(func.coalesce(func.sum(InvoiceAllocation.amount_minor), 0))
            .join(Invoice, Invoice.id == InvoiceAllocation.invoice_id)
            .where(
                Invoice.account_id == account_id,
                Invoice.status.in_(_ISSUED),
                InvoiceAllocation.recorded_at < instant,
            )
        )
        or 0
    )


def _entries(
    session: Session, account_id: UUID, start: date, end: date, opening_minor: int
) -> list[Entry]:
    invoices = session.scalars(
        select(Invoice).where(
            Invoice.account_id == account_id,
            Invoice.status.in_(_ISSUED),
            Invoice.issue_date >= start,
            Invoice.issue_date < end,
        )
    )
    first, last = Period(start, end).instants(DEFAULT_ZONE)
    settled = session.execute(
        select(InvoiceAllocation, Invoice.number)
        .join(Invoice, Invoice.id == InvoiceAllocation.invoice_id)
        .where(
            Invoice.account_id == account_id,
            Invoice.status.in_(_ISSUED),
            InvoiceAllocation.recorded_at >= first,
            InvoiceAllocation.recorded_at < last,
        )
    )
    # An invoice stands before what settled it on the same day.
    rows = [
        (
            row.issue_date or row.period_end,
            0,
            row.issued_at or row.created_at,
            EntryKind.CHARGED,
            _NAMES.get(row.document_type, "Invoice"),
            row.number or "",
            row.total_minor,
        )
        for row in invoices
    ] + [
        (
            local_day(line.recorded_at, DEFAULT_ZONE),
            1,
            line.recorded_at,
            EntryKind.SETTLED,
            line.source.replace("_", " ").capitalize(),
            number or "",
            -line.amount_minor,
        )
        for line, number in settled
    ]
    entries: list[Entry] = []
    balance = opening_minor
    for day, _, _, kind, text, reference, amount_minor in sorted(
        rows, key=lambda row: (*row[:3], row[5])
    ):
        balance += amount_minor
        entries.append(
            Entry(
                day=day,
                kind=kind,
                text=text,
                reference=reference,
                amount_minor=amount_minor,
                balance_minor=balance,
            )
        )
    return entries
