"""Importing a file of events: through the API, and resumable at any moment.

Progress is the number of rows, from the beginning of the file, whose verdict is known and whose
refusals are on disk. It is noted after the fact, so a killed import sends some rows a second time;
they are the same events with the same ids, and answered as duplicates.
"""

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import Engine, select, text, update

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.clock import Clock
from billing.commands import Context, Request, canonical_json, command
from billing.db.unit_of_work import unit_of_work
from billing.errors import ConflictError, FieldError
from billing.usage.body import MAX_BYTES, MAX_EVENTS
from billing.usage.imports.check import Checked
from billing.usage.imports.error_file import ErrorFile, Refusal
from billing.usage.imports.sender import Sender, Verdict
from billing.usage.imports.tables import EventImport

CONCURRENCY: Final = 4
BATCH: Final = 500
_NOTE_EVERY: Final = 20
"""Batches between two notes of progress."""
_CONFLICT: Final = FieldError("event_id", "was sent before with another body")


class BeginImport(Request):
    """A file with the options it is read with."""

    file_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    options_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    file_name: str
    url: str
    again: bool = False
    """From the first row, although it was imported before."""


class FinishImport(Request):
    """All rows of a file have their verdict."""

    import_id: UUID


@command("events.import", Permission.USAGE_SEND)
def begin_import(ctx: Context, request: BeginImport) -> EventImport:
    """Begin, or go on where an earlier attempt ended."""
    now = ctx.clock.now()
    digests = {
        "file_sha256": bytes.fromhex(request.file_sha256),
        "options_sha256": bytes.fromhex(request.options_sha256),
    }
    found = ctx.session.scalars(
        select(EventImport).filter_by(**digests).with_for_update()
    ).one_or_none()
    if found is None:
        found = EventImport(
            **digests,
            file_name=request.file_name,
            url=request.url,
            rows_done=0,
            counts={},
            errors_bytes=0,
            attempts=1,
            started_by=ctx.actor.name,
            started_at=now,
            updated_at=now,
        )
        ctx.session.add(found)
        return found
    if request.again:
        found.rows_done, found.counts, found.errors_bytes, found.finished_at = 0, {}, 0, None
    if found.finished_at is None:
        found.attempts += 1
        found.file_name, found.url, found.updated_at = request.file_name, request.url, now
    return found


@command("events.import_finish", Permission.USAGE_SEND)
def finish_import(ctx: Context, request: FinishImport) -> EventImport:
    """Note that a file is done."""
    found = ctx.session.get_one(EventImport, request.import_id, with_for_update=True)
    found.finished_at = found.updated_at = ctx.clock.now()
    return found


def digest_of_file(file: Path) -> str:
    """SHA-256 of a file's content."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def digest_of_options(options: object) -> str:
    """SHA-256 of what decides how a file is read."""
    return hashlib.sha256(canonical_json(options).encode()).hexdigest()


@contextmanager
def alone(engine: Engine, file_sha256: str) -> Iterator[None]:
    """Keep a second process from importing the same file; a killed one lets go by itself.

    Raises:
        ConflictError: if another process is at it.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        key = {"name": f"usage.imports:{file_sha256}"}
        if not connection.scalar(
            text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))"), key
        ):
            raise ConflictError("This file is being imported by another process.")
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), key)


@dataclass
class Importer:
    """One run over one file.

    Args:
        started: from `begin_import`; its `rows_done` rows are not among those given to `run`.
        progress: called with `Row.position` as verdicts come in.
    """

    engine: Engine
    actor: Actor
    clock: Clock
    sender: Sender
    errors: ErrorFile
    started: EventImport
    progress: Callable[[int], None]
    concurrency: int = CONCURRENCY
    batch: int = BATCH

    def __post_init__(self) -> None:
        self.rows_done = self.started.rows_done
        self.counts: Counter[str] = Counter(self.started.counts)
        self._refusals: list[Refusal] = []

    def run(self, rows: Iterable[Checked]) -> None:
        """Send all of them.

        Raises:
            BillingError: if the API cannot take them; what is known until then is noted.
        """
        waiting: deque[tuple[list[Checked], Future[list[Verdict]]]] = deque()
        unnoted = 0
        with ThreadPoolExecutor(self.concurrency, "import") as pool:
            try:
                for chunk in _chunks(rows, self.batch):
                    bodies = [one.body for one in chunk if one.event is not None]
                    waiting.append((chunk, pool.submit(self._send, bodies)))
                    if len(waiting) > self.concurrency:
                        self._settle(*waiting.popleft())
                        unnoted += 1
                    if unnoted >= _NOTE_EVERY:
                        self._note()
                        unnoted = 0
                while waiting:
                    self._settle(*waiting.popleft())
            except BaseException:
                self.sender.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            finally:
                self._note()
        with unit_of_work(self.engine) as session:
            ctx = Context(session, self.actor, self.clock)
            finish_import(ctx, FinishImport(import_id=self.started.id))

    def _send(self, bodies: Sequence[bytes]) -> list[Verdict]:
        return self.sender.send(bodies) if bodies else []

    def _settle(self, chunk: Sequence[Checked], sent: Future[list[Verdict]]) -> None:
        """Wait for a batch, and count what became of its rows."""
        verdicts = iter(sent.result())
        for one in chunk:
            if one.event is None:
                self.counts["rejected"] += 1
                self._refusals += [Refusal(one.row, problem) for problem in one.problems]
                continue
            verdict = next(verdicts)
            self.counts[verdict.status] += 1
            if verdict.refused:
                self._refusals += [Refusal(one.row, why) for why in _reasons(verdict)]
        self.rows_done += len(chunk)
        self.progress(chunk[-1].row.position)

    def _note(self) -> None:
        """Put refusals on disk, then progress into the database: never the other way round."""
        self.errors.write(self._refusals)
        self._refusals.clear()
        now: datetime = self.clock.now()
        with unit_of_work(self.engine) as session:
            session.execute(
                update(EventImport)
                .where(EventImport.id == self.started.id)
                .values(
                    rows_done=self.rows_done,
                    counts=dict(self.counts),
                    errors_bytes=self.errors.size,
                    updated_at=now,
                )
            )


def _reasons(verdict: Verdict) -> Sequence[FieldError]:
    if verdict.fields:
        return verdict.fields
    if verdict.status == "conflict":
        return (_CONFLICT,)
    return (FieldError("row", verdict.code or verdict.status),)


def _chunks(rows: Iterable[Checked], most: int) -> Iterator[list[Checked]]:
    """Batches that one request may hold, by number and by bytes."""
    chunk: list[Checked] = []
    room = MAX_BYTES - 2
    for one in rows:
        if chunk and (len(chunk) >= min(most, MAX_EVENTS) or len(one.body) + 1 > room):
            yield chunk
            chunk, room = [], MAX_BYTES - 2
        chunk.append(one)
        room -= len(one.body) + 1
    if chunk:
        yield chunk
