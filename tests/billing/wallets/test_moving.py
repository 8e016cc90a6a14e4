"""Moving an account between shards: what goes along, what dies amid it, and every balance.

`MOVE_EXAMPLES` sets how many random histories are played.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from billing.db.engine import open_engine
from billing.errors import ConflictError, InvalidError, PreconditionError
from billing.wallets import moves_postgres, moving
from billing.wallets.connect import is_cluster, open_any
from billing.wallets.holds import HoldState, Verdict, hold_name
from tests.billing.wallets.two_shards import TwoShards
from tests.support.postgres import fresh_database

EXAMPLES = int(os.environ.get("MOVE_EXAMPLES", "12"))
STEPS = (
    "move.expected",
    "move.held",
    "move.applied",
    "move.before_commit",
    "move.committed",
    "move.left",
    "move.arrived",
)


class KilledError(Exception):
    """Whoever moves accounts dies here."""


class Failpoints:
    """Dies at a place, the n-th time it is reached."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name: str | None = None
        for module in (moving, moves_postgres):
            monkeypatch.setattr(module, "failpoint", self)

    def __call__(self, name: str) -> None:
        if name == self.name:
            self.name = None
            raise KilledError(name)


@pytest.fixture
def failpoints(monkeypatch: pytest.MonkeyPatch) -> Failpoints:
    return Failpoints(monkeypatch)


@pytest.fixture(scope="module")
def stores(
    postgres_server: str, template_database: str, redis_server: Any
) -> Iterator[tuple[Any, Any, Any]]:
    with fresh_database(postgres_server, template_database) as url:
        engine = open_engine(url, application="test")
        # writers of other tests may be at work on the first database
        there = redis_server.url
        there = there if is_cluster(there) else there.removesuffix("/0") + "/6"
        with psycopg.connect(url, autocommit=True) as connection, open_any(there) as redis:
            yield connection, redis, engine
        engine.dispose()


@pytest.fixture(autouse=True)
def two_shards_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING_SHARD_COUNT", "2")


@pytest.fixture
def two(stores: tuple[Any, Any, Any]) -> TwoShards:
    return TwoShards(*stores)


def test_balance_counters_and_holds_go_along(two: TwoShards) -> None:
    two.pay(1_000)
    two.sync()
    for number in range(5):
        assert two.admit(0, f"a{number}-{two.account_id}") == "a"
    assert two.hold(0, "kept", 70_000).verdict is Verdict.OK
    assert two.hold(0, "let go", 30_000).verdict is Verdict.OK
    before = two.balance(0)
    two.ask_to_move(1)
    two.mover(0).step()

    two.agree()
    assert (two.home, two.balance(1), two.held(1)) == (1, before, 100_000)
    assert two.find(1, "kept").hold.state is HoldState.OPEN  # type: ignore[union-attr]
    assert two.release(1, "let go").verdict is Verdict.RELEASED
    assert two.admit(1, f"b-{two.account_id}", hold="kept") == "a"
    assert two.held(1) == 0
    two.settle()
    two.agree()


def test_its_old_shard_takes_nothing_of_it_any_more_and_knows_what_it_took(two: TwoShards) -> None:
    name = f"c-{two.account_id}"
    assert two.admit(0, name) == "a"
    two.ask_to_move(1)
    two.mover(0).step()

    assert two.admit(0, f"d-{two.account_id}") == "m"
    assert two.hold(0, "h", 1).verdict is Verdict.MOVED
    assert two.find(0, "h").verdict is Verdict.MOVED
    assert two.admit(0, name) == "d"
    assert two.admit(1, name) == "d", "marks of recent events go along"
    two.rebuild(0)
    assert two.admit(0, f"d-{two.account_id}") == "m"
    two.settle()
    two.agree()


def test_an_account_comes_back(two: TwoShards) -> None:
    for to in (1, 0, 1):
        two.ask_to_move(to)
        two.mover(1 - to).step()
        assert two.admit(to, f"{two.references}-{to}-{len(two.sent)}-{two.account_id}") == "a"
        two.settle()
        two.agree()
    assert two.home == 1


