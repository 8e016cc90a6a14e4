"""Taking events in without Redis: positions, turns, and prices that depend on what came before."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import pytest

from billing.ids import new_id
from billing.rating.cumulative import CumulativePrice, Step
from billing.usage.batch import START, Applied, CursorMovedError, JournalEntry
from billing.usage.row import encode_row, row_head, uuid_field
from billing.usage.tables import ShardMode
from billing.wallets.hold_store import forget_holds
from billing.wallets.holds import (
    Asked,
    Hold,
    HoldAnswer,
    HoldState,
    Verdict,
    Wanted,
    captures,
    get,
    hold_call,
    hold_name,
    place,
    read_answers,
    release,
)
from billing.wallets.journal import Count
from billing.wallets.mirror import sync_wallets
from billing.wallets.ports import Counted, JournalPoint, NotDirectError
from billing.wallets.rebuild import enter_direct
from billing.wallets.scripts import HOLDS
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


def hold(pair: Pair, name: str, amount: int, *, seconds: int = 60) -> Asked:
    ends = pair.clock.now() + timedelta(seconds=seconds)
    named = hold_name(pair.sender.account.id, name)
    return place(Wanted(named, f"{amount}", pair.wallet_id, amount, 0, ends))


def by_redis(pair: Pair, *asked: Asked) -> list[HoldAnswer]:
    said = read_answers(HOLDS.call(pair.redis, *hold_call(pair.keys, asked, pair.clock.now())))
    assert said is not None
    return said


def find(pair: Pair, name: str) -> Hold | None:
    return by_redis(pair, get(hold_name(pair.sender.account.id, name)))[0].hold


def held(pair: Pair) -> int:
    return int(pair.redis.hget(pair.keys.wallet(pair.wallet_id), "held") or 0)  # type: ignore[arg-type]


def funded(pair: Pair) -> None:
    pair.pay(1, "p")
    sync_wallets(pair.books, pair.there, pair.keys)


def test_holds_are_rebuilt_exactly_with_how_they_ended(pair: Pair) -> None:
    funded(pair)
    let_go = hold_name(pair.sender.account.id, "let go")
    by_redis(pair, hold(pair, "kept", 3_000), hold(pair, "let go", 4_000), release(let_go))
    before = [find(pair, name) for name in ("kept", "let go")]
    pair.write()
    pair.redis.flushall()
    pair.rebuild()

    assert [find(pair, name) for name in ("kept", "let go")] == before
    assert held(pair) == 3_000
    (no,) = by_redis(pair, hold(pair, "too much", 7_001))
    assert (no.verdict, no.available) == (Verdict.NO_FUNDS, 7_000)
    pair.clock.advance(timedelta(seconds=61))
    assert by_redis(pair, hold(pair, "all of it", 10_000))[0].verdict is Verdict.OK
    assert find(pair, "kept").state is HoldState.EXPIRED  # type: ignore[union-attr]


def test_holds_that_only_the_journal_had_are_there_after_direct_mode(pair: Pair) -> None:
    funded(pair)
    by_redis(pair, hold(pair, "kept", 3_000))
    go_direct(pair)
    pair.rebuild()
    assert held(pair) == 3_000
    assert find(pair, "kept").state is HoldState.OPEN  # type: ignore[union-attr]


def test_direct_mode_counts_what_is_held_places_releases_and_lets_expire(pair: Pair) -> None:
    funded(pair)
    by_redis(pair, hold(pair, "before", 3_000, seconds=10))
    pair.write()
    epoch, name = go_direct(pair), hold_name(pair.sender.account.id, "mine")

    def ask(*asked: Asked) -> list[HoldAnswer]:
        return pair.books.decide_holds(0, epoch, asked)

    too_much, given, again, other = ask(
        hold(pair, "too much", 7_001),
        hold(pair, "mine", 7_000),
        hold(pair, "mine", 7_000),
        hold(pair, "mine", 6_000),
    )
    assert (too_much.verdict, too_much.available) == (Verdict.NO_FUNDS, 7_000)
    assert (given.verdict, given.balance, given.available) == (Verdict.OK, 10_000, 0)
    assert (again.verdict, again.hold) == (Verdict.SAME, given.hold)
    assert other.verdict is Verdict.OTHER
    assert [one.verdict for one in ask(get(name), release(name), release(name))] == [
        Verdict.FOUND,
        Verdict.RELEASED,
        Verdict.RESOLVED,
    ]
    pair.clock.advance(timedelta(seconds=11))
    assert ask(hold(pair, "all of it", 10_000))[0].verdict is Verdict.OK
    with pytest.raises(NotDirectError):
        pair.books.decide_holds(0, epoch + 1, [get(name)])
    pair.rebuild()
    assert held(pair) == 10_000
    assert find(pair, "mine").state is HoldState.RELEASED  # type: ignore[union-attr]


def test_an_event_in_direct_mode_captures_also_what_only_the_journal_knows(pair: Pair) -> None:
    funded(pair)
    by_redis(pair, hold(pair, "applied", 3_000))
    pair.write()
    by_redis(pair, hold(pair, "on its way", 2_000))
    epoch = go_direct(pair)
    pair.clock.advance(timedelta(seconds=1))
    row = make_row(pair.sender, make_event("a", pair.sender.account.id), 5)
    names = [hold_name(pair.sender.account.id, name) for name in ("applied", "on its way")]
    entry = replace(entry_of([row]), holds=captures(names, pair.clock.now()))
    pair.books.apply_direct(0, epoch, [replace(entry, received_at=pair.clock.now())])
    pair.rebuild()

    assert held(pair) == 0
    assert find(pair, "applied").state is HoldState.CAPTURED  # type: ignore[union-attr]
    assert find(pair, "on its way") is None
    assert pair.balances() == (9_995, 9_995)


def test_holds_that_ended_are_forgotten_after_a_while(pair: Pair) -> None:
    funded(pair)
    by_redis(pair, hold(pair, "short", 3_000, seconds=1), hold(pair, "long", 1, seconds=3_600))
    pair.clock.advance(timedelta(seconds=1))
    by_redis(pair)
    pair.write()
    count = "SELECT count(*) FROM usage.holds"
    for seconds, left in ((300, 2), (1, 1)):
        pair.clock.advance(timedelta(seconds=seconds))
        forget_holds(pair.connection, 0, pair.clock.now())
        assert pair.connection.execute(count).fetchone() == (left,)
