"""`billing einvoice`: documents that wait for the invoice registration portal."""

import os
import sys

import typer

from billing.settings import Settings

einvoice = typer.Typer(no_args_is_help=True, help="Documents and the registration portal.")


@einvoice.callback()
def _group() -> None:
    """Keeps `register` a command of its own, whatever else there is."""


@einvoice.command("register")
def register_waiting() -> None:
    """Ask the portal for the IRN of every document that waits for one; done once in any case."""
    environment = {**os.environ, "DATABASE_URL": Settings.load().require_database_url()}
    argv = [sys.executable, "-m", "invoicing.einvoice"]
    os.execve(sys.executable, argv, environment)  # noqa: S606 - our own interpreter


def register(app: typer.Typer) -> None:
    """Hang the commands on the door."""
    app.add_typer(einvoice, name="einvoice")
