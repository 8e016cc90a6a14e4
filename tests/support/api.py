"""The whole API in this process, on a database of the test's own, with a key for every role."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.access.service import CreateApiKey, create_api_key
from billing.clock import ManualClock
from billing.commands import Context
from billing.customers.service import CreateCustomer, create_customer
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.logs import configure_logs
from billing.settings import Settings
from billing.usage.tables import ShardMode, ShardState
from ingest_api.main import app, create_app
from ingest_api.services import Services

NO_REDIS = "redis://127.0.0.1:1"


@dataclass
class Api:
    """Calls the application as HTTP clients do, each call with the key of a role."""

    app: FastAPI
    engine: Engine
    settings: Settings
    clock: ManualClock
    keys: dict[Role, str] = field(default_factory=dict)
    run: Callable[[Coroutine[Any, Any, Any]], Any] = asyncio.run

    def call(
        self,
        method: str,
        path: str,
        *,
        role: Role | None = Role.SUPER_ADMIN,
        key: str | None = None,
        **arguments: Any,
    ) -> httpx.Response:
        """One request; with `role=None` and no key, nobody's."""
        return self.together((method, path, {"role": role, "key": key, **arguments}))[0]

    def together(self, *calls: tuple[str, str, Mapping[str, Any]]) -> list[httpx.Response]:
        """Several requests at the same time."""

        async def all_of_them() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
                return await asyncio.gather(
                    *(self._send(client, method, path, **rest) for method, path, rest in calls)
                )

        return cast("list[httpx.Response]", self.run(all_of_them()))

    def get(self, path: str, **arguments: Any) -> Any:
        """The data at a path."""
        return self._data(self.call("GET", f"/api/v1{path}", **arguments))

    def post(self, path: str, body: Any = None, **arguments: Any) -> Any:
        """The data that a command answers with."""
        return self._data(self.call("POST", f"/api/v1{path}", json=body, **arguments))

    def refused(self, method: str, path: str, status: int, **arguments: Any) -> Any:
        """The error of a request that must be refused with that status."""
        response = self.call(method, f"/api/v1{path}", **arguments)
        assert response.status_code == status, response.text
        return response.json()["error"]

    def key_for(self, role: Role, customer_id: str | None = None) -> str:
        """A new key."""
        with unit_of_work(self.engine) as session:
            context = Context(session, SYSTEM, self.clock)
            name = f"{role} of {customer_id}" if customer_id else f"{role}"
            request = CreateApiKey.model_validate(
                {"name": name, "role": role, "customer_id": customer_id}
            )
            text = create_api_key(context, request, self.settings)[1]
        assert text is not None
        return text

    async def _send(
        self,
        client: httpx.AsyncClient,
        method: str,
        path: str,
        *,
        role: Role | None = Role.SUPER_ADMIN,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> httpx.Response:
        sent = key or (self.keys[role] if role else None)
        authorization = {"Authorization": f"Bearer {sent}"} if sent else {}
        return await client.request(
            method, path, headers={**authorization, **(headers or {})}, **arguments
        )

    @staticmethod
    def _data(response: httpx.Response) -> Any:
        assert response.is_success, response.text
        return response.json()["data"]


@contextmanager
def running_api(database_url: str, redis_url: str, clock: ManualClock) -> Iterator[Api]:
    """The application with its connections, but without the hot intake routes' own loop."""
    configure_logs()
    settings = Settings.model_validate({"DATABASE_URL": database_url, "REDIS_URL": redis_url})
    engine = open_engine(database_url, application="test-api", pool_size=8)
    # The one application of this process: putting its routes together takes a second.
    app.state.services = Services(engine, settings, clock)
    api = Api(app, engine, settings, clock)
    try:
        _issue_keys(api)
        yield api
    finally:
        engine.dispose()


@contextmanager
def whole_api(database_url: str, clock: ManualClock) -> Iterator[Api]:
    """The application as it starts, with the intake: all its requests are of one loop.

    There is no Redis: PostgreSQL alone takes events in.
    """
    settings = Settings.model_validate({"DATABASE_URL": database_url, "REDIS_URL": NO_REDIS})
    _take_in_directly(database_url, settings.shard_count)
    application = create_app(settings, clock)
    lifespan = application.router.lifespan_context(application)
    with asyncio.Runner() as runner:
        runner.run(_enter(lifespan))
        try:
            engine = application.state.services.engine
            api = Api(application, engine, settings, clock, run=runner.run)
            _issue_keys(api)
            yield api
        finally:
            runner.run(_leave(lifespan))


def _take_in_directly(database_url: str, shards: int) -> None:
    engine = open_engine(database_url, application="test-api", pool_size=1)
    with unit_of_work(engine) as session:
        session.add_all(
            ShardState(
                shard=shard,
                epoch=1,
                mode=ShardMode.DIRECT,
                undrained_epoch=1,
                undrained_ms=0,
                undrained_seq=0,
            )
            for shard in range(shards)
        )
    engine.dispose()


async def _enter(lifespan: AbstractAsyncContextManager[Any]) -> None:
    await lifespan.__aenter__()


async def _leave(lifespan: AbstractAsyncContextManager[Any]) -> None:
    await lifespan.__aexit__(None, None, None)


def _issue_keys(api: Api) -> None:
    with unit_of_work(api.engine) as session:
        request = CreateCustomer(code="key-holder", name="Key Holder")
        holder = str(create_customer(Context(session, SYSTEM, api.clock), request).id)
    for role in Role:
        api.keys[role] = api.key_for(role, holder if role is Role.CUSTOMER else None)


@pytest.fixture
def api(database_url: str, redis_url: str, clock: ManualClock) -> Iterator[Api]:
    """The API on a fresh database."""
    with running_api(database_url, redis_url, clock) as running:
        yield running


@pytest.fixture
def new_customer(api: Api) -> Callable[..., str]:
    """Makes a customer with that code and returns its id."""

    def make(code: str) -> str:
        return str(api.post("/customers", {"code": code, "name": f"Customer {code}"})["id"])

    return make
