"""The steps of an archive that are told in the audit log."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.errors import PreconditionError
from billing.usage.archive.closed import require_closed
from billing.usage.archive.tables import ArchivedDay, ArchiveState, EventArchive


class BeginArchive(Request):
    """A month to move, given by its first day, and where to."""

    month: date
    location: str


class MoveArchive(Request):
    """What became of an archive."""

    archive_id: UUID
    state: ArchiveState


@command("events.archive", Permission.USAGE_ARCHIVE)
def begin_archive(ctx: Context, request: BeginArchive) -> EventArchive:
    """Begin to archive a month, or go on.

    Raises:
        PreconditionError: if the books are not done with it, or its last archive is in the way.
    """
    found = ctx.session.scalars(
        select(EventArchive).filter_by(month=request.month).with_for_update()
    ).one_or_none()
    if found is not None and found.state is ArchiveState.ARCHIVED:
        return found
    require_closed(ctx.session, request.month)
    if found is None:
        found = EventArchive(
            month=request.month,
            location=request.location,
            state=ArchiveState.WRITING,
            manifest={},
            started_by=ctx.actor.name,
            started_at=ctx.clock.now(),
        )
        ctx.session.add(found)
    elif found.location != request.location:
        if dropped_days(ctx.session, found):
            raise PreconditionError(
                f"Days of {request.month:%Y-%m} are in {found.location} alone; archive it there."
            )
        found.location, found.manifest = request.location, {}
    if found.state is ArchiveState.RESTORED:
        found.state = ArchiveState.WRITING
    return found


@command("events.archive_moved", Permission.USAGE_ARCHIVE)
def move_archive(ctx: Context, request: MoveArchive) -> EventArchive:
    """Note that an archive reached its next state."""
    found = ctx.session.get_one(EventArchive, request.archive_id, with_for_update=True)
    found.state = request.state
    match request.state:
        case ArchiveState.VERIFIED:
            found.verified_at = ctx.clock.now()
        case ArchiveState.ARCHIVED:
            found.archived_at = ctx.clock.now()
        case ArchiveState.RESTORED:
            found.restored_at = ctx.clock.now()
    return found


def dropped_days(session: Session, archive: EventArchive) -> Sequence[date]:
    """The days that are in the files alone."""
    return session.scalars(
        select(ArchivedDay.day)
        .where(ArchivedDay.archive_id == archive.id, ArchivedDay.dropped)
        .distinct()
        .order_by(ArchivedDay.day)
    ).all()
