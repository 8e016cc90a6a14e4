"""The direct way into the tables, held against the way by the stage."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.usage import apply
from billing.usage.apply import apply_batch, prepare_connection
from billing.usage.batch import START, Batch, JournalEntry
from billing.usage.days import KnownDays
from billing.usage.direct import NotDirectError, cut
from tests.support.factories.usage import NOW, Sender, make_entry, make_event, make_row, make_sender

_TABLES = {
    "usage.event_key": "accept_seq",
    "usage.raw_events": "accept_seq",
    "usage.usage_debits": "accept_seq",
    "usage.shard_state": "shard",
    "billing.wallets": "id",
}
_LEDGER = """
SELECT t.kind, t.reference, t.currency, e.line_no, e.account, e.wallet_id, e.amount_units,
    e.wallet_seq, e.balance_after_units
FROM billing.ledger_entries e JOIN billing.ledger_transactions t ON t.id = e.transaction_id
ORDER BY t.reference, e.line_no
"""


@pytest.fixture
def senders(database_url: str) -> Iterator[list[Sender]]:
    engine = open_engine(database_url, application="test")
    with unit_of_work(engine) as session:
        made = [make_sender(session), make_sender(session), make_sender(session, prepaid=False)]
    yield made
    engine.dispose()


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as opened:
        opened.execute(
            "INSERT INTO usage.shard_state (shard, epoch, cursor_ms, cursor_seq, "
            "accept_seq, mode) VALUES (0, 1, 0, 0, 0, 'open')"
        )
        prepare_connection(opened)
        yield opened


def _row(sender: Sender, event_id: str, amount: int = 5, **changes: Any) -> bytes:
    return make_row(sender, make_event(event_id, sender.account.id, **changes), amount)


def _entries(senders: list[Sender]) -> tuple[JournalEntry, ...]:
    """With and without a wallet, with amounts of zero, decimals, long texts and other letters."""
    one, two, postpaid = senders
    return (
        make_entry(
            1,
            _row(one, "a", 5),
            _row(two, "b" * 128, 7, quantity="0.000001"),
            _row(postpaid, "c", 0, quantity="999999999999.999999"),
        ),
        make_entry(2, _row(one, "d", 0, dimensions={"operator": "ज़ि\t'\"", "n": "x" * 256})),
        make_entry(2, _row(two, "e", 2**40), _row(one, "f", 1), seq=1),
    )


def _everything(connection: Connection[Any]) -> dict[str, list[tuple[Any, ...]]]:
    found = {
        table: connection.execute(f"SELECT * FROM {table} ORDER BY {order}").fetchall()
        for table, order in _TABLES.items()
    }
    return {**found, "ledger": connection.execute(_LEDGER).fetchall()}


def _written(
    connection: Connection[Any], batch: Batch, way: apply._Way
) -> dict[str, list[tuple[Any, ...]]]:
    """What a way writes; all of it is taken back."""
    with connection.transaction(force_rollback=True):
        apply._Work(connection, batch, NOW, KnownDays(), way).run()
        return _everything(connection)


def test_both_ways_write_the_same(connection: Connection[Any], senders: list[Sender]) -> None:
    batch = Batch(0, 1, START, _entries(senders))

    direct = _written(connection, batch, apply._Way.DIRECT)

    assert len(direct["usage.event_key"]) == 6
    assert len(direct["usage.usage_debits"]) == 5
    assert direct == _written(connection, batch, apply._Way.STAGED)


def _ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ways that are taken, as they are."""
    taken: list[str] = []
    attempt = apply._attempt

    def noted(*values: Any) -> Any:
        taken.append(values[-1].name)
        return attempt(*values)

    monkeypatch.setattr(apply, "_attempt", noted)
    return taken


