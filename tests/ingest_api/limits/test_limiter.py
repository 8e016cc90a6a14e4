"""Whatever is tried, no more is let through than the limit and the burst."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

import pytest

from billing.access.actor import Actor
from billing.access.limits import Allowance, KeyLimits
from billing.access.roles import Role
from billing.errors import RateLimitedError, TooLargeError
from billing.settings import Settings
from billing.stack.redis import EmbeddedLimitsRedis
from ingest_api.limits.limiter import Limiter, What

SLOW = Allowance(events_per_second=10, requests_per_minute=40)
"""Ten a second, so that what comes back while a test runs is little beside the burst of 20."""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that is slow with the machine is not away, and nobody counts alone."""
    monkeypatch.setattr("ingest_api.limits.store._ANSWER_SECONDS", 10)


def actor(
    holder: str = "holder", key: str = "key", shared: Allowance = SLOW, own: Allowance | None = None
) -> Actor:
    limits = KeyLimits(holder, shared, key, own or shared)
    return Actor(name=f"key:{holder}", role=Role.SENDER, limits=limits)


def settings(url: str | None, **more: Any) -> Settings:
    return Settings.model_validate({"limits_redis_url": url, "local_dir": "/nonexistent", **more})


async def attempts(limiter: Limiter, who: Actor, what: What, amounts: list[int]) -> int:
    """How much of it was let through, all asked for at once."""

    async def one(amount: int) -> int:
        try:
            await limiter.spend(who, what, amount)
        except RateLimitedError:
            return 0
        return amount

    return sum(await asyncio.gather(*(one(amount) for amount in amounts)))


def run(
    url: str | None, test: Callable[[Limiter], Coroutine[Any, Any, None]], **more: Any
) -> float:
    """Run with a limiter; returns the seconds it took."""

    async def body() -> float:
        limiter = Limiter(settings(url, **more))
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await test(limiter)
        finally:
            await limiter.close()
        return loop.time() - began

    return asyncio.run(body())


def allowed(seconds: float, burst: int = 20, per_second: int = 10) -> float:
    return burst + per_second * seconds + 1


@pytest.mark.parametrize(
    "amounts", [[1] * 60, [10] * 6, [20, 20, 1, 1], [7] * 9], ids=["one", "ten", "whole", "odd"]
)
def test_events_count_and_not_requests(
    limits_redis: EmbeddedLimitsRedis, amounts: list[int]
) -> None:
    taken: list[int] = []

    async def test(limiter: Limiter) -> None:
        taken.append(await attempts(limiter, actor(), What.EVENTS, amounts))

    seconds = run(limits_redis.url, test)
    assert max(amounts) <= taken[0] <= allowed(seconds)


def test_more_than_the_burst_is_refused_for_good(limits_redis: EmbeddedLimitsRedis) -> None:
    async def test(limiter: Limiter) -> None:
        with pytest.raises(TooLargeError) as refused:
            await limiter.spend(actor(), What.EVENTS, 21)
        assert refused.value.details == {"burst": 20}

    run(limits_redis.url, test)


def test_many_keys_of_one_holder_have_no_more_than_one(limits_redis: EmbeddedLimitsRedis) -> None:
    taken: list[int] = []

    async def test(limiter: Limiter) -> None:
        for number in range(5):
            who = actor(key=f"key-{number}")
            taken.append(await attempts(limiter, who, What.EVENTS, [1] * 20))

    seconds = run(limits_redis.url, test)
    assert 20 <= sum(taken) <= allowed(seconds)


def test_many_processes_share_one_limit(limits_redis: EmbeddedLimitsRedis) -> None:
    taken: list[int] = []

    async def both(first: Limiter) -> None:
        async def second(limiter: Limiter) -> None:
            taken.append(await attempts(limiter, actor(), What.EVENTS, [1] * 30))

        other = Limiter(settings(limits_redis.url))
        try:
            taken.append(await attempts(first, actor(), What.EVENTS, [1] * 30))
            await second(other)
        finally:
            await other.close()

    seconds = run(limits_redis.url, both)
    assert 20 <= sum(taken) <= allowed(seconds)


