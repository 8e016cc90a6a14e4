"""Other prices tried on usage that was billed."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Body

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.money import from_minor
from billing.rating.simulate import Difference, Simulation
from billing.simulations.service import SimulatePrices, simulate_prices
from ingest_api.auth import needs
from ingest_api.dependencies import Envelope, ReadSession
from ingest_api.envelope import Amount, Answer, Attributes, Resource

router = APIRouter(prefix="/pricing/simulations", tags=["catalogue"])

Reader = Annotated[Actor, needs(Permission.CATALOG_READ, staff_only=True)]

_MOST = 500


class DifferingLine(Attributes):
    """A line that does not come out as it was billed; null where there is no such line."""

    line_ref: str
    billed_minor: int | None
    replayed_minor: int | None


class ReplayAttributes(Attributes):
    """The prices that were billed, applied again: the difference of a sound simulation is 0."""

    currency: str
    lines: int
    billed_minor: int
    replayed_minor: int
    difference: Amount
    """In the currency."""
    differing: int
    """Lines that do not come out as they were billed."""
    examples: list[DifferingLine]


class DifferenceAttributes(Attributes):
    """What something billed, and what it would have, in minor units."""

    key: str | None
    """A customer's id, or a channel, country or charge; null for prices without one."""
    name: str | None
    currency: str
    before_minor: int
    after_minor: int
    difference_minor: int


class SimulationAttributes(Attributes):
    """The comparison; lists hold the largest differences first, at most 500 of them."""

    periods: int
    """Billing periods that were looked at."""
    is_exact: bool
    verdict: str
    replay: list[ReplayAttributes]
    totals: list[DifferenceAttributes]
    customers: list[DifferenceAttributes]
    channels: list[DifferenceAttributes]
    countries: list[DifferenceAttributes]
    charges: list[DifferenceAttributes]
    unrated_before: int
    unrated_after: int
    """Events that no rate would match: their invoices would be parked."""


_EXAMPLE = {
    "first_month": "2026-08-01",
    "last_month": "2026-10-01",
    "prices": [{"percent": "5", "charge_code": "sms", "match": {"country": "IN"}}],
}


def simulation_resource(found: Simulation) -> Resource[SimulationAttributes]:
    """A simulation as the API shows it."""
    attributes = SimulationAttributes(
        periods=found.periods,
        is_exact=found.is_exact,
        verdict=found.verdict,
        replay=[
            ReplayAttributes(
                currency=code,
                lines=one.lines,
                billed_minor=one.billed_minor,
                replayed_minor=one.replayed_minor,
                difference=from_minor(one.replayed_minor - one.billed_minor, code),
                differing=one.differing,
                examples=[DifferingLine.model_validate(line) for line in one.examples],
            )
            for code, one in sorted(found.replay.items())
        ],
        totals=_shown(found.totals),
        customers=_shown(found.customers),
        channels=_shown(found.channels),
        countries=_shown(found.countries),
        charges=_shown(found.charges),
        unrated_before=found.unrated_before,
        unrated_after=found.unrated_after,
    )
    return Resource(id="simulation", type="price_simulation", attributes=attributes)


def _shown(differences: Sequence[Difference]) -> list[DifferenceAttributes]:
    return [DifferenceAttributes.model_validate(one) for one in differences[:_MOST]]


@router.post("", summary="Try other prices on billed usage")
def try_prices(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    body: Annotated[SimulatePrices, Body(examples=[_EXAMPLE])],
) -> Answer[SimulationAttributes]:
    """Rate the usage of billed months again with other plan versions, charges or prices, and say by
    how much customers, channels and countries would have been billed differently. The prices that
    were billed are applied again too: that must come to what was billed, and every answer says
    whether it does. Nothing is stored."""
    return reply.one(simulation_resource(simulate_prices(session, actor, body)))
