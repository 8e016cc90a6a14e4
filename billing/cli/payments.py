"""`billing payments`: the gateways' lists against our books."""

import os
import sys
from typing import Annotated

import typer

from billing.settings import Settings

payments = typer.Typer(no_args_is_help=True, help="Reconcile payments with their gateways.")


@payments.command("reconcile")
def reconcile(
    gateway: Annotated[str | None, typer.Option(help="All that have keys, if left out.")] = None,
    days: Annotated[int, typer.Option(help="How far to look back.", min=1, max=400)] = 35,
) -> None:
    """Match every entry of a gateway with ours; exit code 1 if something differs."""
    settings = Settings.load()
    environment = {**os.environ, "DATABASE_URL": settings.require_database_url()}
    argv = [sys.executable, "-m", "invoicing.reconcile", "--days", str(days)]
    if gateway is not None:
        argv += ["--gateway", gateway]
    os.execve(sys.executable, argv, environment)  # noqa: S606 - our own interpreter


def register(app: typer.Typer) -> None:
    """Hang the commands on the door."""
    app.add_typer(payments, name="payments")
