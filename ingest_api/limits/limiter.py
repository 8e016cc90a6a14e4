"""Who may do how much: by key, by holder of keys, and by address for those without a key."""

import math
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum
from time import monotonic
from typing import Final

from billing.access.actor import Actor
from billing.access.limits import Allowance, KeyLimits
from billing.errors import RateLimitedError, TooLargeError
from billing.settings import Settings
from ingest_api.limits.bucket import Bucket, Measure
from ingest_api.limits.store import Store

_MOST_BUCKETS: Final = 20_000
_REQUEST_BURST_PARTS: Final = 4
"""A quarter of a minute's requests may come at once."""


class What(StrEnum):
    """What is counted."""

    EVENTS = "events"
    AUTHORIZATIONS = "authorizations"
    """As many as events."""
    REQUESTS = "requests"


class Limiter:
    """Spends what a key, its holder or an address may have.

    Args:
        refused: is told what was refused, for the metrics.
        now: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        settings: Settings,
        refused: Callable[[What], None] = lambda _: None,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._settings = settings
        self._refused = refused
        self._now = now
        self.store = Store(settings.find_limits_redis_url())
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._drawn: dict[tuple[str, What], tuple[KeyLimits, list[Bucket]]] = {}
        """What a key draws from, as long as its limits are these very ones."""

    async def spend(self, actor: Actor, what: What, amount: int) -> None:
        """Count something that this actor does.

        Raises:
            RateLimitedError: if it is too much now; then nothing is counted.
            TooLargeError: if it is more than may ever come at once; then one is counted.
        """
        buckets = self._buckets_of(actor, what)
        size = min((one.measure.size for one in buckets), default=amount)
        if amount > size:
            await self.spend(actor, what, 1)  # else nothing would ever stop whoever sends such
            self._refused(what)
            raise TooLargeError(
                f"At most {size} {what.value} may come at once; send smaller batches.",
                code="over_burst",
                details={"burst": size},
            )
        taken: list[Bucket] = []
        for bucket in buckets:
            wait = 0.0 if bucket.take_now(amount) else await bucket.take(amount)
            if wait:
                for one in taken:
                    one.give_back(amount)
                self._refused(what)
                raise _too_many(bucket, what.value, wait)
            taken.append(bucket)

    def require_some(self, actor: Actor, what: What) -> None:
        """Refuse at once somebody who is known to have nothing left.

        Raises:
            RateLimitedError: if so.
        """
        for bucket in self._buckets_of(actor, what):
            wait = bucket.refused_for(1)
            if wait:
                self._refused(what)
                raise _too_many(bucket, what.value, wait)

    async def spend_stranger(self, address: str) -> None:
        """Count a request without a valid key.

        Raises:
            RateLimitedError: if there were too many from this address.
        """
        per_minute = self._settings.requests_per_minute_unknown
        measure = Measure(per_minute, max(1, per_minute // _REQUEST_BURST_PARTS))
        bucket = self._bucket(f"address:{address}", measure)
        wait = await bucket.take(1)
        if wait:
            self._refused(What.REQUESTS)
            raise _too_many(bucket, "requests without a valid key", wait)

    async def close(self) -> None:
        """Let go of the Redis of limits."""
        await self.store.close()

    def _buckets_of(self, actor: Actor, what: What) -> list[Bucket]:
        limits = actor.limits
        if limits is None:
            return []
        known = self._drawn.get((limits.key, what))
        if known is not None and known[0] is limits:
            for bucket in known[1]:
                self._buckets.move_to_end(bucket.name)
            return known[1]
        buckets = self._find_buckets(limits, what)
        if len(self._drawn) >= _MOST_BUCKETS:
            self._drawn.clear()
        self._drawn[limits.key, what] = (limits, buckets)
        return buckets

    def _find_buckets(self, limits: KeyLimits, what: What) -> list[Bucket]:
        shared = self._measure(limits.shared, what)
        buckets = [self._bucket(f"{what}:{limits.holder}", shared)]
        own = self._measure(limits.own, what)
        if own.per_minute < shared.per_minute:
            buckets.append(self._bucket(f"{what}:{limits.key}", own))
        return buckets

    def _measure(self, allowance: Allowance, what: What) -> Measure:
        if what is What.REQUESTS:
            per_minute = allowance.requests_per_minute
            return Measure(per_minute, max(1, per_minute // _REQUEST_BURST_PARTS))
        per_minute = allowance.events_per_minute
        return Measure(per_minute, allowance.events_per_second * self._settings.burst_seconds)

    def _bucket(self, name: str, measure: Measure) -> Bucket:
        found = self._buckets.get(name)
        if found is not None and found.measure == measure:
            self._buckets.move_to_end(name)
            return found
        self._drawn.clear()  # some key may know the one that this replaces or pushes out
        percent = self._settings.limits_alone_percent
        made = self._buckets[name] = Bucket(name, measure, self.store, percent, self._now)
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets.popitem(last=False)
        return made


def _too_many(bucket: Bucket, what: str, wait: float) -> RateLimitedError:
    return RateLimitedError(
        f"Too many {what}: {bucket.measure.per_minute} a minute are allowed.",
        limit=bucket.measure.per_minute,
        retry_after_seconds=max(1, math.ceil(wait)),
    )
