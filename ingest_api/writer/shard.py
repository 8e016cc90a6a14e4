"""The writer of one shard: reads the journal, applies it, and keeps Redis true to PostgreSQL.

Only one is active per shard: it holds an advisory lock of PostgreSQL, which the server lets go
when the connection dies. Should two ever run at once, the shard's row lock and cursor let one win.
"""

import threading
from typing import Any, Final

import psycopg
import structlog
from psycopg import Connection
from redis import Redis, RedisError

from billing.clock import Clock
from billing.failpoints import failpoint
from billing.usage.apply import apply_batch, prepare_connection
from billing.usage.batch import START, Applied, Batch, CursorMovedError, KeyRaceError, Position
from billing.usage.days import KnownDays
from billing.wallets.keys import ShardKeys
from billing.wallets.mirror import (
    RebuildNeededError,
    compensate,
    compensations_of,
    require_current,
    sync_wallets,
)
from billing.wallets.rebuild import rebuild
from ingest_api.writer.connections import open_postgres, open_redis
from ingest_api.writer.reader import Reader
from ingest_api.writer.relay import Relay

logger = structlog.get_logger(__name__)

MOST_EVENTS: Final = 5_000
"""Events in one transaction, or one read more."""

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_STANDBY_SECONDS: Final = 0.5
_WAIT_SECONDS: Final = 0.1

_LOCK = "SELECT pg_try_advisory_lock(hashtext('billing.writer'), %s)"
_STATE = "SELECT epoch, cursor_ms, cursor_seq FROM usage.shard_state WHERE shard = %s"
_NEW_SHARD = """
INSERT INTO usage.shard_state (shard, epoch, cursor_ms, cursor_seq, accept_seq, mode)
VALUES (%s, 1, 0, 0, 0, 'open') ON CONFLICT DO NOTHING
"""


class ShardWriter:
    """Runs until `stop` is set, through restarts of PostgreSQL and Redis."""

    def __init__(
        self,
        shard: int,
        database_url: str,
        redis_url: str,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        self.shard = shard
        self._database_url = database_url
        self._redis_url = redis_url
        self._clock = clock
        self._stop = stop
        self._days = KnownDays()
        self._cursor = START
        self._pause = _FIRST_PAUSE
        self._log = logger.bind(shard=shard)

    def run(self) -> None:
        """Write; after a failure, wait a little longer each time and begin again."""
        while not self._stop.is_set():
            try:
                self._session()
            except (psycopg.Error, RedisError, OSError) as error:
                self._log.warning("away", reason=_first_line(error), retry_in=self._pause)
                self._rest()
            except Exception:  # noqa: BLE001 - a writer that ends helps nobody
                self._log.exception("unexpected", retry_in=self._pause)
                self._rest()
        self._log.info("stopped")

    def _rest(self) -> None:
        self._stop.wait(self._pause)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _session(self) -> None:
        with (
            open_postgres(self._database_url, f"billing-writer-{self.shard}") as connection,
            open_redis(self._redis_url) as redis,
        ):
            if not self._become_active(connection):
                return
            prepare_connection(connection)
            connection.execute(_NEW_SHARD, [self.shard])
            self._days = KnownDays()
            self._log.info("active")
            while not self._stop.is_set():
                try:
                    self._serve(connection, redis)
                except RebuildNeededError as need:
                    self._log.warning("rebuilding", reason=str(need))
                    epoch = rebuild(
                        connection,
                        redis,
                        self.shard,
                        now=self._clock.now(),
                        apply=lambda batch: self._apply(connection, batch),
                    )
                    self._log.warning("rebuilt", epoch=epoch)
                except CursorMovedError as moved:
                    self._log.warning("reading the cursor again", reason=str(moved))

    def _become_active(self, connection: Connection[Any]) -> bool:
        """Wait until no other writer holds the shard; False if we are to stop instead."""
        waiting = False
        while not self._stop.is_set():
            row = connection.execute(_LOCK, [self.shard]).fetchone()
            if row is not None and row[0]:
                return True
            if not waiting:
                self._log.info("standing by")
                waiting = True
            self._stop.wait(_STANDBY_SECONDS)
        return False

    def _serve(self, connection: Connection[Any], redis: "Redis") -> None:
        """Follow the stream of the current epoch."""
        row = connection.execute(_STATE, [self.shard]).fetchone()
        if row is None:
            raise psycopg.OperationalError("the shard's state is gone")
        keys = ShardKeys(self.shard, row[0])
        self._cursor = Position(row[1], row[2])
        require_current(redis, keys, self._cursor)
        sync_wallets(connection, redis, keys)
        compensate(redis, keys, compensations_of(connection, keys))
        self._log.info("following", epoch=keys.epoch, cursor=str(self._cursor))
        self._pause = _FIRST_PAUSE
        relay = Relay(self._database_url, self._redis_url, keys, self._clock, lambda: self._cursor)
        with open_redis(self._redis_url) as own, Reader(own, keys, self._cursor) as reader, relay:
            while not self._stop.is_set():
                if relay.failure is not None:
                    raise relay.failure
                entries = reader.take(MOST_EVENTS, _WAIT_SECONDS)
                if entries:
                    failpoint("writer.after_read")
                    batch = Batch(self.shard, keys.epoch, self._cursor, tuple(entries))
                    applied = self._apply(connection, batch)
                    failpoint("writer.after_commit")
                    self._cursor = applied.cursor
                    compensate(redis, keys, applied.compensations)

    def _apply(self, connection: Connection[Any], batch: Batch) -> Applied:
        while True:
            try:
                applied = apply_batch(connection, batch, now=self._clock.now(), days=self._days)
            except KeyRaceError:
                continue
            if applied.exceptional:
                self._log.warning("not simply new", entries=len(applied.exceptional))
            return applied


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
