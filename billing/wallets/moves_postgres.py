"""PostgreSQL as moves of accounts use it: `billing.wallets.moving.MovesPostgres` filled in."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg import Connection

from billing.clock import Clock
from billing.failpoints import failpoint
from billing.usage.batch import CursorMovedError, Position
from billing.usage.event import microseconds
from billing.usage.tables import ShardMode
from billing.wallets.hold_store import holds_of_account
from billing.wallets.holds import Hold
from billing.wallets.moving import Carried, Move
from billing.wallets.news_store import note_news
from billing.wallets.ports import RecentKey, ShardRow, WalletRow
from billing.wallets.postgres_port import PostgresPort
from billing.wallets.quota_bases import quotas_of

CHANNEL: Final = "billing_moves"

_MOVES: Final = """
SELECT id, account_id, from_shard, to_shard, moved_at, arrived_at IS NOT NULL,
    left_at IS NOT NULL, carried
FROM billing.account_moves
WHERE (arrived_at IS NULL OR left_at IS NULL) AND %(shard)s IN (from_shard, to_shard)
ORDER BY asked_at, id
"""
_LOCK_SHARDS: Final = """
SELECT shard, epoch, mode, cursor_ms, cursor_seq, accept_seq FROM usage.shard_state
WHERE shard = ANY (%s) ORDER BY shard FOR UPDATE
"""
_LOCK_MOVE: Final = """
SELECT moved_at FROM billing.account_moves WHERE id = %s FOR UPDATE
"""
_LOCK_ACCOUNT: Final = "SELECT shard FROM billing.accounts WHERE id = %s FOR UPDATE"
_MOVE_WALLETS: Final = """
UPDATE billing.wallets SET shard = %s, updated_at = %s WHERE account_id = %s
"""
_MOVE_ACCOUNT: Final = "UPDATE billing.accounts SET shard = %s, updated_at = %s WHERE id = %s"
_MOVED: Final = """
UPDATE billing.account_moves SET moved_at = %s, carried = %s, accept_seq = %s WHERE id = %s
"""
_END: Final = """
UPDATE billing.account_moves SET
    arrived_at = CASE WHEN %(arrived)s THEN coalesce(arrived_at, %(now)s) ELSE arrived_at END,
    left_at = CASE WHEN %(left)s THEN coalesce(left_at, %(now)s) ELSE left_at END
WHERE id = %(id)s AND moved_at = %(moved_at)s
"""
_FREE: Final = """
UPDATE billing.account_moves SET carried = NULL
WHERE id = %s AND arrived_at IS NOT NULL AND left_at IS NOT NULL
"""
_WALLETS: Final = "SELECT id, shard FROM billing.wallets WHERE account_id = %s"
_KEYS: Final = """
SELECT k.source, k.event_id, k.body_hash, k.received_at
FROM usage.raw_events r JOIN usage.event_key k USING (source, event_id)
WHERE r.account_id = %s AND r.occurred_at >= %s AND r.revision = 1
ORDER BY r.occurred_at DESC LIMIT %s
"""
_AT_HOME: Final = """
SELECT a.id FROM billing.accounts a
WHERE a.id = ANY (%s) AND a.shard = %s AND NOT EXISTS (
    SELECT 1 FROM billing.account_moves m
    WHERE m.account_id = a.id AND (m.arrived_at IS NULL OR m.left_at IS NULL))
"""


class MovesPostgresPort:
    """A server, through a connection that is not inside a transaction."""

    def __init__(self, connection: Connection[Any], clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._port = PostgresPort(connection, clock)

    def shard(self, shard: int) -> ShardRow:
        """The shard's row."""
        return self._port.shard(shard)

    def moves(self, shard: int) -> list[Move]:
        """Those from or to a shard that are not over."""
        return [
            Move(move_id, account, source, to, moved_at, arrived, left, _unpacked(carried))
            for move_id, account, source, to, moved_at, arrived, left, carried in (
                self._connection.execute(_MOVES, {"shard": shard})
            )
        ]

    def quota_names(self, account: UUID) -> list[str]:
        """Of the current periods."""
        now_us = microseconds(self._clock.now())
        return [one.name(now_us) for _, one in quotas_of(self._connection, account=account)]

    def commit_move(
        self, move: Move, epoch: int, position: Position | None, carried: Carried
    ) -> None:
        """Write the new shard down."""
        now = self._clock.now()
        shards = [move.from_shard, move.to_shard]
        with self._connection.transaction():
            rows = {row[0]: row[1:] for row in self._connection.execute(_LOCK_SHARDS, [shards])}
            is_at, mode, *cursor, _ = rows[move.from_shard]
            if (is_at, mode) != (epoch, ShardMode.OPEN.value):
                raise CursorMovedError(f"shard {move.from_shard} is in epoch {is_at}, {mode}")
            if position is not None and Position(*cursor) < position:
                raise CursorMovedError(f"the journal is applied up to {cursor}, not {position}")
            self._require_wanted(move)
            self._connection.execute(_MOVE_WALLETS, [move.to_shard, now, move.account_id])
            self._connection.execute(_MOVE_ACCOUNT, [move.to_shard, now, move.account_id])
            note_news(self._connection, [move.account_id], not_in=move.from_shard, now=now)
            packed = msgspec.msgpack.encode(carried)
            accept_seq = rows[move.to_shard][-1]
            self._connection.execute(_MOVED, [now, packed, accept_seq, move.id])
            failpoint("move.before_commit")

    def _require_wanted(self, move: Move) -> None:
        found = self._connection.execute(_LOCK_MOVE, [move.id]).fetchone()
        account = self._connection.execute(_LOCK_ACCOUNT, [move.account_id]).fetchone()
        if found is None or found[0] is not None:
            raise CursorMovedError("somebody else has moved it")
        if account is None or account[0] != move.from_shard:
            raise CursorMovedError("the account is elsewhere")

    def end_move(self, move: Move, *, arrived: bool = False, left: bool = False) -> None:
        """Write down how far it is."""
        values = {
            "id": move.id,
            "moved_at": move.moved_at,
            "arrived": arrived,
            "left": left,
            "now": self._clock.now(),
        }
        with self._connection.transaction():
            self._connection.execute(_END, values)
            self._connection.execute(_FREE, [move.id])

    def moved_wallets(self, move: Move) -> list[WalletRow]:
        """The account's wallets with their counters, of one instant."""
        found = self._connection.execute(_WALLETS, [move.account_id]).fetchall()
        return [
            row
            for wallet, shard in found
            for row in self._port.wallets(shard, [wallet], counters=True)
        ]

    def moved_holds(self, move: Move) -> Mapping[str, Hold]:
        """The account's holds that are open or remembered, by name."""
        return holds_of_account(self._connection, move.account_id, self._clock.now())

    def keys_of(self, account: UUID, since: datetime, most: int) -> list[RecentKey]:
        """Events of an account that happened since then."""
        rows = self._connection.execute(_KEYS, [account, since, most])
        return [RecentKey(source, event_id, bytes(h), at) for source, event_id, h, at in rows]

    def at_home(self, shard: int, accounts: Sequence[UUID]) -> list[UUID]:
        """Those of them that are in this shard, with no move that is not over."""
        return [row[0] for row in self._connection.execute(_AT_HOME, [list(accounts), shard])]


def _unpacked(carried: bytes | None) -> Carried:
    return msgspec.msgpack.decode(carried, type=Carried) if carried else Carried()
