"""How the console reads: who may, confined to whom, cached or not.

A query is a function whose first parameter is the customer it is confined to, or None for staff.
The marks below turn it into one that takes an actor instead, so that no page can forget to ask.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

import psycopg.errors
import streamlit as st
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.db.unit_of_work import read_only
from billing.errors import UnavailableError
from console.database import engine

MART_SECONDS = 60
"""How old a number from the marts may be; the pipeline moves them far more slowly."""

P = ParamSpec("P")
T = TypeVar("T")
Query = Callable[Concatenate[UUID | None, P], T]
ActorQuery = Callable[Concatenate[Actor, P], T]


def mart(permission: Permission) -> Callable[[Query[P, T]], ActorQuery[P, T]]:
    """Mark a query of the marts: cached for all staff together, never for a customer."""

    def mark(function: Query[P, T]) -> ActorQuery[P, T]:
        cached = st.cache_data(ttl=MART_SECONDS, scope="global", show_spinner=False)(function)

        @wraps(function)
        def read(actor: Actor, /, *args: P.args, **kwargs: P.kwargs) -> T:
            actor.require(permission)
            if actor.customer_id is None:
                return cached(None, *args, **kwargs)
            return function(actor.customer_id, *args, **kwargs)

        return read

    return mark


def live(permission: Permission) -> Callable[[Query[P, T]], ActorQuery[P, T]]:
    """Mark a query of the domain's own tables: always fresh."""

    def mark(function: Query[P, T]) -> ActorQuery[P, T]:
        @wraps(function)
        def read(actor: Actor, /, *args: P.args, **kwargs: P.kwargs) -> T:
            actor.require(permission)
            return function(actor.customer_id, *args, **kwargs)

        return read

    return mark


def fetch(statement: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
    """Run one reading statement with bound parameters.

    Raises:
        UnavailableError: `reports_missing` before the pipeline first ran, `database_away` when
            PostgreSQL does not answer.
    """
    try:
        with read_only(engine()) as session:
            return [tuple(row) for row in session.execute(text(statement), dict(parameters))]
    except ProgrammingError as error:
        if isinstance(error.orig, psycopg.errors.UndefinedTable):
            raise UnavailableError(
                "The reports are not built yet. They appear after the pipeline has run once.",
                code="reports_missing",
            ) from error
        raise
    except OperationalError as error:
        raise UnavailableError(
            "The database does not answer. Try again in a moment.", code="database_away"
        ) from error


def built(read: Callable[[], T]) -> T | None:
    """What a query of the marts answers, or None as long as the pipeline has not built them."""
    try:
        return read()
    except UnavailableError as error:
        if error.code != "reports_missing":
            raise
        return None
