"""What the writer of a shard does, one step at a time.

Who reads ahead, waits and begins again after a failure is `ingest_api.writer`, or a simulation.
"""

from collections.abc import Sequence

import structlog

from billing.failpoints import failpoint
from billing.usage.batch import START, Applied, Batch, JournalEntry, Position
from billing.usage.tables import ShardMode
from billing.wallets.keys import ShardKeys
from billing.wallets.mirror import compensate, require_current, sync_wallets
from billing.wallets.ports import RebuildNeededError, ShardRow, WriterPostgres, WriterRedis
from billing.wallets.rebuild import enter_direct, rebuild

logger = structlog.get_logger(__name__)


class WriterCore:
    """A writer between two steps; after any error, `begin` finds out where it stands."""

    def __init__(self, shard: int, postgres: WriterPostgres, redis: WriterRedis) -> None:
        self._postgres = postgres
        self._redis = redis
        self.keys = ShardKeys(shard, 0)
        self.cursor: Position = START
        self._log = logger.bind(shard=shard)

    def begin(self) -> bool:
        """Stand at the cursor of an open shard, making Redis anew if it must be.

        The connection from which entries will be read must be there already, and once it breaks
        this must be called again: another Redis may have lost its last entries, and whoever
        waits for one of them must not be answered by those that come after.

        Returns:
            whether it was made anew, so that `refill` is to follow.

        Raises:
            CursorMovedError: if somebody else went on meanwhile.
        """
        row = self._postgres.shard(self.keys.shard)
        try:
            self._stand(row)
        except RebuildNeededError as need:
            self._log.warning("rebuilding", reason=str(need))
            self.keys = rebuild(self._postgres, self._redis, self.keys.shard)
            self.cursor = START
            self._log.warning("rebuilt", epoch=self.keys.epoch)
            self._postgres.take_up(self.keys.shard)
            return True
        self._postgres.take_up(self.keys.shard)
        return False

    def _stand(self, row: ShardRow) -> None:
        if row.mode is ShardMode.DIRECT:
            raise RebuildNeededError("the shard is in direct mode")
        keys = ShardKeys(self.keys.shard, row.epoch)
        require_current(self._redis, keys, row.cursor)
        if row.mode is ShardMode.REBUILDING:  # cut off after the last step that mattered
            self._postgres.open(keys.shard, keys.epoch)
        sync_wallets(self._postgres, self._redis, keys)
        compensate(self._redis, keys, self._postgres.compensations(keys))
        self.keys, self.cursor = keys, row.cursor

    def apply(self, entries: Sequence[JournalEntry]) -> Applied:
        """Apply the entries that follow the cursor.

        Raises:
            CursorMovedError: if somebody else went on meanwhile.
            RebuildNeededError: if Redis is fenced off.
        """
        failpoint("writer.after_read")
        batch = Batch(self.keys.shard, self.keys.epoch, self.cursor, tuple(entries))
        applied = self._postgres.apply(batch)
        failpoint("writer.after_commit")
        self.cursor = applied.cursor
        if applied.exceptional:
            self._log.warning("not simply new", entries=len(applied.exceptional))
        compensate(self._redis, self.keys, applied.compensations)
        return applied

    def give_way(self) -> None:
        """Redis is away for too long: let events be taken in by PostgreSQL alone."""
        give_way(self._postgres, self.keys.shard)


def give_way(postgres: WriterPostgres, shard: int) -> None:
    """Go to direct mode, unless the shard is in it; no Redis is needed for that."""
    row = postgres.shard(shard)
    if row.mode is not ShardMode.DIRECT:
        row = enter_direct(postgres, row, shard)
        logger.warning("direct mode", shard=shard, epoch=row.epoch)
