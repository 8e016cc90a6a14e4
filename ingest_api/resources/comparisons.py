"""Several prices tried on usage that was billed, side by side."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Body

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.simulations.compare import ComparePrices, Comparison, SideBySide, compare_prices
from ingest_api.auth import needs
from ingest_api.dependencies import Envelope, ReadSession
from ingest_api.envelope import Answer, Attributes, Resource

router = APIRouter(prefix="/pricing/comparisons", tags=["catalogue"])

Reader = Annotated[Actor, needs(Permission.CATALOG_READ, staff_only=True)]

_MOST = 500


class CandidateAttributes(Attributes):
    """What prices came to under one name; `is_exact` as of a simulation."""

    name: str
    is_exact: bool
    verdict: str
    unrated: int
    """Events that no rate of it would match: their invoices would be parked."""


class TriedAttributes(Attributes):
    """What a candidate would have billed, in minor units."""

    name: str
    after_minor: int
    difference_minor: int


class SideBySideAttributes(Attributes):
    """What something billed, and what each candidate would have, in minor units."""

    key: str | None
    """A customer's id, or a channel, country or charge; null for prices without one."""
    name: str | None
    currency: str
    before_minor: int
    candidates: list[TriedAttributes]


class ComparisonAttributes(Attributes):
    """The candidates on the same usage; lists hold the largest differences first, at most 500."""

    periods: int
    """Billing periods that were looked at."""
    is_exact: bool
    unrated_before: int
    candidates: list[CandidateAttributes]
    totals: list[SideBySideAttributes]
    customers: list[SideBySideAttributes]
    channels: list[SideBySideAttributes]
    countries: list[SideBySideAttributes]
    charges: list[SideBySideAttributes]


_EXAMPLE = {
    "first_month": "2026-08-01",
    "last_month": "2026-10-01",
    "candidates": [
        {"name": "cheaper abroad", "version_ids": ["01a1fd27-bde0-703b-a3de-4bcb27aa1eb3"]},
        {"name": "5 % more", "prices": [{"percent": "5"}]},
    ],
}


@router.post("", summary="Compare several prices on billed usage")
def compare(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    body: Annotated[ComparePrices, Body(examples=[_EXAMPLE])],
) -> Answer[ComparisonAttributes]:
    """Rate the usage of billed months by templates, drafts, published versions or changed prices,
    and put what each would have billed side by side, by customer, channel, country and charge. Each
    candidate is proven as a simulation is. Nothing is stored."""
    return reply.one(comparison_resource(compare_prices(session, actor, body)))


def comparison_resource(found: Comparison) -> Resource[ComparisonAttributes]:
    """A comparison as the API shows it."""
    first = found.simulations[0]
    candidates = [
        CandidateAttributes(
            name=name, is_exact=one.is_exact, verdict=one.verdict, unrated=one.unrated_after
        )
        for name, one in zip(found.names, found.simulations, strict=True)
    ]
    attributes = ComparisonAttributes(
        periods=first.periods,
        is_exact=all(one.is_exact for one in found.simulations),
        unrated_before=first.unrated_before,
        candidates=candidates,
        totals=_shown(found.names, found.totals),
        customers=_shown(found.names, found.customers),
        channels=_shown(found.names, found.channels),
        countries=_shown(found.names, found.countries),
        charges=_shown(found.names, found.charges),
    )
    return Resource(id="comparison", type="price_comparison", attributes=attributes)


def _shown(names: Sequence[str], rows: Sequence[SideBySide]) -> list[SideBySideAttributes]:
    return [
        SideBySideAttributes(
            key=row.key,
            name=row.name,
            currency=row.currency,
            before_minor=row.before_minor,
            candidates=[
                TriedAttributes(name=name, after_minor=after, difference_minor=difference)
                for name, after, difference in zip(
                    names, row.after_minor, row.differences_minor, strict=True
                )
            ],
        )
        for row in rows[:_MOST]
    ]
