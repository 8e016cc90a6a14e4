"""The same events in any order, any often, in any calls: the same balances and the same lines."""

import random
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import Connection
from redis import Redis

from billing.clock import ManualClock
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.periods import Period
from billing.rating.plan import GRADUATED, PER_UNIT, Charge, Rate, Segment, Tier, UsageRow
from billing.rating.rater import Rating, rate_period
from billing.usage.event import UsageEvent
from billing.wallets.connect import open_any
from billing.wallets.journal import Admission, admit_call, read_answer
from billing.wallets.postgres_port import PostgresPort
from billing.wallets.rebuild import rebuild
from billing.wallets.redis_port import RedisPort
from billing.wallets.scripts import ADMIT
from billing.wallets.writer import WriterCore
from tests.support.factories.usage import NOW, Sender, make_event, make_row, make_sender

EVENTS = 60
ARRANGEMENTS = 6
JULY = Period(date(2026, 7, 1), date(2026, 8, 1))

_tiers = (Tier(Decimal(20), Decimal("0.12")), Tier(None, Decimal("0.07")))
PLAN = Segment(
    JULY.start,
    None,
    (
        Charge(
            code="sms",
            name="SMS",
            item_code="sms",
            sac="998413",
            unit="message",
            price_model=GRADUATED,
            rates=(Rate(1, "INR", _tiers, {"country": "IN"}),),
            event_type="otp.sms",
        ),
        Charge(
            code="parts",
            name="Parts",
            item_code="parts",
            sac="998413",
            unit="part",
            price_model=PER_UNIT,
            rates=(Rate(1, "INR", (Tier(None, Decimal("0.011")),)),),
            event_type="otp.sms",
            aggregation="sum",
            free_units=Decimal(17),
        ),
    ),
)


class Shard:
    """One shard in both stores, and who sends to it."""

    def __init__(self, connection: Connection[Any], redis: "Redis", senders: list[Sender]) -> None:
        self.connection = connection
        self.redis = redis
        self.senders = senders
        self.books = PostgresPort(connection, ManualClock(NOW))
        self.port = RedisPort(redis)
        rebuild(self.books, self.port, 0)
        self.core = WriterCore(0, self.books, self.port)
        self.core.begin()

    def send(
        self, calls: Sequence[Sequence[tuple[Sender, UsageEvent]]], chance: random.Random
    ) -> None:
        """Admit calls, write now and then, and forget what was admitted at some time."""
        for call in calls:
            admissions = []
            for sender, event in call:
                amount = int(event.quantity) * 7
                wallet = sender.wallet.id if sender.wallet else None
                row = make_row(sender, event, amount)
                admissions.append(Admission(event.digest, event.body_hash, wallet, amount, row))
            answer = ADMIT.call(self.redis, *admit_call(self.core.keys, admissions, NOW))
            assert read_answer(answer) is not None
            if chance.random() < 0.4:
                self.write()
            if chance.random() < 0.1:
                for bucket in self.redis.scan_iter("*:d:*"):
                    self.redis.unlink(bucket)
        self.write()

    def write(self) -> None:
        if entries := self.port.entries(self.core.keys, self.core.cursor, count=1000):
            self.core.apply(entries)

    def result(self, sender: Sender) -> tuple[int, int, Rating]:
        """What a wallet holds in PostgreSQL and in Redis, and what its month bills."""
        assert sender.wallet is not None
        row = self.connection.execute(
            "SELECT balance_units FROM billing.wallets WHERE id = %s", [sender.wallet.id]
        ).fetchone()
        assert row is not None
        there = self.redis.hget(self.core.keys.wallet(sender.wallet.id), "bal")
        usage = [
            UsageRow(*one)
            for one in self.connection.execute(
                "SELECT (occurred_at AT TIME ZONE 'Asia/Kolkata')::date, event_type, dimensions, "
                "count(*)::int, sum(quantity) FROM usage.raw_events WHERE account_id = %s "
                "GROUP BY 1, 2, 3",
                [sender.account.id],
            )
        ]
        rating = rate_period(UUID(int=1), JULY, [PLAN], usage, currency="INR")
        return row[0], int(there or 0), rating


@pytest.fixture
def shard(database_url: str, redis_url: str) -> Iterator[Shard]:
    engine = open_engine(database_url, application="test")
    with unit_of_work(engine) as session:
        senders = [make_sender(session) for _ in range(ARRANGEMENTS)]
    engine.dispose()
    with (
        psycopg.connect(database_url, autocommit=True) as connection,
        open_any(redis_url) as redis,
    ):
        yield Shard(connection, redis, senders)


def arrange(sender: Sender, name: str, chance: random.Random) -> list[UsageEvent]:
    """The events of a month, as this sender's."""
    month = random.Random("the same month")
    events = [
        make_event(
            f"{name}-{number}",
            sender.account.id,
            quantity=month.randint(1, 5),
            occurred_at=NOW - timedelta(minutes=month.randint(0, 20_000)),
            dimensions={"country": month.choice(["IN", "US"])},
        )
        for number in range(EVENTS)
    ]
    if name != "once":
        events += chance.choices(events, k=chance.randint(0, 2 * EVENTS))
        chance.shuffle(events)
    return events


def test_neither_order_nor_repetition_nor_grouping_changes_what_is_billed(shard: Shard) -> None:
    results = []
    for number, sender in enumerate(shard.senders):
        chance = random.Random(number)
        events = arrange(sender, "once" if number == 0 else f"again-{number}", chance)
        calls = []
        while events:
            size = chance.choice([1, 2, 30])
            calls.append([(sender, event) for event in events[:size]])
            events = events[size:]
        shard.send(calls, chance)
        results.append(shard.result(sender))

    balance, in_redis, rating = results[0]
    assert balance == in_redis < 0
    assert len(rating.lines) == 2
    assert rating.unrated
    assert sum(line.event_count for line in rating.lines) > EVENTS
    assert all(one == results[0] for one in results)


def test_the_keys_of_the_shard_have_no_gap(shard: Shard) -> None:
    chance = random.Random(1)
    sender = shard.senders[0]
    shard.send([[(sender, event)] for event in arrange(sender, "gap", chance)], chance)
    row = shard.connection.execute(
        "SELECT count(*), max(accept_seq), min(accept_seq) FROM usage.event_key"
    ).fetchone()
    assert row == (EVENTS, EVENTS, 1)
