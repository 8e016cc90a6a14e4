"""A client that takes nothing: the server's side of the connection, on a line that is stuck."""

import asyncio
import json
from typing import Any

from starlette.websockets import WebSocket

from billing.clock import SystemClock
from billing.settings import Settings
from ingest_api.intake.directory import Directory
from ingest_api.limits.limiter import Limiter
from ingest_api.live.hub import Hub
from ingest_api.live.socket import Close, LiveSocket
from tests.ingest_api.live.conftest import Plant


def test_who_takes_nothing_is_let_go_and_is_owed_no_more_than_it_asked_for(plant: Plant) -> None:
    account_id = plant.sender().account.id
    sent: list[dict[str, Any]] = []

    async def run() -> None:
        wishes: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        wishes.put_nowait({"type": "websocket.connect"})
        wish = {"type": "subscribe", "accounts": [str(account_id)]}
        wishes.put_nowait({"type": "websocket.receive", "text": json.dumps(wish)})

        async def send(message: Any) -> None:
            sent.append(message)
            if message["type"] == "websocket.send":
                await asyncio.Event().wait()

        settings = Settings.model_validate(
            {
                "DATABASE_URL": plant.engine.url.render_as_string(hide_password=False),
                "live_send_seconds": 1,
                "local_dir": "/nonexistent",
            }
        )
        clock = SystemClock()
        hub = Hub(plant.engine, _plain(settings.require_database_url()), clock)
        limiter = Limiter(settings)
        scope = {
            "type": "websocket",
            "path": "/api/v1/live",
            "headers": [(b"authorization", f"Bearer {plant.admin}".encode())],
        }
        socket = WebSocket(scope, wishes.get, send)
        directory = Directory(plant.engine, settings, clock)
        try:
            await LiveSocket(socket, hub, directory, limiter, clock, settings).run()
        finally:
            await hub.stop()
            await limiter.close()

    asyncio.run(run())
    kinds = [message["type"] for message in sent]
    assert kinds == ["websocket.accept", "websocket.send", "websocket.close"]
    assert sent[-1]["code"] == Close.TOO_SLOW


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")