def test_while_the_writer_is_behind_the_account_is_served_where_it_was(two: TwoShards) -> None:
    assert two.admit(0, f"e-{two.account_id}") == "a"
    two.ask_to_move(1)
    two.mover(0, is_writer_busy=True).step()

    assert two.home == 0
    assert two.admit(0, f"f-{two.account_id}") == "a"
    two.settle()
    assert two.home == 1
    two.agree()


@pytest.mark.parametrize("finisher", [0, 1])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_the_account_is_in_one_shard_and_the_move_ends(
    two: TwoShards, failpoints: Failpoints, step: str, finisher: int
) -> None:
    two.pay(1_000)
    two.sync()
    assert two.admit(0, f"g-{two.account_id}") == "a"
    assert two.hold(0, "kept", 70_000).verdict is Verdict.OK
    two.ask_to_move(1)
    failpoints.name = step
    with pytest.raises(KilledError):
        two.mover(0).step()
    two.clock.advance(timedelta(seconds=4))  # the account is not held any longer than that
    is_moved = STEPS.index(step) >= STEPS.index("move.committed")
    assert two.home == int(is_moved)
    if not is_moved:
        assert two.admit(0, f"h-{two.account_id}") == "a"
        two.mover(0).step()
    two.mover(finisher).step()

    assert two.home == 1
    assert two.held(1) == 70_000
    assert two.admit(1, f"i-{two.account_id}") == "a"
    two.settle()
    two.agree()
    assert two.held(1) == 70_000


def test_what_came_by_the_old_shard_after_all_is_an_adjustment_for_the_new_one(
    two: TwoShards,
) -> None:
    """A Redis that came back older has forgotten that the account is gone."""
    two.pay(1_000)
    two.ask_to_move(1)
    two.mover(0).step()
    serve_by_the_old_shard(two)
    assert two.admit(0, f"j-{two.account_id}", 5) == "a"
    two.write(0)
    two.redis.delete(two.shards[0].keys.wallet(two.wallet_id))
    two.settle()
    two.agree()


def serve_by_the_old_shard(two: TwoShards) -> None:
    keys, fields = two.shards[0].keys, {"bal": 900_000, "aseq": 0, "floor": 0, "low": 0}
    two.redis.delete(keys.gone)
    two.redis.hset(keys.wallet(two.wallet_id), mapping=fields)


def test_holds_and_quotas_hear_of_what_came_by_the_old_shard(two: TwoShards) -> None:
    two.pay(1_000)
    two.ask_to_move(1)
    two.settle()
    for name in ("captured there", "captured later", "kept"):
        assert two.hold(1, name, 70_000).verdict is Verdict.OK
    assert two.admit(1, f"n-{two.account_id}", 2) == "a"
    two.settle()
    serve_by_the_old_shard(two)
    assert two.hold(0, "placed there", 5_000).verdict is Verdict.OK
    for name in ("known late there", "known late here"):
        assert two.hold(0, name, 4_000).verdict is Verdict.OK
    assert two.admit(0, f"o-{two.account_id}", 5, hold="captured there") == "a"
    assert two.admit(1, f"p-{two.account_id}", hold="known late there") == "a"
    two.write(1)
    assert two.admit(1, f"s-{two.account_id}", hold="known late here") == "a"
    two.write(0)
    assert (two.held(1), two.used(1)) == (210_000, 4_000_000)
    two.tell(1)
    assert (two.held(1), two.used(1)) == (145_000, 9_000_000)
    assert two.find(1, "captured there").hold.state is HoldState.CAPTURED  # type: ignore[union-attr]
    assert two.find(1, "known late there").verdict is Verdict.NONE
    assert two.find(1, "known late here").verdict is Verdict.NONE

    assert two.admit(0, f"q-{two.account_id}", hold="captured later") == "a"
    two.redis.delete(two.shards[0].keys.wallet(two.wallet_id))
    two.settle()
    two.agree()
    assert (two.held(1), two.used(1)) == (75_000, 10_000_000)
    assert two.release(1, "placed there").verdict is Verdict.RELEASED


