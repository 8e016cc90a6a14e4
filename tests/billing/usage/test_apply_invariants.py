"""The books hold whatever is sent: random batches with duplicates, replays and conflicts.

I1: an event is stored once. I3: a wallet is the chain of its entries. I4: every transaction
balances. I5: Redis, which took a debit for every row it admitted, is right once the compensations
are given back. And `accept_seq` has no gap.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection

from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.usage.apply import apply_batch, prepare_connection
from billing.usage.batch import START, Batch, JournalEntry, Position
from billing.usage.days import KnownDays
from tests.support.factories.usage import NOW, Sender, make_entry, make_event, make_row, make_sender

IDS = [f"e{number}" for number in range(8)]


@dataclass(frozen=True)
class Sent:
    """One row: which event, of whom, with which body and price."""

    event_id: str
    sender: int
    quantity: int
    amount: int


rows = st.builds(
    Sent,
    event_id=st.sampled_from(IDS),
    sender=st.integers(0, 2),
    quantity=st.integers(1, 2),
    amount=st.sampled_from([0, 1, 5, 10**12]),
)
entries = st.lists(rows, min_size=1, max_size=5)
batches = st.lists(st.lists(entries, min_size=1, max_size=4), min_size=1, max_size=4)


@dataclass
class Shard:
    """A connection with one sender per number."""

    connection: Connection[Any]
    senders: list[Sender]
    days: KnownDays


@pytest.fixture
def shard(database_url: str) -> Iterator[Shard]:
    engine = open_engine(database_url, application="test")
    with unit_of_work(engine) as session:
        senders = [make_sender(session), make_sender(session), make_sender(session, prepaid=False)]
    engine.dispose()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO usage.shard_state (shard, epoch, cursor_ms, cursor_seq, accept_seq, mode)"
            " VALUES (0, 1, 0, 0, 0, 'open')"
        )
        prepare_connection(connection)
        yield Shard(connection, senders, KnownDays())


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(sent=batches, tries_stale=st.booleans())
def test_the_books_hold_whatever_is_sent(
    shard: Shard, sent: list[list[list[Sent]]], tries_stale: bool
) -> None:
    run = _Run(shard)
    for batch in sent:
        run.apply(batch)
        if tries_stale:
            run.apply_again()
    run.check()


class _Run:
    """Sends to a fresh source, and keeps its own books in a dictionary."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        row = shard.connection.execute(
            "SELECT cursor_ms, cursor_seq, accept_seq, epoch FROM usage.shard_state"
        ).fetchone()
        assert row is not None
        self.cursor, self.accept_seq = Position(row[0], row[1]), row[2]
        self.source = f"s{self.accept_seq}-{self.cursor.ms}"
        self.first: dict[str, Sent] = {}
        self.in_redis: dict[UUID, int] = defaultdict(int)
        self.before = self.balances()
        self.last: Batch | None = None

    def balances(self) -> dict[UUID, int]:
        return dict(
            self.shard.connection.execute(
                "SELECT id, balance_units FROM billing.wallets"
            ).fetchall()
        )

    def apply(self, contents: list[list[Sent]]) -> None:
        entries: list[JournalEntry] = []
        for content in contents:
            made = [self.row(one) for one in content]
            entries.append(make_entry(self.cursor.ms + len(entries) + 1, *made))
        self.last = Batch(0, 1, self.cursor, tuple(entries))
        applied = apply_batch(self.shard.connection, self.last, now=NOW, days=self.shard.days)
        self.cursor = applied.cursor
        for one in applied.compensations:
            self.in_redis[one.wallet_id] += one.amount_units

    def row(self, one: Sent) -> bytes:
        sender = self.shard.senders[one.sender]
        if sender.wallet is not None:
            self.in_redis[sender.wallet.id] -= one.amount
        self.first.setdefault(one.event_id, one)
        event = make_event(
            one.event_id, sender.account.id, source=self.source, quantity=one.quantity
        )
        return make_row(sender, event, one.amount)

    def apply_again(self) -> None:
        """What a second writer would do: it is refused whole."""
        assert self.last is not None
        with pytest.raises(Exception, match="stands at"):
            apply_batch(self.shard.connection, self.last, now=NOW, days=self.shard.days)
        assert self.cursor != START

    def check(self) -> None:
        execute = self.shard.connection.execute
        for table in ("event_key", "raw_events"):
            stored = execute(
                f"SELECT event_id, account_id FROM usage.{table} WHERE source = %s", [self.source]
            ).fetchall()
            expected = [
                (one.event_id, self.shard.senders[one.sender].account.id)
                for one in self.first.values()
            ]
            assert sorted(stored) == sorted(expected)
        spent: dict[UUID, int] = defaultdict(int)
        for one in self.first.values():
            wallet = self.shard.senders[one.sender].wallet
            if wallet is not None:
                spent[wallet.id] += one.amount
        changes = {key: value - self.before[key] for key, value in self.balances().items()}
        assert changes == {key: -spent[key] for key in changes}
        assert {key: self.in_redis[key] for key in changes} == changes
        assert execute("SELECT max(accept_seq) = count(*) FROM usage.event_key").fetchone() == (
            True,
        )
        assert execute(
            "SELECT count(*) FROM (SELECT 1 FROM billing.ledger_entries "
            "GROUP BY transaction_id HAVING sum(amount_units) <> 0) unbalanced"
        ).fetchone() == (0,)
        assert execute(
            "SELECT count(*) FROM billing.wallets w WHERE w.balance_units <> coalesce((SELECT "
            "sum(e.amount_units) FROM billing.ledger_entries e "
            "WHERE e.wallet_id = w.id AND e.account = 'wallet'), 0)"
        ).fetchone() == (0,)
