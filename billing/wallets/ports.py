"""What the intake, the writer and the rebuild need of the two stores.

`redis_port` and `postgres_port` fill these in with real servers, a simulation with its own. The
clock is `billing.clock.Clock`; waiting is asyncio's in the intake and the caller's in the writer.

Whoever cannot be reached raises what the drivers raise: `redis.RedisError`, `psycopg.Error` or
`OSError`. After such an error nobody knows whether the call had an effect.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from billing.usage.batch import (
    Applied,
    Batch,
    Compensation,
    CursorMovedError,
    JournalEntry,
    Position,
)
from billing.usage.counters import Advance
from billing.usage.tables import ShardMode
from billing.wallets.hold_book import Funds
from billing.wallets.holds import Asked, Hold, HoldAnswer
from billing.wallets.journal import Admission, Admitted, Count
from billing.wallets.keys import ShardKeys


class RebuildNeededError(Exception):
    """Redis does not hold what it should; it must be made anew from PostgreSQL."""


class FencedError(RebuildNeededError):
    """Redis does not show the epoch that the caller works in."""


class NotDirectError(CursorMovedError):
    """The shard is not in direct mode, or in a direct mode of another epoch."""


class JournalPoint(NamedTuple):
    """A place in the journal of an epoch."""

    epoch: int
    position: Position


class Counted(NamedTuple):
    """A row whose price depends on what its period counted before."""

    place: int
    """Of the row in its entry."""
    wallet_id: UUID
    adds: Count


@dataclass(frozen=True, slots=True)
class ShardRow:
    """The row of `usage.shard_state`."""

    epoch: int
    cursor: Position
    mode: ShardMode
    undrained: JournalPoint | None = None
    """Only in direct mode: how far the journals of earlier epochs have been applied."""
    session: int = 0
    """How often a writer took up the journal."""


@dataclass(frozen=True, slots=True)
class WalletRow:
    """A wallet as PostgreSQL has it, and as Redis gets it."""

    id: UUID
    balance_units: int
    adjustment_seq: int
    credit_line_units: int
    low_balance_units: int
    counters: tuple[Advance, ...] = ()
    """What its counters of prices hold, where they were asked for."""

    @property
    def fields(self) -> dict[str, int]:
        """As Redis holds it."""
        return {
            "bal": self.balance_units,
            "aseq": self.adjustment_seq,
            "floor": -self.credit_line_units,
            "low": self.low_balance_units,
        }


class Adjustment(NamedTuple):
    """A change that PostgreSQL has committed, for Redis to apply once and in order."""

    seq: int
    amount_units: int
    changes: tuple[Advance, ...] = ()
    """What counters of prices are moved by; quantities that are taken back are negative."""


class RecentKey(NamedTuple):
    """An event that PostgreSQL has."""

    source: str
    event_id: str
    body_hash: bytes
    received_at: datetime


class KnownEvent(NamedTuple):
    """What PostgreSQL says of an event's key."""

    body_hash: bytes
    shard: int
    epoch: int
    position: Position
    received_at: datetime


class WriterRedis(Protocol):
    """Redis, for the writer and the rebuild. Calls with keys raise FencedError where they write."""

    def epoch_text(self, shard: int) -> str:
        """What the epoch's key holds: a number, `rebuilding:` and a number, or nothing."""
        ...

    def fence(self, shard: int, epoch: int) -> None:
        """Refuse every script until this epoch is shown."""
        ...

    def show(self, keys: ShardKeys) -> None:
        """Lift the fence of this very epoch; FencedError if another one is up."""
        ...

    def entries(
        self, keys: ShardKeys, after: Position, *, count: int, block_ms: int | None = None
    ) -> list[JournalEntry]:
        """The entries that follow a position; waits up to `block_ms` for the first."""
        ...

    def has_entry(self, keys: ShardKeys, position: Position) -> bool:
        """Whether the stream holds this entry."""
        ...

    def limits(self, keys: ShardKeys, wallets: Sequence[UUID]) -> list[tuple[int, int, int] | None]:
        """Last adjustment applied, floor and low balance of each; None for no such wallet."""
        ...

    def has_left(self, keys: ShardKeys, account: UUID) -> bool:
        """Whether nothing of this account is taken in, since it was moved away."""
        ...

    def load(self, keys: ShardKeys, row: WalletRow) -> None:
        """Put a wallet there, unless it is there."""
        ...

    def adjust(self, keys: ShardKeys, row: WalletRow, pending: Sequence[Adjustment]) -> int:
        """Apply adjustments and the row's limits; gives the last one applied.

        Raises:
            LookupError: if there is no such wallet.
            OverflowError: if the balance would leave what a wallet can hold.
        """
        ...

    def compensate(self, keys: ShardKeys, given: Sequence[Compensation]) -> None:
        """Give second debits back, each once."""
        ...

    def write_wallets(self, keys: ShardKeys, rows: Sequence[WalletRow]) -> None:
        """All wallets of an epoch that is not shown yet."""
        ...

    def write_holds(self, keys: ShardKeys, holds: Mapping[str, Hold]) -> None:
        """All holds of an epoch that is not shown yet, and what they bind."""
        ...

    def write_gone(self, keys: ShardKeys, accounts: Sequence[UUID]) -> None:
        """The accounts that were moved away, in an epoch that is not shown yet."""
        ...

    def write_marks(self, keys: ShardKeys, known: Sequence[RecentKey]) -> None:
        """Let these events be known as duplicates; the epoch is shown already."""
        ...

    def trim(self, keys: ShardKeys, before: Position) -> None:
        """Drop the entries below a position."""
        ...

    def forget(self, keys: ShardKeys) -> None:
        """Drop what the epochs before this one left, but keep their streams for a while."""
        ...


