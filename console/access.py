"""Who is signed in, and which pages a role has.

A session begins with an API key (docs/decisions/0007); only its prefix is kept. The key is looked
up again at every run, so that revoking it ends the session at its next click.
"""

from enum import StrEnum

import streamlit as st
from sqlalchemy import select

from billing.access.actor import Actor
from billing.access.roles import Role
from billing.access.service import authenticate
from billing.access.tables import ApiKey
from billing.db.unit_of_work import read_only
from billing.errors import ForbiddenError, UnauthenticatedError
from billing.settings import Settings
from console.database import clock, engine


class PageName(StrEnum):
    """The pages there are; the value is the path in the address bar."""

    OVERVIEW = "overview"
    USAGE = "usage"
    EVENTS = "events"
    CUSTOMERS = "customers"
    SUBSCRIPTIONS = "subscriptions"
    INVOICES = "invoices"
    DOCUMENTS = "documents"
    EINVOICES = "einvoices"
    TEMPLATES = "templates"
    PAYMENTS = "payments"
    DUNNING = "dunning"
    WALLETS = "wallets"
    PAYMENT_METHODS = "payment_methods"
    REVENUE = "revenue"
    CATALOGUE = "catalogue"
    COUPONS = "coupons"
    SIMULATION = "simulation"
    RATE_DECKS = "rate_decks"


_STAFF = tuple(PageName)
_OWN_DATA = (
    PageName.OVERVIEW,
    PageName.USAGE,
    PageName.SUBSCRIPTIONS,
    PageName.INVOICES,
    PageName.DOCUMENTS,
    PageName.PAYMENTS,
    PageName.WALLETS,
    PageName.PAYMENT_METHODS,
)

PAGES: dict[Role, tuple[PageName, ...]] = {
    Role.SUPER_ADMIN: _STAFF,
    Role.FINANCE_ADMIN: _STAFF,
    Role.PRODUCT_ANALYST: _STAFF,
    Role.DATA_ENGINEER: _STAFF,
    Role.SUPPORT: _STAFF,
    Role.CUSTOMER: _OWN_DATA,
    Role.SENDER: (),
}
"""Which pages a role sees. Hiding a page protects nothing: queries and actions ask again."""

_ACTOR, _PREFIX = "actor", "key_prefix"


def sign_in(key: str) -> Actor:
    """Begin a session.

    Raises:
        UnauthenticatedError: if the key is unknown, expired or revoked.
        ForbiddenError: if its role has nothing to see here.
    """
    with read_only(engine()) as session:
        actor = authenticate(session, key.strip(), Settings.load(), clock())
    if not PAGES[actor.role]:
        raise ForbiddenError(
            f"This key has the role {actor.role.value}, which has no pages in the console. "
            "Sign in with a key of your own."
        )
    st.session_state[_ACTOR] = actor
    st.session_state[_PREFIX] = key.strip().split("_")[1]
    return actor


def current_actor() -> Actor | None:
    """Who is signed in, or None; ends the session if its key has ended or changed."""
    actor = st.session_state.get(_ACTOR)
    if not isinstance(actor, Actor):
        return None
    if not _still_valid(actor):
        sign_out()
        return None
    return actor


def require_actor() -> Actor:
    """Who was found signed in when this run began.

    Raises:
        UnauthenticatedError: if nobody was.
    """
    actor = st.session_state.get(_ACTOR)
    if not isinstance(actor, Actor):
        raise UnauthenticatedError("Your session has ended. Sign in again.")
    return actor


def require_page(actor: Actor, page: PageName) -> None:
    """Refuse a page the actor's role does not have.

    Raises:
        ForbiddenError: if the role lacks it.
    """
    if page not in PAGES[actor.role]:
        raise ForbiddenError(f"The role {actor.role.value} has no page {page.value}.")


def sign_out() -> None:
    """End the session, with everything that was kept for it."""
    st.session_state.clear()


def _still_valid(actor: Actor) -> bool:
    with read_only(engine()) as session:
        row = session.scalars(
            select(ApiKey).filter_by(prefix=st.session_state.get(_PREFIX, ""))
        ).one_or_none()
    now = clock().now()
    return (
        row is not None
        and (row.revoked_at is None or row.revoked_at > now)
        and (row.expires_at is None or row.expires_at > now)
        and (row.role, row.customer_id) == (actor.role, actor.customer_id)
    )
