"""A database with a small company in it, and a browserless browser signed in to the console."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import streamlit as st
from sqlalchemy import Engine
from streamlit.testing.v1 import AppTest

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.access.service import CreateApiKey, create_api_key
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.periods import DEFAULT_ZONE, local_day
from billing.settings import Settings
from console import database
from tests.console.world import World, build
from tests.support.postgres import fresh_database

APP = Path(__file__).parents[2] / "console" / "app.py"


def make_key(engine: Engine, world: World, role: Role, code: str = "acme") -> str:
    """The text of a new key of that role; a customer's key is that of `code`."""
    customer_id = world.accounts[code].customer_id if role is Role.CUSTOMER else None
    with unit_of_work(engine) as session:
        _, text = create_api_key(
            Context(session, SYSTEM, SystemClock()),
            CreateApiKey(name=f"{role.value} of {code}", role=role, customer_id=customer_id),
            Settings.load(),
        )
    assert text is not None
    return text


@contextmanager
def furnished(url: str) -> Iterator[tuple[Engine, World]]:
    """That database with the world in it."""
    engine = open_engine(url, application="test")
    try:
        with unit_of_work(engine) as session:
            world = build(session, local_day(datetime.now(UTC), DEFAULT_ZONE))
        yield engine, world
    finally:
        engine.dispose()


@pytest.fixture(scope="session")
def furnished_template(postgres_server: str, template_database: str) -> Iterator[tuple[str, World]]:
    """The name of a database with the world in it, to copy from."""
    with fresh_database(postgres_server, template_database) as url:
        with furnished(url) as (_, world):
            pass
        yield url.rpartition("/")[2].partition("?")[0], world


@pytest.fixture
def furnished_url(
    postgres_server: str,
    furnished_template: tuple[str, World],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """The URL of a database of this test's own with the world in it; the console uses it."""
    with fresh_database(postgres_server, furnished_template[0]) as url:
        monkeypatch.setenv("DATABASE_URL", url)
        st.cache_data.clear()
        yield url
        database.engine().dispose()


@pytest.fixture
def world(furnished_template: tuple[str, World]) -> World:
    """What is in it."""
    return furnished_template[1]


@pytest.fixture
def engine(furnished_url: str) -> Iterator[Engine]:
    """An engine of the test's own, beside the console's."""
    engine = open_engine(furnished_url, application="test")
    yield engine
    engine.dispose()


def open_app() -> AppTest:
    """The console as somebody sees it who is not signed in."""
    return AppTest.from_file(APP, default_timeout=30).run()


@pytest.fixture
def sign_in(engine: Engine, world: World) -> Callable[..., AppTest]:
    """Open the console as a role."""

    def opened(role: Role, code: str = "acme") -> AppTest:
        app = open_app()
        app.text_input(key="sign_in_key").set_value(make_key(engine, world, role, code))
        app.button(key="enter").click().run()
        assert not app.exception
        return app

    return opened


def words_on(app: AppTest) -> str:
    """Everything a page says, as one text."""
    parts: list[str] = []
    for kind in ("title", "header", "subheader", "markdown", "caption", "error", "warning", "info",
                 "success"):  # fmt: skip
        parts += [str(element.value) for element in app.get(kind)]
    parts += [element.proto.body for element in app.get("html")]
    parts += [f"{metric.label} {metric.value} {metric.delta}" for metric in app.metric]
    return "\n".join(parts)
