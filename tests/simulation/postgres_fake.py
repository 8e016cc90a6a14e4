"""What PostgreSQL and our statements do, in memory: one instance is the whole data of a server."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from billing.entitlements.quotas import Quota
from billing.usage.batch import (
    START,
    Applied,
    Batch,
    Compensation,
    CursorMovedError,
    JournalEntry,
    Position,
)
from billing.usage.event import microseconds
from billing.usage.row import split_rows
from billing.usage.row_reader import read_row
from billing.usage.tables import ShardMode
from billing.wallets.hold_book import Funds, bound
from billing.wallets.holds import Asked, Hold, HoldAnswer, to_ms
from billing.wallets.keys import ShardKeys
from billing.wallets.moving import Carried, Move
from billing.wallets.news import News
from billing.wallets.ports import (
    Adjustment,
    JournalPoint,
    KnownEvent,
    NotDirectError,
    RecentKey,
    ShardRow,
    WalletRow,
)
from tests.simulation.holds import PostgresHolds, names_of
from tests.simulation.quotas import UNIT, name_of, quota_of

Name = tuple[str, str]


@dataclass
class _Wallet:
    balance: int = 0
    adjustments: list[int] = field(default_factory=list)
    references: set[str] = field(default_factory=set)
    debits: int = 0
    credit_line: int = 0
    low: int = 0
    shard: int = 0


@dataclass
class _Shard:
    row: ShardRow
    accept_seq: int = 0


@lru_cache(maxsize=10_000)
def _row(row: bytes) -> dict[str, Any]:
    return read_row(row)


class FakePostgres:
    """One server's data.

    Args:
        now: the time.
        announce: gets the notifications of what committed.
    """

    def __init__(self, now: Callable[[], datetime], announce: Callable[[str], None]) -> None:
        self._now = now
        self._announce = announce
        self._numbers = itertools.count()
        """Never begins anew, whatever backup is taken."""
        self.told: dict[UUID, News] = {}
        self.shards: dict[int, _Shard] = {}
        self.events: dict[Name, KnownEvent] = {}
        self.order: list[Name] = []
        """Names by `accept_seq`; an event that were accepted twice would be here twice."""
        self.conflicts: set[tuple[Name, bytes]] = set()
        self.held: dict[UUID, _Wallet] = {}
        self.moved: dict[UUID, Move] = {}
        """Moves by id, also those that are over."""
        self._given: dict[tuple[int, int], dict[tuple[Position, int], Compensation]] = {}
        self.all_holds = PostgresHolds()
        self.owners: dict[Name, UUID] = {}
        """The accounts of events."""
        self.again: set[UUID] = set()
        """Accounts of which Redis ever took an event twice."""

    def copy(self) -> "FakePostgres":
        """The same data, apart from us: a backup."""
        other = FakePostgres(self._now, self._announce)
        other.shards = {number: replace(one) for number, one in self.shards.items()}
        other.events, other.order = dict(self.events), list(self.order)
        other.conflicts = set(self.conflicts)
        other.held = {
            wallet: replace(one, adjustments=list(one.adjustments), references=set(one.references))
            for wallet, one in self.held.items()
        }
        other.moved = dict(self.moved)
        other.owners, other.again = dict(self.owners), set(self.again)
        other.all_holds = self.all_holds.copy()
        other.told, other._numbers = dict(self.told), self._numbers
        other._given = {epoch: dict(given) for epoch, given in self._given.items()}
        return other

    # what people and their payments do

    def open_wallet(self, wallet: UUID, shard: int = 0) -> None:
        """A new, empty wallet; its account has the same id."""
        self.held[wallet] = _Wallet(shard=shard)

    def ask_to_move(self, move_id: UUID, wallet: UUID, to: int) -> None:
        """Unless it is on its way, or there."""
        home = self.held[wallet].shard
        if home != to and not any(one.account_id == wallet for one in self._open_moves()):
            self.moved[move_id] = Move(
                move_id, wallet, home, to, None, has_arrived=False, has_left=False,
                carried=Carried(),
            )  # fmt: skip

    def home(self, wallet: UUID) -> int:
        """The shard that an account is in."""
        return self.held[wallet].shard

    def _open_moves(self) -> list[Move]:
        return [one for one in self.moved.values() if not (one.has_arrived and one.has_left)]

    def top_up(self, wallet: UUID, amount: int, reference: str) -> None:
        """Pay in; a reference counts once."""
        held = self.held[wallet]
        if reference not in held.references:
            held.references.add(reference)
            held.adjustments.append(amount)
            held.balance += amount

    # billing.wallets.ports.WriterPostgres

    def shard(self, shard: int) -> ShardRow:
        """As the port says."""
        return self.shards.setdefault(shard, _Shard(ShardRow(1, START, ShardMode.OPEN))).row

    def apply(self, batch: Batch) -> Applied:
        """As the port says."""
        row = self.shard(batch.shard)
        if (row.epoch, row.cursor) != (batch.epoch, batch.after):
            raise CursorMovedError(f"shard {batch.shard} stands at {row}, not at {batch.after}")
        applied = self._post(batch)
        exceptional = ",".join(str(position) for position in sorted(applied.exceptional))
        place = f"{batch.shard} {batch.epoch} {row.session}"
        self._announce(f"{place} {batch.after} {applied.cursor} {exceptional}")
        return applied

    def _post(self, batch: Batch) -> Applied:
        state = self.shards[batch.shard]
        given: list[Compensation] = []
        exceptional: set[Position] = set()
        before = state.accept_seq
        known_before = dict(self.events)
        done: set[Name] = set()
        accounts: set[UUID] = set()
        for entry in batch.entries:
            for place, raw in enumerate(split_rows(entry.rows)):
                row = _row(raw)
                verdict = self._judge(batch, entry, row, known_before, done)
                done.add((row["source"], row["event_id"]))
                if verdict == "new":
                    self._take(batch, entry, row)
                    accounts.add(row["account_id"])
                    continue
                if verdict == "replay":
                    continue
                exceptional.add(entry.position)
                self.again.add(row["account_id"])
                if verdict == "conflict":
                    self.conflicts.add(((row["source"], row["event_id"]), row["body_hash"]))
                if row["wallet_id"] is not None and row["amount_units"]:
                    compensation = Compensation(
                        entry.position, place, row["wallet_id"], row["amount_units"]
                    )
                    given.append(compensation)
                    self._given.setdefault((batch.shard, batch.epoch), {}).setdefault(
                        (entry.position, place), compensation
                    )
        self.all_holds.record(batch.entries)
        accounts |= {UUID(hex=name[:32]) for name in names_of(batch.entries)}
        for account in accounts:
            if account in self.held and self.home(account) != batch.shard:
                self._note(account)
        cursor = batch.entries[-1].position if batch.entries else batch.after
        state.row = replace(state.row, cursor=cursor)
        return Applied(
            cursor,
            state.accept_seq,
            state.accept_seq - before,
            tuple(given),
            frozenset(exceptional),
        )

    def _judge(
        self,
        batch: Batch,
        entry: JournalEntry,
        row: dict[str, Any],
        before: dict[Name, KnownEvent],
        done: set[Name],
    ) -> str:
        name = (row["source"], row["event_id"])
        found = before.get(name) or self.events.get(name)
        if found is None:
            return "new"
        if found.body_hash != row["body_hash"]:
            return "conflict"
        here = (batch.shard, batch.epoch, entry.position)
        if name not in done and (found.shard, found.epoch, found.position) == here:
            return "replay"
        return "again"

    def _take(self, batch: Batch, entry: JournalEntry, row: dict[str, Any]) -> None:
        name = (row["source"], row["event_id"])
        self.events[name] = KnownEvent(
            row["body_hash"], batch.shard, batch.epoch, entry.position, entry.received_at
        )
        self.order.append(name)
        self.owners[name] = row["account_id"]
        self.shards[batch.shard].accept_seq += 1
        if row["wallet_id"] is not None:
            held = self.held[row["wallet_id"]]
            held.balance -= row["amount_units"]
            held.debits += 1
            if held.shard != batch.shard and row["amount_units"]:
                self._tell(held, row["amount_units"])

    def _tell(self, held: _Wallet, amount: int) -> None:
        """The wallet has been moved: its shard hears of the debit as of an adjustment."""
        held.adjustments.append(-amount)

    def _note(self, account: UUID) -> None:
        """Its shard is to be told of its holds and quotas."""
        self.told[account] = News(account, f"{next(self._numbers)}", self._now())

    def apply_direct(
        self,
        shard: int,
        epoch: int,
        entries: Sequence[JournalEntry],
        drained_to: JournalPoint | None = None,
    ) -> Applied:
        """As the port says."""
        row = self.shard(shard)
        if (row.epoch, row.mode) != (epoch, ShardMode.DIRECT):
            raise NotDirectError(f"shard {shard} is not in direct mode of epoch {epoch}: {row}")
        first = max(
            Position(microseconds(self._now()) // 1000, 0),
            Position(row.cursor.ms, row.cursor.seq + 1),
        )
        placed = tuple(
            replace(entry, position=Position(first.ms, first.seq + offset))
            for offset, entry in enumerate(entries)
        )
        applied = self.apply(Batch(shard, epoch, row.cursor, placed))
        if drained_to is not None:
            state = self.shards[shard]
            state.row = replace(state.row, undrained=drained_to)
        return applied

    def decide_holds(self, shard: int, epoch: int, asked: Sequence[Asked]) -> list[HoldAnswer]:
        """As the port says."""
        row = self.shard(shard)
        if (row.epoch, row.mode) != (epoch, ShardMode.DIRECT):
            raise NotDirectError(f"shard {shard} is not in direct mode of epoch {epoch}: {row}")
        funds = {one.hex: (held.balance, -held.credit_line) for one, held in self.held.items()}
        gone = {one.hex for one, held in self.held.items() if held.shard != shard}
        return self.all_holds.decide(asked, funds, gone, to_ms(self._now()))

    def holds(self, shard: int) -> dict[str, Hold]:
        """As the port says."""
        homes = {""} | {one.hex for one, held in self.held.items() if held.shard == shard}
        return {name: one for name, one in self.all_holds.known.items() if one.wallet in homes}

    def funds(self, wallet: UUID) -> Funds | None:
        """As the port says."""
        held, one = bound(self.all_holds.known)[0], self.held[wallet]
        return Funds(one.balance, held.get(wallet.hex, 0), -one.credit_line)

    def enter_direct(self, shard: int, *, leaving: int, epoch: int) -> None:
        """As the port says."""
        row = self.shard(shard)
        if row.epoch != leaving or row.mode is ShardMode.DIRECT:
            raise CursorMovedError(f"shard {shard} left epoch {leaving} already")
        undrained = JournalPoint(row.epoch, row.cursor)
        self._move(shard, ShardRow(epoch, START, ShardMode.DIRECT, undrained, row.session))

    def leave_direct(self, shard: int, *, leaving: int, epoch: int) -> None:
        """As the port says."""
        row = self.shard(shard)
        if row.epoch != leaving or row.mode is not ShardMode.DIRECT:
            raise CursorMovedError(f"shard {shard} left epoch {leaving} already")
        self._move(shard, ShardRow(epoch, START, ShardMode.REBUILDING, None, row.session))

    def take_up(self, shard: int) -> None:
        """As the port says."""
        row = self.shard(shard)
        self.shards[shard].row = replace(row, session=row.session + 1)

    def open(self, shard: int, epoch: int) -> None:
        """As the port says."""
        row = self.shard(shard)
        if row.epoch == epoch:
            row = replace(row, mode=ShardMode.OPEN)
        self.shards[shard].row = row
        self._announce(f"{shard} {row.epoch} {row.session} {START} {START} ")

    def _move(self, shard: int, row: ShardRow) -> None:
        self.shards[shard].row = row
        self._announce(f"{shard} {row.epoch} {row.session} {START} {START} ")

    def wallets(
        self,
        shard: int,
        only: Sequence[UUID] | None = None,
        *,
        counters: bool = False,
        arrived: bool = False,
    ) -> list[WalletRow]:
        """As the port says; there are no counters here."""
        del counters
        coming = {
            one.account_id
            for one in self._open_moves()
            if arrived and one.moved_at is not None and not one.has_arrived
        }
        return [
            WalletRow(wallet, one.balance, len(one.adjustments), one.credit_line, one.low)
            for wallet, one in sorted(self.held.items())
            if (only is None or wallet in only) and one.shard == shard and wallet not in coming
        ]

    def moved_away(self, shard: int) -> list[UUID]:
        """As the port says."""
        return sorted(
            {
                one.account_id
                for one in self.moved.values()
                if one.from_shard == shard
                and one.moved_at is not None
                and self.home(one.account_id) != shard
            }
        )

    # billing.wallets.moving.MovesPostgres

    def moves(self, shard: int) -> list[Move]:
        """As the port says."""
        return [one for one in self._open_moves() if shard in {one.from_shard, one.to_shard}]

    def quota_names(self, account: UUID) -> list[str]:
        """As the port says."""
        return [name_of(account)]

    # billing.wallets.news.NewsPostgres

    def news(self, shard: int) -> list[News]:
        """As the port says."""
        return [one for _, one in sorted(self.told.items()) if self.home(one.account_id) == shard]

    def forget_news(self, news: Sequence[News]) -> None:
        """As the port says."""
        for one in news:
            if self.told.get(one.account_id) == one:
                del self.told[one.account_id]

    def holds_to_tell(self, account: UUID, names: Sequence[str]) -> dict[str, Hold]:
        """As the port says."""
        return self.all_holds.to_tell(account, names)

    def account_quotas(self, account: UUID) -> list[Quota]:
        """As the port says."""
        return [quota_of(account)]

    # billing.wallets.quota_bases.QuotasPostgres

    def quotas(self, shard: int) -> list[tuple[UUID, Quota]]:
        """As the port says."""
        return [(one, quota_of(one)) for one, held in self.held.items() if held.shard == shard]

    def used_before(
        self, keys: ShardKeys, account: UUID, quota: Quota, position: Position, now_us: int
    ) -> int:
        """As the port says."""
        del quota, now_us
        here, first = keys.shard, (keys.epoch, position)
        return UNIT * sum(
            self.owners[name] == account
            and (one.shard != here or (one.epoch, one.position) < first)
            for name, one in self.events.items()
        )

    def commit_move(
        self, move: Move, epoch: int, position: Position | None, carried: Carried
    ) -> None:
        """As the port says."""
        row, now = self.shard(move.from_shard), self.moved.get(move.id)
        if (row.epoch, row.mode) != (epoch, ShardMode.OPEN):
            raise CursorMovedError("the shard is not open in that epoch")
        if position is not None and row.cursor < position:
            raise CursorMovedError("the journal is not applied that far")
        if now is None or now.moved_at is not None or self.home(now.account_id) != now.from_shard:
            raise CursorMovedError("the move is not wanted")
        self.held[move.account_id].shard = move.to_shard
        self.moved[move.id] = replace(now, moved_at=self._now(), carried=carried)
        self._note(move.account_id)

    def end_move(self, move: Move, *, arrived: bool = False, left: bool = False) -> None:
        """As the port says."""
        now = self.moved.get(move.id)
        if now is not None and now.moved_at == move.moved_at:
            self.moved[move.id] = replace(
                now, has_arrived=now.has_arrived or arrived, has_left=now.has_left or left
            )

    def moved_wallets(self, move: Move) -> list[WalletRow]:
        """As the port says."""
        return self.wallets(self.home(move.account_id), [move.account_id])

    def moved_holds(self, move: Move) -> dict[str, Hold]:
        """As the port says."""
        mine = move.account_id.hex
        return {name: one for name, one in self.all_holds.known.items() if one.wallet == mine}

    def keys_of(self, account: UUID, since: datetime, most: int) -> list[RecentKey]:
        """As the port says; the marks of accounts do not go along here."""
        del account, since, most
        return []

    def at_home(self, shard: int, accounts: Sequence[UUID]) -> list[UUID]:
        """As the port says."""
        moving = {one.account_id for one in self._open_moves()}
        return [one for one in accounts if self.home(one) == shard and one not in moving]

    def adjustments(self, wallet: UUID, after: int, most: int) -> list[Adjustment]:
        """As the port says."""
        every = [Adjustment(*one) for one in enumerate(self.held[wallet].adjustments, start=1)]
        return every[after : after + most]

    def has_usage(self, wallet: UUID) -> bool:
        """As the port says."""
        return self.held[wallet].debits > 0

    def account_of(self, wallet: UUID) -> UUID:
        """As the port says; both have one id here."""
        return wallet

    def compensations(self, keys: ShardKeys) -> list[Compensation]:
        """As the port says."""
        given = self._given.get((keys.shard, keys.epoch), {})
        return [given[name] for name in sorted(given)]

    def recent_keys(self, shard: int, since: datetime, most: int) -> Iterator[list[RecentKey]]:
        """As the port says."""
        newest = [
            RecentKey(*name, self.events[name].body_hash, self.events[name].received_at)
            for name in reversed(self.order[-most:])
            if self.events[name].received_at >= since and self.events[name].shard == shard
        ]
        return iter([newest] if newest else [])

    # billing.wallets.ports.IntakePostgres

    def known(self, names: Sequence[Name]) -> dict[Name, KnownEvent]:
        """As the port says."""
        return {name: self.events[name] for name in names if name in self.events}

    def set_aside(self, shard: int, epoch: int, positions: Sequence[Position]) -> set[Position]:
        """As the port says; every row here can be written."""
        del shard, epoch, positions
        return set()
