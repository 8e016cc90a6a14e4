"""The prices of plan versions, decks and agreements as the wallet path needs them.

What a deck says on a day is the same for every account, and never changes once published: it is
compiled once, and shared.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from billing.catalog.rated import as_rated_tier
from billing.catalog.tables import (
    BillableItem,
    Charge,
    ItemKind,
    PlanVersion,
    PriceModel,
    Rate,
)
from billing.decks.rates import DeckVersion, deck_versions, load_deck_rates
from billing.overrides.rates import Agreement, agreements_of
from billing.rating import plan
from billing.rating.book import in_force
from billing.rating.cumulative import CumulativePrice, cumulative_price
from billing.rating.measures import Measure
from billing.wallets.rate_card import CompiledCharge, CompiledRate, RateTable

_MOST_TABLES: Final = 256
_PLAIN: Final = frozenset({PriceModel.PER_UNIT, PriceModel.DYNAMIC, PriceModel.PERCENTAGE})
"""Models under which all units of a period cost the same."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A usage charge as it is stored."""

    charge: Charge
    item: BillableItem
    plan_id: UUID


class CardRates:
    """The charges of plan versions, for the accounts that are read together."""

    _of_decks: dict[tuple[UUID, UUID, str], RateTable] = {}  # noqa: RUF012 (shared on purpose)

    def __init__(
        self, session: Session, version_ids: Collection[UUID], account_ids: Collection[UUID]
    ) -> None:
        self._session = session
        self._sources: dict[UUID, list[_Source]] = {}
        for source in _sources(session, version_ids):
            self._sources.setdefault(source.charge.plan_version_id, []).append(source)
        self._decks = deck_versions(
            session,
            {
                one.charge.rate_deck_id
                for found in self._sources.values()
                for one in found
                if one.charge.rate_deck_id is not None
            },
        )
        self._agreements = agreements_of(session, account_ids)
        self._own: dict[tuple[UUID, str], RateTable] = {}

    def changes(self, version_id: UUID, account_id: UUID) -> Iterator[date]:
        """The local days on which a price of a version may change for an account."""
        for source in self._sources.get(version_id, []):
            for deck in self._decks_of(source):
                yield deck.effective_from
            for agreement in self._agreed(source, account_id):
                yield from (
                    day
                    for day in (agreement.rate.starts_on, agreement.rate.ends_on)
                    if day is not None
                )

    def on(
        self, version_id: UUID, account_id: UUID, code: str, day: date, starts_on: date
    ) -> tuple[CompiledCharge, ...]:
        """What usage costs under a version on a day, in a currency."""
        return tuple(
            CompiledCharge(
                event_type=source.item.event_type or "",
                event_filter={
                    name: tuple(values) for name, values in source.item.event_filter.items()
                },
                measure=_measure(source.item),
                rates=self._table(source, code, day),
                agreed=RateTable(
                    _compiled(source.charge, agreement.rate)
                    for agreement in self._agreed(source, account_id)
                    if agreement.rate.currency == code and in_force(agreement.rate, day)
                ),
                starts_on=starts_on,
            )
            for source in self._sources.get(version_id, [])
        )

    def _decks_of(self, source: _Source) -> Sequence[DeckVersion]:
        deck_id = source.charge.rate_deck_id
        return () if deck_id is None else self._decks.get(deck_id, ())

    def _agreed(self, source: _Source, account_id: UUID) -> Iterator[Agreement]:
        for agreement in self._agreements.get(account_id, ()):
            if agreement.concerns(source.plan_id, source.charge.code, source.charge.rate_deck_id):
                yield agreement

    def _table(self, source: _Source, code: str, day: date) -> RateTable:
        if source.charge.rate_deck_id is None:
            return self._own_table(source, code)
        decks = [deck for deck in self._decks_of(source) if deck.effective_from <= day]
        if not decks:
            return RateTable(())
        key = (source.charge.id, decks[-1].id, code)
        found = self._of_decks.get(key)
        if found is None:
            rates = load_deck_rates(self._session, decks[-1:], code)[decks[-1].deck_id]
            found = RateTable(_compiled(source.charge, rate) for rate in rates)
            if len(self._of_decks) >= _MOST_TABLES:
                self._of_decks.clear()
            self._of_decks[key] = found
        return found

    def _own_table(self, source: _Source, code: str) -> RateTable:
        key = (source.charge.id, code)
        if key not in self._own:
            self._own[key] = RateTable(
                _compiled(source.charge, _as_rated(rate))
                for rate in source.charge.rates
                if rate.currency == code and rate.tiers
            )
        return self._own[key]


def _measure(item: BillableItem) -> Measure:
    conversion = None if item.conversion is None else item.conversion.value
    return Measure(item.aggregation.value, item.property_name, conversion)


def _sources(session: Session, version_ids: Collection[UUID]) -> Iterator[_Source]:
    if not version_ids:
        return
    rows = session.execute(
        select(Charge, BillableItem, PlanVersion.plan_id)
        .join(BillableItem, BillableItem.id == Charge.item_id)
        .join(PlanVersion, PlanVersion.id == Charge.plan_version_id)
        .where(Charge.plan_version_id.in_(version_ids), BillableItem.kind == ItemKind.USAGE)
        .options(selectinload(Charge.rates).selectinload(Rate.tiers))
        .order_by(Charge.plan_version_id, Charge.ordinal)
    )
    for charge, item, plan_id in rows:
        yield _Source(charge, item, plan_id)


def _as_rated(rate: Rate) -> plan.Rate:
    tiers = tuple(as_rated_tier(tier) for tier in rate.tiers)
    return plan.Rate(rate.ordinal, rate.currency, tiers, rate.match, rate.id)


def _compiled(charge: Charge, rate: plan.Rate) -> CompiledRate:
    if rate.id is None:
        raise ValueError("a rate that is not stored prices no event")
    is_plain = charge.price_model in _PLAIN
    simple = charge.price_model is PriceModel.PER_UNIT and not charge.free_units
    return CompiledRate(
        rate.id,
        rate.match,
        rate.tiers[0].unit_price if simple else None,
        _counted(charge, rate),
        is_plain,
    )


def _counted(charge: Charge, rate: plan.Rate) -> CumulativePrice | None:
    """The function of a rate; None for one that was published before it had to be exact."""
    try:
        return cumulative_price(
            charge.price_model,
            rate.tiers,
            free_units=charge.free_units,
            package_size=charge.package_size,
            code=rate.currency,
        )
    except ValueError:
        return None
