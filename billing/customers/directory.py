"""Commands on where a customer is, and whom to ask there."""

from datetime import datetime
from typing import Annotated, Final, Self
from uuid import UUID

from pydantic import Field, model_validator

from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.customers.repository import load_customer
from billing.customers.tables import (
    AddressKind,
    ContactRole,
    CustomerAddress,
    CustomerContact,
)
from billing.errors import not_found
from billing.tax.rules import states

_HOME: Final = "IN"
_Text = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f]*$")]


class AddressFields(Request):
    """A place of a customer."""

    kind: AddressKind
    label: _Text
    """What people call it, such as `Head office`."""
    address_line: _Text
    city: _Text
    postal_code: str = Field(min_length=1, max_length=12, pattern=r"^[^\x00-\x1f]*$")
    state_code: str | None = Field(default=None, pattern=r"^[0-9]{2}$")
    country: str = Field(default=_HOME, pattern=r"^[A-Z]{2}$")

    @model_validator(mode="after")
    def _states_are_indian(self) -> Self:
        if self.state_code is not None and self.country != _HOME:
            raise ValueError("only places in India have a state_code")
        if self.state_code is not None and self.state_code not in states():
            raise ValueError("state_code is not the two-digit GST code of a State")
        return self


class AddAddress(AddressFields):
    """Record a place of one customer."""

    customer_id: UUID


class ContactFields(Request):
    """Somebody at a customer, with at least one way to reach them."""

    role: ContactRole
    name: _Text
    email: str | None = Field(default=None, max_length=254, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")
    phone: str | None = Field(default=None, pattern=r"^\+[1-9][0-9]{6,14}$")
    """In E.164, such as `+919812345678`."""
    gets_documents: bool = True
    """Of a billing contact with an address: whether invoices and notes are mailed there."""

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.email is None and self.phone is None:
            raise ValueError("give an email or a phone")
        return self


class AddContact(ContactFields):
    """Record somebody at one customer."""

    customer_id: UUID


class EndEntry(Request):
    """An address or contact that no longer holds."""

    customer_id: UUID
    entry_id: UUID


class SetContactMail(Request):
    """Whether invoices and notes are mailed to a contact."""

    customer_id: UUID
    entry_id: UUID
    gets_documents: bool


@command("customer_address.add", Permission.CUSTOMERS_WRITE)
def add_address(ctx: Context, request: AddAddress) -> CustomerAddress:
    """Record another place; the one on tax documents is that of the tax profile."""
    load_customer(ctx.session, request.customer_id)
    address = CustomerAddress(**request.model_dump(), created_at=ctx.clock.now())
    ctx.session.add(address)
    return address


@command("customer_address.end", Permission.CUSTOMERS_WRITE)
def end_address(ctx: Context, request: EndEntry) -> CustomerAddress:
    """Say that a place no longer holds; it stays on record."""
    address = ctx.session.get(CustomerAddress, request.entry_id, with_for_update=True)
    if address is None or address.customer_id != request.customer_id:
        raise not_found("address", request.entry_id)
    address.ended_at = _ended(address.ended_at, ctx)
    return address


@command("customer_contact.add", Permission.CUSTOMERS_WRITE)
def add_contact(ctx: Context, request: AddContact) -> CustomerContact:
    """Record somebody who can be asked."""
    load_customer(ctx.session, request.customer_id)
    contact = CustomerContact(**request.model_dump(), created_at=ctx.clock.now())
    ctx.session.add(contact)
    return contact


@command("customer_contact.set_mail", Permission.CUSTOMERS_WRITE)
def set_contact_mail(ctx: Context, request: SetContactMail) -> CustomerContact:
    """Let a contact have invoices and notes by mail, or no longer."""
    contact = _contact(ctx, request)
    contact.gets_documents = request.gets_documents
    return contact


@command("customer_contact.end", Permission.CUSTOMERS_WRITE)
def end_contact(ctx: Context, request: EndEntry) -> CustomerContact:
    """Say that somebody is no longer to be asked; the entry stays on record."""
    contact = _contact(ctx, request)
    contact.ended_at = _ended(contact.ended_at, ctx)
    return contact


def _contact(ctx: Context, request: EndEntry | SetContactMail) -> CustomerContact:
    contact = ctx.session.get(CustomerContact, request.entry_id, with_for_update=True)
    if contact is None or contact.customer_id != request.customer_id:
        raise not_found("contact", request.entry_id)
    return contact


def _ended(ended_at: datetime | None, ctx: Context) -> datetime:
    """When it ended: now, unless it did before."""
    return ended_at or ctx.clock.now()
