"""Holds: what was authorised and has not happened yet is set aside, for a while.

A hold is resolved once: captured by the event that names it (`admit.lua`), released, or expired.
Redis decides, and writes into the journal what became of a hold; so PostgreSQL has the holds up to
its cursor (`hold_store.py`). It gives them back to a rebuild, and decides itself in direct mode
(`hold_book.py`). What happens without a hold is recorded and billed like any other usage.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from billing.usage.event import EPOCH, microseconds
from billing.wallets.keys import REMEMBER_SECONDS, ShardKeys
from billing.wallets.scripts import FENCED

SHORTEST: Final = timedelta(seconds=1)
LONGEST: Final = timedelta(hours=24)

_encode: Final = msgspec.msgpack.Encoder().encode


class Verdict(StrEnum):
    """What holds.lua says."""

    OK = "ok"
    WARNED = "warned"
    GRACE = "grace"
    NO_FUNDS = "no_funds"
    OVER_QUOTA = "over_quota"
    NO_WALLET = "no_wallet"
    SAME = "same"
    OTHER = "other"
    RELEASED = "released"
    RESOLVED = "resolved"
    NONE = "none"
    FOUND = "found"
    MOVED = "moved"
    """The account is in another shard, or on its way there."""


class HoldState(StrEnum):
    """Whether a hold still binds money, or how it ended."""

    OPEN = "open"
    CAPTURED = "captured"
    RELEASED = "released"
    EXPIRED = "expired"


class QuotaUse(NamedTuple):
    """What a quota would lose; quantities in millionths of a unit."""

    name: str
    quantity: int
    limit: int
    is_hard: bool


class Wanted(NamedTuple):
    """What is to be authorised; amounts in wallet units."""

    name: str
    body_hash: str
    """Of all that was asked: the same name with another hash is a conflict."""
    wallet_id: UUID | None
    amount: int
    grace: int
    """How far below the floor this may go."""
    expires_at: datetime
    quotas: tuple[QuotaUse, ...] = ()


class Hold(msgspec.Struct, array_like=True, frozen=True):
    """A hold as Redis keeps it; instants in milliseconds since 1970."""

    state: HoldState
    amount: int
    created_ms: int
    expires_ms: int
    resolved_ms: int
    body_hash: str
    wallet: str
    balance: int
    """When it was placed."""
    available: int
    """What was left after it."""
    verdict: Verdict
    quotas: tuple[tuple[str, int], ...]

    @property
    def expires_at(self) -> datetime:
        """When it ends by itself, if nothing else ends it."""
        return from_ms(self.expires_ms)

    @property
    def resolved_at(self) -> datetime | None:
        """When it ended."""
        return from_ms(self.resolved_ms) if self.resolved_ms else None

    @property
    def created_at(self) -> datetime:
        """When it was placed."""
        return from_ms(self.created_ms)


class HoldAnswer(msgspec.Struct, array_like=True, frozen=True):
    """One part of the answer; amounts in wallet units."""

    verdict: Verdict
    balance: int
    available: int
    """What may still be authorised, the credit line included."""
    hold: Hold | None = None


_decoder: Final = msgspec.msgpack.Decoder(list[HoldAnswer])

Asked = tuple[Any, ...]

Change = tuple[str, Hold | int]
"""The name of a hold and what became of it; or when an event named it: captured, if it was open."""

_changes: Final = msgspec.msgpack.Decoder(list[Change])


def hold_name(account_id: UUID, authorization_id: str) -> str:
    """Under which a hold is kept: authorisation ids are unique within an account."""
    return f"{account_id.hex}:{authorization_id}"


def held_name(account_id: UUID, said: str) -> str:
    """The same, of an id as an event says it: with the account's id before it, or without.

    Empty if it is another account's.
    """
    before, colon, after = said.rpartition(":")
    if not colon:
        return hold_name(account_id, said)
    return hold_name(account_id, after) if before == str(account_id) else ""


def place(wanted: Wanted, *, hold: bool = True) -> Asked:
    """Ask for a hold, or whether it would be given."""
    return (
        "h" if hold else "a",
        wanted.name,
        wanted.body_hash,
        wanted.wallet_id.hex if wanted.wallet_id else "",
        wanted.amount,
        wanted.grace,
        to_ms(wanted.expires_at),
        wanted.quotas,
    )


def release(name: str) -> Asked:
    """Ask for a hold to be let go."""
    return ("r", name)


def get(name: str) -> Asked:
    """Ask what a hold is."""
    return ("g", name)


def hold_call(
    keys: ShardKeys, asked: Sequence[Asked], now: datetime
) -> tuple[list[str], list[Any]]:
    """Keys and arguments of one call of holds.lua; asking nothing lets expired holds go."""
    return (
        [keys.epoch_key, keys.open_holds, keys.stream],
        [
            keys.epoch,
            to_ms(now),
            keys.holds,
            keys.wallets,
            keys.quotas,
            REMEMBER_SECONDS,
            _encode(asked),
        ],
    )


def read_answers(answer: list[Any]) -> list[HoldAnswer] | None:
    """What holds.lua says; None when it was fenced."""
    return None if answer[0] == FENCED else _decoder.decode(answer[1])


def read_changes(packed: bytes) -> list[Change]:
    """What a journal entry says of holds.

    Raises:
        msgspec.MsgspecError: if it cannot be read.
    """
    return _changes.decode(packed) if packed else []


def captures(names: Sequence[str], at: datetime) -> bytes:
    """What an entry says whose events name holds."""
    return _encode([(name, to_ms(at)) for name in names]) if names else b""


def to_ms(instant: datetime) -> int:
    """Milliseconds since 1970, as holds count time."""
    return microseconds(instant) // 1000


def from_ms(ms: int) -> datetime:
    """The instant of a hold's milliseconds."""
    return EPOCH + timedelta(milliseconds=ms)
