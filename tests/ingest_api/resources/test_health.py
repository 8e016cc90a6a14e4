"""Alive is not ready: what readiness looks at, and what it says of what is missing."""

from dataclasses import replace

from sqlalchemy import text

from billing.db.migrate import head_revision
from billing.db.unit_of_work import unit_of_work
from billing.settings import Settings
from billing.usage.tables import ShardState
from billing.wallets.connect import open_any
from billing.wallets.keys import ShardKeys
from tests.support.api import Api


def _ready(api: Api) -> tuple[int, str]:
    response = api.call("GET", "/health/ready", role=None)
    body = response.json()
    return response.status_code, body["error"]["details"]["part"] if "error" in body else ""


def test_a_whole_stack_is_ready_and_says_how_far_the_writer_is(api: Api) -> None:
    response = api.call("GET", "/health/ready", role=None)
    assert response.status_code == 200
    attributes = response.json()["data"]["attributes"]
    assert attributes["migrations"] == head_revision()
    assert attributes["writer_lag_ms"] == 0


def test_a_process_without_its_parts_lives_but_is_not_ready(api: Api) -> None:
    settings = Settings.model_validate(
        {"DATABASE_URL": api.settings.database_url, "REDIS_URL": "redis://127.0.0.1:1/0"}
    )
    api.app.state.services = replace(api.app.state.services, settings=settings)
    assert _ready(api) == (503, "redis")
    assert api.call("GET", "/health/live", role=None).status_code == 200


def test_an_old_schema_is_not_ready(api: Api) -> None:
    with unit_of_work(api.engine) as session:
        session.execute(text("UPDATE billing.alembic_version SET version_num = '0001'"))
    assert _ready(api) == (503, "migrations")


def test_a_writer_that_stands_still_is_not_ready(api: Api) -> None:
    now_ms = int(api.clock.now().timestamp() * 1000)
    with unit_of_work(api.engine) as session:
        state = session.get(ShardState, 0)
        if state is None:
            state = ShardState(shard=0, epoch=1)
            session.add(state)
        epoch = state.epoch
    with open_any(str(api.settings.redis_url)) as client:
        client.xadd(ShardKeys(0, epoch).stream, {"f": "x"}, id=f"{now_ms - 31_000}-1")
    assert _ready(api) == (503, "writer")
