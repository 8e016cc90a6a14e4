"""Charges as rating reads them: from what is stored, or from what somebody wants to store."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from billing.catalog.requests import ChargeInput
from billing.catalog.tables import BillableItem, Charge, PlanVersion, Rate
from billing.rating import plan


def as_rated(charge: ChargeInput | Charge, item: BillableItem) -> plan.Charge:
    """A charge with what its item counts; its rates are numbered in their order.

    Args:
        charge: a stored one comes with its rates and tiers loaded, and keeps their ids.
    """
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
                tuple(
                    plan.Tier(tier.up_to, tier.unit_price, tier.flat_amount) for tier in rate.tiers
                ),
                rate.match,
                getattr(rate, "id", None),
            )
            for position, rate in enumerate(charge.rates, 1)
        ),
        event_type=item.event_type,
        event_filter=item.event_filter,
        aggregation=item.aggregation.value,
        prorated=charge.prorated,
        free_units=charge.free_units,
        package_size=charge.package_size,
        id=getattr(charge, "id", None),
    )


def load_rated(
    session: Session, plan_version_ids: Collection[UUID]
) -> dict[UUID, tuple[plan.Charge, ...]]:
    """The charges of plan versions, in their order, by version."""
    charges = selectinload(PlanVersion.charges)
    versions = session.scalars(
        select(PlanVersion)
        .where(PlanVersion.id.in_(plan_version_ids))
        .options(
            charges.selectinload(Charge.rates).selectinload(Rate.tiers),
            charges.selectinload(Charge.item),
        )
    )
    return {
        version.id: tuple(as_rated(charge, charge.item) for charge in version.charges)
        for version in versions
    }
