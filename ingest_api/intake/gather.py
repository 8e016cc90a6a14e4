"""Gathering what is in flight into one call: while a call is out, the next one fills up.

A call of Redis costs the API more than everything else it does for an event, so no timer is
needed: under load the calls grow by themselves, and without load nobody waits.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


class Gather(Generic[Asked, Answered]):
    """Joins the questions of many callers.

    Args:
        call: asks some questions at once; its answers are in their order.
        most: questions per call; those of one caller stay together.
    """

    def __init__(
        self, call: Callable[[list[Asked]], Awaitable[Sequence[Answered]]], most: int
    ) -> None:
        self._call = call
        self._most = most
        self._waiting: deque[tuple[Sequence[Asked], asyncio.Future[Sequence[Answered]]]] = deque()
        self._out: list[tuple[Sequence[Asked], asyncio.Future[Sequence[Answered]]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, questions: Sequence[Asked]) -> Sequence[Answered]:
        """The answers, in order.

        Raises:
            Exception: whatever the call raises.
        """
        future: asyncio.Future[Sequence[Answered]] = asyncio.get_running_loop().create_future()
        self._waiting.append((questions, future))
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        return await future

    def abandon(self, error: Exception) -> None:
        """Let nobody wait any longer, neither for the call that is out nor for the next."""
        for _, future in (*self._out, *self._waiting):
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._one_call()
        finally:
            self._task = None

    async def _one_call(self) -> None:
        taken = [self._waiting.popleft()]
        size = len(taken[0][0])
        while self._waiting and size + len(self._waiting[0][0]) <= self._most:
            taken.append(self._waiting.popleft())
            size += len(taken[-1][0])
        self._out = taken
        try:
            answers = await self._call([question for asked, _ in taken for question in asked])
        except Exception as error:  # noqa: BLE001 - it belongs to those who asked
            for _, future in taken:
                if not future.done():
                    future.set_exception(error)
            return
        start = 0
        for asked, future in taken:
            if not future.done():
                future.set_result(answers[start : start + len(asked)])
            start += len(asked)
