"""Who buys: customers with their tax profiles, accounts, and the aliases usage arrives under."""

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from billing.db.base import Base, choices
from billing.ids import new_id
from billing.tax.model import TaxKind


class BillingMode(StrEnum):
    """Whether usage is paid before or after."""

    PREPAID = "prepaid"
    POSTPAID = "postpaid"


class AccountStatus(StrEnum):
    """Whether an account may send."""

    ACTIVE = "active"
    GRACE = "grace"
    """The wallet is below its credit line; sending goes on for a while."""
    SUSPENDED = "suspended"
    CLOSED = "closed"


class SuspensionCause(StrEnum):
    """Why an account is suspended; none is known of those suspended long ago."""

    HAND = "hand"
    FUNDS = "funds"
    """Ends by itself when money comes in."""
    DEBT = "debt"
    """An invoice was not paid in time; ends by itself when it is."""


class Customer(Base):
    """The legal person that contracts with us."""

    __tablename__ = "customers"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(unique=True)
    """A short stable name, such as `acme`."""
    name: Mapped[str]
    email: Mapped[str | None]
    documents_by_mail: Mapped[bool] = mapped_column(default=True)
    """Whether invoices and notes are mailed by themselves as they are issued."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class TaxProfile(Base):
    """What the customer's invoices say and how they are taxed, from a day on."""

    __tablename__ = "tax_profiles"
    __table_args__ = (
        UniqueConstraint("customer_id", "valid_from"),
        CheckConstraint("tax_kind = 'overseas' OR country = 'IN'", name="abroad_is_overseas"),
        CheckConstraint(
            "tax_kind IN ('unregistered', 'overseas') OR gstin IS NOT NULL", name="gstin_present"
        ),
        CheckConstraint(
            "NOT own_establishment OR tax_kind = 'overseas'", name="own_establishment_is_abroad"
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("billing.customers.id"))
    valid_from: Mapped[date]
    tax_kind: Mapped[TaxKind] = mapped_column(choices(TaxKind))
    legal_name: Mapped[str]
    gstin: Mapped[str | None]
    """GSTIN or UIN."""
    address_line: Mapped[str]
    city: Mapped[str]
    postal_code: Mapped[str]
    state_code: Mapped[str | None]
    country: Mapped[str]
    sez_authorised_operations: Mapped[bool] = mapped_column(default=False)
    own_establishment: Mapped[bool] = mapped_column(default=False)


class AddressKind(StrEnum):
    """What an address is for; the one that taxes and documents name is in the tax profile."""

    BILLING = "billing"
    SHIPPING = "shipping"
    OFFICE = "office"
    OTHER = "other"


class CustomerAddress(Base):
    """A place of a customer; ended, never deleted."""

    __tablename__ = "customer_addresses"
    __table_args__ = (
        CheckConstraint("country = 'IN' OR state_code IS NULL", name="state_in_india"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("billing.customers.id"), index=True)
    kind: Mapped[AddressKind] = mapped_column(choices(AddressKind))
    label: Mapped[str]
    address_line: Mapped[str]
    city: Mapped[str]
    postal_code: Mapped[str]
    state_code: Mapped[str | None]
    country: Mapped[str]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class ContactRole(StrEnum):
    """What somebody is asked about."""

    BILLING = "billing"
    TECHNICAL = "technical"
    LEGAL = "legal"
    OTHER = "other"


class CustomerContact(Base):
    """Somebody at a customer; ended, never deleted."""

    __tablename__ = "customer_contacts"
    __table_args__ = (
        CheckConstraint("email IS NOT NULL OR phone IS NOT NULL", name="can_be_reached"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("billing.customers.id"), index=True)
    role: Mapped[ContactRole] = mapped_column(choices(ContactRole))
    name: Mapped[str]
    email: Mapped[str | None]
    phone: Mapped[str | None]
    gets_documents: Mapped[bool] = mapped_column(default=True)
    """Of a billing contact with an address: whether invoices and notes are mailed there."""
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class Account(Base):
    """What usage, subscriptions and a wallet belong to."""

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("parent_account_id <> id", name="not_own_parent"),
        CheckConstraint("grace_hours >= 0", name="grace_hours_not_negative"),
        CheckConstraint("grace_limit_minor >= 0", name="grace_limit_minor_not_negative"),
        CheckConstraint("(status = 'grace') = (grace_ends_at IS NOT NULL)", name="grace_ends"),
        Index(
            "ix_accounts_not_active",
            "status",
            postgresql_where=text("status IN ('grace', 'suspended')"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("billing.customers.id"), index=True)
    parent_account_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.accounts.id"))
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    billing_mode: Mapped[BillingMode] = mapped_column(choices(BillingMode))
    currency: Mapped[str] = mapped_column(ForeignKey("billing.currencies.code"))
    zone: Mapped[str]
    status: Mapped[AccountStatus] = mapped_column(choices(AccountStatus))
    suspended_for: Mapped[SuspensionCause | None] = mapped_column(choices(SuspensionCause))
    grace_hours: Mapped[int] = mapped_column(Integer, default=0)
    """How long sending may go on when the money is used up."""
    grace_limit_minor: Mapped[int] = mapped_column(default=0)
    """How far below the credit line it may go meanwhile."""
    grace_ends_at: Mapped[datetime | None]
    shard: Mapped[int] = mapped_column(Integer)
    journal_answers: Mapped[bool | None]
    """Whether its events may be answered (202) that only the journal has; None: as configured."""
    payment_terms_days: Mapped[int] = mapped_column(Integer, default=15)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class AccountAlias(Base):
    """Another name an account's usage arrives under, for a range of days."""

    __tablename__ = "account_aliases"
    __table_args__ = (
        Index(
            "uq_account_aliases_current",
            "alias",
            unique=True,
            postgresql_where=text("valid_to IS NULL"),
        ),
        CheckConstraint("valid_to > valid_from", name="some_days"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("billing.accounts.id"), index=True)
    alias: Mapped[str] = mapped_column(index=True)
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]


class CurrencyRow(Base):
    """The currencies of `billing.money`, so that the database can refuse others."""

    __tablename__ = "currencies"

    code: Mapped[str] = mapped_column(primary_key=True)
    minor_exponent: Mapped[int] = mapped_column(Integer)
    wallet_exponent: Mapped[int] = mapped_column(Integer)
