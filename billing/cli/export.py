"""`billing export`: a list as a file."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from billing.access.actor import SYSTEM
from billing.cli.output import out
from billing.db.engine import open_engine
from billing.exports.files import FileFormat
from billing.exports.lists import LISTS
from billing.exports.service import ExportFilter, export
from billing.settings import Settings

_Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])]


def export_list(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(LISTS)}.")],
    to: Annotated[Path, typer.Option(help="A file that ends in .csv or .xlsx.")],
    from_day: _Day = None,
    to_day: _Day = None,
) -> None:
    """Write a whole list to a file; days are India's, the last is not in it."""
    file_format = FileFormat.XLSX if to.suffix == ".xlsx" else FileFormat.CSV
    wanted = ExportFilter(
        from_day=from_day.date() if from_day else None, to_day=to_day.date() if to_day else None
    )
    engine = open_engine(
        Settings.load().require_database_url(), application="billing-export", pool_size=2
    )
    try:
        with to.open("wb") as file:
            for piece in export(engine, SYSTEM, name, wanted, file_format):
                file.write(piece)
    finally:
        engine.dispose()
    out.print(f"{name} is in {to}")


def register(app: typer.Typer) -> None:
    """Hang the command on the door."""
    app.command("export")(export_list)
