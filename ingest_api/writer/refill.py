"""After Redis was made anew: filling in what it can do without at first."""

import threading
from typing import Self

import psycopg
import structlog
from redis import RedisError

from billing.clock import Clock
from billing.settings import Settings
from billing.wallets.keys import ShardKeys
from billing.wallets.ports import RebuildNeededError
from billing.wallets.postgres_port import PostgresPort
from billing.wallets.rebuild import refill
from billing.wallets.redis_port import RedisPort
from ingest_api.writer.connections import open_postgres, open_redis

logger = structlog.get_logger(__name__)


class Refill:
    """A thread that writes the keys of recent events, and drops what old epochs left.

    Should it fail, nothing is lost: an event that Redis does not know is debited and given back.
    """

    def __init__(self, settings: Settings, keys: ShardKeys, clock: Clock) -> None:
        self._settings = settings
        self._keys = keys
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"refill-{keys.shard}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        log = logger.bind(shard=self._keys.shard, epoch=self._keys.epoch)
        application = f"billing-refill-{self._keys.shard}"
        try:
            with (
                open_redis(self._settings.require_redis_url(), self._keys.shard) as redis,
                open_postgres(self._settings.require_database_url(), application) as connection,
            ):
                postgres = PostgresPort(connection, self._clock)
                refill(postgres, RedisPort(redis), self._keys, self._clock, self._stop.is_set)
            log.info("refilled", cut_short=self._stop.is_set())
        except (psycopg.Error, RedisError, OSError, RebuildNeededError) as error:
            log.warning("not refilled", reason=str(error))
