"""An API with its writer, and a real WebSocket client that talks to it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine
from websockets.sync.client import ClientConnection, connect

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.access.service import CreateApiKey, create_api_key
from billing.catalog.tables import PlanVersion
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.settings import Settings
from billing.stack import ports
from billing.stack.process import wait_until
from billing.stack.redis import EmbeddedRedis
from tests.support.factories.usage import Sender, make_plan, make_sender
from tests.support.postgres import fresh_database
from tests.support.processes import Program, api_program, wait_for_port, writer_program

_ids = count(1)


class Talk:
    """A connection, and what is said on it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message, default=str))

    def hear(self, kind: str | None = None) -> dict[str, Any]:
        """The next message, or the next of a kind."""
        while True:
            message: dict[str, Any] = json.loads(self.socket.recv(timeout=20))
            if kind in {None, message["type"]}:
                return message

    def hear_until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first state of an account for which that holds; returns its message."""
        while True:
            message = self.hear()
            if any(condition(one) for one in message.get("accounts", [])):
                return message

    def subscribe(self, *accounts: UUID, **more: Any) -> dict[str, Any]:
        self.say(type="subscribe", accounts=accounts, **more)
        return self.hear()


@dataclass
class Plant:
    """The processes, and the ways to make something happen."""

    http: httpx.Client
    port: int
    engine: Engine
    version: PlanVersion
    admin: str
    api: Program

    def sender(self) -> Sender:
        with unit_of_work(self.engine) as session:
            made = make_sender(session, self.version)
            session.flush()
            session.expunge_all()
            return made

    def key(self, role: Role, **options: Any) -> str:
        with unit_of_work(self.engine) as session:
            request = CreateApiKey(name=f"key {next(_ids)}", role=role, **options)
            ctx = Context(session, SYSTEM, SystemClock())
            _, text = create_api_key(ctx, request, Settings.load())
        assert text is not None
        return text

    def revoke(self, key: str) -> None:
        prefix = key.split("_")[1]
        with unit_of_work(self.engine) as session:
            from billing.access.tables import ApiKey

            row = session.query(ApiKey).filter_by(prefix=prefix).one()
            row.revoked_at = SystemClock().now()

    def send(self, sender: Sender, name: str | None = None, **changes: Any) -> str:
        name = name or f"live-{next(_ids)}"
        event = {
            "source": "core",
            "event_id": name,
            "event_type": "otp.sms",
            "occurred_at": SystemClock().now().isoformat(),
            "account_id": str(sender.account.id),
            "dimensions": {"country": "IN", "status": "delivered"},
            **changes,
        }
        assert wait_until(
            lambda: self.http.post("/api/v1/events", json=event).status_code == 200, 20
        )
        return name

    def post(self, path: str, body: Any) -> Any:
        answer = self.http.post(f"/api/v1{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()["data"]

    @contextmanager
    def talk(self, key: str | None = None, path: str = "/api/v1/live") -> Iterator[Talk]:
        """A connection; with a key, that is sent as a header."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = f"ws://127.0.0.1:{self.port}{path}"
        with connect(url, additional_headers=headers, proxy=None) as socket:
            yield Talk(socket)


@contextmanager
def running_server(server: EmbeddedRedis) -> Iterator[None]:
    """The server while the block runs."""
    server.start()
    try:
        yield
    finally:
        server.stop()


@pytest.fixture(scope="package")
def plant(
    postgres_server: str,
    template_database: str,
    server_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Plant]:
    logs = tmp_path_factory.mktemp("live")
    # of its own: other tests' processes may still run on the common one
    redis_server = EmbeddedRedis(server_dir / "redis-live", ports.any_free())
    with running_server(redis_server), fresh_database(postgres_server, template_database) as url:
        engine = open_engine(url, application="test")
        with unit_of_work(engine) as session:
            ctx = Context(session, SYSTEM, SystemClock())
            request = CreateApiKey(name="admin", role=Role.SUPER_ADMIN)
            _, admin = create_api_key(ctx, request, Settings.load())
            version = make_plan(session)
        writer = writer_program(url, redis_server.url, logs / "writer.log")
        api, port = api_program(url, redis_server.url, logs / "api.log")
        small = {
            "BILLING_LIVE_HEARTBEAT_SECONDS": "1",
            "BILLING_LIVE_SEND_SECONDS": "1",
            "BILLING_MOST_LIVE_CONNECTIONS": "3",
        }
        api.environment = {**api.environment, **small}
        for program in (writer, api):
            program.start()
        try:
            wait_for_port(port)
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}",
                headers={"Authorization": f"Bearer {admin}"},
                timeout=30,
            ) as client:
                yield Plant(client, port, engine, version, str(admin), api)
        finally:
            api.stop()
            writer.stop()
            engine.dispose()
