"""The stores in memory do what the real ones do: the same random scripts run on both."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from redis import Redis
from sqlalchemy import Engine

from billing.access.actor import SYSTEM
from billing.clock import ManualClock
from billing.commands import Context
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.usage.batch import START, Batch, CursorMovedError, JournalEntry, Position
from billing.usage.tables import ShardMode
from billing.wallets.holds import (
    Asked,
    Wanted,
    get,
    hold_call,
    hold_name,
    place,
    read_answers,
    release,
)
from billing.wallets.journal import Admission, Admitted, admit_call, read_answer
from billing.wallets.keys import ShardKeys
from billing.wallets.news import Base, News
from billing.wallets.news_store import NewsPostgresPort, NewsRedisPort
from billing.wallets.ports import FencedError, JournalPoint
from billing.wallets.postgres_port import PostgresPort
from billing.wallets.redis_port import RedisPort
from billing.wallets.scripts import ADMIT, HOLDS
from billing.wallets.service import TopUp, top_up
from tests.simulation.postgres_fake import FakePostgres
from tests.simulation.redis_fake import FakeRedis
from tests.support.factories.usage import NOW, Sender, make_event, make_row, make_sender

STEPS = 150
NAMES = [f"event-{number}" for number in range(25)]
ERRORS = (FencedError, CursorMovedError, LookupError, OverflowError)


class _Twin(FakeRedis):
    """A fake whose entries get the ids that the real server gave."""

    given = START

    def place(self, last: Position) -> Position:
        return self.given


class Both:
    """Two real stores and their fakes, and a script that is played on both."""

    def __init__(self, seed: int, url: str, redis: "Redis", engine: Engine) -> None:
        self.chance = random.Random(seed)
        self.clock = ManualClock(NOW)
        self.engine = engine
        with unit_of_work(engine) as session:
            self.senders = [make_sender(session) for _ in range(2)]
        self.connection = psycopg.connect(url, autocommit=True)
        self.client = redis
        self.redis = (RedisPort(redis), _Twin(self.clock.now))
        fake = FakePostgres(self.clock.now, lambda _: None)
        self.postgres: tuple[Any, FakePostgres] = (PostgresPort(self.connection, self.clock), fake)
        for wallet in self.wallets:
            fake.open_wallet(wallet)
        self.trimmed_to = START
        self.payments = 0

    @property
    def wallets(self) -> list[UUID]:
        return [sender.wallet.id for sender in self.senders if sender.wallet is not None]

    def same(self, stores: tuple[Any, Any], ask: Callable[[Any], Any]) -> Any:
        """Ask both, and compare what they say; None after an error of both."""
        answers = [_or_error(lambda store=store: ask(store)) for store in stores]
        assert answers[0] == answers[1]
        return None if isinstance(answers[0], type) else answers[0]

    def keys(self) -> ShardKeys:
        """Mostly those of the epoch at work."""
        epoch = self.postgres[1].shard(0).epoch
        return ShardKeys(0, self.chance.choice([epoch] * 8 + [epoch - 1 or 1, epoch + 1]))

    def after(self) -> Position:
        stream = self.redis[1]._epoch(self.keys()).stream
        places = [one.position for one in stream if one.position >= self.trimmed_to]
        return self.chance.choice([self.trimmed_to, *places])

    # steps, each on both

    def fence(self) -> None:
        epoch = self.keys().epoch
        self.same(self.redis, lambda one: one.fence(0, epoch))

    def show(self) -> None:
        keys = self.keys()
        self.same(self.redis, lambda one: one.show(keys))

    def admit(self) -> None:
        keys, admissions = self.keys(), []
        for name in self.chance.choices(NAMES, k=self.chance.randint(1, 4)):
            sender = self.chance.choice(self.senders)
            admissions.append(self._admission(name, sender))
        now = self.clock.now()
        said = read_answer(ADMIT.call(self.client, *admit_call(keys, admissions, now)))
        fake = self.redis[1]
        if said is not None and said.position is not None:
            fake.given = said.position
        found: Admitted | None = fake.admit(keys, admissions, now)
        assert found == said

    def _admission(self, name: str, sender: Sender) -> Admission:
        amount = self.chance.choice([0, 3, 1000, 2**53])
        if name in NAMES[:2]:
            amount = 2**52 - 20_000  # each fits, and both together; no row has to be set aside
        event = make_event(name, sender.account.id, quantity=self.chance.choice([1, 1, 1, 2]))
        row = make_row(sender, event, amount)
        assert sender.wallet is not None
        hold = self.chance.choice(["", self._hold_name(sender)])
        return Admission(event.digest, event.body_hash, sender.wallet.id, amount, row, hold=hold)

    def _hold_name(self, sender: Sender) -> str:
        return hold_name(sender.account.id, f"hold-{self.chance.randint(1, 12)}")

    def _about_holds(self) -> list[Asked]:
        asked: list[Asked] = []
        for _ in range(self.chance.randint(0, 3)):
            sender = self.chance.choice(self.senders)
            name, amount = self._hold_name(sender), self.chance.choice([0, 5, 60_000])
            ends = self.clock.now() + timedelta(seconds=self.chance.choice([1, 20]))
            grace = self.chance.choice([0, 2**51])
            wallet = sender.wallet.id if sender.wallet and self.chance.random() < 0.9 else None
            question = Wanted(name, f"{amount}", wallet, amount, grace, ends)
            is_hold = self.chance.random() < 0.8
            every = [place(question, hold=is_hold)] * 3 + [release(name), get(name)]
            asked.append(self.chance.choice(every))
        return asked

    def hold(self) -> None:
        keys, asked, now = self.keys(), self._about_holds(), self.clock.now()
        said = read_answers(HOLDS.call(self.client, *hold_call(keys, asked, now)))
        self._follow_journal(keys)
        assert self.redis[1].decide(keys, asked, now) == said

    def hold_directly(self) -> None:
        epoch, asked = self.keys().epoch, self._about_holds()
        self.same(self.postgres, lambda one: one.decide_holds(0, epoch, asked))

    def tell(self) -> None:
        """Redis takes what PostgreSQL has of an account's holds; a quota may not be as it was."""
        keys, account = self.keys(), self.chance.choice(self.senders).account.id
        redis = (NewsRedisPort(self.client), self.redis[1])
        open_ = self.same(redis, lambda one: one.open_holds(keys, account))
        postgres = (NewsPostgresPort(self.connection), self.postgres[1])
        names = self.chance.choice([[], open_])
        holds = self.same(postgres, lambda one: one.holds_to_tell(account, names))
        (told,) = self.same(redis, lambda one: one.told(keys, [account]))
        told = self.chance.choice([told] * 5 + ["another"])
        news = News(account, f"token-{self.chance.random()}", self.clock.now())
        begins = self.chance.choice([None] * 5 + [START])
        bases = [Base("quota", begins, None if begins is None else 5)]
        said = _or_error(lambda: redis[0].take_news(keys, news, told, holds, bases))
        self._follow_journal(keys)
        fake = redis[1]
        assert _or_error(lambda: fake.take_news(keys, news, told, holds, bases)) == said
        self.same(redis, lambda one: one.told(keys, [account]))
        self.same(redis, lambda one: one.open_holds(keys, account))

    def _follow_journal(self, keys: ShardKeys) -> None:
        last: Any = self.client.xrevrange(keys.stream, count=1)
        if last:
            self.redis[1].given = Position.parse(last[0][0].decode())

    def read(self) -> None:
        keys, after = self.keys(), self.after()
        self.same(self.redis, lambda one: _comparable(one.entries(keys, after, count=5)))
        self.same(self.redis, lambda one: one.has_entry(keys, after))
        self.same(self.redis, lambda one: one.limits(keys, self.wallets))
        self.same(self.redis, lambda one: one.epoch_text(0))

    def trim(self) -> None:
        keys = ShardKeys(0, self.postgres[1].shard(0).epoch)
        cursor = self.postgres[1].shard(0).cursor
        self.trimmed_to = max(self.trimmed_to, cursor)
        self.same(self.redis, lambda one: one.trim(keys, cursor))

    def forget(self) -> None:
        keys = ShardKeys(0, self.postgres[1].shard(0).epoch)
        self.same(self.redis, lambda one: one.forget(keys))

    def mirror(self) -> None:
        """Wallets, adjustments, compensations and marks, as PostgreSQL has them."""
        keys = self.keys()
        rows = self.same(self.postgres, lambda one: one.wallets(0))
        row = self.chance.choice(rows)
        step = self.chance.choice(["write_wallets", "load", "adjust", "compensate", "marks"])
        if step == "write_wallets" and not self.redis[0].epoch_text(0).isdigit():
            self.same(self.redis, lambda one: one.write_wallets(keys, rows))
        elif step == "load":
            self.same(self.redis, lambda one: one.load(keys, row))
        elif step == "adjust":
            after = self.chance.randint(0, row.adjustment_seq)
            pending = self.same(self.postgres, lambda one: one.adjustments(row.id, after, 3))
            self.same(self.redis, lambda one: one.adjust(keys, row, pending))
        elif step == "compensate":
            given = self.same(self.postgres, lambda one: one.compensations(keys))
            if given:
                self.same(self.redis, lambda one: one.compensate(keys, given))
        else:
            since = self.clock.now() - timedelta(hours=1)
            known = self.same(self.postgres, lambda one: _joined(one.recent_keys(0, since, 9)))
            self.same(self.redis, lambda one: one.write_marks(keys, known))

    def apply(self) -> None:
        row = self.postgres[1].shard(0)
        keys = ShardKeys(0, row.epoch)
        after = self.chance.choice([row.cursor] * 5 + [self.after()])
        entries = tuple(self.redis[1].entries(keys, after, count=self.chance.randint(1, 4)))
        if not entries:
            return
        if row.mode == "direct":
            point = self.chance.choice([None, JournalPoint(row.epoch - 1 or 1, after)])
            self.same(self.postgres, lambda one: one.apply_direct(0, row.epoch, entries, point))
        else:
            batch = Batch(0, row.epoch, after, entries)
            self.same(self.postgres, lambda one: one.apply(batch))

    def drain(self) -> None:
        """What an earlier epoch's journal holds, in direct mode."""
        row = self.postgres[1].shard(0)
        old = ShardKeys(0, max(row.epoch - 1, 1))
        entries = self.redis[1].entries(old, START, count=3)
        if entries:
            self.same(self.postgres, lambda one: one.apply_direct(0, row.epoch, entries))

    def move(self) -> None:
        row = self.postgres[1].shard(0)
        leaving = self.chance.choice([row.epoch] * 3 + [row.epoch + 1])
        step = self.chance.choice(["enter_direct", "leave_direct", "open", "take_up"])
        if step == "open" and row.mode is ShardMode.DIRECT:
            return
        if step == "open":
            self.same(self.postgres, lambda one: one.open(0, leaving))
        elif step == "take_up":
            self.same(self.postgres, lambda one: one.take_up(0))
        else:
            epoch = leaving + 1
            self.same(
                self.postgres, lambda one: getattr(one, step)(0, leaving=leaving, epoch=epoch)
            )

    def pay(self) -> None:
        wallet, self.payments = self.chance.choice(self.wallets), self.payments + 1
        minor, reference = self.chance.choice([1, 50_000]), f"p-{self.payments}"
        with unit_of_work(self.engine) as session:
            request = TopUp(wallet_id=wallet, amount_minor=minor, reference=reference)
            top_up(Context(session, SYSTEM, self.clock), request)
        self.postgres[1].top_up(wallet, minor * 10_000, reference)

    def look(self) -> None:
        """Everything PostgreSQL says."""
        self.same(self.postgres, lambda one: one.shard(0))
        self.same(self.postgres, lambda one: one.wallets(0))
        self.same(self.postgres, lambda one: one.holds(0))
        for wallet in self.wallets:
            self.same(self.postgres, lambda one, wallet=wallet: one.has_usage(wallet))
        rows = self.connection.execute(
            "SELECT source, event_id FROM usage.event_key ORDER BY accept_seq"
        )
        assert rows.fetchall() == self.postgres[1].order
        row = self.connection.execute("SELECT count(*) FROM usage.event_conflicts").fetchone()
        assert row == (len(self.postgres[1].conflicts),)

    def step(self) -> None:
        often = (
            [self.admit] * 5
            + [self.hold] * 3
            + [self.hold_directly]
            + [self.tell]
            + [self.apply] * 4
            + [self.mirror] * 3
        )
        rare = [self.fence, self.show, self.show, self.read, self.trim, self.forget]
        rare += [self.drain, self.move, self.pay, self.look]
        self.chance.choice(often + rare)()
        self.clock.advance(timedelta(milliseconds=self.chance.randint(0, 900)))


def _comparable(entries: list[JournalEntry]) -> list[JournalEntry]:
    """Entries that stand for nothing but that something happened have the server's time."""
    return [one if one.count or one.holds else replace(one, received_at=NOW) for one in entries]


def _or_error(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except ERRORS as error:
        return type(error)


def _joined(parts: Iterator[list[Any]]) -> list[Any]:
    return [one for part in parts for one in part]


@pytest.mark.parametrize("seed", range(6))
def test_a_random_script_has_the_same_answers(seed: int, database_url: str, redis_url: str) -> None:
    engine = open_engine(database_url, application="test")
    with Redis.from_url(redis_url) as redis:
        both = Both(seed, database_url, redis, engine)
        both.look()
        first = ShardKeys(0, 1)
        both.same(both.redis, lambda one: one.fence(0, 1))
        rows = both.postgres[1].wallets(0)
        both.same(both.redis, lambda one: one.write_wallets(first, rows))
        both.same(both.redis, lambda one: one.show(first))
        for _ in range(STEPS):
            both.step()
        both.look()
        both.connection.close()
    engine.dispose()
