"""Rate decks: upload a version, see what it changes and costs, publish it."""

from datetime import date, datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.decks.impact import Compared, Impact, deck_impact
from billing.decks.repository import (
    PriceChange,
    deck_prices,
    diff_deck,
    get_deck,
    get_deck_version,
    list_deck_versions,
    list_decks,
    version_before,
)
from billing.decks.service import (
    CreateDeck,
    Csv,
    DraftDeckVersion,
    PublishDeckVersion,
    ReplaceDeckRows,
    create_deck,
    draft_deck_version,
    publish_deck_version,
    replace_deck_rows,
)
from billing.decks.tables import DECK_DIMENSIONS, DeckStatus, RateDeck, RateDeckVersion
from billing.decks.upload import ANY, write_deck
from billing.periods import DEFAULT_ZONE, local_day, month_of
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, CurrentServices, Envelope, ReadSession, build
from ingest_api.envelope import Amount, Answer, Attributes, ListAnswer, Resource, refer

router = APIRouter(tags=["catalogue"])

Reader = Annotated[Actor, needs(Permission.CATALOG_READ)]
Writer = Annotated[Actor, needs(Permission.CATALOG_WRITE)]

_MOST_LISTED = 1000


class DeckAttributes(Attributes):
    """A named list of prices."""

    code: str
    name: str
    created_at: datetime


class DeckVersionAttributes(Attributes):
    """Where a version stands; its rows are a CSV file of their own."""

    version: int
    status: DeckStatus
    effective_from: date
    """The first local day that it prices, until the next version's."""
    row_count: int
    content_hash: str
    created_at: datetime
    published_at: datetime | None


class DeckChange(Attributes):
    """One line that differs; what is added has no `before`, what is removed no `after`."""

    kind: Literal["added", "removed", "changed"]
    currency: str
    match: dict[str, str]
    """Every dimension of a deck; `*` is any value."""
    before: Amount | None
    after: Amount | None


class DeckDiff(Attributes):
    """What a version changes, the largest changes first."""

    against_version: int | None
    added: int
    removed: int
    changed: int
    changes: list[DeckChange]
    """At most 1,000 of them."""


class ComparedAmount(Attributes):
    """The same usage at both prices."""

    name: str
    currency: str
    events: int
    before: Amount
    after: Amount
    difference: Amount


class UnpricedDeckUsage(Attributes):
    """Usage that no row of the version matches: invoices with it would be parked."""

    account_code: str
    dimensions: dict[str, str]
    events: int


class DeckImpact(Attributes):
    """A month's traffic under the version and under the one it replaces."""

    from_day: date
    to_day: date
    replaced_version: int | None
    totals: list[ComparedAmount]
    accounts: list[ComparedAmount]
    """At most 1,000, the largest differences first."""
    countries: list[ComparedAmount]
    unpriced: list[UnpricedDeckUsage]


class NewDeckVersion(Request):
    """All prices from a local day on."""

    effective_from: date
    csv: str = Csv
    """The text of the file: columns `currency`, `unit_price`, and any of `country`, `operator`
    (MCC and MNC), `channel` and `traffic_type`; `*` is any value."""


class NewDeckRows(Request):
    """Other prices for a draft."""

    effective_from: date | None = None
    csv: str = Csv


_CSV = (
    "currency,country,operator,channel,traffic_type,unit_price\n"
    "INR,IN,404-45,sms,otp,0.1150\n"
    "INR,IN,*,sms,otp,0.1300\n"
    "INR,*,*,*,*,4.50\n"
)
_NEW_VERSION = {"effective_from": "2026-10-01", "csv": _CSV}


def deck_resource(row: RateDeck) -> Resource[DeckAttributes]:
    """A deck as the API shows it."""
    return Resource(id=str(row.id), type="rate_deck", attributes=DeckAttributes.model_validate(row))


def deck_version_resource(row: RateDeckVersion) -> Resource[DeckVersionAttributes]:
    """A version as the API shows it."""
    return Resource(
        id=str(row.id),
        type="rate_deck_version",
        attributes=DeckVersionAttributes.model_validate(row),
        relationships=refer(rate_deck=("rate_deck", row.deck_id)),
    )


def diff_resource(
    version: RateDeckVersion, against: RateDeckVersion | None, changes: list[PriceChange]
) -> Resource[DeckDiff]:
    """What a version changes, as the API shows it."""
    kinds = [change.kind for change in changes]
    attributes = DeckDiff(
        against_version=None if against is None else against.version,
        added=kinds.count("added"),
        removed=kinds.count("removed"),
        changed=kinds.count("changed"),
        changes=[
            DeckChange(
                kind=change.kind,
                currency=change.currency,
                match={
                    name: value or ANY
                    for name, value in zip(DECK_DIMENSIONS, change.values, strict=True)
                },
                before=change.before,
                after=change.after,
            )
            for change in changes[:_MOST_LISTED]
        ],
    )
    return Resource(id=str(version.id), type="rate_deck_diff", attributes=attributes)


def impact_resource(version: RateDeckVersion, found: Impact) -> Resource[DeckImpact]:
    """What a version costs, as the API shows it."""
    attributes = DeckImpact(
        from_day=found.first,
        to_day=found.end,
        replaced_version=found.replaced_version,
        totals=[_compared(code, "all", sums) for code, sums in sorted(found.totals.items())],
        accounts=_largest(found.accounts),
        countries=_largest(found.countries),
        unpriced=[UnpricedDeckUsage.model_validate(one) for one in found.unpriced[:_MOST_LISTED]],
    )
    return Resource(id=str(version.id), type="rate_deck_impact", attributes=attributes)


