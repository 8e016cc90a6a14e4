"""Redis as the writer, the rebuild and the intake use it: `billing.wallets.ports` filled in."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from billing.failpoints import failpoint
from billing.usage.batch import Compensation, JournalEntry, Position
from billing.usage.counters import Advance
from billing.usage.hash import key_digest
from billing.wallets.hold_book import bound
from billing.wallets.holds import (
    Asked,
    Hold,
    HoldAnswer,
    HoldState,
    hold_call,
    read_answers,
)
from billing.wallets.journal import (
    Admission,
    Admitted,
    admit_call,
    dedupe_field,
    read_answer,
    read_entries,
    utc_day,
)
from billing.wallets.keys import (
    COUNTER_SECONDS,
    DEDUPE_SECONDS,
    REBUILDING,
    REMEMBER_SECONDS,
    ShardKeys,
)
from billing.wallets.line import ScriptLine
from billing.wallets.ports import Adjustment, FencedError, RecentKey, WalletRow
from billing.wallets.scripts import ADJUST, ADMIT, COMPENSATE, FENCED, HOLDS, LOAD, REMEMBER, SHOW

_KEEP_OLD_STREAM: Final = timedelta(hours=24)
_CHUNK: Final = 1_000
_MARKS_PER_CALL: Final = 500
"""Events are admitted between two calls: a longer one would make them wait."""


class RedisPort:
    """A server, through a blocking client."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    def epoch_text(self, shard: int) -> str:
        """What the epoch's key holds."""
        found: Any = self._redis.get(ShardKeys(shard, 0).epoch_key)
        return found.decode() if found else ""

    def fence(self, shard: int, epoch: int) -> None:
        """Refuse every script until this epoch is shown."""
        self._redis.set(ShardKeys(shard, epoch).epoch_key, f"{REBUILDING}{epoch}")

    def show(self, keys: ShardKeys) -> None:
        """Lift the fence of this very epoch."""
        _not_fenced(
            SHOW.call(self._redis, [keys.epoch_key], [f"{REBUILDING}{keys.epoch}", keys.epoch])
        )

    def entries(
        self, keys: ShardKeys, after: Position, *, count: int, block_ms: int | None = None
    ) -> list[JournalEntry]:
        """The entries that follow a position."""
        return read_entries(self._redis, keys, after, count=count, block_ms=block_ms)

    def has_entry(self, keys: ShardKeys, position: Position) -> bool:
        """Whether the stream holds this entry."""
        return bool(self._redis.xrange(keys.stream, str(position), str(position)))

    def limits(self, keys: ShardKeys, wallets: Sequence[UUID]) -> list[tuple[int, int, int] | None]:
        """Last adjustment applied, floor and low balance of each."""
        found: list[tuple[int, int, int] | None] = []
        for start in range(0, len(wallets), _CHUNK):
            with self._redis.pipeline(transaction=False) as pipe:
                for wallet in wallets[start : start + _CHUNK]:
                    pipe.hmget(keys.wallet(wallet), ["aseq", "floor", "low"])
                found += [
                    None if applied is None else (int(applied), int(floor), int(low))
                    for applied, floor, low in pipe.execute()
                ]
        return found

    def has_left(self, keys: ShardKeys, account: UUID) -> bool:
        """Whether nothing of this account is taken in, since it was moved away."""
        return bool(self._redis.hexists(keys.gone, account.hex))

    def load(self, keys: ShardKeys, row: WalletRow) -> None:
        """Put a wallet there, unless it is there."""
        names = [keys.epoch_key, keys.wallet(row.id)]
        _not_fenced(LOAD.call(self._redis, names, [keys.epoch, *row.fields.values()]))

    def adjust(self, keys: ShardKeys, row: WalletRow, pending: Sequence[Adjustment]) -> int:
        """Apply adjustments and the row's limits; gives the last one applied."""
        failpoint("mirror.before_adjust")
        answer = ADJUST.call(
            self._redis,
            [keys.epoch_key, keys.wallet(row.id)],
            [
                keys.epoch,
                row.fields["floor"],
                row.fields["low"],
                *(
                    value
                    for one in pending
                    for value in (one.seq, one.amount_units, _packed(keys, one.changes))
                ),
            ],
        )
        failpoint("mirror.after_adjust")
        _not_fenced(answer)
        if answer[0] == -4:
            raise OverflowError(f"wallet {row.id} would leave what a wallet can hold")
        if answer[0] != 1:
            raise LookupError(f"wallet {row.id} is not there")
        return int(answer[1])

    def compensate(self, keys: ShardKeys, given: Sequence[Compensation]) -> None:
        """Give second debits back, each once."""
        failpoint("mirror.before_compensate")
        answer = COMPENSATE.call(
            self._redis,
            [keys.epoch_key, keys.compensated, *(keys.wallet(one.wallet_id) for one in given)],
            [
                keys.epoch,
                *(
                    value
                    for one in given
                    for value in (
                        f"{one.position}:{one.place}",
                        one.amount_units,
                        _packed(keys, [] if one.counter is None else [one.counter]),
                    )
                ),
            ],
        )
        failpoint("mirror.after_compensate")
        _not_fenced(answer)

    def write_wallets(self, keys: ShardKeys, rows: Sequence[WalletRow]) -> None:
        """All wallets of an epoch that is not shown yet."""
        for start in range(0, len(rows), _CHUNK):
            with self._redis.pipeline(transaction=False) as pipe:
                for row in rows[start : start + _CHUNK]:
                    pipe.hset(keys.wallet(row.id), mapping=row.fields)  # type: ignore[arg-type]
                    for one in row.counters:
                        name = keys.counters(row.id, one.counted_on)
                        pipe.hset(name, one.rate_id.hex, one.micros)
                        pipe.expire(name, COUNTER_SECONDS)
                pipe.execute()

    def write_holds(self, keys: ShardKeys, holds: Mapping[str, Hold]) -> None:
        """All holds of an epoch that is not shown yet, and what they bind."""
        wallets, quotas = bound(holds)
        every = list(holds.items())
        for start in range(0, len(every), _CHUNK):
            with self._redis.pipeline(transaction=False) as pipe:
                for name, hold in every[start : start + _CHUNK]:
                    is_open = hold.state is HoldState.OPEN
                    packed = msgspec.msgpack.encode(hold)
                    pipe.set(keys.holds + name, packed, ex=None if is_open else REMEMBER_SECONDS)
                    if is_open:
                        pipe.zadd(keys.open_holds, {name: hold.expires_ms})
                pipe.execute()
        with self._redis.pipeline(transaction=False) as pipe:
            for wallet, amount in wallets.items():
                pipe.hset(keys.wallets + wallet, "held", amount)
            for quota, quantity in quotas.items():
                pipe.hset(keys.quotas + quota, "held", quantity)
                pipe.expire(keys.quotas + quota, COUNTER_SECONDS)
            pipe.execute()

    def write_gone(self, keys: ShardKeys, accounts: Sequence[UUID]) -> None:
        """The accounts that were moved away."""
        if accounts:
            self._redis.hset(keys.gone, mapping={one.hex: "0" for one in accounts})

    def write_marks(self, keys: ShardKeys, known: Sequence[RecentKey]) -> None:
        """Let these events be known as duplicates."""
        marks: dict[date, list[bytes]] = {}
        length = 0
        for source, event_id, body_hash, received_at in known:
            mark = dedupe_field(body_hash, received_at)
            length = len(mark)
            marks.setdefault(utc_day(received_at), []).append(key_digest(source, event_id) + mark)
        for day, some in marks.items():
            for start in range(0, len(some), _MARKS_PER_CALL):
                part = b"".join(some[start : start + _MARKS_PER_CALL])
                args = [keys.epoch, keys.buckets(day), DEDUPE_SECONDS, length, part]
                _not_fenced(REMEMBER.call(self._redis, [keys.epoch_key], args))

    def expire_holds(self, keys: ShardKeys, now: datetime) -> None:
        """Let go of the holds whose time is over."""
        _not_fenced(HOLDS.call(self._redis, *hold_call(keys, (), now)))

    def trim(self, keys: ShardKeys, before: Position) -> None:
        """Drop the entries below a position."""
        self._redis.xtrim(keys.stream, minid=str(before))

    def keep_streams(self, keys: ShardKeys, since: int) -> None:
        """Let the streams of these earlier epochs stay longer."""
        with self._redis.pipeline(transaction=False) as pipe:
            for epoch in range(since, keys.epoch):
                pipe.expire(ShardKeys(keys.shard, epoch).stream, _KEEP_OLD_STREAM)
            pipe.execute()

    def forget(self, keys: ShardKeys) -> None:
        """Drop what the epochs before this one left; their streams stay a while.

        A stream is kept for PostgreSQL restored to a backup.
        """
        old: list[bytes] = []
        for name in self._redis.scan_iter(f"{{b:{keys.shard}}}:*", count=_CHUNK):
            epoch, _, rest = name.removeprefix(f"{{b:{keys.shard}}}:".encode()).partition(b":")
            if not epoch.isdigit() or int(epoch) >= keys.epoch:
                continue
            if rest == b"j":
                self._redis.expire(name, _KEEP_OLD_STREAM, nx=True)
            else:
                old.append(name)
            if len(old) >= _CHUNK:
                self._redis.unlink(*old)
                old.clear()
        if old:
            self._redis.unlink(*old)


