"""`billing events archive` and `restore`: closed months out of the database, and back."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from billing.access.actor import SYSTEM, Actor
from billing.access.service import authenticate
from billing.cli.events import events, opened
from billing.cli.output import err, out
from billing.clock import SystemClock
from billing.db.unit_of_work import read_only
from billing.errors import InvalidError
from billing.settings import Settings
from billing.usage.archive.service import Archivist
from billing.usage.archive.tables import EventArchive

_Months = Annotated[list[str], typer.Argument(help="Such as 2026-07.")]
_Key = Annotated[
    str | None, typer.Option(envvar="BILLING_API_KEY", help="Who does it; else the operator.")
]


@events.command("archive")
def archive(
    months: _Months,
    to: Annotated[str, typer.Option(help="A folder, or s3://bucket/prefix.")],
    key: _Key = None,
) -> None:
    """Move closed months of events into Parquet files.

    A day leaves the database only after its files were read back and hold the same. Refused for a
    month that is not closed or still has drafts. Given again after an interruption, it goes on.
    """
    with _archivist(key) as archivist:
        for month in _months(months):
            _say(archivist.archive(month, to))


@events.command("restore")
def restore(months: _Months, key: _Key = None) -> None:
    """Bring archived months back into the database; the files stay.

    The pipeline does this by itself when it reads a month that is archived.
    """
    with _archivist(key) as archivist:
        for month in _months(months):
            _say(archivist.restore(month))


def _months(given: list[str]) -> list[date]:
    try:
        return [date.fromisoformat(f"{month}-01") for month in given]
    except ValueError:
        raise InvalidError("A month is written like 2026-07.") from None


@contextmanager
def _archivist(key: str | None) -> Iterator[Archivist]:
    settings, clock = Settings.load(), SystemClock()
    with opened(settings, "billing-archive") as engine:
        actor: Actor = SYSTEM
        if key:
            with read_only(engine) as session:
                actor = authenticate(session, key, settings, clock)
        with Progress(
            SpinnerColumn(), TextColumn("{task.description}"), console=err, transient=True
        ) as bar:
            task = bar.add_task("")

            def show(step: str, day: date) -> None:
                bar.update(task, description=f"{step} {day}")

            yield Archivist(engine, actor, clock, show)


def _say(archive: EventArchive) -> None:
    days = archive.manifest.get("days", {})
    rows = sum(shard["rows"] for day in days.values() for shard in day["shards"].values())
    out.print(
        f"{archive.month:%Y-%m}: {archive.state.value}, {rows} events of {len(days)} days "
        f"in {archive.location}",
        soft_wrap=True,
    )