def _largest(found: dict[tuple[str, str], Compared]) -> list[ComparedAmount]:
    ordered = sorted(found.items(), key=lambda one: (-abs(one[1].difference), one[0]))
    return [_compared(code, name, sums) for (code, name), sums in ordered[:_MOST_LISTED]]


def _compared(currency: str, name: str, sums: Compared) -> ComparedAmount:
    return ComparedAmount(
        name=name,
        currency=currency,
        events=sums.events,
        before=sums.before,
        after=sums.after,
        difference=sums.difference,
    )


@router.get("/rate-decks", summary="List rate decks")
def list_rate_decks(
    session: ReadSession, actor: Reader, reply: Envelope
) -> ListAnswer[DeckAttributes]:
    """All decks by code."""
    return reply.all(list_decks(session, actor), deck_resource)


@router.post("/rate-decks", status_code=201, summary="Create a rate deck")
def create_rate_deck(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    body: Annotated[CreateDeck, Body(examples=[{"code": "sms-world", "name": "SMS worldwide"}])],
) -> Answer[DeckAttributes]:
    """Name a list of prices that charges of any plan can use; the prices come with a version."""
    return reply.one(deck_resource(create_deck(ctx, body)))


@router.get("/rate-decks/{deck_id}", summary="Get a rate deck")
def get_rate_deck(
    session: ReadSession, actor: Reader, reply: Envelope, deck_id: UUID
) -> Answer[DeckAttributes]:
    """One deck."""
    return reply.one(deck_resource(get_deck(session, actor, deck_id)))


@router.get("/rate-decks/{deck_id}/versions", summary="List a deck's versions")
def list_rate_deck_versions(
    session: ReadSession, actor: Reader, reply: Envelope, deck_id: UUID
) -> ListAnswer[DeckVersionAttributes]:
    """All versions, the newest first."""
    get_deck(session, actor, deck_id)
    return reply.all(list_deck_versions(session, actor, deck_id), deck_version_resource)


@router.post("/rate-decks/{deck_id}/versions", status_code=201, summary="Upload a deck's prices")
def draft_rate_deck_version(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    deck_id: UUID,
    body: Annotated[NewDeckVersion, Body(examples=[_NEW_VERSION])],
) -> Answer[DeckVersionAttributes]:
    """A draft with all prices from a day on. Every wrong line is named with its column, and then
    nothing is stored."""
    request = build(DraftDeckVersion, deck_id=deck_id, **body.model_dump())
    return reply.one(deck_version_resource(draft_deck_version(ctx, request)))


@router.get("/rate-deck-versions/{version_id}", summary="Get a deck's version")
def get_rate_deck_version(
    session: ReadSession, actor: Reader, reply: Envelope, version_id: UUID
) -> Answer[DeckVersionAttributes]:
    """Where a version stands."""
    return reply.one(deck_version_resource(get_deck_version(session, actor, version_id)))


@router.put("/rate-deck-versions/{version_id}/rows", summary="Replace a draft's prices")
def replace_rate_deck_rows(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    version_id: UUID,
    body: Annotated[NewDeckRows, Body(examples=[{"csv": _CSV}])],
) -> Answer[DeckVersionAttributes]:
    """Give a draft the prices of another file; a published version never changes."""
    request = build(ReplaceDeckRows, version_id=version_id, **body.model_dump())
    return reply.one(deck_version_resource(replace_deck_rows(ctx, request)))


@router.get(
    "/rate-deck-versions/{version_id}/rows.csv",
    summary="Download a version's prices",
    response_class=Response,
    responses={200: {"content": {"text/csv": {}}}},
)
def download_rate_deck_rows(session: ReadSession, actor: Reader, version_id: UUID) -> Response:
    """The file of a version, as it can be uploaded again."""
    version = get_deck_version(session, actor, version_id)
    name = f"rate-deck-v{version.version}.csv"
    return Response(
        write_deck(deck_prices(session, actor, version_id)),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.post("/rate-deck-versions/{version_id}/publish", summary="Publish a deck's version")
def publish_rate_deck_version(
    ctx: Commands, _: Writer, reply: Envelope, version_id: UUID
) -> Answer[DeckVersionAttributes]:
    """Let a draft price usage from its day on, for good."""
    published = publish_deck_version(ctx, PublishDeckVersion(version_id=version_id))
    return reply.one(deck_version_resource(published))


@router.get("/rate-deck-versions/{version_id}/diff", summary="Compare a deck's versions")
def diff_rate_deck_version(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    version_id: UUID,
    against: Annotated[
        UUID | None, Query(description="Another version; without it, the one it replaces.")
    ] = None,
) -> Answer[DeckDiff]:
    """Every line whose price differs, is new or is gone."""
    version = get_deck_version(session, actor, version_id)
    other = (
        version_before(session, version)
        if against is None
        else get_deck_version(session, actor, against)
    )
    return reply.one(diff_resource(version, other, diff_deck(session, actor, version, other)))


@router.get("/rate-deck-versions/{version_id}/impact", summary="Reprice a month by a version")
def rate_deck_impact(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    services: CurrentServices,
    version_id: UUID,
    month: Annotated[
        date | None, Query(description="Any day of the month; without it, the last whole one.")
    ] = None,
) -> Answer[DeckImpact]:
    """What the month's traffic would have cost by this version and by the one it replaces, and
    what no line of it would price. Before discounts, limits and rounding."""
    if month is None:
        month = month_of(local_day(services.clock.now(), DEFAULT_ZONE)).start - timedelta(days=1)
    days = month_of(month)
    version = get_deck_version(session, actor, version_id)
    found = deck_impact(session, actor, version, days.start, days.end)
    return reply.one(impact_resource(version, found))