def test_news_that_a_redis_forgot_is_told_again(two: TwoShards) -> None:
    two.pay(1_000)
    two.ask_to_move(1)
    two.settle()
    serve_by_the_old_shard(two)
    assert two.admit(0, f"r-{two.account_id}", 5) == "a"
    two.redis.delete(two.shards[0].keys.wallet(two.wallet_id))
    two.settle()
    keys = two.shards[1].keys
    two.redis.hset(keys.quotas + two.quota, "base", 0)
    two.redis.hset(keys.told, two.account_id.hex, "an older one")
    two.tell(1)
    assert two.used(1) == 5_000_000
    news = "SELECT count(*) FROM usage.account_news WHERE account_id = %s"
    for minutes, left in ((15, 1), (1, 0)):
        two.clock.advance(timedelta(minutes=minutes))
        two.write(1)
        two.tell(1)
        assert two.one(news, two.account_id) == left


def test_a_move_ends_when_the_books_would_know_an_older_redis(two: TwoShards) -> None:
    """Its mark is an entry of both journals: until they are applied, it may be forgotten unseen."""
    two.pay(1_000)
    two.sync()
    assert two.admit(0, f"l-{two.account_id}") == "a"
    assert two.hold(0, "kept", 70_000).verdict is Verdict.OK
    two.ask_to_move(1)
    two.mover(0).step()
    is_open = "SELECT count(*) FROM billing.account_moves WHERE account_id = %s AND left_at IS NULL"
    assert (two.home, two.one(is_open, two.account_id)) == (1, 1)
    keys = two.shards[1].keys
    witness: Any = two.redis.xrevrange(keys.stream, count=1)[0]
    two.redis.xdel(keys.stream, witness[0])  # a Redis from before the account came
    two.redis.delete(*two.redis.scan_iter(f"{keys.prefix}m:*"), keys.wallet(two.wallet_id))
    two.redis.delete(keys.holds + hold_name(two.account_id, "kept"), keys.open_holds)
    two.mover(1)._here.redis.hold_off(keys, two.account_id, None)
    two.settle()

    assert two.one(is_open, two.account_id) == 0
    assert two.held(1) == 70_000
    two.agree()


def test_a_second_debit_is_given_back_before_its_account_can_come_again(two: TwoShards) -> None:
    """A writer dies between commit and compensation, and the account moves out meanwhile."""
    two.pay(1_000)
    two.sync()
    name = f"m-{two.account_id}"
    assert two.admit(0, name) == "a"
    two.write(0)
    two.redis.delete(*two.redis.scan_iter(f"{two.shards[0].keys.prefix}d:*"))
    assert two.admit(0, name) == "a"
    two.ask_to_move(1)
    two.write_and_die(0)
    two.mover(0, is_writer_busy=True).step()
    assert two.home == 1
    two.mover(1).step()
    two.write(1)
    two.mover(1).step()
    back = two.one("SELECT count(*) FROM billing.account_moves WHERE left_at IS NULL")
    assert back == 1, "the journal of the dead writer has not been applied that far"
    two.begin(0)
    two.settle()
    two.ask_to_move(0)
    two.settle()
    assert two.home == 0
    two.agree()


def test_an_account_that_was_held_off_for_nothing_is_let_in_again(two: TwoShards) -> None:
    two.mover(0)._here.redis.hold_off(two.shards[0].keys, two.account_id, None)
    assert two.admit(0, f"k-{two.account_id}") == "m"
    two.mover(0).tidy()
    assert two.admit(0, f"k-{two.account_id}") == "a"
    two.settle()
    two.agree()


def test_where_it_cannot_go_it_is_not_asked_for(two: TwoShards) -> None:
    with pytest.raises(InvalidError):
        two.ask_to_move(2)
    with pytest.raises(PreconditionError):
        two.ask_to_move(0)
    two.ask_to_move(1)
    with pytest.raises(ConflictError):
        two.ask_to_move(1)
    two.settle()


