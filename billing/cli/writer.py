"""`billing writer`: the ledger writer alone."""

import os
import sys

import typer

from billing.settings import Settings


def writer() -> None:
    """Move what the intake accepted from Redis into PostgreSQL, until stopped."""
    settings = Settings.load()
    environment = {
        **os.environ,
        "DATABASE_URL": settings.require_database_url(),
        "REDIS_URL": settings.require_redis_url(),
    }
    argv = [sys.executable, "-m", "ingest_api.writer"]
    os.execve(sys.executable, argv, environment)  # noqa: S606 - our own interpreter


def register(app: typer.Typer) -> None:
    """Hang the command on the door."""
    app.command()(writer)
