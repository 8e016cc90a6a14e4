"""A whole run from one seed: stores, processes, clients, and what happens to them."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from billing.usage.event import EventCheck, EventIn, UsageEvent
from billing.usage.row import encode_row, row_head, uuid_field
from billing.usage.tables import ShardMode
from billing.wallets.holds import to_ms
from billing.wallets.journal import Admission
from billing.wallets.keys import ShardKeys
from ingest_api.intake.admission import Durability, Named, Status
from tests.simulation.api import Api
from tests.simulation.holds import LASTS, HoldHistory, open_of, wanted
from tests.simulation.loop import BEGINNING, SimulatedClock, SimulatedLoop
from tests.simulation.network import Link, Server, Weather
from tests.simulation.postgres_fake import FakePostgres
from tests.simulation.quotas import UNIT, QuotaCount, name_of
from tests.simulation.redis_fake import FakeRedis
from tests.simulation.writers import Writer

WALLETS = [UUID(int=number) for number in range(1, 4)]
SHARDS = 2
APIS = 2
CLIENTS = 3
ROUNDS = 8
FAULTS = 10
PATIENCE_SECONDS = 300.0
_SETTLE_SECONDS = 20.0
_SNAPSHOTS = 12


@dataclass
class History:
    """What clients sent and what they were told."""

    sent: dict[str, tuple[Named, UUID, int]] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    rightly_missing: set[str] = field(default_factory=set)
    """May be missing in PostgreSQL: answered by the journal, or there before a restore."""
    paid: dict[str, tuple[UUID, int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class World:
    """One seed's world.

    Args:
        acts: what may happen to it, by name; all of `ACTS` by default.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.loop = SimulatedLoop()
        self.clock = SimulatedClock(self.loop)
        self.weather = Weather(
            loss=self.chance.choice([0.0, 0.01, 0.05]), slow=self.chance.choice([0.0, 0.005])
        )
        self.redis = Server("redis", FakeRedis(self.clock.now))
        self.postgres = Server("postgres", FakePostgres(self.clock.now, self._publish))
        for number, wallet in enumerate(WALLETS):
            self.postgres.state.open_wallet(wallet, number % SHARDS)
        self.history = History()
        self.holds = HoldHistory()
        self._subscribers: list[tuple[Link[FakePostgres], deque[str]]] = []
        self._locks: dict[int, Link[FakePostgres]] = {}
        self._older_redis: deque[FakeRedis] = deque(maxlen=_SNAPSHOTS)
        self._backup: FakePostgres | None = None
        self.has_journal_answers = self.chance.random() < 0.5
        self._apis: list[Api] = []
        self._writers: list[asyncio.Task[None]] = []
        self.shards = SHARDS
        self._is_over = False
        self._is_restoring = False
        self._losses = 0

    # what the processes need

    def link(self, server: Server[Any], *, pinned: bool = False) -> Link[Any]:
        """A new connection; a client of Redis makes it anew unless it is pinned."""
        is_pool = server.kind == "redis" and not pinned
        return Link(server, self.chance, self.weather, is_pool=is_pool)

    def take_writer_lock(self, shard: int, link: Link[FakePostgres]) -> bool:
        """PostgreSQL's advisory lock: it goes with the connection that holds it."""
        if not self.has_active_writer(shard):
            self._locks[shard] = link
        return self._locks[shard] is link

    def has_active_writer(self, shard: int) -> bool:
        """Whether somebody holds the lock."""
        return shard in self._locks and self._locks[shard].is_alive

    def subscribe(self, link: Link[FakePostgres], heard: deque[str]) -> None:
        """LISTEN."""
        self._subscribers.append((link, heard))

    def _publish(self, payload: str) -> None:
        self._subscribers = [one for one in self._subscribers if one[0].is_alive]
        for _, heard in self._subscribers:
            heard.append(payload)

    # a run

    def run(self) -> None:
        """Run to the end and compare.

        Raises:
            AssertionError: if something was lost, doubled or does not add up.
        """
        asyncio.set_event_loop(self.loop)
        try:
            with structlog.testing.capture_logs():
                try:
                    self.loop.run_until_complete(asyncio.wait_for(self._play(), PATIENCE_SECONDS))
                finally:
                    self.loop.run_until_complete(self._end())
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()

    async def _play(self) -> None:
        self._apis = [Api(self) for _ in range(APIS)]
        self._start_writer()
        clients = [self.loop.create_task(self._client(number)) for number in range(CLIENTS)]
        payer = self.loop.create_task(self._payer())
        operator = self.loop.create_task(self._operator())
        keeper = self.loop.create_task(self._keep_copies())
        await self._trouble()
        keeper.cancel()
        self.weather.clear_up()
        await asyncio.gather(*clients)
        self._is_over = True
        await asyncio.gather(payer, operator)
        await self._check()

    async def _end(self) -> None:
        """Nobody goes on."""
        tasks = asyncio.all_tasks(self.loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start_writer(self) -> None:
        self._writers.append(self.loop.create_task(self._write()))

    async def _write(self) -> None:
        """One process: a writer for each shard, which die together."""
        await asyncio.gather(*(Writer(self, shard).run() for shard in range(SHARDS)))

    async def _client(self, number: int) -> None:
        """Batches, each sent until all of it is answered; some again later."""
        chance = self.chance
        for round_ in range(ROUNDS):
            names = []
            for item in range(chance.choice([1, 1, 2, 5])):
                name = f"{number}-{round_}-{item}"
                wallet, amount = chance.choice(WALLETS), chance.choice([0, 1, 5, 1000])
                hold = await self._hold(name, wallet, amount) if chance.random() < 0.4 else ""
                self.history.sent[name] = (_named(name, wallet, amount, hold), wallet, amount)
                names.append(name)
            await self._until_answered(names)
            if chance.random() < 0.3:
                known = sorted(self.history.sent)
                await self._until_answered(chance.sample(known, min(3, len(known))))
            await asyncio.sleep(chance.uniform(0, 1.5))

    async def _hold(self, name: str, wallet: UUID, amount: int) -> str:
        """Ask before sending; gives the hold that the event is to name, or nothing."""
        chance, api = self.chance, self.chance.choice(self._apis)
        asked = wanted(wallet, name, amount + 1, chance.choice(LASTS), self.clock.now())
        losses = self._losses
        answer = await api.hold(wallet, lambda desk: desk.decide(asked, hold=True))
        if answer is not None and answer.hold is not None and losses == self._losses:
            assert answer.hold.amount == amount + 1
            self.holds.given[asked.name] = answer.hold
        fate = chance.random()
        if fate < 0.5:
            self.holds.let_go.add(asked.name)
            return asked.name
        if fate < 0.8:
            self.holds.let_go.add(asked.name)
            await api.hold(wallet, lambda desk: desk.release(asked.name))
        return ""

    async def _until_answered(self, names: list[str]) -> None:
        waiting = dict.fromkeys(names)
        while waiting:
            asked, api, losses = list(waiting), self.chance.choice(self._apis), self._losses
            outcomes = await api.request([self.history.sent[name][0] for name in asked])
            for name, outcome in zip(asked, outcomes or (), strict=outcomes is not None):
                if outcome.status is Status.UNAVAILABLE:
                    continue
                assert outcome.status in {Status.ACCEPTED, Status.DUPLICATE}, (name, outcome)
                if outcome.durability is Durability.JOURNAL and losses != self._losses:
                    continue  # Redis lost it before it was answered: no more than it promises
                self.history.answered.add(name)
                if outcome.durability is Durability.JOURNAL:
                    self.history.rightly_missing.add(name)
                del waiting[name]
            if waiting:
                await asyncio.sleep(self.chance.uniform(0.01, 0.2))

    async def _payer(self) -> None:
        number = 0
        while not self._is_over:
            number += 1
            wallet, amount = self.chance.choice(WALLETS), self.chance.choice([7, 500, -3])
            reference = f"payment-{number}"
            self.history.paid[reference] = (wallet, amount)
            if self.postgres.is_up and not self._is_restoring:
                self.postgres.state.top_up(wallet, amount, reference)
            await asyncio.sleep(self.chance.uniform(0, 1))

    async def _operator(self) -> None:
        """Has accounts moved, whatever else happens; the writers do it."""
        while not self._is_over:
            await asyncio.sleep(self.chance.uniform(0.1, 2))
            if self.postgres.is_up:
                wallet, to = self.chance.choice(WALLETS), self.chance.randrange(SHARDS)
                move_id = UUID(int=self.chance.getrandbits(128))
                self.postgres.state.ask_to_move(move_id, wallet, to)

    def pay_again(self) -> None:
        """Payments whose answer nobody has are sent again; references keep them single."""
        for reference, (wallet, amount) in self.history.paid.items():
            self.postgres.state.top_up(wallet, amount, reference)

    async def _keep_copies(self) -> None:
        """States in which Redis might be found again after its file lost its end."""
        while True:
            self._older_redis.append(self.redis.state.copy())
            await asyncio.sleep(self.chance.uniform(0.001, 0.7))

    async def _trouble(self) -> None:
        for _ in range(self.chance.randint(1, FAULTS)):
            await asyncio.sleep(self.chance.uniform(0, 1.5))
            name = self.chance.choice(list(ACTS))
            self.history.faults.append(f"{self.loop.time():.3f} {name}")
            await ACTS[name](self)

    async def _pause(self, most: float) -> None:
        await asyncio.sleep(self.chance.choice([0.0, self.chance.uniform(0, most)]))

    # what happens

    async def kill_api(self) -> None:
        """An API dies and comes back."""
        number = self.chance.randrange(APIS)
        self._apis[number].kill()
        await self._pause(0.3)
        self._apis[number] = Api(self)

    async def kill_writer(self) -> None:
        """The writer dies at whatever it was waiting for, and comes back."""
        for task in self._writers:
            task.cancel()
        await asyncio.gather(*self._writers, return_exceptions=True)
        self._writers.clear()
        await self._pause(0.5)
        self._start_writer()

    async def second_writer(self) -> None:
        """Another one runs beside it, and the lock changes hands at some time."""
        self._start_writer()
        await self._pause(0.5)
        self.postgres.cut()
        await self._pause(1)
        if self._writers:
            self._writers.pop(0).cancel()

    async def restart_redis(self) -> None:
        """Nothing is lost."""
        self.redis.go_down()
        await self._pause(0.5)
        self.redis.come_up()

    async def redis_away(self) -> None:
        """Long enough for direct mode."""
        self.redis.go_down()
        await asyncio.sleep(self.chance.uniform(1, 6))
        self.redis.come_up()

    async def empty_redis(self) -> None:
        """Flushed while it runs, or started with an empty folder."""
        if not self._may_redis_lose():
            return
        self._losses += 1
        self.redis.state = FakeRedis(self.clock.now)
        if self.chance.random() < 0.5:
            self.redis.cut()
        self._older_redis.clear()
        self._backup = None

    async def older_redis(self) -> None:
        """Started with an older copy, or with a file whose end is gone."""
        if not (self._older_redis and self._may_redis_lose()):
            return
        self._losses += 1
        self.redis.go_down()
        state = self.chance.choice([self._older_redis[-1], self.chance.choice(self._older_redis)])
        await self._pause(0.3)
        self.redis.come_up(state.copy())
        self._older_redis.clear()
        self._backup = None

    async def forgetful_redis(self) -> None:
        """Dedupe buckets are gone."""
        self.redis.state.forget_marks()

    async def restart_postgres(self) -> None:
        """Everything that committed is there."""
        self.postgres.go_down()
        await self._pause(2)
        self.postgres.come_up()

    async def cut_postgres(self) -> None:
        """All connections break, some between a commit and its answer."""
        self.postgres.cut()

    async def back_up(self) -> None:
        """A copy to go back to."""
        self._backup = self.postgres.state.copy()

    async def restore(self) -> None:
        """PostgreSQL goes back to the backup.

        Whoever restores it lets payments in, and sends the lost ones again, when the writer is
        through with the journal and Redis is no longer ahead.

        Only what has a journal comes back by itself: a backup from before direct mode, or from
        before Redis lost something, is another case, for which people are needed.
        """
        backup, self._backup = self._backup, None
        if backup is None:
            return
        for shard in range(SHARDS):
            row = self.postgres.state.shard(shard)
            if backup.shard(shard).epoch != row.epoch or row.mode is not ShardMode.OPEN:
                return
        self.postgres.go_down()
        lost = self.postgres.state.events.keys() - backup.events.keys()
        self.history.rightly_missing |= {name for _, name in lost}
        await self._pause(1)
        self._is_restoring = True
        self.postgres.come_up(backup)
        while self._missing() or self._is_redis_ahead():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)
        self._is_restoring = False
        self.pay_again()

    def _is_redis_ahead(self) -> bool:
        for shard in range(SHARDS):
            keys = ShardKeys(shard, self.postgres.state.shard(shard).epoch)
            rows = self.postgres.state.wallets(shard)
            found = self.redis.state.limits(keys, [row.id for row in rows])
            for row, one in zip(rows, found, strict=True):
                if one is None or one[0] > row.adjustment_seq:
                    return True
        return False

    def _may_redis_lose(self) -> bool:
        """Not while only Redis has what was answered: by the journal, or before a restore.

        What was answered otherwise must be in PostgreSQL; should it not be, the loss shows it.
        """
        return not self._missing() & self.history.rightly_missing

    def _missing(self) -> set[str]:
        """What was answered and PostgreSQL does not have."""
        known = self.postgres.state.events
        return {name for name in self.history.answered if ("sim", name) not in known}

    # the end

    async def _check(self) -> None:
        self.pay_again()
        await self._settle()
        history, state = self.history, self.postgres.state
        assert history.answered == history.sent.keys()
        assert not self._missing(), f"lost: {sorted(self._missing())}"
        assert len(state.order) == len(set(state.order)), "doubled"
        assert {name for _, name in state.events} == history.sent.keys()
        assert not state.conflicts
        assert sum(one.accept_seq for one in state.shards.values()) == len(state.order)
        for wallet in WALLETS:
            spent = sum(amount for _, held, amount in history.sent.values() if held == wallet)
            paid = sum(amount for held, amount in history.paid.values() if held == wallet)
            assert state.held[wallet].balance == paid - spent, f"PostgreSQL: {wallet}"
        give_up = self.loop.time() + _SETTLE_SECONDS
        while self._is_news_on_its_way() and self.loop.time() < give_up:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        self._check_holds()
        while not all(map(self._is_quota_whole, WALLETS)) and self.loop.time() < give_up:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        for wallet in WALLETS:
            assert self._is_quota_whole(wallet), f"the quota of {wallet} is never known"
            sent = sum(UNIT for _, held, _ in history.sent.values() if held == wallet)
            found = self._quota(wallet)
            counted = (found.base or 0) + found.used
            # what Redis had forgotten and took again it counts twice, until it is made anew
            is_right = counted >= sent if wallet in state.again else counted == sent
            assert is_right, f"the quota of {wallet} counts {counted}, not {sent}: {found}"

    def _quota(self, wallet: UUID) -> QuotaCount:
        home = self.postgres.state.home(wallet)
        keys = ShardKeys(home, self.postgres.state.shard(home).epoch)
        return self.redis.state.quota(keys, name_of(wallet))

    def _is_quota_whole(self, wallet: UUID) -> bool:
        return self._quota(wallet).base is not None

    def _is_news_on_its_way(self) -> bool:
        """Whether one store has something of holds or moved accounts that the other does not."""
        rows = [self.postgres.state.shard(shard) for shard in range(SHARDS)]
        for shard, row in enumerate(rows):
            news, keys = self.postgres.state.news(shard), ShardKeys(shard, row.epoch)
            told = self.redis.state.told(keys, [one.account_id for one in news])
            if told != [one.token for one in news]:
                return True
        return any(
            entry.holds
            for shard, row in enumerate(rows)
            for entry in self.redis.state.entries(
                ShardKeys(shard, row.epoch), row.cursor, count=1_000
            )
        )

    def _check_holds(self) -> None:
        """Both stores have the same; what events named is free, what nobody ended is not."""
        now_ms, state = to_ms(self.clock.now()), self.postgres.state
        for wallet in WALLETS:
            keys = ShardKeys(state.home(wallet), state.shard(state.home(wallet)).epoch)
            there = self.redis.state.holds(keys)
            open_, books = open_of(there.known, wallet), open_of(state.all_holds.known, wallet)
            assert open_ == books, f"holds of {wallet}"
            assert there.held.get(wallet.hex, 0) == sum(one.amount for one in open_.values())
            named = {one.admission.hold for one, _, _ in self.history.sent.values()}
            assert not open_.keys() & named, "captured holds are open"
            if not self._losses:
                sure = self.holds.surely_open(now_ms)
                mine_sure = {name for name, one in sure.items() if one.wallet == wallet.hex}
                assert mine_sure <= open_.keys(), "holds are gone"

    async def _settle(self) -> None:
        """PostgreSQL gets what only the journal had, and Redis the same balances, by themselves."""
        give_up = self.loop.time() + _SETTLE_SECONDS
        while True:
            state = self.postgres.state
            rows = [state.shard(shard) for shard in range(SHARDS)]
            wanted = [state.held[wallet].balance for wallet in WALLETS]
            homes = [ShardKeys(state.home(one), rows[state.home(one)].epoch) for one in WALLETS]
            found = [
                self.redis.state.balance(keys, wallet)
                for keys, wallet in zip(homes, WALLETS, strict=True)
            ]
            moving = [one for shard in range(SHARDS) for one in state.moves(shard)]
            is_open = all(row.mode is ShardMode.OPEN for row in rows)
            if is_open and found == wanted and not moving and not self._missing():
                return
            lost = sorted(self._missing())
            assert self.loop.time() < give_up, (
                f"lost {lost}; Redis has {found}, PostgreSQL {wanted}: {rows}, {moving}"
            )
            await asyncio.sleep(0.1)


ACTS: dict[str, Callable[[World], Awaitable[None]]] = {
    act.__name__: act
    for act in (
        World.kill_api,
        World.kill_writer,
        World.second_writer,
        World.restart_redis,
        World.redis_away,
        World.empty_redis,
        World.older_redis,
        World.forgetful_redis,
        World.restart_postgres,
        World.cut_postgres,
        World.back_up,
        World.restore,
    )
}

_CHECK = EventCheck(BEGINNING + timedelta(minutes=1))


def _named(name: str, wallet: UUID, amount: int, hold: str = "") -> Named:
    event = _CHECK(
        EventIn(
            source="sim",
            event_id=name,
            event_type="otp.sms",
            occurred_at=BEGINNING,
            account_id=str(wallet),
            quantity=1,
            dimensions={},
        )
    )
    assert isinstance(event, UsageEvent)
    row = encode_row(row_head(wallet, wallet), uuid_field(None), amount, event)
    uses = ((name_of(wallet), UNIT),)
    admission = Admission(
        event.digest, event.body_hash, wallet, amount, row, hold=hold, quotas=uses
    )
    return Named("sim", name, admission)
