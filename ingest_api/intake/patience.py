"""Waking those who waited too long, by one timer for all of them: one for each costs too much."""

import asyncio
from typing import Any, Final

_LOOK_SECONDS: Final = 0.1


class Patience:
    """Ends the waiting for futures that are overdue, up to a tenth of a second late."""

    def __init__(self) -> None:
        self._watched: list[tuple[float, asyncio.Future[Any]]] = []
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, future: "asyncio.Future[Any]", deadline: float) -> None:
        """Let the future end with TimeoutError if it is not done by then, in the loop's time."""
        self._watched.append((deadline, future))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        left = [one for one in self._watched if not one[1].done()]
        for deadline, future in left:
            if deadline <= now:
                future.set_exception(TimeoutError())
        self._watched = left
        self._timer = loop.call_later(_LOOK_SECONDS, self._look) if left else None
