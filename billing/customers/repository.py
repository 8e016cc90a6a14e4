"""Reading customers and accounts, within what the actor may see."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.customers.tables import Account, AccountAlias, AccountStatus, Customer, TaxProfile
from billing.errors import not_found


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


def list_customers(
    session: Session,
    actor: Actor,
    *,
    search: str | None = None,
    limit: int = 50,
    after: UUID | None = None,
) -> Sequence[Customer]:
    """Customers by id, one page at a time.

    Args:
        search: part of the code or the name, in any case.
        after: the id of the last customer of the page before.
    """
    actor.require(Permission.CUSTOMERS_READ)
    query = select(Customer).order_by(Customer.id).limit(limit)
    if actor.customer_id is not None:
        query = query.where(Customer.id == actor.customer_id)
    if search:
        query = query.where(
            or_(
                Customer.code.icontains(search, autoescape=True),
                Customer.name.icontains(search, autoescape=True),
            )
        )
    if after is not None:
        query = query.where(Customer.id > after)
    return session.scalars(query).all()


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
