"""The writer of one shard: reads the journal, applies it, and keeps Redis true to PostgreSQL.

Only one is active per shard: it holds an advisory lock of PostgreSQL, which the server lets go
when the connection dies. Should two ever run at once, the shard's row lock and cursor let one win.
"""

import threading
from contextlib import ExitStack
from time import monotonic
from typing import Any, Final

import psycopg
import structlog
from psycopg import Connection
from redis import Redis, RedisError

from billing.clock import Clock
from billing.settings import Settings
from billing.usage.batch import CursorMovedError
from billing.wallets.ports import RebuildNeededError
from billing.wallets.postgres_port import PostgresPort
from billing.wallets.redis_port import RedisPort
from billing.wallets.retention import Recoverable
from billing.wallets.writer import WriterCore, give_way
from ingest_api.writer.connections import open_postgres, open_redis
from ingest_api.writer.mover import MoverThread
from ingest_api.writer.reader import Reader
from ingest_api.writer.refill import Refill
from ingest_api.writer.relay import Relay

logger = structlog.get_logger(__name__)

MOST_EVENTS: Final = 10_000
"""Events in one transaction, or one read more."""

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_STANDBY_SECONDS: Final = 0.5
_SMALL_BATCH: Final = 250
_GATHERING: Final = 0.005
"""From the beginning of a small batch to that of the next one at least, so that many small ones do
not take half the machine; and where a batch takes long, half as long again, up to that."""
_WAIT_SECONDS: Final = 0.1

_LOCK = "SELECT pg_try_advisory_lock(hashtext('billing.writer'), %s)"


class ShardWriter:
    """Runs until `stop` is set, through restarts of PostgreSQL and Redis."""

    def __init__(self, shard: int, settings: Settings, clock: Clock, stop: threading.Event) -> None:
        self.shard = shard
        self._settings = settings
        self._database_url = settings.require_database_url()
        self._redis_url = settings.require_redis_url()
        self._clock = clock
        self._stop = stop
        self._pause = _FIRST_PAUSE
        self._recoverable = Recoverable()
        self._redis_seen = monotonic()
        """When Redis last did what it was asked."""
        self._log = logger.bind(shard=shard)

    def run(self) -> None:
        """Write; after a failure, wait a little longer each time and begin again."""
        while not self._stop.is_set():
            try:
                self._session()
            except (psycopg.Error, OSError) as error:
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
        application = f"billing-writer-{self.shard}"
        with open_postgres(self._database_url, application) as connection:
            if not self._become_active(connection):
                return
            self._log.info("active")
            self._redis_seen = monotonic()
            postgres = PostgresPort(connection, self._clock)
            while not self._stop.is_set():
                try:
                    with open_redis(self._redis_url, self.shard) as redis:
                        self._serve(WriterCore(self.shard, postgres, RedisPort(redis)))
                except RebuildNeededError as need:
                    self._log.warning("Redis is not what it should be", reason=str(need))
                except CursorMovedError as moved:
                    self._log.warning("reading the cursor again", reason=str(moved))
                except RedisError as error:
                    self._redis_is_away(postgres, error)

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

    def _redis_is_away(self, postgres: PostgresPort, error: RedisError) -> None:
        self._log.warning("Redis away", reason=_first_line(error), retry_in=self._pause)
        if monotonic() - self._redis_seen >= self._settings.direct_after_seconds:
            give_way(postgres, self.shard)
        self._rest()

    def _serve(self, core: WriterCore) -> None:
        """Follow the stream of the current epoch."""
        with open_redis(self._redis_url, self.shard, pinned=True) as own:
            own.ping()
            self._follow(core, own, made_anew=core.begin())

    def _follow(self, core: WriterCore, own: "Redis", *, made_anew: bool) -> None:
        keys = core.keys
        self._redis_seen, self._pause = monotonic(), _FIRST_PAUSE
        self._log.info("following", epoch=keys.epoch, cursor=str(core.cursor))
        with ExitStack() as helpers:
            reader = helpers.enter_context(Reader(own, keys, core.cursor))
            relay = helpers.enter_context(
                Relay(self._settings, core, self._clock, self._recoverable)
            )
            if self._settings.shard_count > 1:
                helpers.enter_context(MoverThread(self._settings, keys, self._clock))
            if made_anew:
                helpers.enter_context(Refill(self._settings, keys, self._clock))
            while not self._stop.is_set():
                if relay.failure is not None:
                    raise relay.failure
                entries = reader.take(MOST_EVENTS, _WAIT_SECONDS)
                self._redis_seen = reader.heard_at
                if entries:
                    began = monotonic()
                    core.apply(entries)
                    self._redis_seen = monotonic()  # the reader may have waited for us
                    if sum(entry.count for entry in entries) < _SMALL_BATCH:
                        took = monotonic() - began
                        self._stop.wait(max(_GATHERING - took, min(took / 2, _GATHERING)))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
