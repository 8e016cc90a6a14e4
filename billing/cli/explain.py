"""`billing explain`: an invoice line, and everything it was made of."""

from typing import Annotated, Any
from uuid import UUID

import typer
from rich.table import Table
from rich.text import Text

from billing.access.actor import SYSTEM
from billing.cli.output import complain, out
from billing.db.engine import open_engine
from billing.db.unit_of_work import read_only
from billing.invoices.explanation import Explanation, explain_line
from billing.money import from_minor, plain
from billing.settings import Settings


def explain(
    line: Annotated[str, typer.Argument(help="The line's reference, as on its invoice.")],
    invoice: Annotated[
        UUID | None, typer.Option(help="Whose line; that of the newest invoice, if left out.")
    ] = None,
    events: Annotated[int, typer.Option(min=0, help="How many events to list.")] = 20,
) -> None:
    """Work an invoice line out again from the events and prices its rating run read.

    Exit code 1: what comes out again is not what was billed.
    """
    settings = Settings.load()
    engine = open_engine(settings.require_database_url(), application="billing-explain")
    try:
        with read_only(engine) as session:
            found = explain_line(session, SYSTEM, line, invoice_id=invoice, limit=events)
            _show(found)
    finally:
        engine.dispose()
    if not found.is_equal:
        complain("The line does not come out as it was billed.")
        raise typer.Exit(1)


def _show(found: Explanation) -> None:
    line, run, price = found.line, found.run, found.price
    code = found.invoice.currency
    read = ", ".join(f"shard {shard} up to {seq}" for shard, seq in run.accept_seqs.items())
    charge = f"charge {price.charge_code}, {price.price_model}"
    facts = [
        ("Line", line.description),
        ("Invoice", f"{found.invoice.number or 'draft'} ({found.invoice.status.value})"),
        ("Billed", f"{code} {from_minor(line.amount_minor, code)}"),
        ("Price", f"{price.plan_code} version {price.version}, {charge}"),
        ("Days", f"{price.covered_from} until {price.covered_to}"),
        ("Rating run", f"{run.id} of {run.started_at:%Y-%m-%d %H:%M:%S%z}"),
        ("Read events", f"before {run.event_time_to:%Y-%m-%d %H:%M:%S%z}, {read}"),
        ("Counted", f"{found.event_count} events, {plain(line.quantity)} {line.unit}"),
    ]
    if found.recomputed is not None:
        again = found.recomputed
        amount = f"{code} {from_minor(again.amount_minor, code)}, from {plain(again.amount)}"
        facts.append(("Free", f"{plain(again.free_quantity)} {line.unit}"))
        facts.append(("Again", f"{amount}: {found.verdict}"))
    for added in found.adjustments:
        bill = f"{added.number or 'draft'} ({added.status.value})"
        amount = f"{code} {from_minor(added.amount_minor, code)}"
        facts.append(("Since issue", f"{amount} more on {bill}, line {added.line_ref}"))
    grid = Table.grid(padding=(0, 2))
    for name, value in facts:
        grid.add_row(Text(name, style="bold"), Text(value))
    out.print(grid)
    if line.tier_breakdown:
        out.print(_tiers(line.tier_breakdown))
    if found.events:
        out.print(_events(found))


def _tiers(tiers: list[dict[str, Any]]) -> Table:
    table = Table("units above", "up to", "units", "unit price", "tier fee", "amount")
    for tier in tiers:
        cells = ("from", "to", "units", "unit_price", "flat_amount", "amount")
        table.add_row(*(str(tier.get(cell) or ("open" if cell == "to" else "0")) for cell in cells))
    return table


def _events(found: Explanation) -> Table:
    table = Table("occurred", "event", "revision", "quantity", "dimensions")
    for one in found.events:
        table.add_row(
            f"{one.place.occurred_at:%Y-%m-%d %H:%M:%S}",
            Text(f"{one.source}/{one.event_id}"),
            str(one.revision),
            str(plain(one.quantity)),
            Text(" ".join(f"{name}={value}" for name, value in sorted(one.dimensions.items()))),
        )
    if found.next_event is not None:
        table.caption = f"the first {len(found.events)} of {found.event_count}"
    return table


def register(app: typer.Typer) -> None:
    """Hang the command on the door."""
    app.command("explain")(explain)