def test_a_key_may_have_less_than_its_holder(limits_redis: EmbeddedLimitsRedis) -> None:
    poor = actor(key="poor", own=Allowance(events_per_second=1, requests_per_minute=4))
    taken: list[int] = []

    async def test(limiter: Limiter) -> None:
        taken.append(await attempts(limiter, poor, What.EVENTS, [1] * 20))
        # what the poor key was refused is not taken from the holder
        taken.append(await attempts(limiter, actor(), What.EVENTS, [1] * 18))

    seconds = run(limits_redis.url, test)
    assert 2 <= taken[0] <= allowed(seconds, burst=2, per_second=1)
    assert taken[1] >= 15


def test_what_is_refused_says_when_to_come_back(limits_redis: EmbeddedLimitsRedis) -> None:
    async def test(limiter: Limiter) -> None:
        await limiter.spend(actor(), What.EVENTS, 20)
        with pytest.raises(RateLimitedError) as refused:
            await limiter.spend(actor(), What.EVENTS, 20)
        assert 1 <= refused.value.retry_after_seconds <= 2
        assert refused.value.limit == 600

    run(limits_redis.url, test)


def test_one_question_to_redis_serves_many_requests(limits_redis: EmbeddedLimitsRedis) -> None:
    generous = Allowance(events_per_second=10_000, requests_per_minute=40)

    async def test(limiter: Limiter) -> None:
        await attempts(limiter, actor(shared=generous), What.EVENTS, [1] * 400)

    run(limits_redis.url, test)
    import redis

    with redis.Redis.from_url(limits_redis.url) as client:
        stats: Any = client.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] <= 4


def test_a_process_without_the_redis_allows_a_part(limits_redis: EmbeddedLimitsRedis) -> None:
    taken: list[int] = []

    async def test(limiter: Limiter) -> None:
        taken.append(await attempts(limiter, actor(), What.EVENTS, [1] * 40))
        await asyncio.to_thread(limits_redis.stop)
        while not limiter.store.is_away:  # what was borrowed before is spent first
            taken.append(await attempts(limiter, actor(), What.EVENTS, [1] * 40))

    seconds = run(limits_redis.url, test)
    assert taken[0] >= 5  # a quarter of the burst, should the store be slow to answer at first
    assert sum(taken) <= allowed(seconds)


def test_a_process_that_never_saw_the_redis_allows_a_part_of_the_burst() -> None:
    taken: list[int] = []

    async def test(limiter: Limiter) -> None:
        taken.append(await attempts(limiter, actor(), What.EVENTS, [1] * 40))

    seconds = run("redis://127.0.0.1:1/0", test)
    assert 5 <= taken[0] <= allowed(seconds, burst=5, per_second=3)


def test_the_redis_is_used_again_when_it_is_back(limits_redis: EmbeddedLimitsRedis) -> None:
    async def test(limiter: Limiter) -> None:
        await asyncio.to_thread(limits_redis.stop)
        await attempts(limiter, actor(), What.EVENTS, [1])
        assert limiter.store.is_away
        await asyncio.to_thread(limits_redis.start)
        async with asyncio.timeout(20):
            while limiter.store.is_away:  # noqa: ASYNC110 - nobody is told of it
                await asyncio.sleep(0.05)
        await limiter.spend(actor(), What.EVENTS, 20)

    run(limits_redis.url, test)


def test_a_process_alone_has_the_whole_limit() -> None:
    taken: list[int] = []

    async def test(limiter: Limiter) -> None:
        taken.append(await attempts(limiter, actor(), What.EVENTS, [1] * 60))

    seconds = run(None, test)
    assert 20 <= taken[0] <= allowed(seconds)


def test_addresses_without_a_key_are_counted(limits_redis: EmbeddedLimitsRedis) -> None:
    address = str(uuid4())

    async def test(limiter: Limiter) -> None:
        for _ in range(10):
            await limiter.spend_stranger(address)
        refused = 0
        for _ in range(10):
            try:
                await limiter.spend_stranger(address)
            except RateLimitedError:
                refused += 1
        assert refused >= 5

    run(limits_redis.url, test, requests_per_minute_unknown=40)
