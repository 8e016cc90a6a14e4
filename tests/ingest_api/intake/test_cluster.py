"""The intake over a cluster of three nodes, with a shard on each of them."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import Engine

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.access.service import CreateApiKey, create_api_key
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.ids import new_id
from billing.settings import Settings
from billing.stack.process import wait_until
from billing.wallets.connect import open_any, open_shard
from billing.wallets.keys import ShardKeys
from tests.support.factories.usage import Sender, make_plan, make_sender
from tests.support.postgres import fresh_database
from tests.support.processes import api_program, running, wait_for_port
from tests.support.redis_cluster import ClusterOfThree, running_cluster

SHARDS = 3
PRICE = 120_000


@dataclass
class Plant:
    """Processes over a cluster, and a sender in each shard."""

    cluster: ClusterOfThree
    database_url: str
    engine: Engine
    client: httpx.Client
    senders: list[Sender]
    key: str
    logs: Path
    sent: int = 0

    def event(self, sender: Sender) -> dict[str, Any]:
        self.sent += 1
        return {
            "source": "cluster",
            "event_id": f"e{self.sent}",
            "event_type": "otp.sms",
            "occurred_at": SystemClock().now().isoformat(),
            "account_id": str(sender.account.id),
            "dimensions": {"country": "IN", "status": "delivered"},
        }

    def send_to_all(self, client: httpx.Client | None = None) -> None:
        """One event to each shard, sent again until it is answered."""
        for sender in self.senders:
            event = self.event(sender)

            def is_taken(event: dict[str, Any] = event) -> bool:
                answer = (client or self.client).post("/api/v1/events", json=event)
                assert answer.status_code in (200, 503), answer.text
                return answer.status_code == 200

            assert wait_until(is_taken, 30)

    def assert_exact(self, each: int) -> None:
        """Every wallet holds what its events cost, in both stores."""
        ids = [sender.wallet.id for sender in self.senders if sender.wallet]
        with (
            psycopg.connect(self.database_url) as connection,
            open_any(self.cluster.url) as redis,
        ):
            rows = connection.execute(
                "SELECT w.id, a.shard, w.balance_units, s.epoch FROM billing.wallets w "
                "JOIN billing.accounts a ON a.id = w.account_id "
                "JOIN usage.shard_state s ON s.shard = a.shard WHERE w.id = ANY(%s)",
                [ids],
            ).fetchall()
            held = [redis.hget(ShardKeys(shard, e).wallet(w), "bal") for w, shard, _, e in rows]
        assert [balance for _, _, balance, _ in rows] == [-PRICE * each] * SHARDS
        assert [int(one or 0) for one in held] == [-PRICE * each] * SHARDS  # type: ignore[arg-type]


@pytest.fixture
def plant(
    postgres_server: str,
    template_database: str,
    server_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Plant]:
    monkeypatch.setenv("BILLING_SHARD_COUNT", str(SHARDS))
    monkeypatch.setenv("BILLING_DIRECT_AFTER_SECONDS", "1")
    with ExitStack() as exits:
        cluster = exits.enter_context(running_cluster(server_dir / f"c{new_id().hex[-6:]}"))
        url = exits.enter_context(fresh_database(postgres_server, template_database))
        engine = open_engine(url, application="test")
        exits.callback(engine.dispose)
        with unit_of_work(engine) as session:
            ctx = Context(session, SYSTEM, SystemClock())
            request = CreateApiKey(name="core", role=Role.SENDER)
            _, key = create_api_key(ctx, request, Settings.load())
            version = make_plan(session)
            senders = [make_sender(session, version, shard=shard) for shard in range(SHARDS)]
        client = exits.enter_context(running(url, cluster.url, tmp_path, str(key)))
        yield Plant(cluster, url, engine, client, senders, str(key), tmp_path)


def test_shards_live_on_their_nodes_through_loss_and_a_second_api(plant: Plant) -> None:
    """A node is emptied, another stops for good and comes back, and an API process is added."""
    nodes = [plant.cluster.node_of(ShardKeys(shard, 0).epoch_key) for shard in range(SHARDS)]
    assert len({node.port for node in nodes}) == SHARDS
    for shard, node in enumerate(nodes):
        with open_shard(plant.cluster.url, shard) as client:
            assert client.connection_pool.connection_kwargs["port"] == node.port
    for _ in range(5):
        plant.send_to_all()
    plant.assert_exact(5)

    with open_shard(plant.cluster.url, 0) as client:
        client.flushall()
    for _ in range(5):
        plant.send_to_all()

    nodes[1].stop()
    plant.send_to_all()  # the shard that was there goes on without it
    nodes[1].start()

    program, port = api_program(plant.database_url, plant.cluster.url, plant.logs / "api-2.log")
    program.start()
    try:
        plant.send_to_all()
        wait_for_port(port)
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=dict(plant.client.headers), timeout=30
        ) as second:
            for _ in range(3):
                plant.send_to_all(second)
                plant.send_to_all()
    finally:
        program.stop()

    assert wait_until(lambda: modes(plant) == {"open"}, 30)
    plant.assert_exact(18)


def modes(plant: Plant) -> set[str]:
    with psycopg.connect(plant.database_url) as connection:
        return {mode for (mode,) in connection.execute("SELECT mode FROM usage.shard_state")}
