"""Two shards in both stores, a prepaid account with counted prices, and all that happens to it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg import Connection
from redis import Redis
from sqlalchemy import Engine, select

from billing.access.actor import SYSTEM
from billing.catalog.tables import Charge as ChargeRow
from billing.clock import ManualClock
from billing.commands import Context
from billing.db.unit_of_work import unit_of_work
from billing.entitlements.tables import Enforcement, Entitlement, QuotaPeriod
from billing.rating.plan import GRADUATED, SUM, Charge, Rate, Tier
from billing.usage.batch import START, Batch, Position
from billing.usage.event import EventCheck, EventIn, UsageEvent, microseconds
from billing.usage.revisions import ReviseEvent, revise_event
from billing.wallets.admissions import admission_of
from billing.wallets.card_loader import load_account
from billing.wallets.holds import (
    HoldAnswer,
    Wanted,
    get,
    hold_call,
    hold_name,
    place,
    read_answers,
    release,
)
from billing.wallets.journal import admit_call, read_answer, read_entries
from billing.wallets.keys import ShardKeys
from billing.wallets.mirror import compensate, sync_wallets
from billing.wallets.moves import MoveAccount, move_account
from billing.wallets.moves_postgres import MovesPostgresPort
from billing.wallets.moves_redis import MovesRedisPort
from billing.wallets.moving import Mover, Place
from billing.wallets.news import tell_news
from billing.wallets.news_store import NewsPostgresPort, NewsRedisPort
from billing.wallets.postgres_port import PostgresPort
from billing.wallets.quota_bases import fill_bases
from billing.wallets.rebuild import rebuild
from billing.wallets.redis_port import RedisPort
from billing.wallets.scripts import ADMIT, HOLDS
from billing.wallets.service import CorrectWallet, TopUp, correct_wallet, top_up
from billing.wallets.writer import WriterCore
from tests.support.factories.plans import make_plan, make_subscription
from tests.support.factories.usage import make_sender

BEGAN = datetime(2026, 7, 15, 4, 30, tzinfo=UTC)
TIERS = (
    Tier(Decimal(3), Decimal("0.5"), Decimal(0)),
    Tier(None, Decimal("0.25"), Decimal(1)),
)


@dataclass
class Shard:
    """Where a shard stands."""

    keys: ShardKeys
    cursor: Position = START


@dataclass
class TwoShards:
    """The account begins in shard 0."""

    connection: Connection[Any]
    redis: "Redis"
    engine: Engine
    clock: ManualClock = field(default_factory=lambda: ManualClock(BEGAN))
    sent: dict[str, UsageEvent] = field(default_factory=dict)
    paid: int = 0
    """Wallet units that came in by commands."""
    references: int = 0

    def __post_init__(self) -> None:
        self.books = PostgresPort(self.connection, self.clock)
        self.there = RedisPort(self.redis)
        self.shards = [Shard(rebuild(self.books, self.there, number)) for number in range(2)]
        with unit_of_work(self.engine) as session:
            sender = make_sender(session)
            charge = Charge(
                code="sms",
                name="SMS",
                item_code="sms",
                sac="998413",
                unit="message",
                price_model=GRADUATED,
                rates=(Rate(1, "INR", TIERS),),
                event_type="otp.sms",
                aggregation=SUM,
            )
            version, _ = make_plan(session, [charge])
            segments = [(version, Decimal(1), BEGAN.date().replace(day=1), None)]
            make_subscription(session, sender.account, segments)
            charges = select(ChargeRow.item_id).filter_by(plan_version_id=version.id)
            quota = Entitlement(
                account_id=sender.account.id,
                item_id=session.scalars(charges).one(),
                included_units=1_000_000,
                enforcement=Enforcement.SOFT,
                period=QuotaPeriod.MONTH,
                created_at=BEGAN,
                updated_at=BEGAN,
            )
            session.add(quota)
            session.flush()
            account = load_account(session, sender.account.id)
        assert account is not None
        assert sender.wallet is not None
        self.account, self.wallet_id = account, sender.wallet.id
        self.sync()

    @property
    def account_id(self) -> UUID:
        return self.account.id

    @property
    def quota(self) -> str:
        """The name of its only one, in this period."""
        (quota,) = self.account.quotas
        return quota.name(microseconds(BEGAN))

    @property
    def home(self) -> int:
        """The shard that PostgreSQL says."""
        return int(self.one("SELECT shard FROM billing.accounts WHERE id = %s", self.account_id))

    def one(self, query: str, *values: object) -> Any:
        row = self.connection.execute(query, values).fetchone()  # type: ignore[arg-type]
        return None if row is None else row[0]

    # what senders do

    def event(self, name: str, quantity: int = 1) -> UsageEvent:
        if name not in self.sent:
            checked = EventCheck(BEGAN)(
                EventIn(
                    source="core",
                    event_id=name,
                    event_type="otp.sms",
                    occurred_at=BEGAN,
                    account_id=str(self.account_id),
                    quantity=quantity,
                )
            )
            assert isinstance(checked, UsageEvent)
            self.sent[name] = checked
        return self.sent[name]

    def admit(self, shard: int, name: str, quantity: int = 1, hold: str = "") -> str:
        """Send an event to a shard, whether the account is there or not."""
        event = self.sent.get(name)
        is_new = event is None
        event = self.event(name, quantity)
        admission = admission_of(self.account, event)
        admission.hold = hold and hold_name(self.account_id, hold)
        (quota,) = self.account.quotas
        use = quota.micros(event.event_type, event.dimensions, event.quantity)
        admission.quotas = ((self.quota, use),)
        call = admit_call(self.shards[shard].keys, [admission], self.clock.now())
        answer = read_answer(ADMIT.call(self.redis, *call))
        assert answer is not None
        if is_new and answer.letters != "a":
            del self.sent[name]
        return answer.letters

    def ask(self, shard: int, *asked: Any) -> HoldAnswer:
        call = hold_call(self.shards[shard].keys, asked, self.clock.now())
        answers = read_answers(HOLDS.call(self.redis, *call))
        assert answers is not None
        return answers[0]

    def hold(self, shard: int, name: str, amount: int) -> HoldAnswer:
        ends = self.clock.now() + timedelta(hours=1)
        named = hold_name(self.account_id, name)
        return self.ask(shard, place(Wanted(named, "hash", self.wallet_id, amount, 0, ends)))

    def release(self, shard: int, name: str) -> HoldAnswer:
        return self.ask(shard, release(hold_name(self.account_id, name)))

    def find(self, shard: int, name: str) -> HoldAnswer:
        return self.ask(shard, get(hold_name(self.account_id, name)))

    # what people do

    def _context(self, session: Any) -> Context:
        return Context(session, SYSTEM, self.clock)

    def pay(self, minor: int) -> None:
        self.references += 1
        request = TopUp(
            wallet_id=self.wallet_id,
            amount_minor=minor,
            reference=f"p{self.references}-{self.wallet_id}",
        )
        with unit_of_work(self.engine) as session:
            top_up(self._context(session), request)
        self.paid += minor * 10_000

    def refund(self, units: int) -> None:
        self.references += 1
        request = CorrectWallet(
            wallet_id=self.wallet_id,
            amount_units=-units,
            reference=f"r{self.references}-{self.wallet_id}",
            note="given back",
        )
        with unit_of_work(self.engine) as session:
            correct_wallet(self._context(session), request)
        self.paid -= units

    def revise(self, name: str, **said: Any) -> None:
        with unit_of_work(self.engine) as session:
            request = ReviseEvent(source="core", event_id=name, **said)
            revise_event(self._context(session), request)

    def ask_to_move(self, to: int) -> None:
        request = MoveAccount(account_id=self.account_id, to_shard=to)
        with unit_of_work(self.engine) as session:
            move_account(self._context(session), request)

    # what writers do

    def write(self, number: int) -> None:
        shard = self.shards[number]
        while entries := read_entries(self.redis, shard.keys, shard.cursor, count=50):
            batch = Batch(number, shard.keys.epoch, shard.cursor, tuple(entries))
            applied = self.books.apply(batch)
            shard.cursor = applied.cursor
            compensate(self.there, shard.keys, applied.compensations)

    def write_and_die(self, number: int) -> None:
        """Commit, and give no second debit back."""
        shard = self.shards[number]
        entries = read_entries(self.redis, shard.keys, shard.cursor, count=50)
        self.books.apply(Batch(number, shard.keys.epoch, shard.cursor, tuple(entries)))

    def begin(self, number: int) -> None:
        """A writer begins again."""
        core = WriterCore(number, self.books, self.there)
        assert not core.begin()
        self.shards[number].cursor = core.cursor

    def sync(self) -> None:
        for shard in self.shards:
            sync_wallets(self.books, self.there, shard.keys)

    def rebuild(self, number: int) -> None:
        self.shards[number] = Shard(rebuild(self.books, self.there, number))

    def mover(self, number: int, *, is_writer_busy: bool = False) -> Mover:
        def wait(_: timedelta) -> None:
            if is_writer_busy:
                self.clock.advance(timedelta(seconds=2))
            else:
                self.write(number)

        return Mover(
            MovesPostgresPort(self.connection, self.clock),
            Place(MovesRedisPort(self.redis), self.shards[number].keys),
            lambda _: MovesRedisPort(self.redis),
            self.clock,
            wait,
        )

    def tell(self, number: int) -> None:
        """What a relay does for holds and quotas."""
        shard, now = self.shards[number], self.clock.now()
        told = NewsRedisPort(self.redis), NewsPostgresPort(self.connection)
        tell_news(*told, shard.keys, shard.cursor, now)
        fill_bases(*told, shard.keys, shard.cursor, now)

    def settle(self) -> None:
        """Everything goes on until nothing is left to do."""
        for _ in range(3):
            for number in range(2):
                self.write(number)
                self.mover(number).step()
                self.mover(number).tidy()
        for _ in range(2):
            for number in range(2):
                self.tell(number)
                self.write(number)
        self.sync()

    # what must hold

    def balance(self, shard: int) -> int | None:
        found: Any = self.redis.hget(self.shards[shard].keys.wallet(self.wallet_id), "bal")
        return None if found is None else int(found)

    def held(self, shard: int) -> int:
        found: Any = self.redis.hget(self.shards[shard].keys.wallet(self.wallet_id), "held")
        return int(found or 0)

    def used(self, shard: int) -> int:
        """Millionths of a unit that the quota counts."""
        found: Any = self.redis.hmget(self.shards[shard].keys.quotas + self.quota, "base", "used")
        return sum(int(one or 0) for one in found)

    def agree(self) -> None:
        """Every event once, the account in one shard, one balance everywhere, the same holds."""
        known = self.connection.execute(
            "SELECT event_id FROM usage.event_key WHERE account_id = %s", [self.account_id]
        ).fetchall()
        assert sorted(name for (name,) in known) == sorted(self.sent)
        spent = self.one(
            "SELECT coalesce(sum(d.amount_units), 0)::bigint FROM usage.usage_debits d "
            "WHERE d.wallet_id = %s AND NOT EXISTS (SELECT 1 FROM usage.superseded_events s "
            "WHERE (s.shard, s.accept_seq) = (d.shard, d.accept_seq))",
            self.wallet_id,
        )
        ledger = self.one(
            "SELECT coalesce(sum(amount_units), 0)::bigint FROM billing.ledger_entries "
            "WHERE wallet_id = %s AND account = 'wallet'",
            self.wallet_id,
        )
        row = self.one("SELECT balance_units FROM billing.wallets WHERE id = %s", self.wallet_id)
        home = self.home
        assert (row, ledger, self.balance(home)) == (self.paid - spent,) * 3
        assert self.balance(1 - home) is None
        assert self.held(home) == self.one(
            "SELECT coalesce(sum(amount_units), 0)::bigint FROM usage.holds "
            "WHERE wallet_id = %s AND state = 'open'",
            self.wallet_id,
        )
        counters = self.connection.execute(
            "SELECT counted_on, rate_id, quantity_micros FROM usage.price_counters "
            "WHERE wallet_id = %s",
            [self.wallet_id],
        ).fetchall()
        for day, rate, micros in counters:
            name = self.shards[home].keys.counters(self.wallet_id, day)
            found: Any = self.redis.hget(name, rate.hex)
            assert int(found or 0) == micros
