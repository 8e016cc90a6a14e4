"""Moving an account to another shard while everything else goes on.

Where an account is, PostgreSQL says, in one transaction. Around it Redis is made ready, so that
the account is served by one shard at a time, and waits only for that moment:

1. its new shard is told to take nothing of it in yet, and what it may have taken in is applied: it
   has something if PostgreSQL was set back to before an earlier move to it;
2. its old shard takes nothing of it in any more, for some seconds: whatever dies now, it is served
   there again by itself;
3. the writer applies what the old journal still holds of it;
4. PostgreSQL writes down its new shard, and the quotas that go along; holds it has itself;
5. the old shard lets go of it for good, and the new one gets wallet, counters, holds and quotas in
   one call, from when on it is served there.

After step 4 whoever finds the move unfinished ends it; every step can be taken twice. Should an
event of the account get into the books by its old shard all the same (by a process that had not
heard, through a Redis that had forgotten), its debit becomes an adjustment for the new one: see
`billing.usage.posting`. Under which key an event was taken PostgreSQL knows for all shards, so
none counts twice; marks of recent events follow when the account has come.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

import msgspec
import structlog

from billing.clock import Clock
from billing.failpoints import failpoint
from billing.usage.batch import CursorMovedError, Position
from billing.usage.event import microseconds
from billing.usage.tables import ShardMode
from billing.wallets.holds import Hold
from billing.wallets.keys import ShardKeys
from billing.wallets.ports import RecentKey, ShardRow, WalletRow
from billing.wallets.rebuild import PRELOAD

logger = structlog.get_logger(__name__)

FENCE: Final = timedelta(seconds=3)
"""How long the account is held at most if whoever moves it dies."""
PATIENCE: Final = timedelta(seconds=1)
"""How long it is held at most for the writer; then it is served, and moved another time."""
MOST_MARKS: Final = 50_000

_MOMENT: Final = timedelta(milliseconds=5)


class Carried(msgspec.Struct, frozen=True):
    """What only Redis has of an account."""

    quotas: list[tuple[str, int]] = []
    """Millionths of a unit that were used, by name; only those that are known whole."""


@dataclass(frozen=True, slots=True)
class Move:
    """A move that is not over."""

    id: UUID
    account_id: UUID
    from_shard: int
    to_shard: int
    moved_at: datetime | None
    """When PostgreSQL wrote it down."""
    has_arrived: bool
    has_left: bool
    carried: Carried


class MovesRedis(Protocol):
    """Redis, for moves; FencedError if it does not show the epoch of the keys."""

    def hold_off(self, keys: ShardKeys, account: UUID, until: datetime | None) -> Position | None:
        """Take nothing of an account in until then, or ever; gives the last entry's place."""
        ...

    def let_in(self, keys: ShardKeys, account: UUID, *, in_any_case: bool = False) -> None:
        """Take it in again, unless it was held off for ever, or in any case."""
        ...

    def gone(self, keys: ShardKeys) -> list[UUID]:
        """All accounts that are held off."""
        ...

    def pack(self, keys: ShardKeys, quotas: Sequence[str]) -> Carried:
        """What only Redis has of an account that is held off: the use of its quotas."""
        ...

    def arrive(
        self,
        keys: ShardKeys,
        move: Move,
        wallets: Sequence[WalletRow],
        holds: Mapping[str, Hold],
        quotas: Sequence[str],
    ) -> tuple[Position, bool]:
        """Let it in with all that belongs to it, once.

        Args:
            quotas: names of all that it has now.

        Returns:
            the entry that stands for it, and whether this was the time.
        """
        ...

    def depart(
        self, keys: ShardKeys, move: Move, wallets: Sequence[WalletRow], quotas: Sequence[str]
    ) -> Position:
        """Hold it off for ever and drop what is left of it, once; gives the entry for it."""
        ...

    def write_marks(self, keys: ShardKeys, known: Sequence[RecentKey]) -> None:
        """Let these events be known as duplicates."""
        ...


class MovesPostgres(Protocol):
    """PostgreSQL, for moves: each call is one transaction."""

    def shard(self, shard: int) -> ShardRow:
        """The shard's row."""
        ...

    def moves(self, shard: int) -> list[Move]:
        """Those from or to a shard that are not over."""
        ...

    def quota_names(self, account: UUID) -> list[str]:
        """Of the current periods."""
        ...

    def commit_move(
        self, move: Move, epoch: int, position: Position | None, carried: Carried
    ) -> None:
        """Write the new shard down.

        Args:
            epoch: of the old shard, which must still be open in it.
            position: up to which its journal must have been applied.

        Raises:
            CursorMovedError: if that is not so, or the move is not wanted any more.
        """
        ...

    def end_move(self, move: Move, *, arrived: bool = False, left: bool = False) -> None:
        """Write down how far it is."""
        ...

    def moved_wallets(self, move: Move) -> list[WalletRow]:
        """The account's wallets with their counters, of one instant."""
        ...

    def moved_holds(self, move: Move) -> Mapping[str, Hold]:
        """The account's holds that are open or remembered, by name."""
        ...

    def keys_of(self, account: UUID, since: datetime, most: int) -> list[RecentKey]:
        """Events of an account that happened since then."""
        ...

    def at_home(self, shard: int, accounts: Sequence[UUID]) -> list[UUID]:
        """Those of them that are in this shard, with no move that is not over."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """A shard's Redis."""

    redis: MovesRedis
    keys: ShardKeys


