"""What plan versions would have billed for the traffic of their plans."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.catalog.repository import get_version
from billing.catalog.tables import PlanVersion
from billing.clock import Clock
from billing.periods import DEFAULT_ZONE, add_months, local_day, month_of
from billing.rating.simulate import Simulation
from billing.simulations.service import ReplacedVersion, SimulatePrices, simulate_prices


def impact_of(
    session: Session,
    actor: Actor,
    clock: Clock,
    plan_version_id: UUID,
    month: date | None = None,
) -> Simulation:
    """Everybody who was billed by another version of the plan, as if by this one.

    Args:
        plan_version_id: usually a draft, before it is published.
        month: first day of an invoice month; the last one over if not given.
    """
    version = get_version(session, actor, plan_version_id)
    last = month_of(add_months(local_day(clock.now(), DEFAULT_ZONE), -1)).start
    wish = SimulatePrices(
        first_month=month or last,
        last_month=month or last,
        versions=in_place_of_others(session, version),
    )
    return simulate_prices(session, actor, wish)


def in_place_of_others(session: Session, version: PlanVersion) -> Sequence[ReplacedVersion]:
    """A version in place of every published one of its plan."""
    others = session.scalars(
        select(PlanVersion.id).where(
            PlanVersion.plan_id == version.plan_id,
            PlanVersion.id != version.id,
            PlanVersion.published_at.is_not(None),
        )
    )
    return tuple(ReplacedVersion(version_id=one, by_version_id=version.id) for one in others)
