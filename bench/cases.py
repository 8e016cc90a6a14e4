"""The cases: what is sent, how long, and which rows of the table come of it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from time import perf_counter, sleep
from typing import Any

import httpx

from bench import checks, dedupe, load
from bench.load import Answered, Figures, Job
from bench.machine import spin_ms
from bench.report import LATENCY, Row
from bench.stack import Stack
from bench.staged import staged_copy_rate
from bench.traffic import (
    EVENTS_PATH,
    Books,
    Template,
    authorization_requests,
    event_templates,
)
from bench.world import World

FUNDED = 50
_CONNECTIONS = 256
_BATCHES_IN_FLIGHT = 24
_BATCH = 500
_ASKED_PER_SECOND = 100
_YARDSTICK_SECONDS = 4.0
_RSS_EVERY = 1.0


@dataclass
class Bench:
    """What every case works with."""

    stack: Stack
    world: World
    books: Books
    seconds: float
    rows: list[Row] = field(default_factory=list)
    _templates: dict[int, list[Template]] = field(default_factory=dict)

    def templates(self, events: int) -> list[Template]:
        """Made once."""
        if events not in self._templates:
            self._templates[events] = event_templates(self.world, events, seed=events)
        return self._templates[events]

    def jobs(self, events: int) -> Iterator[Job]:
        """Requests without end, entered in the books."""
        for template in cycle(self.templates(events)):
            number, request = self.books.take(template)
            yield request, self.answered(number, template)

    def answered(self, number: int, template: Template) -> Answered:
        """Notes in the books whether that request was taken in."""
        single = template.events == 1
        wanted = b'"status":"accepted"' if single else b'"accepted":%d' % template.events

        def answered(status: int, body: bytes) -> bool:
            taken = status == 200 and wanted in body
            if taken:
                self.books.accepted.add(number)
            return taken

        return answered

    def add(self, *rows: Row) -> None:
        """Rows of the table, shown as they come."""
        for row in rows:
            self.rows.append(row)
            measured = "-" if row.measured is None else f"{row.measured:,.2f} {row.unit}"
            print(f"  {row.what}: {measured}  {_short(row.detail)}", flush=True)

    def cpu_since(self, before: dict[str, Any], events: int) -> dict[str, float]:
        """Microseconds of CPU an event, by process."""
        after = self.stack.usage()
        return {
            name: round((after[name].cpu_seconds - was.cpu_seconds) * 1e6 / max(events, 1), 1)
            for name, was in before.items()
            if name in after
        }


def _short(detail: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in detail.items())


def warm_up(bench: Bench) -> None:
    """Until the first event is answered, and every sending account is in memory; not measured."""
    job = next(bench.jobs(1))
    deadline = perf_counter() + 60
    with httpx.Client(base_url=f"http://127.0.0.1:{bench.stack.port}", timeout=10) as client:
        while True:
            head, _, body = job[0].partition(b"\r\n\r\n")
            key = head.partition(b"Bearer ")[2].partition(b"\r\n")[0].decode()
            answer = client.post(
                EVENTS_PATH, content=body, headers={"Authorization": f"Bearer {key}"}
            )
            if job[1](answer.status_code, answer.content):
                break
            if answer.status_code != 503 or perf_counter() > deadline:
                raise RuntimeError(f"the intake does not take events: {answer.text}")
    for events in (1, _BATCH):
        count = len(bench.templates(events))
        jobs = bench.jobs(events)
        asyncio.run(load.some(bench.stack.port, 16, [next(jobs) for _ in range(count)]))


def singles(bench: Bench, rate: int, must: float | None, aim: float | None) -> None:
    """Single events at a rate."""
    spin, before = spin_ms(), bench.stack.usage()
    with load.no_collection():
        figures = asyncio.run(
            load.open_loop(bench.stack.port, rate, bench.seconds, bench.jobs(1), _CONNECTIONS)
        )
    detail = figures.summary() | {"cpu_us": bench.cpu_since(before, len(figures.latencies))}
    what = f"single events, {rate:,}/s"
    bench.add(
        Row(f"{what}, p99", figures.percentile(0.99), LATENCY, must, aim, False, spin, detail),
        Row(f"{what}, errors", figures.errors, "", 0, 0, False, spin, _codes(figures)),
    )


def _codes(figures: Figures) -> dict[str, int]:
    return {f"status_{status}": count for status, count in figures.statuses.items()}


def batches(bench: Bench) -> None:
    """Batches of 500, as many as go, against the staged COPY of the same server."""
    spin = spin_ms()
    yardstick = staged_copy_rate(
        bench.stack.database_url, bench.templates(_BATCH), _YARDSTICK_SECONDS
    )
    before = bench.stack.usage()
    with load.no_collection():
        figures = asyncio.run(
            load.saturate(bench.stack.port, _BATCHES_IN_FLIGHT, bench.seconds, bench.jobs(_BATCH))
        )
    events = len(figures.latencies) * _BATCH
    rate = events / figures.seconds
    detail = figures.summary() | {
        "cpu_us": bench.cpu_since(before, events),
        "staged_copy_per_s": round(yardstick),
    }
    bench.add(
        Row("batches of 500, durable", rate, "events/s", 30_000, 60_000, True, spin, detail),
        Row("the same / staged COPY", rate / yardstick, "", 0.20, 0.40, True, spin),
        Row("batches of 500, errors", figures.errors, "", 0, 0, False, spin, _codes(figures)),
    )


def authorisations(bench: Bench) -> None:
    """Questions at 100/s while 1,000 single events a second flow."""
    spin = spin_ms()
    asked = cycle(authorization_requests(bench.world, FUNDED, seed=1))

    def answered(status: int, body: bytes) -> bool:
        return status in {200, 201} and b'"authorised":true' in body

    async def both() -> tuple[Figures, Figures]:
        port, seconds = bench.stack.port, bench.seconds
        flowing, asking = await asyncio.gather(
            load.open_loop(port, 1_000, seconds, bench.jobs(1), _CONNECTIONS),
            load.open_loop(
                port, _ASKED_PER_SECOND, seconds, ((one, answered) for one in asked), 32
            ),
        )
        return flowing, asking

    with load.no_collection():
        flowing, asking = asyncio.run(both())
    detail = asking.summary() | {"events_p99_ms": round(flowing.percentile(0.99), 2)}
    errors = asking.errors + flowing.errors
    bench.add(
        Row(
            "authorisation while 1,000 events/s flow, p99",
            asking.percentile(0.99),
            LATENCY,
            10,
            3,
            False,
            spin,
            detail,
        ),
        Row("authorisation, errors", errors, "", 0, 0, False, spin, _codes(asking)),
    )


def memory(bench: Bench, minutes: float) -> None:
    """Resident memory of API and writer under a steady load, from the start of both."""
    bench.stack.restart_programs()
    warm_up(bench)
    spin = spin_ms()
    seen: list[dict[str, float]] = []

    async def watched() -> None:
        port, seconds = bench.stack.port, minutes * 60
        flows = asyncio.gather(
            load.open_loop(port, 500, seconds, bench.jobs(1), _CONNECTIONS),
            load.open_loop(port, 10, seconds, bench.jobs(_BATCH), 16),
        )
        while not flows.done():
            usage = bench.stack.usage()
            seen.append({name: usage[name].rss_mb for name in ("api", "writer")})
            await asyncio.wait([flows], timeout=_RSS_EVERY)
        await flows

    asyncio.run(watched())
    for name in ("api", "writer"):
        values = [one[name] for one in seen]
        settled = values[len(values) // 3]
        what = f"memory of the {name}, {minutes:g} min of 5,500 events/s"
        detail = {"after a third": round(settled, 1), "most": round(max(values), 1)}
        growth = (values[-1] / settled - 1) * 100
        bench.add(
            Row(what, values[-1], "MB", 300, 150, False, spin, detail),
            Row(f"{name}: growth over the last two thirds", growth, "%", 10, 5, False, spin),
        )


def dedupe_memory(bench: Bench) -> None:
    """What the dedupe window costs in Redis."""
    per_event, detail = dedupe.bytes_per_event(bench.stack.redis_url)
    bench.add(
        Row("Redis memory per event of the window", per_event, "bytes", 60, 40, detail=detail)
    )


def redis_lost(bench: Bench) -> None:
    """Redis and its files are gone: until it has every wallet again, and answers for one.

    Before, events are answered by PostgreSQL alone; when the first one was is told beside.
    """
    server = bench.stack.redis
    if server is None:
        bench.add(Row("Redis lost, back in service", None, "s", 10, 2))
        return
    spin = spin_ms()
    start = perf_counter()
    dedupe.lose(server)
    lost_for = perf_counter() - start
    number, request = bench.books.take(bench.templates(1)[0])
    answered = bench.answered(number, bench.templates(1)[0])
    asyncio.run(_until_answered(bench.stack.port, (request, answered)))
    first = perf_counter() - start
    checks.wait_until_rebuilt(bench.stack.database_url, bench.stack.redis_url, bench.world)
    (asked,) = authorization_requests(bench.world, 1, seed=1)
    asyncio.run(_until_answered(bench.stack.port, (asked, _is_held)))
    seconds = perf_counter() - start
    wallets = len(bench.world.payers)
    detail = {
        "server away s": round(lost_for, 2),
        "first event answered s": round(first, 2),
        "wallets": wallets,
    }
    bench.add(
        Row(f"Redis lost, {wallets:,} wallets, service", seconds, "s", 10, 2, False, spin, detail)
    )
    sleep(0.5)


def _is_held(status: int, body: bytes) -> bool:
    return status == 200 and b'"authorised":true' in body and b'"state":"open"' in body


async def _until_answered(port: int, job: Job) -> None:
    deadline = perf_counter() + 60
    done = False

    def answered(status: int, body: bytes) -> bool:
        nonlocal done
        done = job[1](status, body) or (status == 200 and b'"status":"duplicate"' in body)
        return done

    while not done:
        if perf_counter() > deadline:
            raise RuntimeError("no answer for a minute after Redis was lost")
        pool = load.Pool(port, 1)
        await pool.open()
        pool.submit(perf_counter(), (job[0], answered))
        await pool.close()