def test_only_what_is_not_simply_new_takes_the_stage(
    connection: Connection[Any], senders: list[Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, days, one = _ways(monkeypatch), KnownDays(), senders[0]

    def ways_of(ms: int, *rows: bytes) -> list[str]:
        row = connection.execute("SELECT cursor_ms, cursor_seq FROM usage.shard_state").fetchone()
        assert row is not None
        after = START._replace(ms=row[0], seq=row[1])
        taken.clear()
        apply_batch(connection, Batch(0, 1, after, (make_entry(ms, *rows),)), now=NOW, days=days)
        return list(taken)

    poison = _row(one, "bad").replace(one.account.id.bytes + b"\xff\xff\xff\xff", b"\x00" * 20)
    no_wallet = _row(one, "bad").replace(one.wallet.id.bytes, bytes(16))  # type: ignore[union-attr]
    assert poison != _row(one, "bad")

    assert ways_of(1, _row(one, "a"), _row(one, "b")) == ["DIRECT"]
    assert ways_of(2, _row(one, "c"), _row(one, "a")) == ["DIRECT", "STAGED"]
    assert ways_of(3, _row(one, "d"), _row(one, "d")) == ["DIRECT", "STAGED"]
    assert ways_of(4, _row(one, "e"), _row(one, "a", quantity=2)) == ["DIRECT", "STAGED"]
    assert ways_of(5, no_wallet, _row(one, "f")) == ["DIRECT", "STAGED", "CAREFUL"]
    assert ways_of(6, poison, _row(one, "g")) == ["DIRECT", "STAGED", "CAREFUL"]
    assert connection.execute(
        "SELECT string_agg(event_id, '' ORDER BY accept_seq) FROM usage.event_key"
    ).fetchone() == ("abcdefg",)


def test_a_row_that_is_cut_off_is_never_taken_for_one(senders: list[Sender]) -> None:
    row = _row(senders[0], "a")
    for length in range(len(row)):
        entry = JournalEntry(START._replace(ms=1), NOW, 2, row + row[:length])
        with pytest.raises(NotDirectError):
            cut(Batch(0, 1, START, (entry,)), [entry], 1, NOW)


def test_the_ledger_keeps_its_rules_for_the_writer_too(
    connection: Connection[Any], senders: list[Sender]
) -> None:
    apply_batch(connection, Batch(0, 1, START, _entries(senders)), now=NOW, days=KnownDays())
    wallet = senders[0].wallet
    assert wallet is not None

    def refused(statement: str) -> str:
        with pytest.raises(psycopg.IntegrityError) as caught, connection.transaction():
            connection.execute(statement, {"wallet": wallet.id})
        return str(caught.value)

    entry = """
        INSERT INTO billing.ledger_entries
        SELECT gen_random_uuid(), line_no, account, wallet_id, currency, amount_units,
            wallet_seq + 1, balance_after_units + amount_units
        FROM billing.ledger_entries WHERE wallet_id = %(wallet)s AND account = 'wallet'
    """
    transaction = """
        WITH made AS (
            INSERT INTO billing.ledger_transactions
            SELECT gen_random_uuid(), kind, 'other', currency, recorded_at
            FROM billing.ledger_transactions LIMIT 1 RETURNING id
        )
        INSERT INTO billing.ledger_entries
        SELECT made.id, line_no, account, wallet_id, currency, amount_units, {seq}, {balance}
        FROM billing.ledger_entries, made WHERE wallet_id = %(wallet)s AND account = 'wallet'
    """
    follows = {"seq": "wallet_seq + 1", "balance": "balance_after_units + amount_units"}

    assert "does not exist" in refused(entry)
    assert "does not balance" in refused(transaction.format(**follows))
    assert "does not follow" in refused(transaction.format(**{**follows, "balance": "0"}))
    assert "does not follow" in refused(transaction.format(**{**follows, "seq": "wallet_seq + 2"}))
    assert "differs from its ledger" in refused(
        "UPDATE billing.wallets SET balance_units = 1 WHERE id = %(wallet)s"
    )
    assert "append-only" in refused("DELETE FROM billing.wallets WHERE id = %(wallet)s")
