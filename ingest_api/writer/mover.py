"""Moving accounts from and to a shard, beside its writer."""

import threading
from contextlib import ExitStack
from time import monotonic
from typing import Final, Self

import psycopg
import structlog
from redis import RedisError

from billing.clock import Clock
from billing.settings import Settings
from billing.wallets.keys import ShardKeys
from billing.wallets.moves_postgres import CHANNEL, MovesPostgresPort
from billing.wallets.moves_redis import MovesRedisPort
from billing.wallets.moving import Mover, Place
from billing.wallets.ports import RebuildNeededError
from ingest_api.writer.connections import open_postgres, open_redis

logger = structlog.get_logger(__name__)

_TIDY_SECONDS: Final = 5.0
_LISTEN_SECONDS: Final = 0.5
_PAUSE_SECONDS: Final = 0.5


class MoverThread:
    """A thread that goes on after any failure: what it left undone, it does again.

    Args:
        keys: of the epoch that the writer follows; with another one there is another thread.
    """

    def __init__(self, settings: Settings, keys: ShardKeys, clock: Clock) -> None:
        self._settings = settings
        self._keys = keys
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"mover-{keys.shard}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        log = logger.bind(shard=self._keys.shard)
        while not self._stop.is_set():
            try:
                self._follow()
            except (psycopg.Error, RedisError, OSError, RebuildNeededError) as error:
                log.warning("moves wait", reason=str(error).partition("\n")[0])
            except Exception:
                log.exception("moves wait")
            self._stop.wait(_PAUSE_SECONDS)

    def _follow(self) -> None:
        url = self._settings.require_redis_url()
        with ExitStack() as open_:
            others: dict[int, MovesRedisPort] = {}

            def reach(shard: int) -> MovesRedisPort:
                if shard not in others:
                    others[shard] = MovesRedisPort(open_.enter_context(open_redis(url, shard)))
                return others[shard]

            connection = open_.enter_context(
                open_postgres(
                    self._settings.require_database_url(), f"billing-mover-{self._keys.shard}"
                )
            )
            connection.execute(f"LISTEN {CHANNEL}")
            mover = Mover(
                MovesPostgresPort(connection, self._clock),
                Place(reach(self._keys.shard), self._keys),
                reach,
                self._clock,
                lambda moment: self._stop.wait(moment.total_seconds()),
            )
            next_tidy = 0.0
            while not self._stop.is_set():
                mover.step()
                if monotonic() >= next_tidy:
                    mover.tidy()
                    next_tidy = monotonic() + _TIDY_SECONDS
                for _ in connection.notifies(timeout=_LISTEN_SECONDS, stop_after=1):
                    pass
