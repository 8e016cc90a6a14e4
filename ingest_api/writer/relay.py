"""Carrying committed wallet changes to Redis, and trimming what nobody needs any more."""

import threading
from datetime import timedelta
from time import monotonic
from typing import Any, Final, Self
from uuid import UUID

from psycopg import Connection

from billing.clock import Clock
from billing.failpoints import failpoint
from billing.settings import Settings
from billing.usage.batch import Position
from billing.usage.event import microseconds
from billing.wallets.audit import Auditor, PostgresToAudit, RedisToAudit
from billing.wallets.hold_store import forget_holds
from billing.wallets.memory import RedisMemory, read_memory
from billing.wallets.mirror import sync_wallets
from billing.wallets.news import tell_news
from billing.wallets.news_store import NewsPostgresPort, NewsRedisPort
from billing.wallets.ports import JournalPoint
from billing.wallets.postgres_port import PostgresPort
from billing.wallets.quota_bases import fill_bases
from billing.wallets.redis_port import RedisPort
from billing.wallets.retention import Recoverable, read_archiver
from billing.wallets.writer import WriterCore
from ingest_api.writer.connections import open_postgres, open_redis

CHANNEL: Final = "billing_wallets"

_SWEEP_SECONDS: Final = 5.0
_AUDIT_SECONDS: Final = 1.0
_EXPIRY_SECONDS: Final = 1.0
_LISTEN_SECONDS: Final = 0.2
_EPOCHS_BEFORE: Final = 100
"""Whose streams are kept as long as it is not known what is archived."""


class Relay:
    """A thread that applies adjustments to Redis as they are committed."""

    def __init__(
        self, settings: Settings, core: WriterCore, clock: Clock, recoverable: Recoverable
    ) -> None:
        self._settings = settings
        self._recoverable = recoverable
        self._core = core
        self._keys = core.keys
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"relay-{self._keys.shard}")
        self.failure: Exception | None = None
        """Why it ended, if by itself."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._follow()
        except Exception as error:  # noqa: BLE001 - whatever it is, the writer decides
            self.failure = error

    def _follow(self) -> None:
        application = f"billing-relay-{self._keys.shard}"
        with (
            open_redis(self._settings.require_redis_url(), self._keys.shard) as client,
            open_postgres(self._settings.require_database_url(), application) as connection,
        ):
            redis, postgres = RedisPort(client), PostgresPort(connection, self._clock)
            books = PostgresToAudit(connection, self._clock)
            auditor = Auditor(books, RedisToAudit(client), self._keys)
            told = NewsRedisPort(client), NewsPostgresPort(connection)
            connection.execute(f"LISTEN {CHANNEL}")
            next_sweep = next_audit = next_expiry = 0.0
            while not self._stop.is_set():
                if monotonic() >= next_audit:
                    auditor.check()
                    next_audit = monotonic() + _AUDIT_SECONDS
                if monotonic() >= next_sweep:
                    # also catches what was committed before we listened
                    sync_wallets(postgres, redis, self._keys)
                    failpoint("relay.before_trim")
                    self._trim(redis, connection, read_memory(client.info("memory")))
                    next_sweep = monotonic() + _SWEEP_SECONDS
                if monotonic() >= next_expiry:
                    redis.expire_holds(self._keys, self._clock.now())
                    tell_news(*told, self._keys, self._core.cursor, self._clock.now())
                    forget_holds(connection, self._keys.shard, self._clock.now())
                    fill_bases(*told, self._keys, self._core.cursor, self._clock.now())
                    next_expiry = monotonic() + _EXPIRY_SECONDS
                notices = list(connection.notifies(timeout=_LISTEN_SECONDS, stop_after=1))
                if notices:
                    notices += connection.notifies(timeout=0)
                    changed = {UUID(notice.payload) for notice in notices}
                    sync_wallets(postgres, redis, self._keys, sorted(changed))

    def _trim(self, redis: RedisPort, connection: Connection[Any], memory: RedisMemory) -> None:
        cursor = JournalPoint(self._keys.epoch, self._core.cursor)
        safe = self._recoverable.look(read_archiver(connection), cursor)
        if safe is None or safe.epoch < self._keys.epoch:
            since = self._keys.epoch - _EPOCHS_BEFORE if safe is None else safe.epoch
            redis.keep_streams(self._keys, max(since, 1))
        else:
            redis.trim(self._keys, min(self._trim_point(memory), safe.position))

    def _trim_point(self, memory: RedisMemory) -> Position:
        """Never beyond the cursor: the entry there proves that Redis is not an older copy.

        Long before new events would be refused, what PostgreSQL has gives way.
        """
        if memory.is_above(self._settings.redis_full_percent // 2):
            return self._core.cursor
        keep = timedelta(minutes=self._settings.journal_keep_minutes)
        oldest_kept = microseconds(self._clock.now() - keep) // 1000
        return min(self._core.cursor, Position(max(oldest_kept, 0), 0))
