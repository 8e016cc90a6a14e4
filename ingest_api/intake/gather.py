"""Gathering what is in flight into one call: while a call is out, the next one fills up.

A call costs more than the events in it, on both sides. So under load the calls grow by themselves:
who finds one out waits for the next, and between the beginnings of two calls lies a pause. Without
load nobody waits.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from ingest_api.intake.patience import Patience

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


class Gather(Generic[Asked, Answered]):
    """Joins the questions of many callers.

    Args:
        call: asks some questions at once; its answers are in their order.
        most: questions per call; those of one caller stay together.
        pause: least seconds between the beginnings of two calls, unless the next one is full.
    """

    def __init__(
        self,
        call: Callable[[list[Asked]], Awaitable[Sequence[Answered]]],
        most: int,
        pause: float = 0.0,
    ) -> None:
        self._call = call
        self._most = most
        self._pause = pause
        self._began = -pause
        self._asked = 0
        self._patience = Patience()
        self._waiting: deque[tuple[Sequence[Asked], asyncio.Future[Sequence[Answered]]]] = deque()
        self._out: list[tuple[Sequence[Asked], asyncio.Future[Sequence[Answered]]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(
        self, questions: Sequence[Asked], deadline: float | None = None
    ) -> Sequence[Answered]:
        """The answers, in order.

        Args:
            deadline: in the loop's time.

        Raises:
            TimeoutError: if they are not there in time.
            Exception: whatever the call raises.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Sequence[Answered]] = loop.create_future()
        self._waiting.append((questions, future))
        self._asked += len(questions)
        if deadline is not None:
            self._patience.watch(future, deadline)
        if self._task is None:
            self._task = loop.create_task(self._drain())
        return await future

    def abandon(self, error: Exception) -> None:
        """Let nobody wait any longer, neither for the call that is out nor for the next."""
        for _, future in (*self._out, *self._waiting):
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()
        self._asked = 0

    async def _drain(self) -> None:
        try:
            while self._waiting:
                if self._pause and self._asked < self._most:
                    await self._let_gather()
                if self._waiting:
                    await self._one_call()
        finally:
            self._task = None

    async def _let_gather(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._began + self._pause - loop.time()
        if left > 0:
            await asyncio.sleep(left)
        self._began = loop.time()

    async def _one_call(self) -> None:
        taken = [self._waiting.popleft()]
        size = len(taken[0][0])
        while self._waiting and size + len(self._waiting[0][0]) <= self._most:
            taken.append(self._waiting.popleft())
            size += len(taken[-1][0])
        self._asked -= size
        self._out = taken
        try:
            answers = await self._call(
                list(taken[0][0])
                if len(taken) == 1
                else [question for asked, _ in taken for question in asked]
            )
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
