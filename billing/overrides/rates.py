"""What was agreed with accounts, as rating reads it."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, selectinload

from billing.overrides.tables import PriceOverride
from billing.rating import plan


@dataclass(frozen=True, slots=True)
class Agreement:
    """A rate of one account, and the charges it comes before."""

    plan_id: UUID | None
    charge_code: str | None
    deck_id: UUID | None
    rate: plan.Rate

    def concerns(self, plan_id: UUID, charge_code: str, deck_id: UUID | None) -> bool:
        """Whether it holds for a charge of a plan, or for the deck that the charge uses."""
        if self.deck_id is not None:
            return self.deck_id == deck_id
        return (self.plan_id, self.charge_code) == (plan_id, charge_code)


def agreements_of(
    session: Session, account_ids: Collection[UUID]
) -> dict[UUID, tuple[Agreement, ...]]:
    """The agreements of accounts in the order of their numbers; the withdrawn ones left out."""
    found: dict[UUID, list[Agreement]] = defaultdict(list)
    for row in session.scalars(
        select(PriceOverride)
        .where(
            PriceOverride.account_id.in_(account_ids),
            or_(PriceOverride.ends_on.is_(None), PriceOverride.ends_on > PriceOverride.starts_on),
        )
        .options(selectinload(PriceOverride.tiers))
        .order_by(PriceOverride.account_id, PriceOverride.number)
    ):
        found[row.account_id].append(
            Agreement(row.plan_id, row.charge_code, row.deck_id, _as_rated(row))
        )
    return {account_id: tuple(agreements) for account_id, agreements in found.items()}


def with_agreements(
    charge: plan.Charge,
    plan_id: UUID,
    deck_id: UUID | None,
    agreements: Collection[Agreement],
) -> plan.Charge:
    """A charge of a plan with the account's own rates before its others."""
    agreed = [one.rate for one in agreements if one.concerns(plan_id, charge.code, deck_id)]
    return replace(charge, rates=(*charge.rates, *agreed)) if agreed else charge


def _as_rated(row: PriceOverride) -> plan.Rate:
    return plan.Rate(
        ordinal=row.number,
        currency=row.currency,
        tiers=tuple(plan.Tier(tier.up_to, tier.unit_price, tier.flat_amount) for tier in row.tiers),
        match=row.match,
        id=row.id,
        key=f"o{row.number}",
        precedence=1,
        starts_on=row.starts_on,
        ends_on=row.ends_on,
    )