class Histories(RuleBasedStateMachine):
    """Events, holds, payments, refunds, amendments, moves, deaths and rebuilds in any order."""

    stores: tuple[Any, Any, Any]
    failpoints: Failpoints

    @initialize()
    def begin(self) -> None:
        self.failpoints.name = None
        self.two = TwoShards(*self.stores)
        self.names = 0
        self.holds: dict[str, int] = {}
        """Those that must be open, by name; a rebuild may drop them."""
        self.is_sure_of_holds = True

    def _name(self) -> str:
        self.names += 1
        return f"{self.names}-{self.two.account_id}"

    @rule(shard=st.integers(0, 1), quantity=st.integers(1, 4))
    def send(self, shard: int, quantity: int) -> None:
        """To the shard where it is, or by somebody who has not heard."""
        assert self.two.admit(shard, self._name(), quantity) in {"a", "m", "u"}

    @rule(shard=st.integers(0, 1), data=st.data())
    def send_again(self, shard: int, data: st.DataObject) -> None:
        if self.two.sent:
            name = data.draw(st.sampled_from(sorted(self.two.sent)))
            assert self.two.admit(shard, name) in {"a", "d", "m", "u"}

    @rule(amount=st.integers(1, 500_000))
    def hold(self, amount: int) -> None:
        name = self._name()
        if self.two.hold(self.two.home, name, amount).verdict is Verdict.OK:
            self.holds[name] = amount

    @rule(data=st.data(), by_event=st.booleans())
    def end_hold(self, data: st.DataObject, by_event: bool) -> None:
        if not self.holds:
            return
        name, home = data.draw(st.sampled_from(sorted(self.holds))), self.two.home
        if by_event:
            if self.two.admit(home, self._name(), hold=name) == "a":
                del self.holds[name]
        elif self.two.release(home, name).verdict is not Verdict.MOVED:
            del self.holds[name]

    @rule(minor=st.integers(1, 300))
    def pay(self, minor: int) -> None:
        self.two.pay(minor)

    @rule(units=st.integers(1, 50_000))
    def refund(self, units: int) -> None:
        self.two.refund(units)

    @rule(data=st.data(), void=st.booleans(), quantity=st.integers(1, 4))
    def amend(self, data: st.DataObject, void: bool, quantity: int) -> None:
        for shard in (0, 1):
            self.two.write(shard)
        if self.two.sent:
            name = data.draw(st.sampled_from(sorted(self.two.sent)))
            self.two.revise(name, **({"void": True} if void else {"quantity": quantity}))

    @rule(shard=st.integers(0, 1))
    def write(self, shard: int) -> None:
        self.two.write(shard)

    @rule()
    def sync(self) -> None:
        self.two.sync()

    @rule()
    def ask_to_move(self) -> None:
        try:
            self.two.ask_to_move(1 - self.two.home)
        except ConflictError:
            return

    @rule(shard=st.integers(0, 1), busy=st.booleans(), dies_at=st.sampled_from(("", *STEPS)))
    def move(self, shard: int, busy: bool, dies_at: str) -> None:
        self.failpoints.name = dies_at
        with suppress(KilledError):
            self.two.mover(shard, is_writer_busy=busy).step()
        self.failpoints.name = None

    @rule(shard=st.integers(0, 1))
    def rebuild(self, shard: int) -> None:
        self.two.rebuild(shard)
        self.is_sure_of_holds = False

    @rule(seconds=st.integers(1, 5))
    def wait(self, seconds: int) -> None:
        self.two.clock.advance(timedelta(seconds=seconds))

    @invariant()
    def it_is_somewhere(self) -> None:
        assert self.two.home in {0, 1}

    def teardown(self) -> None:
        if not hasattr(self, "two"):
            return
        self.failpoints.name = None
        self.two.settle()
        self.two.agree()
        if self.is_sure_of_holds:
            assert self.two.held(self.two.home) == sum(self.holds.values())


@pytest.mark.timeout(max(300, 10 * EXAMPLES))
def test_any_history_leaves_one_balance_everywhere(
    stores: tuple[Any, Any, Any], failpoints: Failpoints
) -> None:
    Histories.stores, Histories.failpoints = stores, failpoints
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
