"""`billing events import`: files of events, through the API."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from sqlalchemy import Engine

from billing.access.actor import SYSTEM, Actor
from billing.access.roles import Permission, Role
from billing.access.service import (
    CreateApiKey,
    RevokeApiKey,
    authenticate,
    create_api_key,
    revoke_api_key,
)
from billing.cli.output import complain, err, out
from billing.clock import Clock, SystemClock
from billing.commands import Context
from billing.db.engine import open_engine
from billing.db.unit_of_work import read_only, unit_of_work
from billing.errors import BillingError, InvalidError
from billing.money import from_units
from billing.settings import Settings
from billing.usage.event import EventCheck
from billing.usage.imports.check import Checked, check_row
from billing.usage.imports.columns import Columns
from billing.usage.imports.dry_run import DryRun, dry_run
from billing.usage.imports.error_file import ErrorFile, Refusal
from billing.usage.imports.rows import Source, open_source
from billing.usage.imports.sender import Sender
from billing.usage.imports.service import (
    BATCH,
    CONCURRENCY,
    BeginImport,
    Importer,
    alone,
    begin_import,
    digest_of_file,
    digest_of_options,
)

_KEY_LASTS = timedelta(days=1)

events = typer.Typer(no_args_is_help=True, help="Import, archive and restore usage events.")


@dataclass(frozen=True, slots=True)
class _Importing:
    """What is the same for every file of one command."""

    engine: Engine
    actor: Actor
    clock: Clock
    columns: Columns
    options_sha256: str
    delimiter: str
    errors: Path | None

    def rows(self, source: Source, skip: int = 0) -> Iterator[Checked]:
        """The checked rows of a file."""
        may = self.actor.may(Permission.USAGE_BACKFILL)
        check = EventCheck(self.clock.now(), backfill=may)
        return (check_row(row, self.columns, check) for row in source.rows(skip))

    def open(self, file: Path) -> Source:
        """A file whose columns can make events."""
        source = open_source(file, self.delimiter)
        if source.columns is not None:
            self.columns.require(source.columns)
        return source

    def error_path(self, file: Path, suffix: str) -> Path:
        """Where the refused rows of a file are told."""
        if self.errors is None:
            return file.with_name(f"{file.name}.{suffix}")
        if self.errors.is_dir():
            return self.errors / f"{file.name}.{suffix}"
        return self.errors


@events.command("import")
def import_events(
    files: Annotated[list[Path], typer.Argument(help="CSV, JSONL or Parquet.")],
    url: Annotated[
        str | None, typer.Option(help="The API that takes the events; else the stack's own.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(envvar="BILLING_API_KEY", help="Whose events they are; else the operator's."),
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Only check, count and estimate; send nothing.")
    ] = False,
    mapped: Annotated[
        list[str] | None,
        typer.Option("--map", help="FIELD=COLUMN, such as occurred_at=timestamp."),
    ] = None,
    constants: Annotated[
        list[str] | None,
        typer.Option("--set", help="FIELD=VALUE for every row, such as source=history."),
    ] = None,
    ignored: Annotated[
        list[str] | None, typer.Option("--ignore", help="A column that is not read.")
    ] = None,
    zone: Annotated[str | None, typer.Option(help="Zone of times without an offset.")] = None,
    delimiter: Annotated[str, typer.Option(help="Between the cells of a CSV file.")] = ",",
    errors: Annotated[
        Path | None,
        typer.Option(help="File or folder for the refused rows; else beside each file."),
    ] = None,
    again: Annotated[bool, typer.Option(help="From the first row, though it was done.")] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=32)] = CONCURRENCY,
    batch: Annotated[int, typer.Option(min=1, max=1000, help="Events in a request.")] = BATCH,
) -> None:
    """Send the events of files to the API, and say which rows it refused.

    Give the same command again after an interruption: it goes on where it stopped. An event is
    known by its source and event_id, so nothing is taken twice. Exit code 1: rows were refused.
    """
    if errors is not None and len(files) > 1 and not errors.is_dir():
        raise InvalidError("With several files, --errors names a folder.")
    settings, clock = Settings.load(), SystemClock()
    fields, values = _pairs("--map", mapped or ()), _pairs("--set", constants or ())
    columns = Columns(fields, values, ignored or (), zone)
    api_url = "" if dry else settings.require_api_url(url)
    options = digest_of_options([fields, values, sorted(ignored or ()), zone, delimiter])
    refused = 0
    with (
        opened(settings, "billing-import") as engine,
        _sending(engine, settings, clock, key, dry) as (actor, text),
    ):
        work = _Importing(engine, actor, clock, columns, options, delimiter, errors)
        for file, source in [(file, work.open(file)) for file in files]:
            if dry:
                refused += _try(work, file, source)
                continue
            sender = Sender(api_url, text, tell=_trouble)
            try:
                with alone(engine, digest := digest_of_file(file)):
                    begin = BeginImport(
                        file_sha256=digest,
                        options_sha256=options,
                        file_name=file.name,
                        url=api_url,
                        again=again,
                    )
                    refused += _import(work, file, source, begin, sender, concurrency, batch)
            finally:
                sender.close()
    if refused:
        raise typer.Exit(1)


def _trouble(problem: str) -> None:
    err.print(f"{problem} Trying again, for some minutes; Ctrl-C to go on another time.")


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name or name in pairs:
            raise InvalidError(f"{option} takes NAME=VALUE, each name once; not {one!r}.")
        pairs[name] = value
    return pairs


@contextmanager
def opened(settings: Settings, application: str) -> Iterator[Engine]:
    """The database, for the length of a command."""
    engine = open_engine(settings.require_database_url(), application=application, pool_size=3)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _sending(
    engine: Engine, settings: Settings, clock: Clock, key: str | None, dry: bool
) -> Iterator[tuple[Actor, str]]:
    """Who imports, and the key to send with: the operator's own lives as long as the import."""
    if key:
        with read_only(engine) as session:
            actor = authenticate(session, key, settings, clock)
        actor.require(Permission.USAGE_SEND)
        yield actor, key
        return
    if dry:
        yield SYSTEM, ""
        return
    request = CreateApiKey(
        name="billing events import", role=Role.DATA_ENGINEER, expires_at=clock.now() + _KEY_LASTS
    )
    with unit_of_work(engine) as session:
        made, text = create_api_key(Context(session, SYSTEM, clock), request, settings)
    try:
        yield SYSTEM, text or ""
    finally:
        with unit_of_work(engine) as session:
            revoke_api_key(Context(session, SYSTEM, clock), RevokeApiKey(api_key_id=made.id))


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
    )