class Mover:
    """Moves accounts from and to one shard; only its active writer has one.

    Args:
        here: the shard's Redis in the epoch that the writer follows.
        reach: gives another shard's Redis.
        wait: lets a moment pass.
    """

    def __init__(
        self,
        postgres: MovesPostgres,
        here: Place,
        reach: Callable[[int], MovesRedis],
        clock: Clock,
        wait: Callable[[timedelta], object],
    ) -> None:
        self._postgres = postgres
        self._here = here
        self._reach = reach
        self._clock = clock
        self._wait = wait

    def step(self) -> None:
        """Take every move as far as it can be taken now.

        Raises:
            FencedError: if the shard's Redis shows another epoch.
        """
        shard = self._here.keys.shard
        for move in self._postgres.moves(shard):
            if move.from_shard == shard and move.moved_at is None:
                self._begin(move)
        for move in self._postgres.moves(shard):
            if move.moved_at is not None:
                self._finish(move)

    def tidy(self) -> None:
        """Let accounts in that are here and were held off by a move that came to nothing."""
        gone = self._here.redis.gone(self._here.keys)
        if gone:
            for account in self._postgres.at_home(self._here.keys.shard, gone):
                self._here.redis.let_in(self._here.keys, account, in_any_case=True)

    def _begin(self, move: Move) -> None:
        there = self._place(move.to_shard)
        row = self._postgres.shard(move.from_shard)
        keys, redis = self._here.keys, self._here.redis
        if there is None or (row.epoch, row.mode) != (keys.epoch, ShardMode.OPEN):
            return
        expected = there.redis.hold_off(there.keys, move.account_id, None)
        failpoint("move.expected")
        try:
            self._wait_until_applied(there.keys, expected, self._clock.now() + PATIENCE)
            began = self._clock.now()
            last = redis.hold_off(keys, move.account_id, began + FENCE)
            failpoint("move.held")
            self._wait_until_applied(keys, last, began + PATIENCE)
            failpoint("move.applied")
            names = self._postgres.quota_names(move.account_id)
            carried = redis.pack(keys, names)
            self._postgres.commit_move(move, keys.epoch, last, carried)
        except CursorMovedError as reason:
            logger.warning("not moved yet", account=str(move.account_id), reason=str(reason))
            redis.let_in(keys, move.account_id)
            return
        failpoint("move.committed")
        logger.info("moved", account=str(move.account_id), to_shard=move.to_shard)

    def _wait_until_applied(self, keys: ShardKeys, last: Position | None, until: datetime) -> None:
        while True:
            row = self._postgres.shard(keys.shard)
            if (row.epoch, row.mode) != (keys.epoch, ShardMode.OPEN):
                raise CursorMovedError(f"shard {keys.shard} is made anew")
            if last is None or row.cursor >= last:
                return
            if self._clock.now() > until:
                raise CursorMovedError(f"the writer is behind: {row.cursor} is not {last}")
            self._wait(_MOMENT)

    def _finish(self, move: Move) -> None:
        """Both ends, whichever this is: the other's writer may be busy, or gone."""
        if not move.has_left:
            self._leave(move)
        if not move.has_arrived:
            self._arrive(move)

    def _leave(self, move: Move) -> None:
        old = self._place(move.from_shard)
        if old is None:
            return  # a rebuild, or Redis comes back; then it is done
        wallets, names = self._postgres.moved_wallets(move), self._quotas(move)
        witness = old.redis.depart(old.keys, move, wallets, names)
        failpoint("move.left")
        if self._is_applied(old.keys, witness):
            self._postgres.end_move(move, left=True)

    def _arrive(self, move: Move) -> None:
        new = self._place(move.to_shard)
        if new is None:
            return
        wallets = self._postgres.moved_wallets(move)
        holds = self._postgres.moved_holds(move)
        witness, has_come_now = new.redis.arrive(new.keys, move, wallets, holds, self._quotas(move))
        failpoint("move.arrived")
        if has_come_now:
            since = self._clock.now() - PRELOAD
            known = self._postgres.keys_of(move.account_id, since, MOST_MARKS)
            new.redis.write_marks(new.keys, known)
        if self._is_applied(new.keys, witness):
            self._postgres.end_move(move, arrived=True)

    def _quotas(self, move: Move) -> list[str]:
        return self._postgres.quota_names(move.account_id)

    def _is_applied(self, keys: ShardKeys, witness: Position) -> bool:
        """Whether PostgreSQL would know a Redis from before this entry for older.

        If not yet, the move ends with a later step; the account is served all the same.
        """
        row = self._postgres.shard(keys.shard)
        return row.epoch == keys.epoch and row.cursor >= witness

    def _place(self, shard: int) -> Place | None:
        """A shard's Redis, if it is at work."""
        if shard == self._here.keys.shard:
            return self._here
        row = self._postgres.shard(shard)
        if row.mode is not ShardMode.OPEN:
            return None
        return Place(self._reach(shard), ShardKeys(shard, row.epoch))


def until_ms(until: datetime | None) -> int:
    """As moved.lua reads it; 0 for ever."""
    return 0 if until is None else microseconds(until) // 1000
