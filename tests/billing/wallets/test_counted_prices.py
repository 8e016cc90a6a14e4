"""Debits of tiers, packages, free units and fractions: to the last unit what rating says.

Generated plans and events go the real way: priced by the account's card, admitted by Redis,
applied by PostgreSQL. `COUNTED_EXAMPLES` sets how many.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection
from redis import Redis
from sqlalchemy import Engine

from billing.access.actor import SYSTEM
from billing.clock import ManualClock
from billing.commands import Context
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.money import to_units
from billing.periods import Period, local_day, local_midnight
from billing.rating.plan import (
    COUNT,
    GRADUATED,
    PACKAGE,
    PER_UNIT,
    SMS_SEGMENTS,
    SUM,
    Charge,
    Rate,
    Segment,
    SingleEvent,
    Tier,
    UsageRow,
)
from billing.rating.rater import rate_period
from billing.subscriptions.tables import SubscriptionSegment
from billing.usage.batch import START, Batch
from billing.usage.event import EventCheck, EventIn, UsageEvent
from billing.usage.revisions import ReviseEvent, revise_event
from billing.wallets.admissions import admission_of
from billing.wallets.card_loader import load_account
from billing.wallets.connect import is_cluster, open_any
from billing.wallets.journal import Admission, admit_call, read_answer, read_entries
from billing.wallets.mirror import compensate, sync_wallets
from billing.wallets.postgres_port import PostgresPort
from billing.wallets.rate_card import BillableAccount
from billing.wallets.rebuild import rebuild
from billing.wallets.redis_port import RedisPort
from billing.wallets.scripts import ADMIT
from tests.support.factories.plans import make_plan, make_subscription
from tests.support.factories.usage import Sender, make_sender
from tests.support.postgres import fresh_database

NOW = datetime(2026, 7, 29, 4, 30, tzinfo=UTC)
JULY = Period(date(2026, 7, 1), date(2026, 8, 1))
CHANGE = date(2026, 7, 15)
ADDED = date(2026, 7, 8)
ZONE = "Asia/Kolkata"
_names = count(1)


@dataclass
class World:
    """A shard in both stores."""

    connection: Connection[Any]
    redis: "Redis"
    engine: Engine

    def __post_init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.books = PostgresPort(self.connection, self.clock)
        self.there = RedisPort(self.redis)
        self.rebuild()

    def rebuild(self) -> None:
        self.keys, self.cursor = rebuild(self.books, self.there, 0), START

    def open(
        self, plans: Sequence[Charge], add_on: Charge | None = None
    ) -> tuple[Sender, BillableAccount, list[Charge]]:
        """A prepaid account whose plan changes in the middle of July, and that got an add-on."""
        with unit_of_work(self.engine) as session:
            sender = make_sender(session)
            made = [make_plan(session, [charge]) for charge in plans]
            days = [(JULY.start, CHANGE), (CHANGE, None)] if len(made) > 1 else [(JULY.start, None)]
            segments = [
                (version, Decimal(1), start, end)
                for (version, _), (start, end) in zip(made, days, strict=True)
            ]
            subscription = make_subscription(session, sender.account, segments)
            if add_on is not None:
                made.append(make_plan(session, [add_on]))
                session.add(
                    SubscriptionSegment(
                        subscription_id=subscription.id,
                        plan_version_id=made[-1][0].id,
                        starts_on=ADDED,
                        add_on_id=subscription.id,
                        added_on=ADDED,
                    )
                )
                session.flush()
            account = load_account(session, sender.account.id)
            assert account is not None
        sync_wallets(self.books, self.there, self.keys)
        return sender, account, [stored[0] for _, stored in made]

    def admit(self, admissions: Sequence[Admission]) -> str:
        answer = read_answer(ADMIT.call(self.redis, *admit_call(self.keys, admissions, NOW)))
        assert answer is not None
        return answer.letters

    def write(self) -> None:
        while entries := read_entries(self.redis, self.keys, self.cursor, count=50):
            applied = self.books.apply(Batch(0, self.keys.epoch, self.cursor, tuple(entries)))
            self.cursor = applied.cursor
            compensate(self.there, self.keys, applied.compensations)

    def revise(self, event: UsageEvent, **said: Any) -> None:
        with unit_of_work(self.engine) as session:
            request = ReviseEvent(source=event.source, event_id=event.event_id, **said)
            revise_event(Context(session, SYSTEM, self.clock), request)
        sync_wallets(self.books, self.there, self.keys)

    def debited(self, wallet: UUID) -> int:
        """What the latest revisions were debited."""
        row = self.connection.execute(
            "SELECT coalesce(sum(amount_units), 0) FROM usage.usage_debits d WHERE wallet_id = %s "
            "AND NOT EXISTS (SELECT 1 FROM usage.superseded_events s "
            "WHERE (s.shard, s.accept_seq) = (d.shard, d.accept_seq))",
            [wallet],
        ).fetchone()
        assert row is not None
        return int(row[0])

    def agree(self, wallet: UUID) -> None:
        """Both stores hold the same balance and the same counters."""
        row = self.connection.execute(
            "SELECT balance_units FROM billing.wallets WHERE id = %s", [wallet]
        ).fetchone()
        assert row is not None
        assert row[0] == -self.debited(wallet)
        assert int(self.redis.hget(self.keys.wallet(wallet), "bal") or 0) == row[0]  # type: ignore[arg-type]
        counters = self.connection.execute(
            "SELECT counted_on, rate_id, quantity_micros FROM usage.price_counters "
            "WHERE wallet_id = %s",
            [wallet],
        )
        for day, rate, micros in counters:
            found = self.redis.hget(self.keys.counters(wallet, day), rate.hex)  # type: ignore[arg-type]
            assert int(found or 0) == micros  # type: ignore[arg-type]


def _apart(url: str) -> str:
    """A database of its own: writers of other tests may be at work on the first one."""
    return url if is_cluster(url) else url.removesuffix("/0") + "/5"


@pytest.fixture(scope="module")
def world(postgres_server: str, template_database: str, redis_server: Any) -> Iterator[World]:
    with fresh_database(postgres_server, template_database) as url:
        engine = open_engine(url, application="test")
        with (
            psycopg.connect(url, autocommit=True) as connection,
            open_any(_apart(redis_server.url)) as redis,
        ):
            redis.flushdb()
            yield World(connection, redis, engine)
        engine.dispose()


def charge_of(
    model: str,
    *tiers: Tier,
    free: str = "0",
    size: str | None = None,
    aggregation: str = SUM,
    **read: str,
) -> Charge:
    return Charge(
        code="sms",
        name="SMS",
        item_code="sms",
        sac="998413",
        unit="message",
        price_model=model,
        rates=(Rate(1, "INR", tiers),),
        event_type="otp.sms",
        aggregation=aggregation,
        **read,  # type: ignore[arg-type]
        free_units=Decimal(free),
        package_size=None if size is None else Decimal(size),
    )


def event_of(
    account: BillableAccount, quantity: Decimal, at: datetime, event_type: str = "otp.sms"
) -> UsageEvent:
    checked = EventCheck(NOW)(
        EventIn(
            source="core",
            event_id=f"e{next(_names)}",
            event_type=event_type,
            occurred_at=at,
            account_id=str(account.id),
            quantity=format(quantity, "f"),
            dimensions={
                "peak": format(quantity / 2, ".6f"),
                "message_length": str(int(quantity * 40)),
                "encoding": "gsm7" if int(quantity) % 2 else "ucs2",
            },
        )
    )
    assert isinstance(checked, UsageEvent), checked
    return checked


def rated_units(
    charges: Sequence[Charge], events: Sequence[UsageEvent], add_on: Charge | None = None
) -> int:
    """What rating says of July, each line rounded to a wallet unit."""
    usage = [
        UsageRow(
            local_day(one.occurred_at, ZONE),
            one.event_type,
            {},
            1,
            one.quantity,
            (SingleEvent((one.occurred_at, "", ""), one.quantity, (0, 0), one.dimensions),),
        )
        for one in events
    ]
    segments = [Segment(JULY.start, CHANGE if len(charges) > 1 else None, (charges[0],))]
    segments += [Segment(CHANGE, None, (charge,)) for charge in charges[1:]]
    segments += [Segment(ADDED, None, (one,), added_on=ADDED) for one in (add_on,) if one]
    rating = rate_period(UUID(int=0), JULY, segments, usage, currency="INR")
    return sum(to_units(line.amount, "INR") for line in rating.lines)


def decimals(low: str, high: str, places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(Decimal(low), Decimal(high), places=places, allow_nan=False)


@st.composite
def charges(draw: st.DrawFn) -> Charge:
    model = draw(st.sampled_from([PER_UNIT, GRADUATED, PACKAGE]))
    bounds = sorted(draw(st.sets(decimals("0.5", "40", 6), max_size=3)))
    tiers = [
        Tier(bound, draw(decimals("0", "9", 6)), draw(decimals("0", "50", 6)))
        for bound in (*bounds, None)
    ]
    return charge_of(
        model,
        *(tiers if model == GRADUATED else [Tier(None, draw(decimals("0", "9", 6)))]),
        free=draw(st.sampled_from(["0", "0", "2.5", "7", "30.000001"])),
        size=draw(st.sampled_from(["1", "10", "2.5"])) if model == PACKAGE else None,
        **draw(
            st.sampled_from(
                [
                    {"aggregation": SUM},
                    {"aggregation": COUNT},
                    {"aggregation": SUM, "property_name": "peak"},
                    {"aggregation": SUM, "conversion": SMS_SEGMENTS},
                ]
            )
        ),
    )


quantities = st.one_of(st.integers(0, 9).map(Decimal), decimals("0", "9", 6))
usages = st.lists(st.tuples(quantities, st.integers(0, 27 * 24)), min_size=1, max_size=40)
add_ons = charges().map(
    lambda charge: replace(charge, code="voice", item_code="voice", event_type="otp.voice")
)


@settings(
    max_examples=int(os.environ.get("COUNTED_EXAMPLES", "25")),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(
    plans=st.lists(charges(), min_size=1, max_size=2),
    add_on=st.one_of(st.none(), add_ons),
    usage=usages,
    size=st.integers(1, 15),
)
def test_debits_add_up_to_what_rating_says(
    world: World,
    plans: list[Charge],
    add_on: Charge | None,
    usage: list[tuple[Decimal, int]],
    size: int,
) -> None:
    _, account, stored = world.open(plans, add_on)
    added = stored.pop() if add_on else None
    start = local_midnight(JULY.start, ZONE)
    events = [
        event_of(account, q, start + timedelta(hours=hours), ("otp.sms", "otp.voice")[hours % 2])
        for q, hours in usage
    ]
    admissions = [admission_of(account, event) for event in events]
    for at in range(0, len(events), size):
        part = admissions[at : at + size]
        assert world.admit(part) == "a" * len(part)
        assert set(world.admit(part)) == {"d"}
        if at == 2 * size:
            world.rebuild()  # the counters come back from PostgreSQL
    world.write()

    assert account.wallet_id is not None
    assert world.debited(account.wallet_id) == rated_units(stored, events, added)
    world.agree(account.wallet_id)


@settings(
    max_examples=int(os.environ.get("COUNTED_EXAMPLES", "25")) // 2,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(plan=charges(), usage=usages, changes=st.lists(st.tuples(st.integers(0, 39), quantities)))
def test_revisions_leave_what_rating_says_of_the_latest(
    world: World,
    plan: Charge,
    usage: list[tuple[Decimal, int]],
    changes: list[tuple[int, Decimal]],
) -> None:
    _, account, stored = world.open([plan])
    start = local_midnight(JULY.start, ZONE)
    events = [event_of(account, q, start + timedelta(hours=hours)) for q, hours in usage]
    world.admit([admission_of(account, event) for event in events])
    world.write()
    latest = dict(enumerate(events))
    for number, quantity in changes[:5]:
        index = number % len(events)
        if quantity == 0:
            world.revise(events[index], void=True)
            latest.pop(index, None)
        else:
            world.revise(events[index], quantity=format(quantity, "f"))
            latest[index] = event_of(account, quantity, events[index].occurred_at)

    more = event_of(account, Decimal("1.5"), start)
    world.admit([admission_of(account, more)])
    world.write()
    assert account.wallet_id is not None
    assert world.debited(account.wallet_id) == rated_units(stored, [*latest.values(), more])
    world.agree(account.wallet_id)


def test_a_second_admission_gives_back_the_debit_and_the_quantity(world: World) -> None:
    plan = charge_of(GRADUATED, Tier(Decimal(2), Decimal(1)), Tier(None, Decimal("0.5")))
    _, account, _ = world.open([plan])
    one, two = (event_of(account, Decimal(2), NOW) for _ in range(2))
    world.admit([admission_of(account, one)])
    bucket = world.keys.bucket(NOW.date(), one.digest)
    world.redis.delete(bucket)  # forgotten: it is admitted, and debited, once more
    assert world.admit([admission_of(account, one)]) == "a"
    world.write()
    assert world.admit([admission_of(account, two)]) == "a"
    world.write()

    assert account.wallet_id is not None
    assert world.debited(account.wallet_id) == 3_000_000
    world.agree(account.wallet_id)


def test_an_amount_that_no_wallet_holds_is_refused_alone(world: World) -> None:
    plan = charge_of(GRADUATED, Tier(None, Decimal(8999)), free="1")
    _, account, _ = world.open([plan])
    too_much = event_of(account, Decimal(2_000_000), NOW)
    beyond_count = event_of(account, Decimal(999_999_999_999), NOW)
    fine = event_of(account, Decimal(2), NOW)
    admissions = [admission_of(account, one) for one in (too_much, beyond_count, fine)]

    assert world.admit(admissions) == "rra"
    world.write()
    assert account.wallet_id is not None
    assert world.debited(account.wallet_id) == 8_999_000_000


def test_every_debit_names_the_version_of_its_card(world: World) -> None:
    plan = charge_of(PACKAGE, Tier(None, Decimal(8)), size="100", free="20")
    _, account, _ = world.open([plan])
    _, same, _ = world.open([plan])
    world.admit([admission_of(account, event_of(account, Decimal(21), NOW))])
    world.write()

    row = world.connection.execute(
        "SELECT card_version, amount_units, counted_on, counted_micros FROM usage.usage_debits "
        "WHERE wallet_id = %s",
        [account.wallet_id],
    ).fetchone()
    assert row == (account.card_version, 8_000_000, JULY.start, 21_000_000)
    assert account.card_version > 0
    assert account.card_version != same.card_version  # of other rates, if alike
