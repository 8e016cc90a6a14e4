"""Engines: one way to open the database, with limits that keep a stuck query from spreading."""

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.engine import URL

_STATEMENT_TIMEOUT_MS = 60_000
_LOCK_TIMEOUT_MS = 5_000


def psycopg_url(url: str) -> URL:
    """The URL with the psycopg 3 driver named, whatever form it was given in."""
    return make_url(url).set(drivername="postgresql+psycopg")


def open_engine(url: str, *, application: str, pool_size: int = 5) -> Engine:
    """An engine for the domain.

    Args:
        url: a `postgresql://` URL.
        application: shown in `pg_stat_activity`.
        pool_size: connections kept open; as many again may be opened under load.
    """
    return create_engine(
        psycopg_url(url),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        connect_args={
            "application_name": application,
            "connect_timeout": 10,
            "options": (
                f"-c timezone=UTC -c statement_timeout={_STATEMENT_TIMEOUT_MS} "
                f"-c lock_timeout={_LOCK_TIMEOUT_MS}"
            ),
        },
    )
