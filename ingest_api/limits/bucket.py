"""One token bucket as a process sees it: tokens on loan from Redis, or a bucket of its own."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ingest_api.limits.store import Store

_LEASES_PER_SECOND: Final = 20
"""A process borrows what the limit gives in a twentieth of a second, and so asks no more often."""
_LEASE_SECONDS: Final = 1.0
"""What was borrowed and not spent by then is lost."""
_MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Measure:
    """So many a minute, and how many of them may come at once."""

    per_minute: int
    size: int


class Bucket:
    """Tokens under one name, shared with other processes through the store.

    Args:
        alone_percent: what part of the measure is given while the store is away.
        now: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        name: str,
        measure: Measure,
        store: Store,
        alone_percent: int,
        now: Callable[[], float],
    ) -> None:
        self.name = name
        self.measure = measure
        self._store = store
        self._alone = alone_percent / 100
        self._now = now
        self._leased = 0
        self._lease_ends = 0.0
        self._lock = asyncio.Lock()
        self._empty_until = 0.0
        self._too_many = 0
        """So many were refused, until `_empty_until`."""
        self._own = _OwnBucket(measure, now)

    async def take(self, tokens: int) -> float:
        """Spend tokens; 0 if they were there, else in how many seconds they may be."""
        if self.take_now(tokens):
            return 0.0
        refused = self.refused_for(tokens)
        if refused:
            return refused
        async with self._lock:  # one asks, the others find what it brought
            if self.take_now(tokens):
                return 0.0
            return self.refused_for(tokens) or await self._borrow(tokens)

    def give_back(self, tokens: int) -> None:
        """Undo a `take`, if that is still possible."""
        if self._store.is_shared:
            self._leased += tokens
        else:
            self._own.give_back(tokens)

    def refused_for(self, tokens: int) -> float:
        """For how many seconds so many are known to be too many; 0 if they may be there."""
        if tokens < self._too_many or not self._store.is_shared:
            return 0.0
        return max(0.0, self._empty_until - self._now())

    def take_now(self, tokens: int) -> bool:
        """Spend tokens that are here already; False says nothing of those that are not."""
        if not self._store.is_shared or self._now() >= self._lease_ends:
            self._leased = 0
        if self._leased < tokens:
            return False
        self._leased -= tokens
        return True

    async def _borrow(self, tokens: int) -> float:
        chunk = int(self.measure.per_minute / _MINUTE / _LEASES_PER_SECOND)
        grant = await self._store.take(
            self.name, self.measure.per_minute, self.measure.size, tokens, max(tokens, chunk)
        )
        if grant is None:
            return self._own.take(tokens, self._alone if self._store.is_away else 1.0)
        if grant.tokens == 0:
            self._too_many = tokens
            self._empty_until = self._now() + grant.wait_ms / 1000
            return max(grant.wait_ms / 1000, 0.001)
        self._own.empty()
        self._leased += grant.tokens - tokens
        self._lease_ends = self._now() + _LEASE_SECONDS
        return 0.0


class _OwnBucket:
    """Counts in this process alone.

    It is empty when it takes over from the store, whose bucket may have been emptied just now. One
    request may be larger than the bucket: it waits for a full one, and leaves a debt.
    """

    def __init__(self, measure: Measure, now: Callable[[], float]) -> None:
        self._measure = measure
        self._now = now
        self._tokens = float(measure.size)
        self._at: float | None = None
        self._starts_empty = False

    def empty(self) -> None:
        """Tokens come from the store: have none when it goes away."""
        self._starts_empty = True
        self._at = None

    def take(self, tokens: int, part: float) -> float:
        """Spend tokens; 0 if they were there, else in how many seconds they may be."""
        now, size = self._now(), max(1.0, self._measure.size * part)
        per_second = self._measure.per_minute / _MINUTE * part
        if self._at is None:
            self._tokens = 0.0 if self._starts_empty else size
        else:
            self._tokens = min(size, self._tokens + (now - self._at) * per_second)
        self._at = now
        needed = min(float(tokens), size)
        if self._tokens < needed:
            return (needed - self._tokens) / per_second
        self._tokens -= tokens
        return 0.0

    def give_back(self, tokens: int) -> None:
        """Undo a `take`."""
        self._tokens += tokens
