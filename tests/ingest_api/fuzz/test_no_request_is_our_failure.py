"""Requests drawn from the API description: whatever is sent, it is never answered with a 5xx.

`FUZZ_REQUESTS` sets how many, `FUZZ_SEED` which ones; what fails names both.
"""

import asyncio
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from fastapi import FastAPI

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.access.service import CreateApiKey, create_api_key
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.settings import Settings
from ingest_api.main import create_app
from ingest_api.writer.shard import ShardWriter
from tests.support.factories.usage import make_plan, make_sender
from tests.support.openapi_fuzz import Pool, Request, Requests

COUNT: Final = int(os.environ.get("FUZZ_REQUESTS", "300"))
SEED: Final = int(os.environ.get("FUZZ_SEED", "1"))
AT_ONCE: Final = 8
MOST_SHOWN: Final = 10


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return Settings.model_validate(
        {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "local_dir": tmp_path,
            "events_per_second": 1_000_000,
            "requests_per_minute": 10_000_000,
            "requests_per_minute_unknown": 10_000_000,
        }
    )


@pytest.fixture
def written(settings: Settings) -> Iterator[None]:
    """A writer, so that events are answered."""
    stop = threading.Event()
    writer = threading.Thread(target=ShardWriter(0, settings, SystemClock(), stop).run)
    writer.start()
    yield
    stop.set()
    writer.join()


@pytest.fixture
def keys(settings: Settings) -> list[tuple[str, str]]:
    """Keys of the roles that may do most, with their ids; a seller to do it to."""
    engine = open_engine(settings.require_database_url(), application="test", pool_size=1)
    made = []
    with unit_of_work(engine) as session:
        version = make_plan(session)
        for _ in range(3):
            make_sender(session, version)
        for role in (Role.SUPER_ADMIN, Role.SENDER):
            ctx = Context(session, SYSTEM, SystemClock())
            request = CreateApiKey(name=f"fuzz {role}", role=role)
            row, text = create_api_key(ctx, request, settings)
            made.append((str(row.id), str(text)))
    engine.dispose()
    return made


@pytest.mark.usefixtures("written")
@pytest.mark.timeout(max(120, COUNT // 20))
def test_no_drawn_request_is_answered_with_a_failure_of_ours(
    settings: Settings, keys: list[tuple[str, str]]
) -> None:
    statuses, failures = asyncio.run(_run(create_app(settings), keys))

    assert not failures, "\n".join([f"seed {SEED}: {statuses}", *failures])
    assert sum(statuses.values()) == COUNT
    # were all requests refused at the first look, nothing would be proven
    assert sum(number for status, number in statuses.items() if status < 300) > COUNT / 20


async def _run(app: FastAPI, keys: list[tuple[str, str]]) -> tuple[Counter[int], list[str]]:
    pool = Pool(hidden={key_id for key_id, _ in keys})
    drawn = iter(Requests(app.openapi(), SEED, pool))
    statuses: Counter[int] = Counter()
    failures: list[str] = []
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            for start in range(0, COUNT, AT_ONCE):
                some = [next(drawn) for _ in range(min(AT_ONCE, COUNT - start))]
                texts = [_key(start + index, keys) for index in range(len(some))]
                answers = await asyncio.gather(
                    *(_send(client, one, text) for one, text in zip(some, texts, strict=True))
                )
                for request, answer in zip(some, answers, strict=True):
                    statuses[answer.status_code] += 1
                    if answer.status_code >= 500:
                        failures.append(_shown(request, answer))
                    elif answer.status_code < 300:
                        pool.learn(_data(answer))
                if len(failures) >= MOST_SHOWN:
                    break
    return statuses, failures


def _key(number: int, keys: list[tuple[str, str]]) -> str:
    """Mostly the one that may do everything, sometimes the sender's, sometimes none."""
    if number % 50 == 7:
        return "otpb_none"
    return keys[1 if number % 20 == 3 else 0][1]


async def _send(client: httpx.AsyncClient, request: Request, key: str) -> httpx.Response:
    headers = [(b"authorization", f"Bearer {key}".encode()), *request.headers]
    return await client.request(
        request.method, request.target, headers=headers, content=request.content
    )


def _data(answer: httpx.Response) -> Any:
    try:
        return answer.json().get("data")
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError):
        return None


def _shown(request: Request, answer: httpx.Response) -> str:
    return (
        f"{answer.status_code} {request.method} {request.target[:300]} {request.headers} "
        f"{request.content[:700]!r} -> {answer.text[:200]}"
    )
