"""The published versions of decks, and their rows as rating reads them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.decks.tables import DECK_DIMENSIONS, DeckStatus, RateDeckRow, RateDeckVersion
from billing.rating import plan


@dataclass(frozen=True, slots=True)
class DeckVersion:
    """A version with the days on which it prices."""

    id: UUID
    deck_id: UUID
    version: int
    effective_from: date
    ends_on: date | None
    """The day of the version after it."""


def deck_versions(
    session: Session, deck_ids: Collection[UUID]
) -> dict[UUID, tuple[DeckVersion, ...]]:
    """The published versions of decks in the order of their days, by deck."""
    if not deck_ids:
        return {}
    found: dict[UUID, list[RateDeckVersion]] = defaultdict(list)
    for row in session.scalars(
        select(RateDeckVersion)
        .where(
            RateDeckVersion.deck_id.in_(deck_ids), RateDeckVersion.status == DeckStatus.PUBLISHED
        )
        .order_by(RateDeckVersion.effective_from)
    ):
        found[row.deck_id].append(row)
    return {
        deck_id: tuple(
            DeckVersion(row.id, deck_id, row.version, row.effective_from, ends_on)
            for row, ends_on in zip(
                rows, [*(later.effective_from for later in rows[1:]), None], strict=True
            )
        )
        for deck_id, rows in found.items()
    }


def load_deck_rates(
    session: Session, versions: Collection[DeckVersion], currency: str | None = None
) -> dict[UUID, tuple[plan.Rate, ...]]:
    """The rows of versions as rates that are in force on their days, by deck.

    Args:
        currency: only those in it.
    """
    by_id = {version.id: version for version in versions}
    columns = [getattr(RateDeckRow, name) for name in DECK_DIMENSIONS]
    query = (
        select(
            RateDeckRow.version_id,
            RateDeckRow.id,
            RateDeckRow.ordinal,
            RateDeckRow.currency,
            RateDeckRow.unit_price,
            *columns,
        )
        .where(RateDeckRow.version_id.in_(by_id))
        .order_by(RateDeckRow.version_id, RateDeckRow.ordinal)
    )
    if currency is not None:
        query = query.where(RateDeckRow.currency == currency)
    found: dict[UUID, list[plan.Rate]] = defaultdict(list)
    rows: Iterable[Any] = session.execute(query)
    for version_id, row_id, ordinal, code, unit_price, *values in rows:
        version = by_id[version_id]
        found[version.deck_id].append(
            plan.Rate(
                ordinal=ordinal,
                currency=code,
                tiers=(plan.Tier(None, unit_price),),
                match=named(values),
                id=row_id,
                key=f"d{version.version}.{ordinal}",
                starts_on=version.effective_from,
                ends_on=version.ends_on,
            )
        )
    return {version.deck_id: tuple(found.get(version.deck_id, ())) for version in by_id.values()}


def named(values: Sequence[str | None]) -> dict[str, str]:
    """The dimensions a row names, from its values in the order of `DECK_DIMENSIONS`."""
    pairs = zip(DECK_DIMENSIONS, values, strict=True)
    return {name: value for name, value in pairs if value is not None}


def priced_in(session: Session, deck_ids: Collection[UUID], currency: str) -> bool:
    """Whether every one of these decks was published with prices in a currency."""
    found = session.scalars(
        select(RateDeckVersion.deck_id)
        .distinct()
        .where(
            RateDeckVersion.deck_id.in_(deck_ids),
            RateDeckVersion.status == DeckStatus.PUBLISHED,
            select(RateDeckRow.id)
            .where(RateDeckRow.version_id == RateDeckVersion.id, RateDeckRow.currency == currency)
            .exists(),
        )
    )
    return set(found) == set(deck_ids)
