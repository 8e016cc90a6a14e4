"""`billing gstr1`: the monthly return of outward supplies, and its lock."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from billing.settings import Settings

gstr1 = typer.Typer(no_args_is_help=True, help="The monthly return of outward supplies.")

_Month = Annotated[str, typer.Option(help="Such as 2026-10.")]
_Gstin = Annotated[
    str | None, typer.Option(help="One of our registrations; the default one, if left out.")
]


@gstr1.command("export")
def export(
    month: _Month,
    to: Annotated[Path, typer.Option(help="A folder; it is made.")],
    gstin: _Gstin = None,
) -> None:
    """Write the portal's JSON and a CSV per table; exit code 1 if it differs from the books."""
    _run(["export", "--month", month, "--to", str(to)], gstin)


@gstr1.command("lock")
def lock(month: _Month, gstin: _Gstin = None) -> None:
    """Lock a month that was filed: no document may be dated in it any more."""
    _run(["lock", "--month", month], gstin)


def _run(arguments: list[str], gstin: str | None) -> None:
    settings = Settings.load()
    environment = {**os.environ, "DATABASE_URL": settings.require_database_url()}
    argv = [sys.executable, "-m", "invoicing.gstr1", *arguments]
    if gstin is not None:
        argv += ["--gstin", gstin]
    os.execve(sys.executable, argv, environment)  # noqa: S606 - our own interpreter


def register(app: typer.Typer) -> None:
    """Hang the commands on the door."""
    app.add_typer(gstr1, name="gstr1")
