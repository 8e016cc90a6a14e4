"""How the writer reaches PostgreSQL and Redis: with limits, so that nothing hangs for ever."""

from typing import Any

import psycopg
from psycopg import Connection
from redis import Redis

from billing.wallets.connect import open_any, open_shard

_OPTIONS = (
    "-c timezone=UTC -c statement_timeout=30000 -c lock_timeout=5000 "
    "-c idle_in_transaction_session_timeout=10000 -c tcp_keepalives_idle=5"
)
REDIS_TIMEOUT_SECONDS = 5
_TIMEOUTS = {
    "socket_timeout": REDIS_TIMEOUT_SECONDS,
    "socket_connect_timeout": REDIS_TIMEOUT_SECONDS,
}


def open_postgres(url: str, application: str) -> Connection[Any]:
    """A connection that begins no transaction by itself."""
    return psycopg.connect(
        url,
        autocommit=True,
        connect_timeout=5,
        application_name=application,
        options=_OPTIONS,
        prepare_threshold=3,
    )


def open_redis(url: str, shard: int | None = None, *, pinned: bool = False) -> "Redis":
    """A client that tells of a failure at once: what to repeat is decided here, not by it.

    Args:
        shard: whose server it is; all of them if not given.
        pinned: connect now, and fail when this one connection breaks. A pool would make another
            without a word if it broke while idle, and the server may have lost data meanwhile.
    """
    if shard is None:
        return open_any(url, **_TIMEOUTS)
    return open_shard(url, shard, pinned=pinned, **_TIMEOUTS)
