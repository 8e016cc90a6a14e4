"""What Redis and its scripts do, in memory: one instance is the whole data of a server."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from uuid import UUID

from billing.usage.batch import START, Compensation, JournalEntry, Position
from billing.usage.event import EPOCH, microseconds
from billing.usage.hash import key_digest
from billing.wallets.holds import Asked, Hold, HoldAnswer, HoldState, captures, to_ms
from billing.wallets.journal import Admission, Admitted, utc_day
from billing.wallets.keys import REBUILDING, ShardKeys, day_before
from billing.wallets.moving import Carried, Move
from billing.wallets.news import Base, News
from billing.wallets.ports import Adjustment, FencedError, RecentKey, WalletRow
from tests.simulation.holds import RedisHolds, packed
from tests.simulation.quotas import QuotaCount

_LIMIT = 2**53


@dataclass
class _Wallet:
    balance: int
    applied: int
    floor: int
    low: int


@dataclass
class _Mark:
    body_hash: bytes
    received_at: datetime
    position: Position


@dataclass
class _Epoch:
    stream: list[JournalEntry] = field(default_factory=list)
    last: Position = START
    added: int = 0
    wallets: dict[UUID, _Wallet] = field(default_factory=dict)
    marks: dict[tuple[date, bytes], _Mark] = field(default_factory=dict)
    compensated: set[tuple[Position, int]] = field(default_factory=set)
    gone: dict[UUID, datetime | None] = field(default_factory=dict)
    """Accounts that are held off, until then or for good."""
    moved: dict[tuple[UUID, datetime | None], Position] = field(default_factory=dict)
    """The entries that stand for moves."""
    holds: RedisHolds = field(default_factory=RedisHolds)
    quotas: dict[str, QuotaCount] = field(default_factory=dict)
    told: dict[UUID, str] = field(default_factory=dict)
    """Tokens of news."""


class FakeRedis:
    """One server's data; `copy` is what a backup or an append-only file holds at that moment.

    Args:
        now: the server's clock.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._shown: dict[int, str] = {}
        self._epochs: dict[tuple[int, int], _Epoch] = {}

    def copy(self) -> "FakeRedis":
        """The same data, apart from us."""
        other = FakeRedis(self._now)
        other._shown = dict(self._shown)
        for key, one in self._epochs.items():
            other._epochs[key] = _Epoch(
                list(one.stream),
                one.last,
                one.added,
                {wallet: _Wallet(**vars(held)) for wallet, held in one.wallets.items()},
                dict(one.marks),
                set(one.compensated),
                dict(one.gone),
                dict(one.moved),
                one.holds.copy(),
                dict(one.quotas),
                dict(one.told),
            )
        return other

    def place(self, last: Position) -> Position:
        """The id that XADD gives."""
        return max(Position(microseconds(self._now()) // 1000, 0), Position(last.ms, last.seq + 1))

    def forget_marks(self) -> None:
        """The dedupe buckets are gone."""
        for one in self._epochs.values():
            one.marks.clear()

    def balance(self, keys: ShardKeys, wallet: UUID) -> int | None:
        """What a wallet holds; None if it is not there."""
        held = self._epoch(keys).wallets.get(wallet)
        return None if held is None else held.balance

    def _epoch(self, keys: ShardKeys) -> _Epoch:
        return self._epochs.setdefault((keys.shard, keys.epoch), _Epoch())

    def _open(self, keys: ShardKeys) -> _Epoch:
        if self._shown.get(keys.shard) != str(keys.epoch):
            raise FencedError("Redis is fenced off")
        return self._epoch(keys)

    def epoch_text(self, shard: int) -> str:
        """As the port says."""
        return self._shown.get(shard, "")

    def fence(self, shard: int, epoch: int) -> None:
        """As the port says."""
        self._shown[shard] = f"{REBUILDING}{epoch}"

    def show(self, keys: ShardKeys) -> None:
        """As the port says."""
        if self._shown.get(keys.shard) not in {f"{REBUILDING}{keys.epoch}", str(keys.epoch)}:
            raise FencedError("Redis is fenced off")
        self._shown[keys.shard] = str(keys.epoch)

    def entries(
        self, keys: ShardKeys, after: Position, *, count: int, block_ms: int | None = None
    ) -> list[JournalEntry]:
        """As the port says, without waiting."""
        del block_ms
        return [one for one in self._epoch(keys).stream if one.position > after][:count]

    def has_entry(self, keys: ShardKeys, position: Position) -> bool:
        """As the port says."""
        return any(one.position == position for one in self._epoch(keys).stream)

    def limits(self, keys: ShardKeys, wallets: Sequence[UUID]) -> list[tuple[int, int, int] | None]:
        """As the port says."""
        held = self._epoch(keys).wallets
        return [
            (held[one].applied, held[one].floor, held[one].low) if one in held else None
            for one in wallets
        ]

    def has_left(self, keys: ShardKeys, account: UUID) -> bool:
        """As the port says."""
        return account in self._epoch(keys).gone

    def load(self, keys: ShardKeys, row: WalletRow) -> None:
        """As the port says."""
        fields = row.fields
        self._open(keys).wallets.setdefault(
            row.id, _Wallet(fields["bal"], fields["aseq"], fields["floor"], fields["low"])
        )

    def adjust(self, keys: ShardKeys, row: WalletRow, pending: Sequence[Adjustment]) -> int:
        """As the port says."""
        held = self._open(keys).wallets.get(row.id)
        if held is None:
            raise LookupError(f"wallet {row.id} is not there")
        balance, applied = held.balance, held.applied
        for seq, amount, _ in pending:
            if seq == applied + 1:
                balance, applied = balance + amount, seq
                if abs(balance) >= _LIMIT:
                    raise OverflowError(f"wallet {row.id} would leave what a wallet can hold")
        held.balance, held.applied = balance, applied
        held.floor, held.low = row.fields["floor"], row.fields["low"]
        return applied

    def compensate(self, keys: ShardKeys, given: Sequence[Compensation]) -> None:
        """As the port says."""
        epoch = self._open(keys)
        for one in given:
            name = (one.position, one.place)
            if name not in epoch.compensated and one.wallet_id in epoch.wallets:
                epoch.wallets[one.wallet_id].balance += one.amount_units
            epoch.compensated.add(name)

    def write_wallets(self, keys: ShardKeys, rows: Sequence[WalletRow]) -> None:
        """As the port says."""
        for row in rows:
            fields = row.fields
            self._epoch(keys).wallets[row.id] = _Wallet(
                fields["bal"], fields["aseq"], fields["floor"], fields["low"]
            )

    def write_gone(self, keys: ShardKeys, accounts: Sequence[UUID]) -> None:
        """As the port says."""
        self._epoch(keys).gone.update(dict.fromkeys(accounts))

    # billing.wallets.moving.MovesRedis; an account and its wallet have one id here

    def hold_off(self, keys: ShardKeys, account: UUID, until: datetime | None) -> Position | None:
        """As the port says."""
        epoch = self._open(keys)
        if account not in epoch.gone or epoch.gone[account] is not None:
            epoch.gone[account] = until
        return epoch.stream[-1].position if epoch.stream else None

    def let_in(self, keys: ShardKeys, account: UUID, *, in_any_case: bool = False) -> None:
        """As the port says."""
        epoch = self._open(keys)
        if in_any_case or epoch.gone.get(account) is not None:
            epoch.gone.pop(account, None)

    def gone(self, keys: ShardKeys) -> list[UUID]:
        """As the port says."""
        return sorted(self._epoch(keys).gone)

    def pack(self, keys: ShardKeys, quotas: Sequence[str]) -> Carried:
        """As the port says."""
        found = [(name, self._epoch(keys).quotas.get(name, QuotaCount())) for name in quotas]
        return Carried([(name, one.base + one.used) for name, one in found if one.base is not None])

    def arrive(
        self,
        keys: ShardKeys,
        move: Move,
        wallets: Sequence[WalletRow],
        holds: Mapping[str, Hold],
        quotas: Sequence[str],
    ) -> tuple[Position, bool]:
        """As the port says."""
        epoch = self._open(keys)
        if (move.id, move.moved_at) in epoch.moved:
            return epoch.moved[move.id, move.moved_at], False
        is_first = move.account_id in epoch.gone
        if is_first:
            del epoch.gone[move.account_id]
            self.write_wallets(keys, wallets)
            epoch.holds.drop(move.account_id)
            epoch.holds.write(holds)
            epoch.told.pop(move.account_id, None)
            for name in quotas:
                epoch.quotas.pop(name, None)
        witness = self._bear_witness_of(epoch, move)
        for name, used in move.carried.quotas if is_first else ():
            epoch.quotas[name] = QuotaCount(Position(witness.ms, witness.seq + 1), used)
        return witness, True

    def depart(
        self, keys: ShardKeys, move: Move, wallets: Sequence[WalletRow], quotas: Sequence[str]
    ) -> Position:
        """As the port says."""
        epoch = self._open(keys)
        if (move.id, move.moved_at) in epoch.moved:
            return epoch.moved[move.id, move.moved_at]
        epoch.gone[move.account_id] = None
        epoch.told.pop(move.account_id, None)
        for row in wallets:
            epoch.wallets.pop(row.id, None)
        for name in quotas:
            epoch.quotas.pop(name, None)
        epoch.holds.drop(move.account_id)
        return self._bear_witness_of(epoch, move)

    def _bear_witness_of(self, epoch: _Epoch, move: Move) -> Position:
        self._bear_witness(epoch)
        epoch.moved[move.id, move.moved_at] = epoch.last
        return epoch.last

    def _bear_witness(self, epoch: _Epoch, holds: bytes = b"") -> None:
        position = self.place(epoch.last)
        epoch.stream.append(JournalEntry(position, self._now(), 0, b"", holds=holds))
        epoch.last, epoch.added = position, epoch.added + 1

    # billing.wallets.quota_bases.QuotasRedis

    def quota_counts(
        self, keys: ShardKeys, names: Sequence[str]
    ) -> list[tuple[bool, Position | None]]:
        """As the port says."""
        found = [self._epoch(keys).quotas.get(name, QuotaCount()) for name in names]
        return [(one.base is not None, one.begins) for one in found]

    def begin_quota(self, keys: ShardKeys, name: str) -> Position:
        """As the port says."""
        epoch = self._epoch(keys)
        last = epoch.stream[-1].position if epoch.stream else START
        one = epoch.quotas.get(name, QuotaCount())
        begins = one.begins or Position(last.ms, last.seq + 1)
        epoch.quotas[name] = replace(one, begins=begins)
        return begins

    def set_quota_base(
        self, keys: ShardKeys, account: UUID, name: str, begins: Position, used: int, told: str
    ) -> None:
        """As the port says."""
        epoch = self._open(keys)
        one = epoch.quotas.get(name, QuotaCount())
        if account in epoch.gone or epoch.told.get(account, "") != told:
            return
        if one.begins == begins and one.base is None:
            epoch.quotas[name] = replace(one, base=used)

    def quota(self, keys: ShardKeys, name: str) -> QuotaCount:
        """What is counted of one."""
        return self._epoch(keys).quotas.get(name, QuotaCount())

    # billing.wallets.news.NewsRedis

    def told(self, keys: ShardKeys, accounts: Sequence[UUID]) -> list[str]:
        """As the port says."""
        return [self._epoch(keys).told.get(one, "") for one in accounts]

    def last(self, keys: ShardKeys) -> Position:
        """As the port says."""
        return self._epoch(keys).last

    def open_holds(self, keys: ShardKeys, account: UUID) -> list[str]:
        """As the port says."""
        known = self._epoch(keys).holds.known.items()
        return sorted(
            name for name, one in known if name[:32] == account.hex and one.state is HoldState.OPEN
        )

    def take_news(
        self,
        keys: ShardKeys,
        news: News,
        told: str,
        holds: Mapping[str, Hold],
        bases: Sequence[Base],
    ) -> bool:
        """As the port says."""
        epoch = self._open(keys)
        if news.account_id in epoch.gone or epoch.told.get(news.account_id, "") != told:
            return False
        found = [epoch.quotas.get(one.name, QuotaCount()) for one in bases]
        for one, count in zip(bases, found, strict=True):
            if (one.used is None, one.begins) != (count.base is None, count.begins):
                return False
        for one, count in zip(bases, found, strict=True):
            if one.used is not None:
                epoch.quotas[one.name] = replace(count, base=one.used)
        epoch.holds.learn(holds)
        epoch.told[news.account_id] = news.token
        self._bear_witness(epoch)
        return True

    # holds

    def write_holds(self, keys: ShardKeys, holds: Mapping[str, Hold]) -> None:
        """As the port says."""
        self._epoch(keys).holds.write(holds)

    def expire_holds(self, keys: ShardKeys, now: datetime) -> None:
        """As the port says."""
        self._open(keys)
        self.decide(keys, [], now)

    def decide(
        self, keys: ShardKeys, asked: Sequence[Asked], now: datetime
    ) -> list[HoldAnswer] | None:
        """As holds.lua; None if fenced."""
        if self._shown.get(keys.shard) != str(keys.epoch):
            return None
        epoch = self._epoch(keys)
        funds = {wallet.hex: (one.balance, one.floor) for wallet, one in epoch.wallets.items()}
        gone = {one.hex for one, until in epoch.gone.items() if until is None or now < until}
        answers, changes = epoch.holds.decide(asked, funds, gone, to_ms(now))
        if changes:
            self._bear_witness(epoch, packed(changes))
        return answers

    def holds(self, keys: ShardKeys) -> RedisHolds:
        """All of an epoch."""
        return self._epoch(keys).holds

    def write_marks(self, keys: ShardKeys, known: Sequence[RecentKey]) -> None:
        """As the port says."""
        if not known:
            return
        marks = self._open(keys).marks
        for one in known:
            name = (utc_day(one.received_at), key_digest(one.source, one.event_id))
            marks[name] = _Mark(one.body_hash, one.received_at, START)

    def trim(self, keys: ShardKeys, before: Position) -> None:
        """As the port says."""
        epoch = self._epoch(keys)
        epoch.stream = [one for one in epoch.stream if one.position >= before]

    def forget(self, keys: ShardKeys) -> None:
        """As the port says; streams are kept."""
        for (shard, number), one in self._epochs.items():
            if shard == keys.shard and number < keys.epoch:
                one.wallets, one.marks, one.compensated = {}, {}, set()
                one.holds, one.quotas, one.told = RedisHolds(), {}, {}

    def admit(
        self, keys: ShardKeys, admissions: Sequence[Admission], received_at: datetime
    ) -> Admitted | None:
        """Admit a batch of one shard; None if fenced."""
        if self._shown.get(keys.shard) != str(keys.epoch):
            return None
        epoch = self._epoch(keys)
        received_at = EPOCH + timedelta(microseconds=microseconds(received_at))
        letters, marks, rows, named = [], [], [], []
        uses: list[tuple[str, int]] = []
        seen: dict[bytes, bytes] = {}
        spent: dict[UUID, int] = {}
        for one in admissions:
            letter = self._letter(epoch, one, received_at, seen, spent)
            if letter == "d":
                found = _mark(epoch, one.digest, received_at)
                assert found is not None
                marks.append((found.received_at, found.position))
            elif letter == "a":
                seen[one.digest] = one.body_hash
                rows.append(one.row)
                uses += one.quotas
                named += [one.hold] if one.hold else []
                if one.wallet_id is not None:
                    spent[one.wallet_id] = spent.get(one.wallet_id, 0) + one.amount_units
            letters.append(letter)
        position = None
        if rows:
            position = self.place(epoch.last)
            for wallet, amount in spent.items():
                epoch.wallets[wallet].balance -= amount
            for quota, quantity in uses:
                count = epoch.quotas.get(quota, QuotaCount())
                epoch.quotas[quota] = count.with_use(quantity, position)
            epoch.holds.capture(named, to_ms(received_at))
            entry = JournalEntry(position, received_at, len(rows), b"".join(rows))
            epoch.stream.append(replace(entry, holds=captures(named, received_at)))
            epoch.last, epoch.added = position, epoch.added + 1
            for digest, body_hash in seen.items():
                mark = _Mark(body_hash, received_at, position)
                epoch.marks[utc_day(received_at), digest] = mark
        return Admitted(position, "".join(letters), marks)

    def _letter(
        self,
        epoch: _Epoch,
        one: Admission,
        received_at: datetime,
        seen: dict[bytes, bytes],
        spent: dict[UUID, int],
    ) -> str:
        mark = _mark(epoch, one.digest, received_at)
        if mark is not None:
            return "d" if mark.body_hash == one.body_hash else "c"
        if one.digest in seen:
            return "s" if seen[one.digest] == one.body_hash else "c"
        if one.wallet_id in epoch.gone:
            until = epoch.gone[one.wallet_id]
            if until is None or received_at < until:
                return "m"
        if one.wallet_id is not None:
            if one.wallet_id not in epoch.wallets:
                return "u"
            already = spent.get(one.wallet_id, 0) + one.amount_units
            if already >= _LIMIT or epoch.wallets[one.wallet_id].balance - already <= -_LIMIT:
                return "r"
        return "a"

    def journal(self, keys: ShardKeys) -> tuple[int, Position]:
        """How many entries were ever added to the stream, and the last one's place."""
        epoch = self._epoch(keys)
        return epoch.added, epoch.last


def _mark(epoch: _Epoch, digest: bytes, received_at: datetime) -> _Mark | None:
    today = utc_day(received_at)
    return epoch.marks.get((today, digest)) or epoch.marks.get((day_before(today), digest))