def _try(work: _Importing, file: Path, source: Source) -> int:
    errors = ErrorFile(work.error_path(file, "dry-run.errors.csv"), 0)
    refusals: list[Refusal] = []

    def advance(position: int) -> None:
        errors.write(refusals)
        refusals.clear()
        bar.update(task, completed=position)

    with _progress() as bar:
        task = bar.add_task(file.name, total=source.size)
        report = dry_run(
            work.engine, work.actor, work.rows(source), refuse=refusals.append, progress=advance
        )
    out.print(f"{file.name}: {_counted(report.counts)}; nothing was sent", soft_wrap=True)
    _show_estimates(report)
    _name_errors(report.refused, errors)
    return report.refused


def _show_estimates(report: DryRun) -> None:
    if not report.estimates:
        return
    table = Table("account", "events", "estimated price", "without a price of their own")
    for one in sorted(report.estimates.values(), key=lambda estimate: estimate.account):
        price = f"{one.currency} {from_units(one.amount_units, one.currency):f}"
        table.add_row(one.account, str(one.events), price, str(one.unpriced))
    out.print(table)


def _import(
    work: _Importing,
    file: Path,
    source: Source,
    begin: BeginImport,
    sender: Sender,
    concurrency: int,
    batch: int,
) -> int:
    with unit_of_work(work.engine) as session:
        started = begin_import(Context(session, work.actor, work.clock), begin)
    if started.finished_at is not None:
        out.print(
            f"{file.name}: was imported on {started.finished_at:%Y-%m-%d %H:%M} UTC: "
            f"{_counted(started.counts)}; --again sends it again",
            soft_wrap=True,
        )
        return 0
    if started.rows_done:
        out.print(f"{file.name}: going on after row {started.rows_done}")
    errors = ErrorFile(work.error_path(file, "errors.csv"), started.errors_bytes)
    with _progress() as bar:
        task = bar.add_task(file.name, total=source.size)
        importer = Importer(
            work.engine,
            work.actor,
            work.clock,
            sender,
            errors,
            started,
            lambda position: bar.update(task, completed=position),
            concurrency,
            batch,
        )
        try:
            importer.run(work.rows(source, started.rows_done))
        except BillingError:
            complain(f"{file.name}: stopped after row {importer.rows_done}")
            raise
    out.print(f"{file.name}: {_counted(importer.counts)}", soft_wrap=True)
    refused = importer.counts["rejected"] + importer.counts["conflict"]
    _name_errors(refused, errors)
    return refused


def _counted(counts: dict[str, int]) -> str:
    said = [f"{number} {verdict}" for verdict, number in sorted(counts.items()) if number]
    return ", ".join(said) or "no rows"


def _name_errors(refused: int, errors: ErrorFile) -> None:
    if refused:
        complain(f"{refused} rows were refused; {errors.path} says why")


def register(app: typer.Typer) -> None:
    """Hang the commands on the door."""
    app.add_typer(events, name="events")
