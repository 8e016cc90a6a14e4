"""Redis as moves of accounts use it: `billing.wallets.moving.MovesRedis` filled in."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from redis import Redis

from billing.usage.batch import Position
from billing.wallets.holds import Hold
from billing.wallets.keys import COUNTER_SECONDS, MOVE_SECONDS, REMEMBER_SECONDS, ShardKeys
from billing.wallets.moving import Carried, Move, until_ms
from billing.wallets.ports import FencedError, RecentKey, WalletRow
from billing.wallets.redis_port import RedisPort, open_holds
from billing.wallets.scripts import ARRIVE, DEPART, FENCED, LEAVE


class MovesRedisPort:
    """A server, through a blocking client."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    def hold_off(self, keys: ShardKeys, account: UUID, until: datetime | None) -> Position | None:
        """Take nothing of an account in until then, or ever; gives the last entry's place."""
        return self._leave(keys, account, str(until_ms(until)))

    def let_in(self, keys: ShardKeys, account: UUID, *, in_any_case: bool = False) -> None:
        """Take it in again, unless it was held off for ever, or in any case."""
        self._leave(keys, account, "-" if in_any_case else "")

    def _leave(self, keys: ShardKeys, account: UUID, until: str) -> Position | None:
        names = [keys.epoch_key, keys.stream, keys.gone]
        answer = _called(LEAVE.call(self._redis, names, [keys.epoch, account.hex, until]))
        return Position.parse(answer[1].decode()) if answer[1] else None

    def gone(self, keys: ShardKeys) -> list[UUID]:
        """All accounts that are held off."""
        found: Any = self._redis.hkeys(keys.gone)
        return [UUID(hex=one.decode()) for one in found]

    def pack(self, keys: ShardKeys, quotas: Sequence[str]) -> Carried:
        """What only Redis has of an account that is held off: the use of its quotas."""
        uses: list[tuple[str, int]] = []
        for name in quotas:
            base, used = self._redis.hmget(keys.quotas + name, ["base", "used"])
            if base is not None:
                uses.append((name, int(base) + int(used or 0)))
        return Carried(uses)

    def arrive(
        self,
        keys: ShardKeys,
        move: Move,
        wallets: Sequence[WalletRow],
        holds: Mapping[str, Hold],
        quotas: Sequence[str],
    ) -> tuple[Position, bool]:
        """Let it in with all that belongs to it, once."""
        comes = (
            move.account_id.hex,
            [(one.id.hex, _fields(one)) for one in wallets],
            [
                (keys.counters(row.id, one.counted_on), one.rate_id.hex, str(one.micros))
                for row in wallets
                for one in row.counters
            ],
            list(holds.items()),
            [(name, str(used)) for name, used in move.carried.quotas],
            open_holds(self._redis, keys, move.account_id),
            list(quotas),
        )
        return _witness(
            ARRIVE.call(
                self._redis,
                [
                    keys.epoch_key,
                    keys.stream,
                    keys.gone,
                    keys.moved(move.id, move.moved_at),
                    keys.open_holds,
                    keys.told,
                ],
                [
                    keys.epoch,
                    MOVE_SECONDS,
                    keys.wallets,
                    keys.holds,
                    keys.quotas,
                    COUNTER_SECONDS,
                    msgspec.msgpack.encode(comes),
                    REMEMBER_SECONDS,
                ],
            )
        )

    def depart(
        self, keys: ShardKeys, move: Move, wallets: Sequence[WalletRow], quotas: Sequence[str]
    ) -> Position:
        """Hold it off for ever and drop what is left of it, once."""
        goes = {keys.wallet(row.id) for row in wallets}
        goes |= {keys.counters(row.id, one.counted_on) for row in wallets for one in row.counters}
        goes |= {keys.quotas + name for name in quotas}
        rest = (sorted(goes), open_holds(self._redis, keys, move.account_id))
        return _witness(
            DEPART.call(
                self._redis,
                [
                    keys.epoch_key,
                    keys.stream,
                    keys.gone,
                    keys.moved(move.id, move.moved_at),
                    keys.open_holds,
                    keys.told,
                ],
                [
                    keys.epoch,
                    MOVE_SECONDS,
                    move.account_id.hex,
                    keys.holds,
                    msgspec.msgpack.encode(rest),
                ],
            )
        )[0]

    def write_marks(self, keys: ShardKeys, known: Sequence[RecentKey]) -> None:
        """Let these events be known as duplicates."""
        RedisPort(self._redis).write_marks(keys, known)


def _witness(answer: list[Any]) -> tuple[Position, bool]:
    is_now, entry_id = _called(answer)
    return Position.parse(entry_id.decode()), is_now == 1


def _fields(row: WalletRow) -> list[str]:
    return [str(part) for pair in row.fields.items() for part in pair]


def _called(answer: list[Any]) -> list[Any]:
    if answer[0] == FENCED:
        raise FencedError("Redis is fenced off")
    return answer
