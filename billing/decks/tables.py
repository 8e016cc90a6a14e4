"""Rate decks: large lists of unit prices by country, operator, channel and traffic type."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from billing.db.base import Base, choices
from billing.ids import new_id

DECK_DIMENSIONS: Final = ("country", "operator", "channel", "traffic_type")
"""The event dimensions that a row of a deck may name; the operator is an MCC-MNC such as 40445."""


class DeckStatus(StrEnum):
    """The life of a version: replaced as a whole while a draft, never changed once published."""

    DRAFT = "draft"
    PUBLISHED = "published"


class RateDeck(Base):
    """A named list of prices that charges of any plan can use."""

    __tablename__ = "rate_decks"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    created_at: Mapped[datetime]


class RateDeckVersion(Base):
    """All rows of a deck as they hold from a local day on, until the next version's day."""

    __tablename__ = "rate_deck_versions"
    __table_args__ = (
        UniqueConstraint("deck_id", "version"),
        Index(
            "uq_rate_deck_versions_effective_from",
            "deck_id",
            "effective_from",
            unique=True,
            postgresql_where=text("status = 'published'"),
        ),
        CheckConstraint(
            "(status = 'draft') = (published_at IS NULL)", name="published_unless_draft"
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    deck_id: Mapped[UUID] = mapped_column(ForeignKey("billing.rate_decks.id"))
    version: Mapped[int] = mapped_column(Integer)
    status: Mapped[DeckStatus] = mapped_column(choices(DeckStatus))
    effective_from: Mapped[date]
    """The first day, in each account's zone, that it prices."""
    row_count: Mapped[int] = mapped_column(Integer)
    content_hash: Mapped[str]
    """SHA-256 of the rows, whatever their order."""
    created_at: Mapped[datetime]
    published_at: Mapped[datetime | None]


class RateDeckRow(Base):
    """The price of a unit for events that match; an absent dimension is `*` in the file."""

    __tablename__ = "rate_deck_rows"
    __table_args__ = (
        UniqueConstraint("version_id", "ordinal"),
        CheckConstraint("unit_price >= 0 AND unit_price <> 'NaN'", name="unit_price_not_negative"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    version_id: Mapped[UUID] = mapped_column(ForeignKey("billing.rate_deck_versions.id"))
    ordinal: Mapped[int] = mapped_column(Integer)
    currency: Mapped[str] = mapped_column(ForeignKey("billing.currencies.code"))
    country: Mapped[str | None]
    operator: Mapped[str | None]
    channel: Mapped[str | None]
    traffic_type: Mapped[str | None]
    unit_price: Mapped[Decimal]

    @property
    def match(self) -> Mapping[str, str]:
        """Dimension to exact value; an absent dimension matches anything."""
        values = {name: getattr(self, name) for name in DECK_DIMENSIONS}
        return {name: value for name, value in values.items() if value is not None}
