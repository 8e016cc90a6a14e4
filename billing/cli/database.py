"""`billing migrate`: the newest schema."""

import typer

from billing.cli.output import out
from billing.db import migrate as migrations
from billing.settings import Settings


def migrate() -> None:
    """Bring the database to the newest schema. Safe to run twice."""
    url = Settings.load().require_database_url()
    before = migrations.current_revision(url)
    migrations.upgrade(url)
    now = migrations.current_revision(url)
    out.print(f"already at {now}" if before == now else f"from {before or 'nothing'} to {now}")


def register(app: typer.Typer) -> None:
    """Hang the command on the door."""
    app.command()(migrate)
