"""The pipeline's way to the database: a Dagster resource around the domain's own engine."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from billing.db.engine import open_engine
from billing.db.unit_of_work import read_only, unit_of_work
from billing.settings import Settings


class Database(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Sessions on the database that the settings name, one connection at a time."""

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that commits when the block ends well."""
        with self.engine() as engine, unit_of_work(engine) as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that cannot write."""
        with self.engine() as engine, read_only(engine) as session:
            yield session

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """The engine itself, for what has transactions of its own."""
        url = Settings.load().require_database_url()
        engine = open_engine(url, application="billing-pipeline", pool_size=1)
        try:
            yield engine
        finally:
            engine.dispose()

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Wait until nobody else is at what `name` stands for, and keep others waiting.

        A process that is killed lets go by itself.
        """
        key = {"name": f"pipeline.{name}"}
        with (
            self.engine() as engine,
            engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        ):
            connection.execute(text("SET statement_timeout = 0; SET lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_lock(hashtextextended(:name, 0))"), key)
            yield
            # closing the connection does it too, but not before the server has noticed
            connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), key)
