"""Rate decks, their versions, and what a version changes and costs."""

from datetime import date, timedelta
from typing import NamedTuple
from uuid import UUID

from billing.access.actor import Actor
from billing.db.unit_of_work import read_only
from billing.decks.impact import Impact, deck_impact
from billing.decks.repository import (
    PriceChange,
    deck_prices,
    diff_deck,
    get_deck_version,
    list_deck_versions,
    list_decks,
    version_before,
)
from billing.decks.tables import DeckStatus
from billing.decks.upload import write_deck
from billing.periods import DEFAULT_ZONE, local_day, month_of
from console.database import clock, engine


class DeckRow(NamedTuple):
    """A deck to choose."""

    id: UUID
    title: str


class VersionRow(NamedTuple):
    """One version of a deck."""

    id: UUID
    version: int
    is_draft: bool
    effective_from: date
    row_count: int


class Changes(NamedTuple):
    """What a version changes, and against which."""

    against: int | None
    changes: list[PriceChange]


def decks(actor: Actor) -> list[DeckRow]:
    """All decks by code."""
    with read_only(engine()) as session:
        return [DeckRow(row.id, f"{row.name} ({row.code})") for row in list_decks(session, actor)]


def versions(actor: Actor, deck_id: UUID) -> list[VersionRow]:
    """A deck's versions, the newest first."""
    with read_only(engine()) as session:
        return [
            VersionRow(
                row.id,
                row.version,
                row.status is DeckStatus.DRAFT,
                row.effective_from,
                row.row_count,
            )
            for row in list_deck_versions(session, actor, deck_id)
        ]


def changes(actor: Actor, version_id: UUID) -> Changes:
    """What a version changes against the one it replaces."""
    with read_only(engine()) as session:
        version = get_deck_version(session, actor, version_id)
        before = version_before(session, version)
        found = diff_deck(session, actor, version, before)
        return Changes(None if before is None else before.version, found)


def impact(actor: Actor, version_id: UUID) -> Impact:
    """What the last whole month's traffic would have cost by a version."""
    last = month_of(local_day(clock().now(), DEFAULT_ZONE)).start - timedelta(days=1)
    days = month_of(last)
    with read_only(engine()) as session:
        version = get_deck_version(session, actor, version_id)
        return deck_impact(session, actor, version, days.start, days.end)


def file(actor: Actor, version_id: UUID) -> str:
    """A version as CSV."""
    with read_only(engine()) as session:
        return write_deck(deck_prices(session, actor, version_id))
