"""Charges as rating reads them: from what is stored, or from what somebody wants to store."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from billing.catalog.requests import ChargeInput, LimitInput, RateInput, TierInput
from billing.catalog.tables import (
    BillableItem,
    Charge,
    ChargeLimit,
    PlanVersion,
    Rate,
    RateTier,
)
from billing.decks.rates import deck_versions, load_deck_rates
from billing.decks.tables import RateDeck
from billing.overrides.rates import Agreement, with_agreements
from billing.rating import plan


def as_rated(charge: ChargeInput | Charge, item: BillableItem) -> plan.Charge:
    """A charge with what its item counts; its rates are numbered in their order.

    Args:
        charge: a stored one comes with its rates and tiers loaded, and keeps their ids.
    """
    rates: Sequence[RateInput | Rate] = charge.rates
    limits: Sequence[LimitInput | ChargeLimit] = charge.limits
    return plan.Charge(
        code=charge.code,
        name=charge.name,
        item_code=item.code,
        sac=item.sac,
        unit=item.unit,
        price_model=charge.price_model.value,
        rates=tuple(
            plan.Rate(
                getattr(rate, "ordinal", position),
                rate.currency,
                tuple(as_rated_tier(tier) for tier in rate.tiers),
                rate.match,
                getattr(rate, "id", None),
            )
            for position, rate in enumerate(rates, 1)
        ),
        event_type=item.event_type,
        event_filter=item.event_filter,
        aggregation=item.aggregation.value,
        property_name=item.property_name,
        conversion=None if item.conversion is None else item.conversion.value,
        prorated=charge.prorated,
        free_units=charge.free_units,
        free_pool=charge.free_pool,
        dearest_of=charge.dearest_of,
        free_events=charge.free_events,
        unit_divisor=charge.unit_divisor,
        unit_rounding=None if charge.unit_rounding is None else charge.unit_rounding.value,
        tier_mode=None if charge.tier_mode is None else charge.tier_mode.value,
        bills_zero=charge.bills_zero,
        discount_percent=charge.discount_percent,
        limits=tuple(plan.Limit(limit.currency, limit.minimum, limit.maximum) for limit in limits),
        package_size=charge.package_size,
        timing=charge.timing.value,
        id=getattr(charge, "id", None),
    )


def as_rated_tier(tier: TierInput | RateTier) -> plan.Tier:
    """A tier, stored or proposed."""
    return plan.Tier(
        tier.up_to,
        tier.unit_price,
        tier.flat_amount,
        tier.package_size,
        tier.event_minimum,
        tier.event_maximum,
    )


@dataclass(frozen=True, slots=True)
class RatedVersion:
    """The charges of a plan version; the rows of decks are rates of theirs."""

    plan_id: UUID
    charges: tuple[plan.Charge, ...]
    decks: Mapping[str, UUID]
    """By the code of a charge that has one."""

    def agreed(self, agreements: Collection[Agreement]) -> tuple[plan.Charge, ...]:
        """The charges of an account that has agreements."""
        return tuple(
            with_agreements(charge, self.plan_id, self.decks.get(charge.code), agreements)
            for charge in self.charges
        )


def load_rated(session: Session, plan_version_ids: Collection[UUID]) -> dict[UUID, RatedVersion]:
    """The charges of plan versions, in their order, by version."""
    charges = selectinload(PlanVersion.charges)
    versions = session.scalars(
        select(PlanVersion)
        .where(PlanVersion.id.in_(plan_version_ids))
        .options(
            charges.selectinload(Charge.rates).selectinload(Rate.tiers),
            charges.selectinload(Charge.item),
        )
    ).all()
    decks = {
        charge.rate_deck_id
        for version in versions
        for charge in version.charges
        if charge.rate_deck_id is not None
    }
    published = [one for found in deck_versions(session, decks).values() for one in found]
    rows = load_deck_rates(session, published)
    return {
        version.id: RatedVersion(
            version.plan_id,
            tuple(
                _with_deck(as_rated(charge, charge.item), rows.get(charge.rate_deck_id, ()))
                if charge.rate_deck_id
                else as_rated(charge, charge.item)
                for charge in version.charges
            ),
            {one.code: one.rate_deck_id for one in version.charges if one.rate_deck_id},
        )
        for version in versions
    }


def _with_deck(charge: plan.Charge, rows: tuple[plan.Rate, ...]) -> plan.Charge:
    return replace(charge, rates=(*charge.rates, *rows))


def rates_of_deck(session: Session, code: str) -> tuple[plan.Rate, ...]:
    """The rows of a deck's latest version, in force on any day; none if none is published."""
    deck_id = session.scalar(select(RateDeck.id).filter_by(code=code))
    versions = deck_versions(session, [deck_id] if deck_id else [])
    latest = [replace(found[-1], effective_from=date.min) for found in versions.values()]
    return next(iter(load_deck_rates(session, latest).values()), ())
