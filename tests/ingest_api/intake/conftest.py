"""One API with its writer for the tests of a module: they differ in accounts and event ids."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import Connection
from sqlalchemy import Engine

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.access.service import CreateApiKey, create_api_key
from billing.catalog.tables import PlanVersion
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.settings import Settings
from billing.wallets.keys import ShardKeys
from tests.support.factories.usage import Sender, make_plan, make_sender
from tests.support.postgres import fresh_database
from tests.support.processes import running
from tests.support.redis import running_redis

_ids = count(1)


@dataclass
class Api:
    """A running API, and the database behind it."""

    client: httpx.Client
    engine: Engine
    connection: Connection[Any]
    version: PlanVersion
    admin_key: str
    redis_url: str

    @property
    def as_admin(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.admin_key}"}

    def sender(self, **options: Any) -> Sender:
        with unit_of_work(self.engine) as session:
            version = None if options.pop("unsubscribed", False) else self.version
            options.setdefault("shard", next(_ids) % Settings.load().shard_count)
            return make_sender(session, version, **options)

    def key(self, role: Role, **options: Any) -> dict[str, str]:
        with unit_of_work(self.engine) as session:
            request = CreateApiKey(name=f"key {next(_ids)}", role=role, **options)
            ctx = Context(session, SYSTEM, SystemClock())
            _, text = create_api_key(ctx, request, Settings.load())
        return {"Authorization": f"Bearer {text}"}

    def event(self, sender: Sender, **changes: Any) -> dict[str, Any]:
        return {
            "source": "core",
            "event_id": f"event-{next(_ids)}",
            "event_type": "otp.sms",
            "occurred_at": datetime.now(UTC).isoformat(),
            "account_id": str(sender.account.id),
            "dimensions": {"country": "IN", "status": "delivered"},
            **changes,
        }

    def send(self, body: Any, **options: Any) -> httpx.Response:
        return self.client.post("/api/v1/events", json=body, **options)

    def ask(self, sender: Sender, **changes: Any) -> dict[str, Any]:
        body = {
            "account_id": str(sender.account.id),
            "event_type": "otp.sms",
            "dimensions": {"country": "IN"},
            "hold": False,
            **changes,
        }
        response = self.client.post("/api/v1/authorizations", json=body)
        assert response.status_code == 200, response.text
        attributes: dict[str, Any] = response.json()["data"]["attributes"]
        return attributes

    def one(self, query: str, *values: object) -> Any:
        row = self.connection.execute(query, values).fetchone()
        return row[0] if row and len(row) == 1 else row

    def keys(self, sender: Sender) -> ShardKeys:
        shard = sender.account.shard
        return ShardKeys(
            shard, self.one("SELECT epoch FROM usage.shard_state WHERE shard = %s", shard)
        )

    def balance(self, sender: Sender) -> int:
        assert sender.wallet is not None
        return int(
            self.one("SELECT balance_units FROM billing.wallets WHERE id = %s", sender.wallet.id)
        )


@pytest.fixture(scope="session")
def api(
    postgres_server: str,
    template_database: str,
    server_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Api]:
    with (
        fresh_database(postgres_server, template_database) as url,
        running_redis(server_dir / "intake-redis") as redis_server,
    ):
        engine = open_engine(url, application="test")
        with unit_of_work(engine) as session:
            ctx = Context(session, SYSTEM, SystemClock())
            settings = Settings.load()
            _, sender_key = create_api_key(
                ctx, CreateApiKey(name="core", role=Role.SENDER), settings
            )
            _, admin_key = create_api_key(
                ctx, CreateApiKey(name="admin", role=Role.SUPER_ADMIN), settings
            )
            version = make_plan(session)
        logs = tmp_path_factory.mktemp("intake")
        with (
            running(url, redis_server.url, logs, str(sender_key)) as client,
            psycopg.connect(url, autocommit=True) as connection,
        ):
            yield Api(client, engine, connection, version, str(admin_key), redis_server.url)
        engine.dispose()


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Waits for something to come true."""
    from billing.stack.process import wait_until

    def wait(condition: Callable[[], bool]) -> None:
        assert wait_until(condition, 20)

    return wait
