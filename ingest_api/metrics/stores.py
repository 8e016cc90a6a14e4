"""Metrics that the two stores hold, read when they are asked for; the writer serves them."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from time import monotonic
from typing import Any, Final

import psycopg
import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis import RedisError

from billing.clock import Clock
from billing.settings import Settings
from billing.usage.batch import Position
from billing.usage.tables import ShardMode
from billing.wallets.connect import memory_info
from billing.wallets.keys import ShardKeys
from billing.wallets.memory import read_memory
from ingest_api.metrics.lag import EntryLag
from ingest_api.writer.connections import open_postgres, open_redis

logger = structlog.get_logger(__name__)

_FRESH_SECONDS: Final = 2.0

_SHARDS = (
    "SELECT shard, epoch, cursor_ms, cursor_seq, accept_seq, mode FROM usage.shard_state "
    "ORDER BY shard"
)
_COUNTS: Final = {
    "billing_quarantined_entries": (
        "Journal entries set aside and not settled.",
        "SELECT count(*) FROM usage.quarantine WHERE status = 'open'",
    ),
    "billing_wallet_drifts_open": (
        "Wallets that are not equal in Redis, PostgreSQL and the ledger.",
        "SELECT count(*) FROM usage.wallet_drifts WHERE settled_at IS NULL",
    ),
}
_TOTALS: Final = {
    "billing_wallet_drifts": (
        "Wallets ever found not to be equal.",
        "SELECT count(*) FROM usage.wallet_drifts",
    ),
    "billing_compensations": (
        "Second debits given back.",
        "SELECT count(*) FROM usage.redis_compensations",
    ),
    "billing_event_conflicts": (
        "Events sent again with another body.",
        "SELECT count(*) FROM usage.event_conflicts",
    ),
}


class StoresCollector(Collector):
    """Asks PostgreSQL and Redis; what was read serves for two seconds."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: list[Metric] = []
        self._fresh_until = 0.0
        self._lags: dict[ShardKeys, EntryLag] = {}

    def describe(self) -> Iterable[Metric]:
        """Nothing: asking the stores while being registered would delay the start."""
        return []

    def collect(self) -> Iterator[Metric]:
        """What there is; a store that is away says so by `billing_store_up`."""
        with self._lock:
            if monotonic() >= self._fresh_until:
                self._kept = self._read()
                self._fresh_until = monotonic() + _FRESH_SECONDS
            yield from self._kept

    def _read(self) -> list[Metric]:
        up = GaugeMetricFamily("billing_store_up", "1 if a store answers.", labels=["store"])
        metrics: list[Metric] = [up]
        shards: list[tuple[Any, ...]] = []
        try:
            url = self._settings.require_database_url()
            with closing(open_postgres(url, "billing-metrics")) as connection:
                shards = connection.execute(_SHARDS).fetchall()
                metrics += _shard_metrics(shards)
                metrics += _counted(connection)
            up.add_metric(["postgres"], 1)
        except psycopg.Error as error:
            logger.warning("no metrics of PostgreSQL", reason=str(error).partition("\n")[0])
            up.add_metric(["postgres"], 0)
        try:
            metrics += self._queues(shards)
            up.add_metric(["redis"], 1)
        except (RedisError, OSError) as error:
            logger.warning("no metrics of Redis", reason=str(error))
            up.add_metric(["redis"], 0)
        return metrics

    def _queues(self, shards: Iterable[tuple[Any, ...]]) -> list[Metric]:
        length = GaugeMetricFamily(
            "billing_journal_entries", "Entries in the journal stream.", labels=["shard"]
        )
        lag = GaugeMetricFamily(
            "billing_journal_lag_entries",
            "Entries PostgreSQL has not got, or a few more.",
            labels=["shard"],
        )
        age = GaugeMetricFamily(
            "billing_journal_lag_seconds", "Age of the oldest of them.", labels=["shard"]
        )
        used = GaugeMetricFamily("billing_redis_memory_bytes", "Memory of Redis.", labels=["what"])
        now_ms = self._clock.now().timestamp() * 1000
        with closing(open_redis(self._settings.require_redis_url())) as redis:
            asked = [memory_info(redis, shard) for shard, *_ in shards or [(0,)]]
            memory = max(map(read_memory, asked), key=lambda one: one.used)
            used.add_metric(["used"], memory.used)
            used.add_metric(["most"], memory.most)
            for shard, epoch, ms, seq, *_ in shards:
                keys, name = ShardKeys(shard, epoch), [str(shard)]
                if not redis.exists(keys.stream):
                    continue
                found: Any = redis.xinfo_stream(keys.stream)
                waiting: Any = redis.xrange(keys.stream, f"({ms}-{seq}", "+", count=1)
                length.add_metric(name, found["length"])
                counter = self._lags.setdefault(keys, EntryLag())
                lag.add_metric(name, counter.look(found, Position(ms, seq)))
                oldest_ms = int(waiting[0][0].split(b"-")[0]) if waiting else now_ms
                age.add_metric(name, max(0.0, now_ms - oldest_ms) / 1000)
        return [length, lag, age, used]


def _shard_metrics(shards: Iterable[tuple[Any, ...]]) -> list[Metric]:
    epoch = GaugeMetricFamily(
        "billing_shard_epoch", "Rises by one with every rebuild.", labels=["shard"]
    )
    applied = CounterMetricFamily(
        "billing_applied_events", "Events that PostgreSQL has.", labels=["shard"]
    )
    mode = GaugeMetricFamily(
        "billing_shard_mode", "1 for the mode the shard is in.", labels=["shard", "mode"]
    )
    for shard, number, _, _, accept_seq, current in shards:
        epoch.add_metric([str(shard)], number)
        applied.add_metric([str(shard)], accept_seq)
        for one in ShardMode:
            mode.add_metric([str(shard), one.value], 1 if one == current else 0)
    return [epoch, applied, mode]


def _counted(connection: "psycopg.Connection[Any]") -> Iterator[Metric]:
    for families, kind in ((_COUNTS, GaugeMetricFamily), (_TOTALS, CounterMetricFamily)):
        for name, (meaning, query) in families.items():
            row = connection.execute(query).fetchone()
            family = kind(name, meaning)
            family.add_metric([], row[0] if row else 0)
            yield family
