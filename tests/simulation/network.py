"""Servers that come and go, and connections on which anything may be lost at any moment."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import psycopg
import redis
from sqlalchemy.util import await_only

State = TypeVar("State")
Result = TypeVar("Result")

REFUSED: dict[str, Callable[[str], Exception]] = {
    "redis": redis.ConnectionError,
    "postgres": psycopg.OperationalError,
}


@dataclass
class Weather:
    """How bad a network is.

    Args:
        loss: chance that a request or its answer is lost.
        slow: chance that a message takes seconds.
    """

    loss: float = 0.02
    slow: float = 0.005

    def clear_up(self) -> None:
        """From now on nothing is lost."""
        self.loss = self.slow = 0.0


class Server(Generic[State]):
    """A store: data that outlive it, and connections that do not."""

    def __init__(self, kind: str, state: State) -> None:
        self.kind = kind
        self.state = state
        self.is_up = True
        self.incarnation = 1

    def cut(self) -> None:
        """Every connection breaks."""
        self.incarnation += 1

    def go_down(self) -> None:
        """The process is gone; its data stay."""
        self.is_up = False
        self.cut()

    def come_up(self, state: State | None = None) -> None:
        """It is back, with its data or with others."""
        if state is not None:
            self.state = state
        self.is_up = True


class Link(Generic[State]):
    """A client's connection.

    Args:
        is_pool: it is made anew by itself, as Redis clients do; if it broke while idle, unseen.
    """

    def __init__(
        self, server: Server[State], chance: random.Random, weather: Weather, *, is_pool: bool
    ) -> None:
        self.server = server
        self._chance = chance
        self._weather = weather
        self._is_pool = is_pool
        self._incarnation = server.incarnation if server.is_up else 0

    @property
    def is_alive(self) -> bool:
        """Whether the server still knows of it."""
        return self.server.is_up and self._incarnation == self.server.incarnation

    def close(self) -> None:
        """It is of no use any more."""
        self._incarnation = 0

    async def ask(self, question: Callable[[State], Result]) -> Result:
        """Put a question; an error tells nothing about whether it had an effect."""
        await self._travel()
        if not self.is_alive:
            self._reconnect()
        incarnation = self.server.incarnation
        if self._chance.random() < self._weather.loss:
            raise self._broken("the request is lost")
        answer = question(self.server.state)
        if self._chance.random() < 0.5:
            await self._travel()
        if incarnation != self.server.incarnation or self._chance.random() < self._weather.loss:
            raise self._broken("the answer is lost")
        return answer

    def _reconnect(self) -> None:
        if not (self._is_pool and self.server.is_up):
            raise self._broken("nobody answers")
        unseen = self._incarnation and self._chance.random() < 0.5
        self._incarnation = self.server.incarnation
        if not unseen:
            raise REFUSED[self.server.kind]("the connection was reset")

    def _broken(self, why: str) -> Exception:
        if not self._is_pool:
            self.close()
        return REFUSED[self.server.kind](why)

    async def _travel(self) -> None:
        seconds = self._chance.uniform(0.0001, 0.003)
        if self._chance.random() < self._weather.slow:
            seconds += self._chance.uniform(0.1, 2)
        await asyncio.sleep(seconds)


class Waiting:
    """A store as synchronous code sees it: each call is a question, for which it waits."""

    def __init__(self, link: Link[Any]) -> None:
        self.link = link

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            return await_only(self.link.ask(lambda state: getattr(state, name)(*args, **named)))

        return call


class Awaited:
    """A store as asynchronous code sees it."""

    def __init__(self, link: Link[Any]) -> None:
        self.link = link

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **named: Any) -> Any:
            return await self.link.ask(lambda state: getattr(state, name)(*args, **named))

        return call
