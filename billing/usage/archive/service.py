"""Moving a closed month of events into files, and back: resumable after any step.

1. Write: every day's rows as Parquet files named by their content, and what was written into the
   manifest in the database, day by day.
2. The manifest beside the files, then all files read back and compared with the table.
3. Only then days leave the table, each in one transaction with the note that it left, and only if
   it still holds what the files hold.

Nothing is ever overwritten with something else, and a day is in the table, in verified files, or in
both, at every moment.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any, Final

from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection, Engine, delete, select, text, update
from sqlalchemy.exc import OperationalError

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.clock import Clock
from billing.commands import Context, canonical_json
from billing.db.unit_of_work import unit_of_work
from billing.errors import (
    BillingError,
    ConflictError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from billing.usage.archive.closed import ArchivedRange
from billing.usage.archive.commands import (
    BeginArchive,
    MoveArchive,
    begin_archive,
    dropped_days,
    move_archive,
)
from billing.usage.archive.facts import added, by_day, facts_of, stored_on
from billing.usage.archive.frames import (
    BEFORE_ALL,
    MOST_ROWS,
    frame_after,
    frames_of_day,
    from_parquet,
    last_of,
    store_frame,
    to_parquet,
)
from billing.usage.archive.store import Store, open_store
from billing.usage.archive.tables import ArchivedDay, ArchiveState, EventArchive
from billing.usage.storage import close_day, drop_day, make_day, stored_days

Progress = Callable[[str, date], None]
"""Called with what is about to be done to which day: `write`, `verify`, `drop`, `restore`."""

_LOCK_ATTEMPTS: Final = 20
_LOCK_TIMEOUT: Final = "SET LOCAL lock_timeout = '800ms'"
"""Shorter than PostgreSQL waits before it looks for a deadlock, so that a writer is never its
victim."""


class Archivist:
    """Archives and restores; one at a time in an installation.

    Args:
        progress: called before every step.
        file_rows: most rows of a file.
    """

    def __init__(
        self,
        engine: Engine,
        actor: Actor,
        clock: Clock,
        progress: Progress,
        file_rows: int = MOST_ROWS,
    ) -> None:
        actor.require(Permission.USAGE_ARCHIVE)
        self._engine = engine
        self._actor = actor
        self._clock = clock
        self._progress = progress
        self._file_rows = file_rows

    def archive(self, month: date, location: str) -> EventArchive:
        """Move a month into files; again, it goes on where it was, or finds nothing to do.

        Raises:
            PreconditionError: if the month is not closed, or its events change meanwhile.
            UnavailableError: if the files cannot be written or read back.
        """
        store = open_store(location)
        with self._alone():
            with self._command() as ctx:
                begun = begin_archive(ctx, BeginArchive(month=month, location=store.address))
                gone = set(dropped_days(ctx.session, begun))
            self._require_none_came_back(begun, gone)
            if begun.state is ArchiveState.ARCHIVED:
                return begun
            manifest = self._write(begun, store, gone)
            self._verify(begun, store, manifest, gone)
            self._drop(begun, gone)
            return self._move(begun, ArchiveState.ARCHIVED)

    def restore(self, month: date) -> EventArchive:
        """Bring a month back into the event table; the files stay.

        Raises:
            NotFoundError: if it was never archived.
            UnavailableError: if the files cannot be read, or are not those that were written.
        """
        with self._alone():
            with unit_of_work(self._engine) as session:
                found = session.scalars(select(EventArchive).filter_by(month=month)).one_or_none()
                if found is None:
                    raise NotFoundError(f"{month:%Y-%m} was never archived.")
                gone = dropped_days(session, found)
            store = open_store(found.location)
            for day in gone:
                self._progress("restore", day)
                self._restore_day(found, store, day)
            if gone or found.state is ArchiveState.ARCHIVED:
                return self._move(found, ArchiveState.RESTORED)
            return found

    def _write(self, begun: EventArchive, store: Store, gone: set[date]) -> dict[str, Any]:
        days = ArchivedRange.of(begun.month)
        with self._engine.connect() as connection:
            stored = by_day(stored_days(connection, days.first, days.end))
        if not stored and not gone:
            raise PreconditionError(f"There are no events of {begun.month:%Y-%m} to archive.")
        written: dict[str, Any] = dict(begun.manifest.get("days", {}))
        for name in set(written) - {one.isoformat() for one in (*stored, *gone)}:
            del written[name]
        manifest = {"version": 1, "month": f"{begun.month:%Y-%m}", "days": written}
        for day, shards in stored.items():
            facts = facts_of(shards)
            if written.get(day.isoformat(), {}).get("shards") != facts:
                self._progress("write", day)
                files = list(self._write_day(store, begun.month, day))
                written[day.isoformat()] = {"shards": facts, "files": files}
                self._note(begun, manifest)
        self._progress("manifest", begun.month)
        store.write(f"month={begun.month:%Y-%m}/manifest.json", canonical_json(manifest).encode())
        return manifest

    def _note(self, begun: EventArchive, manifest: Mapping[str, Any]) -> None:
        with unit_of_work(self._engine) as session:
            session.execute(
                update(EventArchive).where(EventArchive.id == begun.id).values(manifest=manifest)
            )

    def _write_day(self, store: Store, month: date, day: date) -> Iterator[dict[str, Any]]:
        with self._engine.connect() as connection:
            frames = frames_of_day(_driver(connection), day, self._file_rows)
            for number, frame in enumerate(frames, 1):
                content = to_parquet(frame)
                digest = hashlib.sha256(content).hexdigest()
                folder = f"month={month:%Y-%m}/day={day.isoformat()}"
                path = f"{folder}/{number:04d}-{digest[:16]}.parquet"
                store.write(path, content)
                yield {
                    "path": path,
                    "rows": frame.height,
                    "bytes": len(content),
                    "sha256": digest,
                }

    def _verify(
        self, begun: EventArchive, store: Store, manifest: Mapping[str, Any], gone: set[date]
    ) -> None:
        """Read every file back and compare it, row by row, with the table."""
        expected = canonical_json(manifest).encode()
        if store.read(f"month={begun.month:%Y-%m}/manifest.json") != expected:
            raise UnavailableError(f"The manifest in {store.address} is not what was written.")
        days = [day for day in manifest["days"] if date.fromisoformat(day) not in gone]
        for day in map(date.fromisoformat, days):
            self._progress("verify", day)
            try:
                self._verify_day(store, day, manifest["days"][day.isoformat()]["files"])
            except BillingError:
                # nothing of this day is only there: the next attempt writes it again
                kept = {name: one for name, one in manifest["days"].items() if name != f"{day}"}
                self._note(begun, {**manifest, "days": kept})
                raise
        with self._command() as ctx:
            ctx.session.execute(
                delete(ArchivedDay).where(
                    ArchivedDay.archive_id == begun.id, ArchivedDay.dropped.is_(False)
                )
            )
            ctx.session.flush()
            for name in days:
                for shard, facts in manifest["days"][name]["shards"].items():
                    ctx.session.execute(
                        _NOTE_DAY,
                        {"archive": begun.id, "day": name, "shard": int(shard), **facts},
                    )
            move_archive(ctx, MoveArchive(archive_id=begun.id, state=ArchiveState.VERIFIED))

    def _verify_day(self, store: Store, day: date, files: Sequence[Mapping[str, Any]]) -> None:
        after = BEFORE_ALL
        with self._engine.connect() as connection:
            for file in files:
                there = from_parquet(_read_checked(store, file))
                here = frame_after(_driver(connection), day, after, file["rows"])
                if not there.equals(here):
                    raise _changed(day)
                after = last_of(here)
            if frame_after(_driver(connection), day, after, 1).height:
                raise _changed(day)

    def _drop(self, begun: EventArchive, gone: set[date]) -> None:
        with unit_of_work(self._engine) as session:
            noted = session.scalars(
                select(ArchivedDay.day).filter_by(archive_id=begun.id).distinct()
            ).all()
        for day in sorted(set(noted) - gone):
            self._progress("drop", day)
            self._drop_day(day)

    def _drop_day(self, day: date) -> None:
        for attempt in range(_LOCK_ATTEMPTS):
            try:
                with unit_of_work(self._engine) as session:
                    session.execute(text(_LOCK_TIMEOUT))
                    connection = session.connection()
                    close_day(connection, day)
                    noted = session.scalars(select(ArchivedDay).filter_by(day=day)).all()
                    if facts_of(stored_on(connection, day)) != facts_of(noted):
                        raise _changed(day)
                    drop_day(connection, day)
                    for one in noted:
                        one.dropped = True
            except OperationalError as error:
                waited = isinstance(error.orig, LockNotAvailable | DeadlockDetected)
                if not waited or attempt == _LOCK_ATTEMPTS - 1:
                    raise
            else:
                return

    def _restore_day(self, archive: EventArchive, store: Store, day: date) -> None:
        """Bring a day back in one transaction, beside what came late."""
        files = archive.manifest["days"][day.isoformat()]["files"]
        with unit_of_work(self._engine) as session:
            connection = session.connection()
            make_day(connection, day)
            close_day(connection, day)
            before = facts_of(stored_on(connection, day))
            for file in files:
                frame = from_parquet(_read_checked(store, file))
                store_frame(_driver(connection), frame)
            noted = session.scalars(select(ArchivedDay).filter_by(day=day)).all()
            if facts_of(stored_on(connection, day)) != added(before, facts_of(noted)):
                raise UnavailableError(
                    f"The files of {day} in {store.address} do not hold what was archived."
                )
            for one in noted:
                one.dropped = False

    def _require_none_came_back(self, begun: EventArchive, gone: set[date]) -> None:
        """Late events of days that are archived would be left out of the archive."""
        days = ArchivedRange.of(begun.month)
        with self._engine.connect() as connection:
            stored = by_day(stored_days(connection, days.first, days.end))
        late = gone & set(stored)
        if late or (begun.state is ArchiveState.ARCHIVED and stored):
            raise PreconditionError(
                f"Events of {min(late or set(stored))} came after it was archived: "
                f"billing events restore {begun.month:%Y-%m}, close the month, archive it again.",
                code="late_events",
            )

    def _move(self, archive: EventArchive, state: ArchiveState) -> EventArchive:
        with self._command() as ctx:
            return move_archive(ctx, MoveArchive(archive_id=archive.id, state=state))

    @contextmanager
    def _command(self) -> Iterator[Context]:
        with unit_of_work(self._engine) as session:
            yield Context(session, self._actor, self._clock)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if not connection.scalar(text(_TRY_LOCK)):
                raise ConflictError("Another process archives or restores; wait for its end.")
            try:
                yield
            finally:
                connection.execute(text(_UNLOCK))


_TRY_LOCK: Final = "SELECT pg_try_advisory_lock(hashtextextended('usage.archives', 0))"
_UNLOCK: Final = "SELECT pg_advisory_unlock(hashtextextended('usage.archives', 0))"

_NOTE_DAY: Final = text(
    """
    INSERT INTO usage.archived_days
        (archive_id, day, shard, rows, first_revisions, quantity, vendor_cost, dropped)
    VALUES (:archive, CAST(:day AS date), :shard, :rows, :first_revisions,
        CAST(:quantity AS numeric), CAST(:vendor_cost AS numeric), false)
    """
)


def _driver(connection: Connection) -> Any:
    """The psycopg connection, in the same transaction."""
    return connection.connection.driver_connection


def _read_checked(store: Store, file: Mapping[str, Any]) -> bytes:
    content = store.read(file["path"])
    if hashlib.sha256(content).hexdigest() != file["sha256"]:
        raise UnavailableError(
            f"{store.address}/{file['path']} is not the file that was archived: its hash differs."
        )
    return content


def _changed(day: date) -> PreconditionError:
    return PreconditionError(
        f"Events of {day} changed while it was archived. Nothing of that day was dropped: give the "
        "command again.",
        code="changed_meanwhile",
    )
