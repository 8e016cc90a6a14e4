"""The load generator: raw sockets, requests sent when they are due, whatever came back meanwhile.

Open loop: a request has a time at which it is due, and its latency counts from then, also when it
had to wait for a free connection or when the generator itself was late. So a stall of the server
is seen by every request that fell into it (no coordinated omission).
"""

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

Answered = Callable[[int, bytes], bool]
"""Gets status and body; says whether that was as it should be. Status 0: the connection broke."""

Job = tuple[bytes, Answered]

_TICK = 0.001
_LAST_ANSWERS_SECONDS = 15


@dataclass
class Figures:
    """What one flow of requests met with; latencies in milliseconds."""

    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)

    def percentile(self, share: float) -> float:
        """The latency that this share of the requests did not exceed."""
        if not self.latencies:
            return float("inf")
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]

    def summary(self) -> dict[str, float]:
        """For people and for the file."""
        return {
            "requests": len(self.latencies) + self.errors,
            "errors": self.errors,
            "seconds": round(self.seconds, 2),
            "p50_ms": round(self.percentile(0.50), 2),
            "p95_ms": round(self.percentile(0.95), 2),
            "p99_ms": round(self.percentile(0.99), 2),
            "max_ms": round(self.percentile(1.0), 2),
        }


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._needed = 0
        self._job: tuple[float, Answered] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, due: float, request: bytes, answered: Answered) -> None:
        """Send; the connection is busy until the answer is there."""
        assert self._transport is not None
        self._job = (due, answered)
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        if not self._needed:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._received[:end].lower()
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._needed = end + 4 + int(length or 0)
        if len(self._received) < self._needed:
            return
        answer, self._received = self._received, b""
        self._needed = 0
        self._end(int(answer[9:12]), answer.partition(b"\r\n\r\n")[2])
        self._pool.is_free(self)

    def connection_lost(self, _: Exception | None) -> None:
        if self._job is not None:
            self._end(0, b"")
        self._pool.is_lost(self)

    def _end(self, status: int, body: bytes) -> None:
        assert self._job is not None
        (due, answered), self._job = self._job, None
        self._pool.note(due, status, as_wished=answered(status, body))

    def close(self) -> None:
        """Let go."""
        if self._transport is not None:
            self._transport.close()


class Pool:
    """Connections, and the requests that wait for one."""

    def __init__(self, port: int, size: int) -> None:
        self._port = port
        self._size = size
        self._free: deque[_Connection] = deque()
        self._all: set[_Connection] = set()
        self._waiting: deque[tuple[float, bytes, Answered]] = deque()
        self._closing = False
        self._renewals: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self.figures = Figures()
        self.in_flight = 0

    async def open(self) -> None:
        """Connect all."""
        await asyncio.gather(*(self._connect() for _ in range(self._size)))

    async def _connect(self) -> None:
        while not self._closing:
            try:
                _, made = await self._loop.create_connection(
                    lambda: _Connection(self), "127.0.0.1", self._port
                )
            except OSError:
                await asyncio.sleep(0.01)
            else:
                self._all.add(made)
                self.is_free(made)
                return

    def submit(self, due: float, job: Job) -> None:
        """Send now, or as soon as a connection is free."""
        self.in_flight += 1
        if self._free:
            self._free.popleft().send(due, *job)
        else:
            self._waiting.append((due, *job))

    def is_free(self, connection: _Connection) -> None:
        """It can take the next request."""
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._free.append(connection)

    def is_lost(self, connection: _Connection) -> None:
        """Replace it."""
        self._all.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
        if not self._closing:
            task = self._loop.create_task(self._connect())
            self._renewals.add(task)
            task.add_done_callback(self._renewals.discard)

    def note(self, due: float, status: int, *, as_wished: bool) -> None:
        """One request has its answer."""
        self.in_flight -= 1
        figures = self.figures
        figures.statuses[status] = figures.statuses.get(status, 0) + 1
        if as_wished:
            figures.latencies.append((perf_counter() - due) * 1000)
        else:
            figures.errors += 1

    async def close(self, seconds: float = _LAST_ANSWERS_SECONDS) -> None:
        """Wait for the last answers, a while, then let go."""
        give_up = perf_counter() + seconds
        while self.in_flight and perf_counter() < give_up:  # noqa: ASYNC110 - callbacks end it
            await asyncio.sleep(0.01)
        self.figures.errors += self.in_flight
        self._closing = True
        for one in list(self._all):
            one.close()
        await asyncio.sleep(0)


async def open_loop(
    port: int, rate: float, seconds: float, jobs: Iterator[Job], connections: int
) -> Figures:
    """Send at a rate, evenly spaced."""
    pool = Pool(port, connections)
    await pool.open()
    start = perf_counter() + 0.05
    total, sent = int(rate * seconds), 0
    while sent < total:
        due_by_now = min(int((perf_counter() - start) * rate) + 1, total)
        while sent < due_by_now:
            pool.submit(start + sent / rate, next(jobs))
            sent += 1
        await asyncio.sleep(_TICK)
    pool.figures.seconds = perf_counter() - start
    await pool.close()
    return pool.figures


async def some(port: int, connections: int, jobs: Iterable[Job]) -> Figures:
    """Send these as fast as connections are free."""
    pool = Pool(port, connections)
    await pool.open()
    for job in jobs:
        pool.submit(perf_counter(), job)
    await pool.close(120)
    return pool.figures


async def saturate(port: int, in_flight: int, seconds: float, jobs: Iterator[Job]) -> Figures:
    """Keep so many requests in flight: how much goes through at most."""
    pool = Pool(port, in_flight)
    await pool.open()
    start = perf_counter()
    while perf_counter() - start < seconds:
        while pool.in_flight < in_flight:
            pool.submit(perf_counter(), next(jobs))
        await asyncio.sleep(_TICK)
    await pool.close()
    pool.figures.seconds = perf_counter() - start
    return pool.figures


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the generator's own garbage collector out of the figures."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
