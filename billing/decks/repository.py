"""Reading rate decks, and what a version changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.decks.tables import (
    DECK_DIMENSIONS,
    DeckStatus,
    RateDeck,
    RateDeckRow,
    RateDeckVersion,
)
from billing.decks.upload import DeckPrice
from billing.errors import not_found


@dataclass(frozen=True, slots=True)
class PriceChange:
    """What a version changes for one line; what is added has no `before`."""

    kind: Literal["added", "removed", "changed"]
    currency: str
    values: tuple[str | None, ...]
    before: Decimal | None
    after: Decimal | None


def load_deck_version(session: Session, version_id: UUID, *, lock: bool = False) -> RateDeckVersion:
    """A version, whoever asks; for commands.

    Args:
        lock: hold the row until the transaction ends.

    Raises:
        NotFoundError: if there is none.
    """
    query = select(RateDeckVersion).filter_by(id=version_id)
    version = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if version is None:
        raise not_found("rate deck version", version_id)
    return version


def list_decks(session: Session, actor: Actor) -> Sequence[RateDeck]:
    """All decks by code."""
    actor.require(Permission.CATALOG_READ)
    return session.scalars(select(RateDeck).order_by(RateDeck.code)).all()


def get_deck(session: Session, actor: Actor, deck_id: UUID) -> RateDeck:
    """One deck."""
    actor.require(Permission.CATALOG_READ)
    deck = session.get(RateDeck, deck_id)
    if deck is None:
        raise not_found("rate deck", deck_id)
    return deck


def list_deck_versions(session: Session, actor: Actor, deck_id: UUID) -> Sequence[RateDeckVersion]:
    """A deck's versions, the newest first."""
    actor.require(Permission.CATALOG_READ)
    return session.scalars(
        select(RateDeckVersion).filter_by(deck_id=deck_id).order_by(RateDeckVersion.version.desc())
    ).all()


def get_deck_version(session: Session, actor: Actor, version_id: UUID) -> RateDeckVersion:
    """One version, without its rows."""
    actor.require(Permission.CATALOG_READ)
    return load_deck_version(session, version_id)


def deck_prices(session: Session, actor: Actor, version_id: UUID) -> list[DeckPrice]:
    """The rows of a version in the order of its file."""
    actor.require(Permission.CATALOG_READ)
    columns = [getattr(RateDeckRow, name) for name in DECK_DIMENSIONS]
    rows = session.execute(
        select(RateDeckRow.currency, RateDeckRow.unit_price, *columns)
        .filter_by(version_id=version_id)
        .order_by(RateDeckRow.ordinal)
    )
    return [DeckPrice(row[0], tuple(row[2:]), row[1]) for row in rows]


def version_before(session: Session, version: RateDeckVersion) -> RateDeckVersion | None:
    """The published version whose place this one takes."""
    return session.scalars(
        select(RateDeckVersion)
        .where(
            RateDeckVersion.deck_id == version.deck_id,
            RateDeckVersion.status == DeckStatus.PUBLISHED,
            RateDeckVersion.effective_from <= version.effective_from,
            RateDeckVersion.id != version.id,
        )
        .order_by(RateDeckVersion.effective_from.desc())
        .limit(1)
    ).one_or_none()


def diff_deck(
    session: Session, actor: Actor, version: RateDeckVersion, against: RateDeckVersion | None
) -> list[PriceChange]:
    """What a version changes, the largest changes first, then what is new and what is gone."""
    older = [] if against is None else deck_prices(session, actor, against.id)
    before = {price.key: price.unit_price for price in older}
    after = {price.key: price.unit_price for price in deck_prices(session, actor, version.id)}
    found = []
    for key in before.keys() | after.keys():
        was, now = before.get(key), after.get(key)
        if was == now:
            continue
        kind: Literal["added", "removed", "changed"] = "changed"
        if was is None or now is None:
            kind = "added" if was is None else "removed"
        found.append(PriceChange(kind, *key, was, now))
    return sorted(found, key=_weight)


def _weight(change: PriceChange) -> tuple[int, Decimal, str]:
    name = "/".join(value or "*" for value in change.values)
    if change.before is None or change.after is None:
        return (1 if change.before is None else 2), Decimal(0), name
    return 0, -abs(change.after - change.before) / (change.before or Decimal(1)), name
