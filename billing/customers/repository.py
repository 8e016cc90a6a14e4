"""Reading customers and accounts, within what the actor may see."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.customers.tables import (
    Account,
    AccountAlias,
    AccountStatus,
    BillingMode,
    ContactRole,
    Customer,
    CustomerAddress,
    CustomerContact,
    TaxProfile,
)
from billing.errors import not_found
from billing.tax.model import TaxKind


def load_customer(session: Session, customer_id: UUID) -> Customer:
    """One customer, whoever asks; for commands.

    Raises:
        NotFoundError: if there is none.
    """
    customer = session.get(Customer, customer_id)
    if customer is None:
        raise not_found("customer", customer_id)
    return customer


def load_account(session: Session, account_id: UUID, *, lock: bool = False) -> Account:
    """One account, whoever asks; for commands.

    Args:
        lock: hold the row until the transaction ends.

    Raises:
        NotFoundError: if there is none.
    """
    account = session.get(Account, account_id, with_for_update=lock or None)
    if account is None:
        raise not_found("account", account_id)
    return account


def get_customer(session: Session, actor: Actor, customer_id: UUID) -> Customer:
    """One customer that the actor may see."""
    actor.require(Permission.CUSTOMERS_READ)
    actor.require_customer(customer_id)
    return load_customer(session, customer_id)


def get_account(session: Session, actor: Actor, account_id: UUID) -> Account:
    """One account that the actor may see."""
    actor.require(Permission.CUSTOMERS_READ)
    account = load_account(session, account_id)
    actor.require_customer(account.customer_id)
    return account


@dataclass(frozen=True, slots=True)
class CustomerFilter:
    """Which customers are wanted; None wants all."""

    search: str | None = None
    """Part of a code, a name, an e-mail address, a GSTIN, or an account's code or alias."""
    tax_kind: TaxKind | None = None
    """As taxed by the newest profile; so is the State."""
    state_code: str | None = None
    currency: str | None = None
    """Of one of its accounts; so are mode and status."""
    billing_mode: BillingMode | None = None
    account_status: AccountStatus | None = None


def list_customers(
    session: Session,
    actor: Actor,
    wanted: CustomerFilter | None = None,
    *,
    limit: int = 50,
    after: UUID | None = None,
) -> Sequence[Customer]:
    """Customers by id, one page at a time.

    Args:
        after: the id of the last customer of the page before.
    """
    actor.require(Permission.CUSTOMERS_READ)
    query = select(Customer).order_by(Customer.id).limit(limit)
    if actor.customer_id is not None:
        query = query.where(Customer.id == actor.customer_id)
    for condition in _conditions(wanted or CustomerFilter()):
        query = query.where(condition)
    if after is not None:
        query = query.where(Customer.id > after)
    return session.scalars(query).all()


def _conditions(wanted: CustomerFilter) -> Iterator[ColumnElement[bool]]:
    later = aliased(TaxProfile)
    newest = (
        select(func.max(later.valid_from))
        .where(later.customer_id == TaxProfile.customer_id)
        .scalar_subquery()
    )
    if wanted.search:
        yield _found(wanted.search)
    if wanted.tax_kind is not None or wanted.state_code is not None:
        profile = select(TaxProfile.id).where(
            TaxProfile.customer_id == Customer.id, TaxProfile.valid_from == newest
        )
        if wanted.tax_kind is not None:
            profile = profile.where(TaxProfile.tax_kind == wanted.tax_kind)
        if wanted.state_code is not None:
            profile = profile.where(TaxProfile.state_code == wanted.state_code)
        yield exists(profile)
    account = select(Account.id).where(Account.customer_id == Customer.id)
    asked = False
    for column, value in (
        (Account.currency, wanted.currency),
        (Account.billing_mode, wanted.billing_mode),
        (Account.status, wanted.account_status),
    ):
        if value is not None:
            account, asked = account.where(column == value), True
    if asked:
        yield exists(account)


def _found(text: str) -> ColumnElement[bool]:
    """Whether a text is part of what names a customer."""

    def has(column: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
        return column.icontains(text, autoescape=True)

    mine = Account.customer_id == Customer.id
    named = (
        select(AccountAlias.id)
        .join(Account, Account.id == AccountAlias.account_id)
        .where(mine, has(AccountAlias.alias))
    )
    profile = TaxProfile.customer_id == Customer.id
    return or_(
        has(Customer.code),
        has(Customer.name),
        has(Customer.email),
        exists(select(TaxProfile.id).where(profile, has(TaxProfile.gstin))),
        exists(select(Account.id).where(mine, or_(has(Account.code), has(Account.name)))),
        exists(named),
    )


def list_addresses(session: Session, actor: Actor, customer_id: UUID) -> Sequence[CustomerAddress]:
    """A customer's places, those that hold first."""
    get_customer(session, actor, customer_id)
    return session.scalars(
        select(CustomerAddress)
        .filter_by(customer_id=customer_id)
        .order_by(CustomerAddress.ended_at.desc().nulls_first(), CustomerAddress.id)
    ).all()


def list_contacts(session: Session, actor: Actor, customer_id: UUID) -> Sequence[CustomerContact]:
    """Whom a customer lets us ask, those to be asked now first."""
    get_customer(session, actor, customer_id)
    return session.scalars(
        select(CustomerContact)
        .filter_by(customer_id=customer_id)
        .order_by(CustomerContact.ended_at.desc().nulls_first(), CustomerContact.id)
    ).all()


def list_accounts(
    session: Session,
    actor: Actor,
    *,
    customer_id: UUID | None = None,
    status: AccountStatus | None = None,
    limit: int = 50,
    after: UUID | None = None,
) -> Sequence[Account]:
    """Accounts by id, one page at a time."""
    actor.require(Permission.CUSTOMERS_READ)
    query = select(Account).order_by(Account.id).limit(limit)
    for wanted in (actor.customer_id, customer_id):
        if wanted is not None:
            query = query.where(Account.customer_id == wanted)
    if status is not None:
        query = query.where(Account.status == status)
    if after is not None:
        query = query.where(Account.id > after)
    return session.scalars(query).all()


def list_tax_profiles(session: Session, actor: Actor, customer_id: UUID) -> Sequence[TaxProfile]:
    """A customer's tax profiles, the newest first."""
    get_customer(session, actor, customer_id)
    return session.scalars(
        select(TaxProfile).filter_by(customer_id=customer_id).order_by(TaxProfile.valid_from.desc())
    ).all()


def list_aliases(session: Session, actor: Actor, account_id: UUID) -> Sequence[AccountAlias]:
    """An account's aliases, past ones too."""
    get_account(session, actor, account_id)
    return session.scalars(
        select(AccountAlias)
        .filter_by(account_id=account_id)
        .order_by(AccountAlias.valid_from, AccountAlias.alias)
    ).all()


def contacts_by_mail(session: Session, customer_id: UUID) -> list[str]:
    """The addresses of a customer's billing contacts who get documents.

    A customer without any billing contact is written to at its own address.
    """
    contacts = session.scalars(
        select(CustomerContact)
        .where(
            CustomerContact.customer_id == customer_id,
            CustomerContact.role == ContactRole.BILLING,
            CustomerContact.ended_at.is_(None),
            CustomerContact.email.is_not(None),
        )
        .order_by(CustomerContact.id)
    ).all()
    if contacts:
        found = [one.email for one in contacts if one.email and one.gets_documents]
        return list(dict.fromkeys(found))
    own = session.get_one(Customer, customer_id).email
    return [own] if own else []
