"""From the journal into the books, in one transaction."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from sqlalchemy import Engine

from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.usage.apply import apply_batch, prepare_connection
from billing.usage.batch import START, Applied, Batch, CursorMovedError, JournalEntry, Position
from billing.usage.days import KnownDays
from tests.support.factories.usage import NOW, Sender, make_entry, make_event, make_row, make_sender


@dataclass
class Books:
    """A shard's books in a fresh database, with two senders."""

    connection: Connection[Any]
    engine: Engine
    senders: list[Sender]
    cursor: Position = START
    epoch: int = 1
    days: KnownDays = field(default_factory=KnownDays)

    def apply(self, *entries: JournalEntry, after: Position | None = None) -> Applied:
        batch = Batch(0, self.epoch, self.cursor if after is None else after, entries)
        applied = apply_batch(self.connection, batch, now=NOW, days=self.days)
        self.cursor = applied.cursor
        return applied

    def row(self, event_id: str, amount: int = 5, *, sender: int = 0, **changes: Any) -> bytes:
        who = self.senders[sender]
        return make_row(who, make_event(event_id, who.account.id, **changes), amount)

    def one(self, query: str, *values: object) -> Any:
        row = self.connection.execute(query, values).fetchone()
        return row[0] if row and len(row) == 1 else row

    def balance(self, sender: int = 0) -> int:
        wallet = self.senders[sender].wallet
        assert wallet is not None
        return int(self.one("SELECT balance_units FROM billing.wallets WHERE id = %s", wallet.id))


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    engine = open_engine(database_url, application="test")
    with unit_of_work(engine) as session:
        senders = [make_sender(session), make_sender(session), make_sender(session, prepaid=False)]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO usage.shard_state (shard, epoch, cursor_ms, cursor_seq, "
            "accept_seq, mode) VALUES (0, 1, 0, 0, 0, 'open')"
        )
        prepare_connection(connection)
        yield Books(connection, engine, senders)
    engine.dispose()


def test_a_batch_becomes_keys_events_debits_ledger_and_balances(books: Books) -> None:
    applied = books.apply(
        make_entry(1, books.row("a", 5), books.row("b", 7, sender=1)),
        make_entry(2, books.row("c", 11), books.row("d", 0, sender=2)),
    )

    assert applied.new == 4
    assert applied.accept_seq == 4
    assert applied.cursor == Position(2, 0)
    assert books.balance(0) == -16
    assert books.balance(1) == -7
    events = books.connection.execute(
        "SELECT event_id, accept_seq, revision, received_at FROM usage.raw_events ORDER BY 2"
    ).fetchall()
    assert events == [("a", 1, 1, NOW), ("b", 2, 1, NOW), ("c", 3, 1, NOW), ("d", 4, 1, NOW)]
    assert books.one("SELECT count(*) FROM usage.usage_debits") == 3
    assert books.one("SELECT count(*), sum(amount_units) FROM billing.ledger_entries") == (4, 0)
    assert books.one("SELECT string_agg(DISTINCT status, ',') FROM billing.wallets") == "suspended"


def test_an_id_sent_again_is_counted_once_and_its_second_debit_given_back(books: Books) -> None:
    books.apply(make_entry(1, books.row("a", 5)))
    again = books.apply(make_entry(2, books.row("a", 5), books.row("b", 5)))

    assert again.new == 1
    assert books.balance() == -10
    assert [(c.position, c.place, c.amount_units) for c in again.compensations] == [((2, 0), 0, 5)]
    assert again.exceptional == {(2, 0)}


def test_an_id_sent_again_with_another_body_is_kept_as_a_conflict(books: Books) -> None:
    books.apply(make_entry(1, books.row("a", 5)))
    again = books.apply(make_entry(2, books.row("a", 10, quantity=2)))

    assert again.new == 0
    assert books.balance() == -5
    assert books.one("SELECT event_id, payload->>'quantity' FROM usage.event_conflicts") == (
        "a",
        "2",
    )
    assert books.one("SELECT sum(amount_units) FROM usage.redis_compensations") == 10


def test_the_same_entry_read_again_changes_nothing(books: Books) -> None:
    entry = make_entry(1, books.row("a", 5), books.row("b", 5))
    books.apply(entry)
    books.connection.execute("ALTER TABLE usage.shard_state DISABLE TRIGGER shard_moves_forward")
    books.connection.execute("UPDATE usage.shard_state SET cursor_ms = 0")
    replayed = books.apply(entry, after=START)

    assert replayed.new == 0
    assert replayed.compensations == ()
    assert books.balance() == -10


def test_a_batch_from_another_place_is_refused_whole(books: Books) -> None:
    books.apply(make_entry(5, books.row("a", 5)))

    with pytest.raises(CursorMovedError):
        books.apply(make_entry(6, books.row("b", 5)), after=Position(4, 0))
    books.epoch = 2
    with pytest.raises(CursorMovedError):
        books.apply(make_entry(6, books.row("b", 5)))
    assert books.one("SELECT count(*) FROM usage.event_key") == 1


def test_a_row_that_cannot_be_written_is_set_aside_and_the_rest_goes_on(books: Books) -> None:
    poison = books.row("bad", 5, sender=1).replace(
        books.senders[1].wallet.id.bytes,
        bytes(16),  # type: ignore[union-attr]
    )
    applied = books.apply(
        make_entry(1, books.row("a", 5), poison, books.row("b", 5)),
        make_entry(2, b"\x00\x0cnonsense"),
        JournalEntry(Position(3, 0), NOW, 0, b"?", broken="no rows"),
        make_entry(4, books.row("c", 5)),
    )

    assert applied.new == 3
    assert applied.cursor == Position(4, 0)
    assert books.balance() == -15
    aside = books.connection.execute(
        "SELECT stream_ms, position FROM usage.quarantine ORDER BY 1"
    ).fetchall()
    assert aside == [(1, 1), (2, 0), (3, 0)]
    assert books.one("SELECT max(accept_seq), count(*) FROM usage.event_key") == (3, 3)


def test_a_day_without_a_partition_gets_one_even_after_a_failed_attempt(books: Books) -> None:
    with pytest.raises(CursorMovedError):
        books.apply(make_entry(1, books.row("a")), after=Position(9, 9))
    books.apply(make_entry(1, books.row("a")))

    assert books.one("SELECT count(*) FROM usage.raw_events") == 1


def test_the_watermark_is_announced_with_the_commit(books: Books, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("LISTEN usage_watermark")
        books.apply(make_entry(1, books.row("a")))
        books.apply(make_entry(2, books.row("a")))
        said = [notice.payload for notice in listener.notifies(timeout=5, stop_after=2)]

    assert said == ["0 1 0 0-0 1-0 ", "0 1 0 1-0 2-0 2-0"]
