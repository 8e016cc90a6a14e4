"""Holds in the simulation: what both stores do with them, and what clients do and are told."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from billing.usage.batch import JournalEntry
from billing.wallets.hold_book import Funds, HoldBook, bound
from billing.wallets.holds import (
    Asked,
    Change,
    Hold,
    HoldAnswer,
    HoldState,
    Verdict,
    Wanted,
    hold_name,
    read_changes,
    to_ms,
)

LASTS = (timedelta(seconds=2), timedelta(hours=1))
"""The first is over within a run, the second is not."""


class RedisHolds:
    """The holds of one epoch, and what they bind, kept apart as the scripts do."""

    def __init__(self) -> None:
        self.known: dict[str, Hold] = {}
        self.held: dict[str, int] = {}

    def copy(self) -> "RedisHolds":
        """The same, apart from us."""
        other = RedisHolds()
        other.known, other.held = dict(self.known), dict(self.held)
        return other

    def write(self, holds: Mapping[str, Hold]) -> None:
        """Of an epoch that is not shown yet."""
        self.known.update(holds)
        self.held.update(bound(holds)[0])

    def drop(self, account: UUID) -> None:
        """Those of an account."""
        self.known = {name: one for name, one in self.known.items() if one.wallet != account.hex}
        self.held.pop(account.hex, None)

    def decide(
        self, asked: Sequence[Asked], funds: Mapping[str, tuple[int, int]], gone: set[str], now: int
    ) -> tuple[list[HoldAnswer], list[Change]]:
        """Answers, and what the journal is told.

        Args:
            funds: balance and floor of each wallet.
        """
        book = self._book(funds)
        book.expire(now)
        answers = [
            HoldAnswer(Verdict.MOVED, 0, 0) if one[1][:32] in gone else book.answer(one, now)
            for one in asked
        ]
        return answers, self._take(book)

    def capture(self, names: Iterable[str], now: int) -> None:
        """Events name them."""
        book = self._book(dict.fromkeys(self.held, (0, 0)))
        for name in names:
            book.capture(name, now)
        self._take(book)

    def _book(self, funds: Mapping[str, tuple[int, int]]) -> HoldBook:
        filled = {
            wallet: Funds(balance, self.held.get(wallet, 0), floor)
            for wallet, (balance, floor) in funds.items()
        }
        return HoldBook(filled, {}, dict(self.known))

    def _take(self, book: HoldBook) -> list[Change]:
        self.known = book.known
        self.held.update({wallet: one.held for wallet, one in book.funds.items()})
        return [(name, book.known[name]) for name in sorted(book.changed)]


class PostgresHolds:
    """`usage.holds`."""

    def __init__(self) -> None:
        self.known: dict[str, Hold] = {}
        self.noted: dict[str, int] = {}
        """Names that events said in direct mode, when nothing was known of them."""

    def copy(self) -> "PostgresHolds":
        """The same, apart from us."""
        other = PostgresHolds()
        other.known, other.noted = dict(self.known), dict(self.noted)
        return other

    def record(self, entries: Iterable[JournalEntry]) -> None:
        """What became of them, in the order of the journal."""
        for entry in entries:
            for name, change in read_changes(entry.holds):
                old = self.known.get(name)
                if isinstance(change, int):
                    if old is not None and old.state is HoldState.OPEN:
                        self.known[name] = msgspec.structs.replace(
                            old, state=HoldState.CAPTURED, resolved_ms=change
                        )
                elif self._is_later(change, old, self.noted.get(name)):
                    self.known[name] = change

    @staticmethod
    def _is_later(change: Hold, old: Hold | None, noted: int | None) -> bool:
        if noted is not None and change.created_ms <= noted:
            return False
        return (
            old is None
            or change.created_ms > old.created_ms
            or (change.created_ms == old.created_ms and old.state is HoldState.OPEN)
        )

    def note(self, entries: Iterable[JournalEntry]) -> None:
        """Events were taken in directly."""
        for entry in entries:
            for name, _ in read_changes(entry.holds):
                if name not in self.known:
                    self.noted.setdefault(name, to_ms(entry.received_at))

    def decide(
        self, asked: Sequence[Asked], funds: Mapping[str, tuple[int, int]], gone: set[str], now: int
    ) -> list[HoldAnswer]:
        """In direct mode."""
        held, _ = bound(self.known)
        filled = {
            wallet: Funds(balance, held.get(wallet, 0), floor)
            for wallet, (balance, floor) in funds.items()
        }
        accounts = {one[1][:32] for one in asked}
        mine = {name: one for name, one in self.known.items() if name[:32] in accounts}
        book = HoldBook(filled, {}, mine)
        book.expire(now)
        answers = [
            HoldAnswer(Verdict.MOVED, 0, 0) if one[1][:32] in gone else book.answer(one, now)
            for one in asked
        ]
        self.known.update(book.known)
        return answers


@dataclass
class HoldHistory:
    """What clients were told of holds, by name."""

    given: dict[str, Hold] = field(default_factory=dict)
    captured: set[str] = field(default_factory=set)
    """An event that names it was answered from the books."""
    let_go: set[str] = field(default_factory=set)
    """Asked to be released, or named by an event, answered or not."""

    def surely_open(self, now_ms: int) -> dict[str, Hold]:
        """Those that nobody ended and whose time is not over."""
        return {
            name: hold
            for name, hold in self.given.items()
            if name not in self.let_go and hold.expires_ms > now_ms
        }


def open_of(known: Mapping[str, Hold], wallet: UUID) -> dict[str, Hold]:
    """Those that bind a wallet."""
    return {
        name: one
        for name, one in known.items()
        if one.wallet == wallet.hex and one.state is HoldState.OPEN
    }


def wanted(account: UUID, name: str, amount: int, lasts: timedelta, now: datetime) -> Wanted:
    """A question; an account and its wallet have one id here."""
    return Wanted(hold_name(account, name), str(amount), account, amount, 10**9, now + lasts)


def packed(changes: Sequence[Change]) -> bytes:
    """As holds.lua writes them."""
    return msgspec.msgpack.encode(changes)
