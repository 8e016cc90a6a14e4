"""Wallet, holds, top-ups, events, corrections and time, in any order, against a plain model."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from billing.ids import new_id
from billing.wallets.connect import open_any
from billing.wallets.holds import (
    HoldAnswer,
    HoldState,
    QuotaUse,
    Verdict,
    Wanted,
    get,
    hold_call,
    hold_name,
    place,
    read_answers,
    release,
)
from billing.wallets.journal import Admission, admit_call, read_answer
from billing.wallets.keys import ShardKeys
from billing.wallets.ports import Adjustment, WalletRow
from billing.wallets.redis_port import RedisPort
from billing.wallets.scripts import ADMIT, HOLDS, LOAD

BEGAN = datetime(2026, 7, 15, 4, 30, tzinfo=UTC)
KEYS = ShardKeys(0, 7)
ACCOUNT, WALLET = UUID(int=2), UUID(int=1)
FLOOR = -30
EXAMPLES = int(os.environ.get("BILLING_HOLD_EXAMPLES", "25"))

amounts = st.integers(0, 60)


class Desk:
    """One wallet in a real Redis."""

    def __init__(self, client: "Redis", floor: int = 0) -> None:
        self.client = client
        client.flushall()
        client.set(KEYS.epoch_key, KEYS.epoch)
        LOAD.call(client, [KEYS.epoch_key, KEYS.wallet(WALLET)], [7, 0, 0, floor, 0])
        self.adjustments = 0

    def ask(self, now: datetime, *asked: Any) -> list[HoldAnswer]:
        answers = read_answers(HOLDS.call(self.client, *hold_call(KEYS, asked, now)))
        assert answers is not None
        return answers

    def adjust(self, amount: int, floor: int = 0) -> None:
        self.adjustments += 1
        pending = [Adjustment(self.adjustments, amount)]
        RedisPort(self.client).adjust(KEYS, WalletRow(WALLET, 0, 0, -floor, 0), pending)

    def send(self, now: datetime, amount: int, hold: str = "", digest: bytes = b"") -> str:
        digest = digest or new_id().bytes
        event = Admission(digest, b"samebody", WALLET, amount, b"<row>", hold=hold)
        answer = read_answer(ADMIT.call(self.client, *admit_call(KEYS, [event], now)))
        assert answer is not None
        return answer.letters

    def field(self, name: str) -> int:
        return int(self.client.hget(KEYS.wallet(WALLET), name) or 0)


def wanted(name: str, amount: int, until: datetime, **more: Any) -> Wanted:
    values = {"body_hash": f"{amount}", "grace": 0, **more}
    return Wanted(hold_name(ACCOUNT, name), values.pop("body_hash"), WALLET, amount,
                  values.pop("grace"), until, **values)  # fmt: skip


class WalletAndHolds(RuleBasedStateMachine):
    """What holds.lua, admit.lua and adjust.lua do together, and what they should."""

    redis_url = ""
    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.client = open_any(self.redis_url)
        self.desk = Desk(self.client, FLOOR)
        self.now = BEGAN
        self.balance = 0
        self.open: dict[str, tuple[int, datetime]] = {}
        self.ended: dict[str, HoldState] = {}
        self.made = 0

    def teardown(self) -> None:
        self.client.close()

    @property
    def left(self) -> int:
        return self.balance - FLOOR - sum(amount for amount, _ in self.open.values())

    def expire(self) -> None:
        for name, (_, ends) in list(self.open.items()):
            if ends <= self.now:
                del self.open[name]
                self.ended[name] = HoldState.EXPIRED

    @rule(target=holds, amount=amounts, seconds=st.integers(1, 100))
    def hold(self, amount: int, seconds: int) -> tuple[str, int, datetime]:
        self.expire()
        self.made += 1
        name, ends = f"h{self.made}", self.now + timedelta(seconds=seconds)
        (given,) = self.desk.ask(self.now, place(wanted(name, amount, ends)))
        if self.left > 0 and self.left >= amount:
            assert given.verdict is Verdict.OK
            self.open[name] = (amount, ends)
        else:
            assert given.verdict is Verdict.NO_FUNDS
        assert (given.balance, given.available) == (self.balance, self.left)
        return name, amount, ends

    @rule(held=holds)
    def hold_again(self, held: tuple[str, int, datetime]) -> None:
        self.expire()
        name, amount, ends = held
        if name in self.open or name in self.ended:
            (same,) = self.desk.ask(self.now, place(wanted(name, amount, ends)))
            assert same.verdict is Verdict.SAME
            (other,) = self.desk.ask(self.now, place(wanted(name, amount + 1, ends)))
            assert other.verdict is Verdict.OTHER

    @rule(held=holds)
    def let_go(self, held: tuple[str, int, datetime]) -> None:
        self.expire()
        name = held[0]
        (given,) = self.desk.ask(self.now, release(hold_name(ACCOUNT, name)))
        if self.open.pop(name, None) is not None:
            assert given.verdict is Verdict.RELEASED
            self.ended[name] = HoldState.RELEASED
        elif name in self.ended:
            assert given.verdict is Verdict.RESOLVED
        else:
            assert given.verdict is Verdict.NONE

    @rule(held=holds, amount=amounts, again=st.booleans())
    def capture(self, held: tuple[str, int, datetime], amount: int, again: bool) -> None:
        name, digest = held[0], new_id().bytes
        assert self.desk.send(self.now, amount, hold_name(ACCOUNT, name), digest) == "a"
        self.balance -= amount
        if again:
            assert self.desk.send(self.now, amount, hold_name(ACCOUNT, name), digest) == "d"
        if self.open.pop(name, None) is not None:  # also one whose time is just over
            self.ended[name] = HoldState.CAPTURED

    @rule(amount=amounts)
    def send_unasked(self, amount: int) -> None:
        assert self.desk.send(self.now, amount) == "a"
        self.balance -= amount

    @rule(amount=st.integers(-50, 200))
    def top_up_or_amend(self, amount: int) -> None:
        self.desk.adjust(amount, FLOOR)
        self.balance += amount

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.desk.ask(self.now)
        self.expire()

    @invariant()
    def money_and_holds_agree(self) -> None:
        assert self.desk.field("bal") == self.balance
        assert self.desk.field("held") == sum(amount for amount, _ in self.open.values())
        assert self.client.zcard(KEYS.open_holds) == len(self.open)

    @invariant()
    def each_hold_ended_once_and_as_it_should(self) -> None:
        for name, state in self.ended.items():
            (found,) = self.desk.ask(self.now - timedelta(days=1), get(hold_name(ACCOUNT, name)))
            assert found.hold is not None
            assert found.hold.state is state


def test_wallet_and_holds_agree_with_a_plain_model_in_any_order(redis_url: str) -> None:
    WalletAndHolds.redis_url = redis_url
    run_state_machine_as_test(
        WalletAndHolds,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    with open_any(redis_url) as client:
        yield Desk(client)


def test_grace_goes_below_the_floor_and_no_further(desk: Desk) -> None:
    desk.adjust(10)
    ends = BEGAN + timedelta(minutes=5)
    verdicts = [
        desk.ask(BEGAN, place(wanted(f"{number}", 8, ends, grace=20)))[0].verdict
        for number in range(4)
    ]
    assert verdicts == [Verdict.OK, Verdict.GRACE, Verdict.GRACE, Verdict.NO_FUNDS]


def test_a_question_holds_nothing(desk: Desk) -> None:
    desk.adjust(10)
    ask = place(wanted("only-asked", 8, BEGAN + timedelta(minutes=5)), hold=False)
    assert [one.verdict for one in desk.ask(BEGAN, ask, ask)] == [Verdict.OK, Verdict.OK]
    assert desk.client.zcard(KEYS.open_holds) == 0


def test_what_is_held_counts_for_a_quota_until_it_is_let_go(desk: Desk) -> None:
    desk.adjust(100)
    ends = BEGAN + timedelta(minutes=5)

    def ask(name: str, *, is_hard: bool) -> Verdict:
        quotas = (QuotaUse("q", 1_000_000, 2_000_000, is_hard),)
        return desk.ask(BEGAN, place(wanted(name, 1, ends, quotas=quotas)))[0].verdict

    assert [ask(name, is_hard=True) for name in "abc"] == ["ok", "ok", "over_quota"]
    assert ask("d", is_hard=False) is Verdict.WARNED
    desk.ask(BEGAN, release(hold_name(ACCOUNT, "a")), release(hold_name(ACCOUNT, "d")))
    assert ask("e", is_hard=True) is Verdict.OK
    desk.ask(ends)
    assert desk.client.hget(f"{KEYS.quotas}q", "held") == b"0"


def test_a_fenced_redis_holds_nothing(desk: Desk) -> None:
    desk.client.set(KEYS.epoch_key, "rebuilding:8")
    ask = place(wanted("late", 1, BEGAN + timedelta(minutes=5)))
    assert read_answers(HOLDS.call(desk.client, *hold_call(KEYS, [ask], BEGAN))) is None