class WriterPostgres(Protocol):
    """PostgreSQL, for the writer and the rebuild: each call is one transaction."""

    def shard(self, shard: int) -> ShardRow:
        """The shard's row; made if there is none."""
        ...

    def apply(self, batch: Batch) -> Applied:
        """Apply a batch and announce the cursor; CursorMovedError if it begins elsewhere."""
        ...

    def apply_direct(
        self,
        shard: int,
        epoch: int,
        entries: Sequence[JournalEntry],
        drained_to: JournalPoint | None = None,
    ) -> Applied:
        """Apply entries of earlier journals in direct mode, in positions of their own.

        Args:
            drained_to: where in the journal of an earlier epoch they end.

        Raises:
            NotDirectError: if that is not the shard's mode and epoch.
        """
        ...

    def enter_direct(self, shard: int, *, leaving: int, epoch: int) -> None:
        """From an epoch with a journal to direct mode; CursorMovedError if it was left already."""
        ...

    def leave_direct(self, shard: int, *, leaving: int, epoch: int) -> None:
        """Close direct mode for an epoch with a journal that nobody may use yet."""
        ...

    def take_up(self, shard: int) -> None:
        """Say that from now on entries come from a connection that was opened before this.

        Entries admitted before it may be missing in that Redis, even if later ones are there.
        """
        ...

    def open(self, shard: int, epoch: int) -> None:
        """Let an epoch be used that Redis shows, and announce it."""
        ...

    def holds(self, shard: int) -> Mapping[str, Hold]:
        """All holds of the shard's accounts that are open or remembered, by name."""
        ...

    def wallets(
        self,
        shard: int,
        only: Sequence[UUID] | None = None,
        *,
        counters: bool = False,
        arrived: bool = False,
    ) -> list[WalletRow]:
        """The shard's wallets, or some of them, of one instant.

        Args:
            counters: with them.
            arrived: without those that were moved here and have not come to Redis yet.
        """
        ...

    def moved_away(self, shard: int) -> list[UUID]:
        """The accounts that were in this shard and are in another one."""
        ...

    def adjustments(self, wallet: UUID, after: int, most: int) -> list[Adjustment]:
        """The adjustments that follow a number."""
        ...

    def has_usage(self, wallet: UUID) -> bool:
        """Whether an event was ever debited."""
        ...

    def account_of(self, wallet: UUID) -> UUID:
        """Whose it is."""
        ...

    def compensations(self, keys: ShardKeys) -> list[Compensation]:
        """All that this epoch owes to Redis, also what was given back already."""
        ...

    def recent_keys(self, shard: int, since: datetime, most: int) -> Iterator[list[RecentKey]]:
        """The newest events first, in parts."""
        ...


class IntakeRedis(Protocol):
    """Redis, for the intake."""

    async def admit(
        self, keys: ShardKeys, admissions: Sequence[Admission], received_at: datetime
    ) -> Admitted | None:
        """Admit a batch of one shard; None if fenced."""
        ...


class HoldsRedis(Protocol):
    """Redis, for authorisations."""

    async def decide(
        self, keys: ShardKeys, asked: Sequence[Asked], now: datetime
    ) -> list[HoldAnswer] | None:
        """Answer what is asked of holds; None if fenced."""
        ...


class IntakePostgres(Protocol):
    """PostgreSQL, for the intake; what it announces comes by the shard's mark."""

    async def known(self, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], KnownEvent]:
        """What became of events, by source and id; those not there are not known."""
        ...

    async def set_aside(
        self, shard: int, epoch: int, positions: Sequence[Position]
    ) -> set[Position]:
        """Those of these entries of which something was set aside."""
        ...

    async def apply_direct(
        self, shard: int, epoch: int, entry: JournalEntry, counted: Sequence[Counted]
    ) -> Applied:
        """Apply an entry in direct mode, with its counted rows priced by the counters there.

        Raises:
            NotDirectError: if that is not the shard's mode and epoch.
        """
        ...

    async def decide_holds(
        self, shard: int, epoch: int, asked: Sequence[Asked]
    ) -> list[HoldAnswer]:
        """Answer what is asked of holds in direct mode.

        Raises:
            NotDirectError: if that is not the shard's mode and epoch.
        """
        ...

    async def funds(self, wallet: UUID) -> Funds | None:
        """What a wallet holds; a little behind Redis, never a guess."""
        ...

    async def enter_direct_unwatched(self, shard: int, epoch: int) -> None:
        """Go to direct mode if no writer is there to do it."""
        ...
