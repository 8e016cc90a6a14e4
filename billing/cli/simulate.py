"""`billing simulate`: what other prices would have billed for past months."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from billing.access.actor import SYSTEM
from billing.cli.output import complain, out
from billing.db.engine import open_engine
from billing.db.unit_of_work import read_only
from billing.errors import FieldError, InvalidError
from billing.money import from_minor
from billing.rating.simulate import Difference, Simulation
from billing.settings import Settings
from billing.simulations.service import SimulatePrices, simulate_prices

_Month = Annotated[datetime, typer.Option(formats=["%Y-%m"], help="Such as 2026-08.")]


def simulate(
    first: _Month,
    last: _Month,
    percent: Annotated[
        list[str] | None, typer.Option(help="CHARGE=PERCENT, or PERCENT for all charges.")
    ] = None,
    version: Annotated[
        list[str] | None, typer.Option(help="ID=ID: bill by the second what was on the first.")
    ] = None,
    changes: Annotated[
        Path | None, typer.Option(help="JSON with versions, charges, prices, account_ids.")
    ] = None,
    rows: Annotated[int, typer.Option(min=0, help="Rows of each table.")] = 10,
) -> None:
    """Rate the usage of billed months again by other prices; nothing is stored.

    Exit code 1: the prices that were billed do not come to what was billed.
    """
    request = _request(first, last, percent or (), version or (), changes)
    settings = Settings.load()
    engine = open_engine(settings.require_database_url(), application="billing-simulate")
    try:
        with read_only(engine) as session:
            found = simulate_prices(session, SYSTEM, request)
    finally:
        engine.dispose()
    _show(found, rows)
    if not found.is_exact:
        complain("The billed prices do not come to what was billed: do not rely on this.")
        raise typer.Exit(1)


def _request(
    first: datetime,
    last: datetime,
    percent: Sequence[str],
    version: Sequence[str],
    changes: Path | None,
) -> SimulatePrices:
    try:
        fields: dict[str, Any] = json.loads(changes.read_text()) if changes is not None else {}
    except (OSError, ValueError) as error:
        raise InvalidError(f"{changes} cannot be read: {error}.") from error
    fields["first_month"], fields["last_month"] = first.date(), last.date()
    for one in percent:
        code, _, part = one.rpartition("=")
        fields.setdefault("prices", []).append({"charge_code": code or None, "percent": part})
    for one in version:
        old, _, new = one.partition("=")
        fields.setdefault("versions", []).append({"version_id": old, "by_version_id": new})
    try:
        return SimulatePrices.model_validate(fields)
    except ValidationError as error:
        wrong = [
            FieldError(".".join(str(part) for part in one["loc"]), one["msg"])
            for one in error.errors()
        ]
        raise InvalidError("The simulation is not valid.", fields=wrong) from error


def _show(found: Simulation, rows: int) -> None:
    out.print(Text(f"Checked: {found.verdict or 'nothing was billed'}."))
    if found.unrated_after > found.unrated_before:
        more = found.unrated_after - found.unrated_before
        out.print(Text(f"No rate would match {more} more events."))
    for title, differences in (
        ("all", found.totals),
        ("customer", found.customers),
        ("channel", found.channels),
        ("country", found.countries),
        ("charge", found.charges),
    ):
        out.print(_table(title, differences[: rows or None]))


def _table(title: str, differences: Sequence[Difference]) -> Table:
    table = Table(title, "currency", "billed", "simulated", "difference")
    for one in differences:
        cells = (one.before_minor, one.after_minor, one.difference_minor)
        amounts = (f"{from_minor(cell, one.currency):,}" for cell in cells)
        table.add_row(Text(one.name or "–"), one.currency, *amounts)
    return table


def register(app: typer.Typer) -> None:
    """Hang the command on the door."""
    app.command("simulate")(simulate)
