"""What the writer hands to `apply_batch`, and what came of it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from billing.usage.counters import Advance
from billing.usage.row import split_rows


class Position(NamedTuple):
    """A place in a shard's stream: Redis' entry id."""

    ms: int
    seq: int

    @classmethod
    def parse(cls, text: str) -> "Position":
        """From Redis' spelling, `ms-seq`."""
        ms, _, seq = text.partition("-")
        return cls(int(ms), int(seq or 0))

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"


START = Position(0, 0)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One entry of the stream: the rows that one admission call took in."""

    position: Position
    received_at: datetime
    count: int
    rows: bytes
    """Joined rows of `billing.usage.row`."""
    first: int = 0
    """Place of the first row within the stream entry."""
    broken: str | None = None
    """Why the entry could not even be read; `rows` is then whatever was found."""
    holds: bytes = b""
    """What became of holds, as `billing.wallets.holds.read_changes` reads it."""

    def apart(self) -> Iterator["JournalEntry"]:
        """The same rows as entries of one row each.

        Raises:
            ValueError: if they cannot be told apart.
        """
        for offset, row in enumerate(split_rows(self.rows)):
            yield replace(self, count=1, rows=row, first=self.first + offset)


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive entries of one shard's stream."""

    shard: int
    epoch: int
    after: Position
    """The cursor they follow; the database must still stand there."""
    entries: tuple[JournalEntry, ...]


@dataclass(frozen=True, slots=True)
class Compensation:
    """A second debit in Redis for an event that counts once, to be given back."""

    position: Position
    place: int
    wallet_id: UUID
    amount_units: int
    counter: Advance | None = None
    """What it had added to a counter of prices, to be taken from it again."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch did."""

    cursor: Position
    accept_seq: int
    new: int
    compensations: tuple[Compensation, ...]
    exceptional: frozenset[Position]
    """Entries with an item that is not simply new: known before, in conflict, or set aside."""


class CursorMovedError(Exception):
    """The shard does not stand where this batch begins: somebody else went on. Read it again."""


class KeyRaceError(Exception):
    """Another shard took a key while this batch was applied; applying it again settles it."""
