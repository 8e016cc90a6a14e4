"""Alembic's entry: one transaction, one process at a time, short locks."""

from alembic import context
from sqlalchemy import text

import billing.db.registry  # noqa: F401  (fills the metadata)
from billing.db.base import Base
from billing.db.engine import open_engine

_MIGRATION_LOCK = 7_210_031


def _is_ours(name: str | None, kind: str, _: object) -> bool:
    if kind == "schema":
        return name in {"billing", "usage"}
    return not (kind == "table" and (name or "").startswith("raw_events"))


def _run() -> None:
    engine = open_engine(
        context.config.attributes["url"], application="billing-migrate", pool_size=1
    )
    with engine.connect() as connection:
        # The version table itself lives in one of these schemas.
        with connection.begin():
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            connection.execute(text("CREATE SCHEMA IF NOT EXISTS billing"))
            connection.execute(text("CREATE SCHEMA IF NOT EXISTS usage"))
        with connection.begin():
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            connection.execute(text("SET LOCAL lock_timeout = '10s'"))
            context.configure(
                connection=connection,
                target_metadata=Base.metadata,
                version_table_schema="billing",
                include_schemas=True,
                include_name=_is_ours,
                compare_type=True,
            )
            context.run_migrations()
    engine.dispose()


_run()
