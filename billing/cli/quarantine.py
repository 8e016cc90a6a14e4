"""`billing events quarantine`: what the writer set aside, settled from the command line."""

import json
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from billing.access.actor import SYSTEM
from billing.cli.events import events, opened
from billing.cli.output import out
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.unit_of_work import read_only, unit_of_work
from billing.errors import InvalidError
from billing.settings import Settings
from billing.usage.quarantine import (
    DiscardQuarantined,
    MendQuarantined,
    ReplayQuarantined,
    discard_quarantined,
    find_quarantined,
    list_quarantine,
    mend_quarantined,
    replay_quarantined,
)
from billing.usage.tables import QuarantinedEntry, QuarantineStatus

_MOST_SHOWN = 200

_quarantine = typer.Typer(no_args_is_help=True, help="Events that were set aside.")
_EntryId = Annotated[UUID, typer.Argument(help="As `billing events quarantine list` says.")]


@_quarantine.command("list")
def show_all(
    status: Annotated[QuarantineStatus, typer.Option(help="Which ones.")] = QuarantineStatus.OPEN,
) -> None:
    """List what was set aside, the newest first."""
    with opened(Settings.load(), "billing-quarantine") as engine, read_only(engine) as session:
        rows = list_quarantine(session, SYSTEM, status=status, limit=_MOST_SHOWN)
        for row in rows:
            name = f"{row.source}/{row.event_id}" if row.event_id else "cannot be read"
            reason = row.reason.partition("\n")[0]
            out.print(
                f"{row.id}  {row.recorded_at:%Y-%m-%d %H:%M}  {name}  {reason}",
                soft_wrap=True,
                markup=False,
            )
        if not rows:
            out.print(f"nothing is {status.value}")


@_quarantine.command("show")
def show(entry_id: _EntryId) -> None:
    """Show an entry, with the event as JSON that can be edited and given to `fix`."""
    with opened(Settings.load(), "billing-quarantine") as engine, read_only(engine) as session:
        row = find_quarantined(session, SYSTEM, entry_id)
        _say(row)
        out.print(f"reason: {row.reason}", soft_wrap=True, markup=False)
        if row.event:
            told = json.loads(row.event, parse_float=str)
            out.print(json.dumps(told, indent=2), soft_wrap=True, markup=False)


@_quarantine.command("fix")
def fix(
    entry_id: _EntryId,
    file: Annotated[Path, typer.Argument(help="The whole event as JSON.", exists=True)],
) -> None:
    """Say what the event should have said; `replay` then takes it in."""
    try:
        event = json.loads(file.read_text())
        if not isinstance(event, dict):
            raise InvalidError(f"{file} holds no JSON object.")
    except ValueError as error:
        raise InvalidError(f"{file} is not JSON: {error}.") from error
    request = MendQuarantined(entry_id=entry_id, event=event)
    with opened(Settings.load(), "billing-quarantine") as engine, unit_of_work(engine) as session:
        _say(mend_quarantined(Context(session, SYSTEM, SystemClock()), request))


@_quarantine.command("replay")
def replay(
    entry_ids: Annotated[
        list[UUID], typer.Argument(help="As `billing events quarantine list` says.")
    ],
) -> None:
    """Take events in after all, each in a transaction of its own."""
    with opened(Settings.load(), "billing-quarantine") as engine:
        for entry_id in entry_ids:
            with unit_of_work(engine) as session:
                request = ReplayQuarantined(entry_id=entry_id)
                _say(replay_quarantined(Context(session, SYSTEM, SystemClock()), request))


@_quarantine.command("discard")
def discard(
    entry_id: _EntryId,
    reason: Annotated[str, typer.Option(help="Why it is never taken in.")],
) -> None:
    """Settle an entry without taking anything in."""
    try:
        request = DiscardQuarantined(entry_id=entry_id, reason=reason)
    except ValueError:
        raise InvalidError("Give a reason of 3 to 500 characters.") from None
    with opened(Settings.load(), "billing-quarantine") as engine, unit_of_work(engine) as session:
        _say(discard_quarantined(Context(session, SYSTEM, SystemClock()), request))


def _say(row: QuarantinedEntry) -> None:
    name = f"{row.source}/{row.event_id}" if row.event_id else "not readable"
    note = f": {row.note}" if row.note else ""
    out.print(f"{row.id}  {name}  {row.status.value}{note}", soft_wrap=True, markup=False)


events.add_typer(_quarantine, name="quarantine")