class AsyncRedisPort:
    """A server, through a client that does not block; one call at a time."""

    def __init__(self, redis: "AsyncRedis") -> None:
        self._line = ScriptLine(redis)

    async def admit(
        self, keys: ShardKeys, admissions: Sequence[Admission], received_at: datetime
    ) -> Admitted | None:
        """Admit a batch; a connection that broke while idle is worth a second try.

        The second try is safe: what the first one may have admitted is then a duplicate.
        """
        names, args = admit_call(keys, admissions, received_at)
        failpoint("api.before_admit")
        try:
            answer: list[Any] = await self._line.call(ADMIT, names, args)
        except (RedisError, OSError):
            answer = await self._line.call(ADMIT, names, args)
        failpoint("api.after_admit")
        return read_answer(answer)

    async def close(self) -> None:
        """Let go of the connection."""
        await self._line.close()


class AsyncHoldsPort:
    """A server as authorisations ask it, by a connection of their own."""

    def __init__(self, redis: "AsyncRedis") -> None:
        self._line = ScriptLine(redis)

    async def decide(
        self, keys: ShardKeys, asked: Sequence[Asked], now: datetime
    ) -> list[HoldAnswer] | None:
        """Answer what is asked of holds; None if fenced."""
        return read_answers(await self._line.call(HOLDS, *hold_call(keys, asked, now)))

    async def close(self) -> None:
        """Let go of the connection."""
        await self._line.close()


def open_holds(redis: "Redis", keys: ShardKeys, account: UUID) -> list[str]:
    """Names of an account's holds that are open."""
    mine = f"{account.hex}:*"
    found: Any = redis.zscan_iter(keys.open_holds, mine, count=_CHUNK)
    return sorted({one.decode() for one, _ in found})


def _packed(keys: ShardKeys, moved: Sequence[Advance]) -> bytes:
    """Counters with what they are moved by, as adjust.lua and compensate.lua read them."""
    if not moved:
        return b""
    return msgspec.msgpack.encode(
        [
            (keys.counters(one.wallet_id, one.counted_on), one.rate_id.hex, one.micros)
            for one in moved
        ]
    )


def _not_fenced(answer: list[Any]) -> None:
    if answer[0] == FENCED:
        raise FencedError("Redis is fenced off")
