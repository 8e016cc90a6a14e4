"""Making Redis anew from PostgreSQL, and keeping it true afterwards."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import Connection
from redis import Redis
from sqlalchemy import Engine

from billing.access.actor import SYSTEM
from billing.clock import ManualClock
from billing.commands import Context
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.usage.batch import START, Applied, Batch, Position
from billing.wallets.connect import open_any
from billing.wallets.journal import Admission, Admitted, admit_call, read_answer, read_entries
from billing.wallets.keys import ShardKeys
from billing.wallets.mirror import compensate, require_current, sync_wallets
from billing.wallets.ports import RebuildNeededError
from billing.wallets.postgres_port import PostgresPort
from billing.wallets.rebuild import rebuild, refill
from billing.wallets.redis_port import RedisPort
from billing.wallets.scripts import ADMIT
from billing.wallets.service import TopUp, top_up
from tests.support.factories.usage import NOW, Sender, make_event, make_row, make_sender


@dataclass
class Pair:
    """A shard in both stores."""

    connection: Connection[Any]
    redis: "Redis"
    engine: Engine
    sender: Sender
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    keys: ShardKeys = field(default_factory=lambda: ShardKeys(0, 1))
    cursor: Position = START

    def __post_init__(self) -> None:
        self.there = RedisPort(self.redis)
        self.books = PostgresPort(self.connection, self.clock)

    @property
    def wallet_id(self) -> UUID:
        assert self.sender.wallet is not None
        return self.sender.wallet.id

    def rebuild(self) -> None:
        self.keys, self.cursor = rebuild(self.books, self.there, 0), START
        refill(self.books, self.there, self.keys, self.clock)

    def admit(self, *names: str, amount: int = 5) -> Admitted:
        admissions = []
        for name in names:
            event = make_event(name, self.sender.account.id)
            row = make_row(self.sender, event, amount)
            admissions.append(Admission(event.digest, event.body_hash, self.wallet_id, amount, row))
        answer = read_answer(ADMIT.call(self.redis, *admit_call(self.keys, admissions, NOW)))
        assert answer is not None
        return answer

    def write(self) -> Applied:
        entries = read_entries(self.redis, self.keys, self.cursor, count=100)
        applied = self.books.apply(Batch(0, self.keys.epoch, self.cursor, tuple(entries)))
        self.cursor = applied.cursor
        compensate(self.there, self.keys, applied.compensations)
        return applied

    def pay(self, minor: int, reference: str) -> None:
        with unit_of_work(self.engine) as session:
            top_up(
                Context(session, SYSTEM, ManualClock(NOW)),
                TopUp(wallet_id=self.wallet_id, amount_minor=minor, reference=reference),
            )

    def balances(self) -> tuple[int, int]:
        row = self.connection.execute(
            "SELECT balance_units FROM billing.wallets WHERE id = %s", [self.wallet_id]
        ).fetchone()
        assert row is not None
        return row[0], int(self.redis.hget(self.keys.wallet(self.wallet_id), "bal") or 0)


@pytest.fixture
def pair(database_url: str, redis_url: str) -> Iterator[Pair]:
    engine = open_engine(database_url, application="test")
    with unit_of_work(engine) as session:
        sender = make_sender(session)
    with (
        psycopg.connect(database_url, autocommit=True) as connection,
        open_any(redis_url) as redis,
    ):
        pair = Pair(connection, redis, engine, sender)
        pair.rebuild()
        yield pair
    engine.dispose()


def test_an_emptied_redis_is_noticed_and_made_anew(pair: Pair) -> None:
    pair.pay(1, "p")
    pair.admit("a", "b")
    with pytest.raises(AssertionError):
        assert pair.balances()[0] == pair.balances()[1]
    sync_wallets(pair.books, pair.there, pair.keys)
    pair.write()
    pair.redis.flushall()
    with pytest.raises(RebuildNeededError):
        require_current(pair.there, pair.keys, pair.cursor)
    pair.rebuild()

    require_current(pair.there, pair.keys, pair.cursor)
    assert pair.balances() == (10_000 - 10, 10_000 - 10)


def test_events_of_the_last_two_days_are_duplicates_after_a_rebuild(pair: Pair) -> None:
    pair.admit("a")
    pair.write()
    pair.redis.flushall()
    pair.rebuild()

    again = pair.admit("a")
    assert again.letters == "d"
    assert again.marks == [(NOW, START)]
    assert pair.balances() == (-5, -5)


def test_what_the_old_stream_still_holds_is_applied_before_the_new_epoch(pair: Pair) -> None:
    pair.admit("a")
    pair.write()
    pair.admit("b", "c")
    pair.rebuild()

    assert pair.balances() == (-15, -15)
    assert pair.admit("b").letters == "d"


def test_a_rebuild_that_was_cut_off_starts_over(pair: Pair) -> None:
    pair.admit("a")
    pair.redis.set(pair.keys.epoch_key, f"rebuilding:{pair.keys.epoch + 1}")
    with pytest.raises(RebuildNeededError):
        require_current(pair.there, pair.keys, pair.cursor)
    before = pair.keys.epoch
    pair.rebuild()

    assert pair.keys.epoch > before + 1
    assert pair.balances() == (-5, -5)


def test_an_older_copy_of_redis_is_noticed_even_after_new_events(pair: Pair) -> None:
    pair.admit("a")
    copy = {key: pair.redis.dump(key) or b"" for key in pair.redis.scan_iter()}
    pair.admit("b")
    pair.write()
    pair.redis.flushall()
    for key, value in copy.items():
        pair.redis.restore(key, 0, value)
    pair.admit("c")

    with pytest.raises(RebuildNeededError):
        require_current(pair.there, pair.keys, pair.cursor)
    pair.rebuild()
    assert pair.balances() == (-15, -15)


def test_a_database_restored_to_a_backup_gets_its_events_from_the_stream(pair: Pair) -> None:
    saved = pair.connection.execute(
        "SELECT epoch, cursor_ms, cursor_seq, accept_seq FROM usage.shard_state"
    ).fetchone()
    pair.admit("a", "b")
    pair.rebuild()
    _restore(pair, saved)
    pair.rebuild()

    assert pair.balances() == (-10, -10)


def _restore(pair: Pair, state: Any) -> None:
    """As if a backup from before any event had been restored."""
    tables = "usage.event_key, usage.raw_events, usage.usage_debits"
    pair.connection.execute(
        "SET session_replication_role = replica;"
        f"TRUNCATE {tables}, usage.redis_compensations, billing.ledger_transactions,"
        "billing.ledger_entries CASCADE;"
        "UPDATE billing.wallets SET balance_units = 0, entry_seq = 0;"
        f"UPDATE usage.shard_state SET epoch = {state[0]}, cursor_ms = {state[1]},"
        f"cursor_seq = {state[2]}, accept_seq = {state[3]}, mode = 'open',"
        "undrained_epoch = NULL, undrained_ms = NULL, undrained_seq = NULL;"
        "SET session_replication_role = origin"
    )


def test_adjustments_reach_redis_once_and_a_gap_is_filled_from_postgresql(pair: Pair) -> None:
    for number in range(5):
        pair.pay(1, f"p{number}")
    assert sync_wallets(pair.books, pair.there, pair.keys) == 1
    assert sync_wallets(pair.books, pair.there, pair.keys) == 0
    assert pair.balances() == (50_000, 50_000)

    pair.redis.hset(pair.keys.wallet(pair.wallet_id), "aseq", 9)
    with pytest.raises(RebuildNeededError, match="ahead"):
        sync_wallets(pair.books, pair.there, pair.keys)


def test_a_new_wallet_is_loaded_and_a_lost_one_is_not(pair: Pair) -> None:
    with unit_of_work(pair.engine) as session:
        new = make_sender(session)
    assert new.wallet is not None
    assert sync_wallets(pair.books, pair.there, pair.keys, [new.wallet.id]) == 1
    assert pair.redis.hget(pair.keys.wallet(new.wallet.id), "bal") == b"0"

    pair.admit("a")
    pair.write()
    pair.redis.delete(pair.keys.wallet(pair.wallet_id))
    with pytest.raises(RebuildNeededError, match="gone"):
        sync_wallets(pair.books, pair.there, pair.keys)


def test_a_forgotten_event_is_counted_once_and_given_back_once(pair: Pair) -> None:
    pair.admit("a")
    pair.write()
    day = (NOW - timedelta()).date()
    pair.redis.delete(pair.keys.bucket(day, make_event("a", pair.sender.account.id).digest))
    assert pair.admit("a").letters == "a"
    pair.write()
    assert pair.balances() == (-5, -5)

    compensate(pair.there, pair.keys, pair.books.compensations(pair.keys))
    assert pair.balances() == (-5, -5)
