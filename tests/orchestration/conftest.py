"""A small seller with usage in June, and the pipeline's definitions on its database."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import Engine

from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from tests.support.factories.parties import make_supplier


@pytest.fixture
def engine(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine on the database that the pipeline is pointed at too."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    engine = open_engine(database_url, application="test")
    with unit_of_work(engine) as session:
        make_supplier(session)
    yield engine
    engine.dispose()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance of this test's own."""
    with dg.instance_for_test(temp_dir=str(tmp_path)) as made:
        yield made
