"""Every key that a script touches lies with its shard, also those that are not named to it."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import msgspec

from billing.rating.cumulative import CumulativePrice, Step
from billing.usage.batch import Compensation, Position
from billing.usage.counters import Advance
from billing.wallets.audit import RedisToAudit
from billing.wallets.connect import open_shard
from billing.wallets.holds import (
    Hold,
    HoldState,
    QuotaUse,
    Verdict,
    Wanted,
    hold_call,
    place,
    read_answers,
    release,
)
from billing.wallets.journal import Admission, Count, admit_call
from billing.wallets.keys import ShardKeys
from billing.wallets.moves_redis import MovesRedisPort
from billing.wallets.moving import Carried, Move
from billing.wallets.news import News
from billing.wallets.news_store import NewsRedisPort
from billing.wallets.ports import Adjustment, RecentKey, WalletRow
from billing.wallets.redis_port import RedisPort
from billing.wallets.scripts import ADMIT, HOLDS, READ

NOW = datetime(2026, 7, 15, 4, 30, tzinfo=UTC)
DAY = date(2026, 7, 1)
KEYS = ShardKeys(2, 7)
WALLET = UUID(int=1)
RATE, ACCOUNT = UUID(int=2), UUID(int=3)
PRICE = CumulativePrice(0, 0, (Step(0, 10, 0, 0),))
KINDS = {"epoch", "j", "w", "d", "c", "comp", "x", "h", "q", "gone", "m", "told"}


def test_scripts_touch_keys_of_their_shard_alone(redis_url: str) -> None:
    touched: set[str] = set()
    with (
        open_shard(redis_url, KEYS.shard) as client,
        open_shard(redis_url, KEYS.shard) as own,
        own.monitor() as watch,
    ):
        port, moved = RedisPort(client), Advance(WALLET, RATE, DAY, 5)
        row = WalletRow(WALLET, 1000, 0, 0, 0)
        port.fence(KEYS.shard, KEYS.epoch)
        port.show(KEYS)
        port.load(KEYS, row)
        port.adjust(KEYS, row, [Adjustment(1, 50, (moved,))])
        quotas = (QuotaUse("quota", 1_000_000, 9_000_000, True),)
        for name in ("held", "let-go"):
            wanted = Wanted(name, "hash", WALLET, 5, 0, NOW + timedelta(minutes=5), quotas)
            answer = HOLDS.call(client, *hold_call(KEYS, [place(wanted)], NOW))
            assert [one.verdict for one in read_answers(answer) or []] == ["ok"]
        HOLDS.call(client, *hold_call(KEYS, [release("let-go")], NOW))
        event = Admission(b"a" * 16, b"b" * 8, WALLET, 0, b"r" * 90)
        event.count = Count(RATE, DAY, 1_000_000, PRICE)
        event.hold, event.quotas = "held", (("quota", 1_000_000),)
        assert ADMIT.call(client, *admit_call(KEYS, [event], NOW))[2] == b"a"
        back = Compensation(Position(5, 0), 0, WALLET, 10, moved)
        port.compensate(KEYS, [back])
        port.write_marks(KEYS, [RecentKey("core", "event", b"c" * 8, NOW)])
        READ.call(client, [KEYS.epoch_key, KEYS.wallet(WALLET)], [KEYS.epoch])
        RedisToAudit(client).audit(KEYS, Position(0, 0), [WALLET], 10)
        moves, carried = MovesRedisPort(client), Carried([("quota", 5)])
        moves.hold_off(KEYS, ACCOUNT, None)
        move = Move(UUID(int=9), ACCOUNT, 1, 2, NOW, False, False, carried)
        counted = replace(row, counters=(moved,))
        kept = Hold(
            HoldState.OPEN, 5, 1, 2, 0, "hash", WALLET.hex, 9, 4, Verdict.OK, (("quota", 5),)
        )
        moves.arrive(KEYS, move, [counted], {f"{ACCOUNT.hex}:kept": kept}, ["quota"])
        told = NewsRedisPort(client)
        told.set_quota_base(KEYS, ACCOUNT, "other", Position(5, 0), 5, "")
        ended = msgspec.structs.replace(kept, state=HoldState.CAPTURED, resolved_ms=3)
        holds = {f"{ACCOUNT.hex}:kept": ended, f"{ACCOUNT.hex}:new": kept}
        assert told.take_news(KEYS, News(ACCOUNT, "token", NOW), "", holds, [])
        moves.depart(KEYS, replace(move, id=UUID(int=8)), [counted], ["quota"])
        client.echo("the end")
        for seen in watch.listen():
            command = seen["command"].split()
            if command[0].upper() == "ECHO":
                break
            if seen["client_type"] == "lua" and command != ["TIME"]:  # which has no key
                touched.add(command[1])

    assert all(key.startswith("{b:2}:") for key in touched), touched
    assert {re.sub(r"^\{b:2\}:(7:)?", "", key).split(":")[0] for key in touched} == KINDS
