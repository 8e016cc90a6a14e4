"""What the Lua scripts do, and what they refuse to do, on a real server."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from redis import Redis

from billing.ids import new_id
from billing.usage.batch import Position
from billing.wallets.connect import open_any
from billing.wallets.journal import (
    Admission,
    Admitted,
    admit_call,
    dedupe_field,
    read_answer,
    read_entries,
)
from billing.wallets.keys import ShardKeys
from billing.wallets.scripts import ADJUST, ADMIT, COMPENSATE, FENCED, LOAD, READ

NOW = datetime(2026, 7, 15, 4, 30, tzinfo=UTC)
KEYS = ShardKeys(0, 7)
WALLET = UUID(int=1)
LIMIT = 2**53


@pytest.fixture
def server(redis_url: str) -> Any:
    with open_any(redis_url) as client:
        client.set(KEYS.epoch_key, KEYS.epoch)
        load(client, WALLET, 1000)
        yield client


def load(client: "Redis", wallet: UUID, balance: int, floor: int = 0) -> Any:
    return LOAD.call(client, [KEYS.epoch_key, KEYS.wallet(wallet)], [7, balance, 0, floor, 0])


def event(
    name: str,
    amount: int = 5,
    *,
    body: bytes = b"body-one",
    wallet: UUID | None = WALLET,
    row: bytes | None = None,
) -> Admission:
    return Admission(name.encode().ljust(16), body, wallet, amount, row or f"<{name}>".encode())


def admit(
    client: "Redis", *events: Admission, now: datetime = NOW, keys: ShardKeys = KEYS
) -> Admitted | None:
    return read_answer(ADMIT.call(client, *admit_call(keys, events, now)))


def balance(client: "Redis", wallet: UUID = WALLET) -> str:
    return (client.hget(KEYS.wallet(wallet), "bal") or b"").decode()


def test_admitted_events_are_debited_and_journalled_in_one_entry(server: "Redis") -> None:
    admitted = admit(server, event("a"), event("b", 7), event("c", 0, wallet=None))

    assert admitted is not None
    assert admitted.letters == "aaa"
    assert balance(server) == "988"
    entry = read_entries(server, KEYS, Position(0, 0), count=10)
    assert [(one.position, one.count, one.rows, one.received_at) for one in entry] == [
        (admitted.position, 3, b"<a><b><c>", NOW)
    ]


def test_a_known_key_is_a_duplicate_or_a_conflict_by_its_body(server: "Redis") -> None:
    first = admit(server, event("a"))
    again = admit(
        server, event("a"), event("b"), event("a", body=b"body-two"), now=NOW + timedelta(hours=1)
    )

    assert first is not None
    assert again is not None
    assert again.letters == "dac"
    assert again.marks == [(NOW, first.position)]
    assert balance(server) == "990"
    assert [one.rows for one in read_entries(server, KEYS, Position(0, 0), count=10)] == [
        b"<a>",
        b"<b>",
    ]


def test_the_same_key_twice_in_one_call_counts_once(server: "Redis") -> None:
    admitted = admit(server, event("a"), event("a"), event("a", body=b"body-two"))

    assert admitted is not None
    assert admitted.letters == "asc"
    assert balance(server) == "995"


def test_yesterdays_events_are_remembered_and_older_ones_forgotten(server: "Redis") -> None:
    admit(server, event("a"))
    tomorrow = admit(server, event("a"), now=NOW + timedelta(days=1))
    later = admit(server, event("a"), now=NOW + timedelta(days=3))

    assert tomorrow is not None
    assert later is not None
    assert (tomorrow.letters, later.letters) == ("d", "a")
    bucket = KEYS.bucket(NOW.date(), event("a").digest)
    assert 0 < server.ttl(bucket) <= 49 * 3600


def test_another_epoch_is_fenced_and_nothing_happens(server: "Redis") -> None:
    before = sorted(server.keys("*"))
    assert admit(server, event("a"), keys=ShardKeys(0, 6)) is None
    server.set(KEYS.epoch_key, "rebuilding:8")
    assert admit(server, event("a")) is None
    server.delete(KEYS.epoch_key)
    assert admit(server, event("a")) is None
    server.set(KEYS.epoch_key, 7)

    assert sorted(server.keys("*")) == before
    assert balance(server) == "1000"


def test_an_unknown_wallet_holds_back_its_events_alone(server: "Redis") -> None:
    admitted = admit(server, event("a", wallet=new_id()), event("b"))

    assert admitted is not None
    assert admitted.letters == "ua"
    assert balance(server) == "995"
    again = admit(server, event("a"))
    assert again is not None
    assert again.letters == "a"


def test_free_events_pass_although_minus_zero_is_no_number_for_redis(server: "Redis") -> None:
    admitted = admit(server, event("a", 0), event("b", 0))

    assert admitted is not None
    assert admitted.letters == "aa"
    assert balance(server) == "1000"


def test_no_balance_leaves_what_a_double_can_count(server: "Redis") -> None:
    admitted = admit(server, event("a", LIMIT - 1), event("b", 1), event("c", LIMIT))
    later = admit(server, event("d", 1001), event("e", 1000))

    assert admitted is not None
    assert admitted.letters == "arr"
    assert later is not None
    assert later.letters == "ra"
    assert balance(server) == str(-(LIMIT - 1))


def test_a_large_balance_is_moved_exactly(server: "Redis") -> None:
    wallet = new_id()
    load(server, wallet, LIMIT - 1)
    admit(server, *(event(f"e{number}", 3_333_333_333_333, wallet=wallet) for number in range(9)))

    assert balance(server, wallet) == str(LIMIT - 1 - 9 * 3_333_333_333_333)


def test_a_call_of_a_thousand_events_passes(server: "Redis") -> None:
    events = [event(f"e{number}", 1, row=b"x" * 300) for number in range(1000)]
    admitted = admit(server, *events)

    assert admitted is not None
    assert admitted.letters == "a" * 1000
    assert balance(server) == "0"


def test_adjustments_are_applied_once_and_in_order(server: "Redis") -> None:
    def adjust(*pairs: int, epoch: int = 7) -> Any:
        given = [v for at in range(0, len(pairs), 2) for v in (*pairs[at : at + 2], "")]
        return ADJUST.call(server, [KEYS.epoch_key, KEYS.wallet(WALLET)], [epoch, -50, 200, *given])

    assert adjust(1, 100, 2, -30) == [1, 2]
    assert adjust(1, 100, 2, -30) == [1, 2]
    assert adjust(4, 1000) == [1, 2]
    assert adjust(2, -30, 3, 5, 4, 0) == [1, 4]
    assert adjust(5, LIMIT) == [-4]
    assert adjust(5, 1, epoch=6) == [FENCED]
    assert server.hgetall(KEYS.wallet(WALLET)) == {
        b"bal": b"1075",
        b"aseq": b"4",
        b"floor": b"-50",
        b"low": b"200",
    }


def test_a_wallet_that_is_there_is_not_loaded_over(server: "Redis") -> None:
    assert load(server, WALLET, 5) == [0]
    assert balance(server) == "1000"


def test_a_second_debit_is_given_back_once(server: "Redis") -> None:
    def give_back(*places: str) -> Any:
        keys = [KEYS.epoch_key, KEYS.compensated, *[KEYS.wallet(WALLET)] * len(places)]
        return COMPENSATE.call(server, keys, [7, *(v for one in places for v in (one, 10, ""))])

    assert give_back("5-0:0", "5-0:1") == [1, 2]
    assert give_back("5-0:0", "5-0:1", "6-0:0") == [1, 1]
    assert balance(server) == "1030"


def test_wallets_are_read_together_and_missing_ones_are_empty(server: "Redis") -> None:
    keys = [KEYS.epoch_key, KEYS.wallet(WALLET), KEYS.wallet(new_id())]

    assert READ.call(server, keys, [7]) == [1, b"1000", b"0", b"", b""]
    assert READ.call(server, keys, [8]) == [FENCED]


def test_a_mark_of_a_rebuild_reads_as_durable(server: "Redis") -> None:
    one = event("a")
    server.hset(
        KEYS.bucket(NOW.date(), one.digest),
        one.digest[2:14],  # type: ignore[arg-type]
        dedupe_field(one.body_hash, NOW),  # type: ignore[arg-type]
    )
    admitted = admit(server, one)

    assert admitted is not None
    assert admitted.marks == [(NOW, Position(0, 0))]


def test_an_entry_of_a_stranger_reads_as_broken(server: "Redis") -> None:
    server.xadd(KEYS.stream, {"v": "9", "p": "x"})
    server.xadd(KEYS.stream, {"v": "2", "n": "many", "r": "1", "p": "x"})

    entries = read_entries(server, KEYS, Position(0, 0), count=10)
    assert [one.broken is not None for one in entries] == [True, True]


def test_scripts_are_loaded_again_after_the_server_forgot_them(server: "Redis") -> None:
    admit(server, event("a"))
    server.script_flush()

    assert admit(server, event("b")) is not None
