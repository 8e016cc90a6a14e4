"""Holds in the simulation: what both stores do with them, and what clients do and are told."""

from collections.abc import Collection, Iterable, Mapping, Sequence
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
        self.known = {name: one for name, one in self.known.items() if name[:32] != account.hex}
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
            if name not in book.known:
                self.note(book, name, now)
            book.capture(name, now)
        self._take(book)

    @staticmethod
    def note(book: HoldBook, name: str, now: int) -> None:
        """Nothing is known of it yet."""
        book.known[name] = captured_before(now)

    def learn(self, told: Mapping[str, Hold]) -> None:
        """What PostgreSQL has of an account."""
        for name, hold in told.items():
            mine = self.known.get(name)
            self.known[name] = _joined(mine, hold)
            for sign, one in ((-1, mine), (1, self.known[name])):
                if one is not None and one.state is HoldState.OPEN:
                    self.held[one.wallet] = self.held.get(one.wallet, 0) + sign * one.amount

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
                    if old is None:
                        self.note(name, change)
                    elif old.state is HoldState.OPEN:
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

    def note(self, name: str, at_ms: int) -> None:
        """An event named it, and nothing is known of it yet."""
        self.noted.setdefault(name, at_ms)

    def to_tell(self, account: UUID, names: Collection[str]) -> dict[str, Hold]:
        """Those of an account that are open, and what is known of some names."""
        every = {name: captured_before(at) for name, at in self.noted.items()} | self.known
        return {
            name: one
            for name, one in every.items()
            if name in names or (name[:32] == account.hex and one.state is HoldState.OPEN)
        }

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


def captured_before(at_ms: int) -> Hold:
    """An event named a hold of which nothing is known: should it come, it is over."""
    return Hold(HoldState.CAPTURED, 0, at_ms, at_ms, at_ms, "", "", 0, 0, Verdict.NONE, ())


def _joined(mine: Hold | None, told: Hold) -> Hold:
    """Of two holds of a name the later one counts, and of one its end."""
    if mine is None or (told.body_hash and told.created_ms > mine.created_ms):
        return told
    if told.state is not HoldState.OPEN is mine.state and told.created_ms >= mine.created_ms:
        return msgspec.structs.replace(mine, state=told.state, resolved_ms=told.resolved_ms)
    return mine


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


def names_of(entries: Iterable[JournalEntry]) -> set[str]:
    """The holds of which entries say something."""
    return {name for entry in entries for name, _ in read_changes(entry.holds)}
