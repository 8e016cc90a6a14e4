"""Taking events in without Redis: positions, turns, and prices that depend on what came before."""

from collections.abc import Sequence
from datetime import date

import pytest

from billing.ids import new_id
from billing.rating.cumulative import CumulativePrice, Step
from billing.usage.batch import START, Applied, CursorMovedError, JournalEntry
from billing.usage.row import encode_row, row_head, uuid_field
from billing.usage.tables import ShardMode
from billing.wallets.journal import Count
from billing.wallets.ports import Counted, JournalPoint, NotDirectError
from billing.wallets.rebuild import enter_direct
from tests.billing.wallets.test_rebuild import Pair
from tests.billing.wallets.test_rebuild import pair as pair  # noqa: PLC0414 - a fixture
from tests.support.factories.usage import NOW, make_event, make_row

RATE = new_id()
DAY = date(2026, 7, 1)
TWO_DEAR_ONES = CumulativePrice(0, 0, (Step(0, 10, 0, 0), Step(2_000_000, 5, 20, 0)))
ONE = Count(RATE, DAY, 1_000_000, TWO_DEAR_ONES)


def go_direct(pair: Pair) -> int:
    return enter_direct(pair.books, pair.books.shard(0), 0).epoch


def entry_of(rows: Sequence[bytes]) -> JournalEntry:
    return JournalEntry(START, NOW, len(rows), b"".join(rows))


def take(pair: Pair, epoch: int, *names: str) -> Applied:
    rows = [make_row(pair.sender, make_event(name, pair.sender.account.id), 5) for name in names]
    return pair.books.apply_direct(0, epoch, [entry_of(rows)])


def take_counted(pair: Pair, epoch: int, *names: str) -> Applied:
    account = pair.sender.account.id
    head = row_head(pair.wallet_id, account)
    rows = [
        encode_row(
            head, uuid_field(RATE), 0, make_event(name, account), counted=(DAY, ONE.quantity)
        )
        for name in names
    ]
    counted = [Counted(place, pair.wallet_id, ONE) for place in range(len(rows))]
    return pair.books.apply_direct(0, epoch, [entry_of(rows)], counted=counted)


def test_batches_follow_each_other_and_a_known_key_counts_once(pair: Pair) -> None:
    epoch = go_direct(pair)
    first, second = take(pair, epoch, "a", "b"), take(pair, epoch, "b", "c")

    assert second.cursor > first.cursor
    assert (first.new, second.new) == (2, 1)
    assert not first.exceptional
    assert second.exceptional == {second.cursor}
    assert pair.balances()[0] == -15


def test_only_the_epoch_of_direct_mode_takes_events_in(pair: Pair) -> None:
    with pytest.raises(NotDirectError):
        take(pair, pair.keys.epoch, "a")
    epoch = go_direct(pair)
    with pytest.raises(NotDirectError):
        take(pair, epoch - 1, "a")
    pair.rebuild()
    with pytest.raises(NotDirectError):
        take(pair, epoch, "a")
    assert pair.balances() == (0, 0)


def test_direct_mode_is_entered_once_and_notes_where_the_journal_stood(pair: Pair) -> None:
    pair.admit("a")
    pair.write()
    before = pair.books.shard(0)
    go_direct(pair)

    row = pair.books.shard(0)
    assert row.mode is ShardMode.DIRECT
    assert row.undrained == JournalPoint(before.epoch, before.cursor)
    with pytest.raises(CursorMovedError):
        pair.books.enter_direct(0, leaving=before.epoch, epoch=before.epoch + 1)


def test_what_was_in_the_journal_and_came_again_directly_counts_once(pair: Pair) -> None:
    pair.admit("a", "b")
    epoch = go_direct(pair)
    take(pair, epoch, "b", "c")
    pair.rebuild()

    assert pair.balances() == (-15, -15)
    assert pair.admit("a", "b", "c").letters == "ddd"


def test_prices_go_on_from_what_the_period_counted(pair: Pair) -> None:
    epoch = go_direct(pair)
    take_counted(pair, epoch, "a")
    take_counted(pair, epoch, "b", "c")

    assert pair.balances()[0] == -25
    assert pair.connection.execute(
        "SELECT quantity_micros FROM usage.price_counters WHERE wallet_id = %s", [pair.wallet_id]
    ).fetchone() == (3_000_000,)


def test_what_costs_more_than_a_wallet_holds_is_set_aside(pair: Pair) -> None:
    epoch = go_direct(pair)
    dear = CumulativePrice(0, 0, (Step(0, 9_000_000_000_000_000, 0, 0),))
    account = pair.sender.account.id
    row = encode_row(
        row_head(pair.wallet_id, account),
        uuid_field(RATE),
        0,
        make_event("a", account),
        counted=(DAY, 2_000_000),
    )
    counted = [Counted(0, pair.wallet_id, Count(RATE, DAY, 2_000_000, dear))]
    applied = pair.books.apply_direct(0, epoch, [entry_of([row])], counted=counted)

    assert applied.exceptional == {applied.cursor}
    assert pair.balances()[0] == 0
    assert pair.connection.execute("SELECT count(*) FROM usage.quarantine").fetchone() == (1,)
