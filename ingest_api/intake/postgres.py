"""PostgreSQL as the intake uses it, off the event loop: `billing.wallets.ports` filled in."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from psycopg import Connection
from sqlalchemy import Engine, text

from billing.clock import Clock
from billing.settings import Settings
from billing.usage.batch import Applied, JournalEntry, Position
from billing.usage.tables import ShardMode
from billing.wallets.hold_book import Funds
from billing.wallets.hold_store import funds_of
from billing.wallets.holds import Asked, HoldAnswer
from billing.wallets.ports import Counted, KnownEvent
from billing.wallets.postgres_port import PostgresPort
from billing.wallets.rebuild import enter_direct
from ingest_api.writer.connections import open_postgres

_KNOWN: Final = text(
    """
    SELECT source, event_id, body_hash, shard, epoch, stream_ms, stream_seq, received_at
    FROM usage.event_key
    WHERE (source, event_id) IN (
        SELECT * FROM unnest(CAST(:sources AS text[]), CAST(:ids AS text[]))
    )
    """
)
_SET_ASIDE: Final = text(
    """
    SELECT DISTINCT stream_ms, stream_seq FROM usage.quarantine
    WHERE shard = :shard AND epoch = :epoch AND (stream_ms, stream_seq) IN (
        SELECT * FROM unnest(CAST(:ms AS bigint[]), CAST(:seq AS bigint[]))
    )
    """
)
_NO_WRITER: Final = "SELECT pg_try_advisory_xact_lock(hashtext('billing.writer'), %s)"


class IntakeDatabase:
    """One per shard: calls that change something come one after the other."""

    def __init__(self, engine: Engine, settings: Settings, clock: Clock) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._connection: Connection[Any] | None = None
        self._port: PostgresPort | None = None
        self._turn = asyncio.Lock()

    async def known(self, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], KnownEvent]:
        """What became of events, by source and id."""
        return await asyncio.to_thread(self._known, names)

    async def set_aside(
        self, shard: int, epoch: int, positions: Sequence[Position]
    ) -> set[Position]:
        """Those of these entries of which something was set aside."""
        return await asyncio.to_thread(self._set_aside, shard, epoch, positions)

    async def apply_direct(
        self, shard: int, epoch: int, entry: JournalEntry, counted: Sequence[Counted]
    ) -> Applied:
        """Apply an entry in direct mode, with its counted rows priced by the counters there."""
        async with self._turn:
            return await asyncio.to_thread(self._apply_direct, shard, epoch, entry, counted)

    async def decide_holds(
        self, shard: int, epoch: int, asked: Sequence[Asked]
    ) -> list[HoldAnswer]:
        """Answer what is asked of holds in direct mode."""
        async with self._turn:
            return await asyncio.to_thread(self._decide_holds, shard, epoch, asked)

    async def funds(self, wallet: UUID) -> Funds | None:
        """What a wallet holds, by the books."""
        async with self._turn:
            return await asyncio.to_thread(self._funds, wallet)

    async def enter_direct_unwatched(self, shard: int, epoch: int) -> None:
        """Go to direct mode if no writer is there to do it."""
        async with self._turn:
            await asyncio.to_thread(self._enter_direct, shard, epoch)

    async def close(self) -> None:
        """Let go of the connection."""
        async with self._turn:
            self._drop()

    def _known(self, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], KnownEvent]:
        with self._engine.connect() as connection:
            rows = connection.execute(
                _KNOWN,
                {
                    "sources": [source for source, _ in names],
                    "ids": [event_id for _, event_id in names],
                },
            )
            return {
                (row.source, row.event_id): KnownEvent(
                    bytes(row.body_hash),
                    row.shard,
                    row.epoch,
                    Position(row.stream_ms, row.stream_seq),
                    row.received_at,
                )
                for row in rows
            }

    def _set_aside(self, shard: int, epoch: int, positions: Sequence[Position]) -> set[Position]:
        with self._engine.connect() as connection:
            values = {
                "shard": shard,
                "epoch": epoch,
                "ms": [one.ms for one in positions],
                "seq": [one.seq for one in positions],
            }
            rows = connection.execute(_SET_ASIDE, values)
            return {Position(row[0], row[1]) for row in rows}

    def _apply_direct(
        self, shard: int, epoch: int, entry: JournalEntry, counted: Sequence[Counted]
    ) -> Applied:
        try:
            return self._open()[1].apply_direct(shard, epoch, [entry], counted=counted)
        except BaseException:
            self._drop()
            raise

    def _decide_holds(self, shard: int, epoch: int, asked: Sequence[Asked]) -> list[HoldAnswer]:
        try:
            return self._open()[1].decide_holds(shard, epoch, asked)
        except BaseException:
            self._drop()
            raise

    def _funds(self, wallet: UUID) -> Funds | None:
        try:
            return funds_of(self._open()[0], [wallet]).get(wallet.hex)
        except BaseException:
            self._drop()
            raise

    def _enter_direct(self, shard: int, epoch: int) -> None:
        try:
            connection, port = self._open()
            with connection.transaction():
                row = connection.execute(_NO_WRITER, [shard]).fetchone()
                if row is None or not row[0]:
                    return  # a writer is there, and it decides
                found = port.shard(shard)
                if found.epoch == epoch and found.mode is not ShardMode.DIRECT:
                    enter_direct(port, found, shard)
        except BaseException:
            self._drop()
            raise

    def _open(self) -> tuple[Connection[Any], PostgresPort]:
        if self._connection is None or self._port is None:
            url = self._settings.require_database_url()
            self._connection = open_postgres(url, "billing-intake-direct")
            self._port = PostgresPort(self._connection, self._clock)
        return self._connection, self._port

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._port = None
