"""Commands on customers, their tax profiles, accounts and aliases. Nothing here deletes."""

import hashlib
from datetime import date, timedelta
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import Field, field_validator
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.customers.repository import load_account, load_customer
from billing.customers.tables import (
    Account,
    AccountAlias,
    AccountStatus,
    BillingMode,
    Customer,
    SuspensionCause,
    TaxProfile,
)
from billing.customers.tax_profiles import AddTaxProfile, number_and_state
from billing.db.locks import lock_for_transaction
from billing.errors import ConflictError, FieldError, InvalidError, PreconditionError
from billing.money import CURRENCIES
from billing.periods import DEFAULT_ZONE
from billing.settings import Settings

_CODE = r"^[a-z0-9][a-z0-9-]{1,62}$"
_TEXT = r"^[^\x00]*$"
_ALIAS = r"^[A-Za-z0-9_.:@-]{1,128}$"


class CreateCustomer(Request):
    """A new customer."""

    code: str = Field(pattern=_CODE)
    name: str = Field(min_length=1, max_length=200, pattern=_TEXT)
    email: str | None = Field(default=None, max_length=254, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")


class CustomerChanges(Request):
    """New values for what is given."""

    name: str | None = Field(default=None, min_length=1, max_length=200, pattern=_TEXT)
    email: str | None = Field(default=None, max_length=254, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")
    documents_by_mail: bool | None = Field(
        default=None,
        strict=True,
        description="Whether invoices and notes are mailed by themselves as they are issued.",
    )

    @field_validator("name", "documents_by_mail")
    @classmethod
    def _keeps_what_it_has(cls, value: str | bool | None) -> str | bool:
        if value is None:
            raise ValueError("leave it out to keep it; a customer always has one")
        return value


class UpdateCustomer(CustomerChanges):
    """Change one customer."""

    customer_id: UUID


class CreateAccount(Request):
    """A new account of a customer."""

    customer_id: UUID
    code: str = Field(pattern=_CODE)
    name: str = Field(min_length=1, max_length=200, pattern=_TEXT)
    billing_mode: BillingMode
    currency: str = "INR"
    zone: str = DEFAULT_ZONE
    parent_account_id: UUID | None = None
    payment_terms_days: int = Field(default=15, ge=0, le=180)


class AccountChanges(Request):
    """New values for what is given."""

    name: str | None = Field(default=None, min_length=1, max_length=200, pattern=_TEXT)
    journal_answers: bool | None = Field(
        default=None,
        strict=True,
        description="Whether, while PostgreSQL is away, events may be answered 202 as soon as the "
        "journal has them. `false`: 503 until they are in the ledger. `null`: as the server is "
        "configured.",
    )

    payment_terms_days: int | None = Field(default=None, ge=0, le=180)
    parent_account_id: UUID | None = Field(
        default=None, description="`null`: the account stands by itself."
    )

    @field_validator("name", "payment_terms_days")
    @classmethod
    def _keeps_what_it_needs(cls, value: str | int | None) -> str | int:
        if value is None:
            raise ValueError("leave it out to keep it; an account always has one")
        return value


class UpdateAccount(AccountChanges):
    """Change one account."""

    account_id: UUID


class SetAccountStatus(Request):
    """Suspend, reactivate or close an account."""

    account_id: UUID
    status: AccountStatus


class AddAlias(Request):
    """Another name that the account's usage arrives under, from a day on."""

    account_id: UUID
    alias: str = Field(pattern=_ALIAS)
    valid_from: date


class EndAlias(Request):
    """The first day on which an alias no longer holds."""

    account_id: UUID
    alias: str
    valid_to: date


@command("customer.create", Permission.CUSTOMERS_WRITE)
def create_customer(ctx: Context, request: CreateCustomer) -> Customer:
    """Record a new customer."""
    _refuse_taken(ctx.session, Customer, request.code)
    now = ctx.clock.now()
    customer = Customer(**request.model_dump(), created_at=now, updated_at=now)
    ctx.session.add(customer)
    return customer


@command("customer.update", Permission.CUSTOMERS_WRITE)
def update_customer(ctx: Context, request: UpdateCustomer) -> Customer:
    """Change a customer's name or contact; issued documents keep what they said."""
    customer = load_customer(ctx.session, request.customer_id)
    for name in request.model_fields_set - {"customer_id"}:
        setattr(customer, name, getattr(request, name))
    customer.updated_at = ctx.clock.now()
    return customer


@command("tax_profile.add", Permission.CUSTOMERS_WRITE)
def add_tax_profile(ctx: Context, request: AddTaxProfile) -> TaxProfile:
    """Record how a customer is taxed from a day on; what held before stays on record."""
    load_customer(ctx.session, request.customer_id)
    taken = select(TaxProfile.id).filter_by(
        customer_id=request.customer_id, valid_from=request.valid_from
    )
    if ctx.session.scalar(taken):
        raise ConflictError(
            f"There is a tax profile from {request.valid_from} already; use a later day.",
            code="tax_profile_exists",
        )
    profile = TaxProfile(
        **request.model_dump(exclude={"gstin", "state_code"}), **number_and_state(request)
    )
    ctx.session.add(profile)
    return profile


@command("account.create", Permission.CUSTOMERS_WRITE)
def create_account(ctx: Context, request: CreateAccount) -> Account:
    """Open an account for a customer."""
    load_customer(ctx.session, request.customer_id)
    _refuse_taken(ctx.session, Account, request.code)
    _check_account(ctx.session, request)
    now = ctx.clock.now()
    account = Account(
        **request.model_dump(),
        status=AccountStatus.ACTIVE,
        shard=shard_of(request.code, Settings.load().shard_count),
        created_at=now,
        updated_at=now,
    )
    ctx.session.add(account)
    return account


@command("account.update", Permission.CUSTOMERS_WRITE)
def update_account(ctx: Context, request: UpdateAccount) -> Account:
    """Change an account's name, terms or parent, or whether the journal may answer for its events;
    what is billed keeps what it said."""
    account = load_account(ctx.session, request.account_id, lock=True)
    if request.parent_account_id is not None:
        _check_parent(ctx.session, account, request.parent_account_id)
    for name in request.model_fields_set - {"account_id"}:
        setattr(account, name, getattr(request, name))
    account.updated_at = ctx.clock.now()
    return account


@command("account.set_status", Permission.CUSTOMERS_WRITE)
def set_account_status(ctx: Context, request: SetAccountStatus) -> Account:
    """Suspend, reactivate or close; a closed account stays closed."""
    account = load_account(ctx.session, request.account_id, lock=True)
    if account.status is AccountStatus.CLOSED and request.status is not AccountStatus.CLOSED:
        raise PreconditionError("A closed account cannot be opened again.", code="account_closed")
    if request.status is AccountStatus.ACTIVE and account.suspended_for is SuspensionCause.FUNDS:
        raise PreconditionError(
            "The account is suspended for lack of funds: top it up or raise its credit line.",
            code="no_funds",
        )
    by_hand = request.status is AccountStatus.SUSPENDED
    account.suspended_for = SuspensionCause.HAND if by_hand else None
    account.grace_ends_at = None
    account.status = request.status
    account.updated_at = ctx.clock.now()
    return account


@command("account_alias.add", Permission.CUSTOMERS_WRITE)
def add_alias(ctx: Context, request: AddAlias) -> AccountAlias:
    """Let usage arrive under another name; one account at a time holds a name."""
    load_account(ctx.session, request.account_id)
    lock_for_transaction(ctx.session, f"alias:{request.alias}")
    clash = ctx.session.scalar(
        select(AccountAlias).where(
            AccountAlias.alias == request.alias,
            (AccountAlias.valid_to.is_(None)) | (AccountAlias.valid_to > request.valid_from),
        )
    )
    code_of_another = select(Account.id).where(
        Account.code == request.alias, Account.id != request.account_id
    )
    if clash is not None or ctx.session.scalar(code_of_another):
        raise ConflictError(
            f"The name {request.alias} is taken on {request.valid_from}; end it there first.",
            code="alias_taken",
        )
    alias = AccountAlias(**request.model_dump(), valid_to=None)
    ctx.session.add(alias)
    return alias


@command("account_alias.end", Permission.CUSTOMERS_WRITE)
def end_alias(ctx: Context, request: EndAlias) -> AccountAlias:
    """Stop accepting usage under a name from a day on."""
    alias = ctx.session.scalars(
        select(AccountAlias)
        .filter_by(account_id=request.account_id, alias=request.alias, valid_to=None)
        .with_for_update()
    ).one_or_none()
    if alias is None:
        raise PreconditionError(
            f"The account has no open alias {request.alias}.", code="no_such_alias"
        )
    if request.valid_to <= alias.valid_from:
        raise InvalidError(
            "An alias ends after it begins.",
            fields=[FieldError("valid_to", f"use {alias.valid_from + timedelta(days=1)} or later")],
        )
    alias.valid_to = request.valid_to
    return alias


def shard_of(account_code: str, shard_count: int) -> int:
    """The shard of a new account: stable, and evenly spread."""
    digest = hashlib.sha256(account_code.encode()).digest()
    return int.from_bytes(digest[:8], "big") % shard_count


def _refuse_taken(session: Session, table: type[Customer] | type[Account], code: str) -> None:
    if session.scalar(select(table.id).filter_by(code=code)):
        raise ConflictError(f"The code {code} is taken; choose another.", code="code_taken")


def _check_account(session: Session, request: CreateAccount) -> None:
    wrong = []
    if request.currency not in CURRENCIES:
        wrong.append(FieldError("currency", f"use one of {', '.join(sorted(CURRENCIES))}"))
    if request.zone not in available_timezones():
        wrong.append(FieldError("zone", "use a name of the IANA time zone database"))
    if request.parent_account_id is not None:
        parent = load_account(session, request.parent_account_id)
        if parent.customer_id != request.customer_id:
            wrong.append(FieldError("parent_account_id", "the parent belongs to another customer"))
    if wrong:
        raise InvalidError("The account cannot be opened like this.", fields=wrong)


def _check_parent(session: Session, account: Account, parent_id: UUID) -> None:
    """A parent is of the same customer, and no account is above itself."""
    above: Account | None = load_account(session, parent_id)
    if above is not None and above.customer_id != account.customer_id:
        raise InvalidError(
            "The account cannot be changed like this.",
            fields=[FieldError("parent_account_id", "the parent belongs to another customer")],
        )
    while above is not None:
        if above.id == account.id:
            raise ConflictError("The parent is below this account.", code="parent_below")
        above = load_account(session, above.parent_account_id) if above.parent_account_id else None
