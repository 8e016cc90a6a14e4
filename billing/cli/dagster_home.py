"""`billing dagster-home`: what Dagster needs before its first process starts."""

from pathlib import Path
from typing import Annotated

import typer

from billing.cli.output import out
from billing.settings import Settings
from billing.stack import dagster


def dagster_home(
    home: Annotated[Path, typer.Option(envvar="DAGSTER_HOME", help="The folder to write to.")],
    host: Annotated[str, typer.Option(help="Where the definitions are served.")],
    port: Annotated[int, typer.Option(help="Where the definitions are served.")],
) -> None:
    """Write dagster.yaml and workspace.yaml, and create Dagster's schema.

    `billing stack` does this by itself; containers and other installations call it once.
    """
    dagster.write_home(home.absolute(), host, port)
    dagster.ensure_schema(Settings.load().require_database_url())
    out.print(f"Dagster's home is {home.absolute()}")


def register(app: typer.Typer) -> None:
    """Hang the command on the door."""
    app.command("dagster-home")(dagster_home)
