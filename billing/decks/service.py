"""Commands on rate decks: a version is drafted from a file, looked at, and published for good."""

from collections.abc import Sequence
from datetime import date
from typing import Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from billing.access.roles import Permission
from billing.catalog.requests import Named
from billing.commands import Context, Request, command
from billing.db.locks import lock_for_transaction
from billing.decks.repository import load_deck_version
from billing.decks.tables import (
    DECK_DIMENSIONS,
    DeckStatus,
    RateDeck,
    RateDeckRow,
    RateDeckVersion,
)
from billing.decks.upload import DeckPrice, content_hash, read_deck
from billing.errors import ConflictError, PreconditionError, not_found
from billing.ids import new_id
from billing.periods import local_day

_FIRST_ZONE: Final = "Pacific/Kiritimati"
"""Where a day begins first: a price never changes on a day that has begun somewhere."""

Csv = Field(min_length=1, max_length=4_000_000)


class CreateDeck(Named):
    """A named list of prices, without any yet."""


class DraftDeckVersion(Request):
    """All prices of a deck from a local day on, as the text of a CSV file."""

    deck_id: UUID
    effective_from: date
    csv: str = Csv


class ReplaceDeckRows(Request):
    """Other prices, and perhaps another day, for a version that is still a draft."""

    version_id: UUID
    effective_from: date | None = None
    csv: str = Csv


class PublishDeckVersion(Request):
    """Let a draft price usage from its day on; it never changes again."""

    version_id: UUID


@command("rate_deck.create", Permission.CATALOG_WRITE)
def create_deck(ctx: Context, request: CreateDeck) -> RateDeck:
    """Name a new deck."""
    if ctx.session.scalar(select(RateDeck.id).filter_by(code=request.code)):
        raise ConflictError(f"The code {request.code} is taken; choose another.", code="code_taken")
    deck = RateDeck(**request.model_dump(), created_at=ctx.clock.now())
    ctx.session.add(deck)
    return deck


@command("rate_deck_version.draft", Permission.CATALOG_WRITE)
def draft_deck_version(ctx: Context, request: DraftDeckVersion) -> RateDeckVersion:
    """Begin a version from a file; everything wrong in it is named by line and column."""
    if ctx.session.get(RateDeck, request.deck_id) is None:
        raise not_found("rate deck", request.deck_id)
    prices = read_deck(request.csv)
    lock_for_transaction(ctx.session, f"deck:{request.deck_id}")
    last = ctx.session.scalar(
        select(func.max(RateDeckVersion.version)).filter_by(deck_id=request.deck_id)
    )
    version = RateDeckVersion(
        deck_id=request.deck_id,
        version=(last or 0) + 1,
        status=DeckStatus.DRAFT,
        effective_from=request.effective_from,
        row_count=len(prices),
        content_hash=content_hash(prices),
        created_at=ctx.clock.now(),
    )
    ctx.session.add(version)
    ctx.session.flush()
    _insert(ctx.session, version.id, prices)
    return version


@command("rate_deck_version.replace_rows", Permission.CATALOG_WRITE)
def replace_deck_rows(ctx: Context, request: ReplaceDeckRows) -> RateDeckVersion:
    """Give a draft the prices of another file."""
    version = _require_draft(load_deck_version(ctx.session, request.version_id, lock=True))
    prices = read_deck(request.csv)
    ctx.session.execute(delete(RateDeckRow).filter_by(version_id=version.id))
    version.row_count = len(prices)
    version.content_hash = content_hash(prices)
    if request.effective_from is not None:
        version.effective_from = request.effective_from
    _insert(ctx.session, version.id, prices)
    return version


@command("rate_deck_version.publish", Permission.CATALOG_WRITE)
def publish_deck_version(ctx: Context, request: PublishDeckVersion) -> RateDeckVersion:
    """Let a draft price usage from its day on.

    A deck's first version may begin in the past: nothing was priced by the deck before. Every
    later one begins on a day that has begun nowhere yet, after the version before it.
    """
    version = _require_draft(load_deck_version(ctx.session, request.version_id, lock=True))
    lock_for_transaction(ctx.session, f"deck:{version.deck_id}")
    before = ctx.session.scalar(
        select(func.max(RateDeckVersion.effective_from)).filter_by(
            deck_id=version.deck_id, status=DeckStatus.PUBLISHED
        )
    )
    if before is not None:
        today = local_day(ctx.clock.now(), _FIRST_ZONE)
        earliest = max(before, today)
        if version.effective_from <= earliest:
            raise PreconditionError(
                f"The deck has prices up to now: begin after {earliest}, and publish again.",
                code="deck_day_passed",
            )
    version.status = DeckStatus.PUBLISHED
    version.published_at = ctx.clock.now()
    return version


def _insert(session: Session, version_id: UUID, prices: Sequence[DeckPrice]) -> None:
    """Store the rows as they are, not as objects: the audit log keeps their hash, not each of them."""  # noqa: E501
    session.execute(
        insert(RateDeckRow),
        [
            {
                "id": new_id(),
                "version_id": version_id,
                "ordinal": ordinal,
                "currency": price.currency,
                "unit_price": price.unit_price,
                **dict(zip(DECK_DIMENSIONS, price.values, strict=True)),
            }
            for ordinal, price in enumerate(prices, 1)
        ],
    )


def _require_draft(version: RateDeckVersion) -> RateDeckVersion:
    if version.status is not DeckStatus.DRAFT:
        raise PreconditionError(
            f"Version {version.version} is published; its prices never change. "
            "Draft a new version.",
            code="version_published",
        )
    return version
