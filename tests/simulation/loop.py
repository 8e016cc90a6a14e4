"""An event loop whose time passes only when everybody waits, at once and always the same way."""

import asyncio
import selectors
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

BEGINNING = datetime(2026, 7, 15, 23, 59, 30, tzinfo=UTC)
"""Midnight is near: dedupe buckets change days in every run."""


class StandstillError(Exception):
    """Everybody waits, and for nothing that could happen."""


class _Timeless(selectors.BaseSelector):
    """Nothing ever arrives from outside: to wait is to let the time pass."""

    def __init__(self) -> None:
        self.passed = 0.0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, 0, None)

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise StandstillError
        self.passed += max(timeout, 0)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {}


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Runs coroutines in an order that depends on nothing but their own waiting."""

    def __init__(self) -> None:
        self._timeless = _Timeless()
        super().__init__(self._timeless)

    def time(self) -> float:
        """Seconds since the run began."""
        return self._timeless.passed


class SimulatedClock:
    """The wall clock of a simulated loop."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        """The current instant."""
        return BEGINNING + timedelta(seconds=self._loop.time())
