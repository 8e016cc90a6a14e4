"""SQL and Python find the same rate in decks and agreements, day by day, and bill the same.

One dbt run rates many accounts whose plans, decks, agreements and events are drawn at random, from
a seed that `PARITY_SEED` changes.
"""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from uuid import UUID

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from billing.catalog.tables import PlanVersion
from billing.customers.tables import Account
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.decks.tables import (
    DECK_DIMENSIONS,
    DeckStatus,
    RateDeck,
    RateDeckRow,
    RateDeckVersion,
)
from billing.invoices.tables import RatingRun
from billing.overrides.tables import PriceOverride, PriceOverrideTier
from billing.periods import Period
from billing.rating.plan import FLAT, GRADUATED, PER_UNIT, SUM, Charge, Rate, Tier
from billing.rating.rater import Rating
from billing.subscriptions.rateable import rateable_periods
from billing.subscriptions.tables import BillingPeriod
from billing.usage.as_of import AsOf, usage_as_of
from tests.support.dbt import DbtProjectRunner
from tests.support.factories.events import store_event
from tests.support.factories.parties import LONG_AGO, make_account
from tests.support.factories.plans import make_billing_period, make_plan, make_subscription
from tests.support.postgres import fresh_database
from tests.support.rating import RATING_MODELS, lines_of, open_run, rating_vars, unrated_of

pytestmark = pytest.mark.timeout(1200)  # every dbt takes seconds to start

MONTH = date(2026, 5, 1)
DAYS = Period(MONTH, date(2026, 6, 1))
VALUES = {
    "country": ["IN", "US", "ID"],
    "operator": ["40445", "40410", "310260"],
    "channel": ["sms", "voice"],
    "traffic_type": ["otp", "promo"],
}
ACCOUNTS = int(os.environ.get("PARITY_ACCOUNTS", "30"))


@pytest.fixture(scope="module")
def engine(postgres_server: str, template_database: str) -> Iterator[Engine]:
    with fresh_database(postgres_server, template_database) as url:
        engine = open_engine(url, application="parity")
        yield engine
        engine.dispose()


def some_dimensions(random: Random) -> dict[str, str]:
    return {name: random.choice(VALUES[name]) for name in DECK_DIMENSIONS if random.random() < 0.6}


def price(random: Random) -> Decimal:
    return Decimal(random.randrange(1, 9_000_000)).scaleb(-6)


def make_deck(session: Session, random: Random, number: int) -> UUID:
    """A deck with up to three versions, the first of which may begin within the month."""
    deck = RateDeck(code=f"deck-{number}", name="Deck", created_at=LONG_AGO)
    session.add(deck)
    session.flush()
    first = random.choice([date(2026, 1, 1), date(2026, 5, 6)])
    for version in range(1, random.randrange(2, 5)):
        row = RateDeckVersion(
            deck_id=deck.id,
            version=version,
            status=DeckStatus.DRAFT,
            effective_from=first + timedelta(days=9 * (version - 1)),
            row_count=0,
            content_hash="",
            created_at=LONG_AGO,
        )
        session.add(row)
        session.flush()
        matches = {tuple(sorted(some_dimensions(random).items())) for _ in range(25)}
        session.add_all(
            RateDeckRow(
                version_id=row.id,
                ordinal=ordinal,
                currency="INR",
                unit_price=price(random),
                **dict(match),
            )
            for ordinal, match in enumerate(sorted(matches), 1)
        )
        session.flush()
        row.status, row.published_at = DeckStatus.PUBLISHED, LONG_AGO
        session.flush()
    return deck.id


def make_version(session: Session, random: Random, deck_id: UUID | None) -> PlanVersion:
    """A plan with a deck or rates of its own, a graduated price and a fee."""
    tiers = (Tier(Decimal(5), price(random)), Tier(None, price(random), Decimal(3)))
    shared = {"sac": "998429", "unit": "message"}
    charges = (
        Charge(
            "sms", "SMS", "sms", **shared, price_model=PER_UNIT, event_type="otp.sms",
            aggregation=SUM,
            rates=() if deck_id else (Rate(1, "INR", (Tier(None, price(random)),)),),
        ),
        Charge(
            "voice", "Voice", "voice", **shared, price_model=GRADUATED, event_type="otp.voice",
            rates=(Rate(1, "INR", tiers), Rate(2, "INR", tiers, {"country": "IN"})),
        ),
        Charge(
            "fee", "Fee", "fee", **shared, price_model=FLAT, prorated=random.random() < 0.7,
            rates=(Rate(1, "INR", (Tier(None, flat_amount=price(random)),)),),
        ),
    )  # fmt: skip
    return make_plan(session, charges, decks={"sms": deck_id} if deck_id else {})[0]


def agree(
    session: Session, random: Random, account: Account, version: PlanVersion, deck_id: UUID | None
) -> None:
    """Up to three agreements on any days: for the deck, or for a charge of the plan."""
    for number in range(1, random.randrange(1, 5)):
        charge = random.choice(["sms", "voice", "fee"])
        by_deck = deck_id is not None and charge == "sms" and random.random() < 0.7
        starts_on = MONTH + timedelta(days=random.randrange(-5, 25))
        length = random.choice([0, 4, 12, None])
        session.add(
            PriceOverride(
                account_id=account.id,
                number=number,
                plan_id=None if by_deck else version.plan_id,
                charge_code=None if by_deck else charge,
                deck_id=deck_id if by_deck else None,
                currency="INR",
                match={} if charge == "fee" else some_dimensions(random),
                starts_on=starts_on,
                ends_on=None if length is None else starts_on + timedelta(days=length),
                reason="contract",
                created_at=LONG_AGO,
                updated_at=LONG_AGO,
                tiers=[
                    PriceOverrideTier(
                        ordinal=1,
                        unit_price=Decimal(0) if charge == "fee" else price(random),
                        flat_amount=price(random) if charge == "fee" else Decimal(0),
                    )
                ],
            )
        )


def make_world(session: Session, random: Random, deck_id: UUID | None) -> None:
    account = make_account(session, tax_profile=False)
    version = make_version(session, random, deck_id)
    subscription = make_subscription(session, account, [(version, Decimal(2), MONTH, None)])
    make_billing_period(session, subscription, account.zone, DAYS, MONTH)
    agree(session, random, account, version, deck_id)
    for _ in range(random.randrange(25)):
        store_event(
            session,
            account.id,
            datetime(2026, 5, 1, tzinfo=UTC) + timedelta(minutes=random.randrange(31 * 1440)),
            event_type=random.choice(["otp.sms", "otp.sms", "otp.voice"]),
            quantity=Decimal(random.randrange(1, 5_000_000)).scaleb(-6),
            dimensions=some_dimensions(random),
        )


def in_python(session: Session, run: RatingRun) -> list[tuple[UUID, Rating]]:
    """Every period rated as previews and explanations rate it, by account."""
    ids = session.scalars(select(BillingPeriod.id)).all()
    return [
        (
            period.account.id,
            period.rate(
                usage_as_of(
                    session,
                    AsOf(run.id, period.account.id, period.account.zone, period.row.starts_at,
                         period.row.ends_at),
                )
            ),
        )
        for period in rateable_periods(session, ids).values()
    ]  # fmt: skip


def test_decks_and_agreements_rate_alike_in_sql_and_python(
    engine: Engine, dbt: DbtProjectRunner
) -> None:
    random = Random(os.environ.get("PARITY_SEED", "decks"))
    with unit_of_work(engine) as session:
        decks = [make_deck(session, random, number) for number in range(3)]
        for _ in range(ACCOUNTS):
            make_world(session, random, random.choice([*decks, None]))
        run = open_run(session, MONTH)
        session.flush()
        expected = in_python(session, run)
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    dbt.build(url, RATING_MODELS, rating_vars(run))

    with unit_of_work(engine) as session:
        rows = lines_of(session)
        missed = unrated_of(session)
    lines = sorted(
        (line for _, rating in expected for line in rating.lines), key=lambda x: x.line_ref
    )
    assert [
        (row["line_ref"], row["rate_id"], row["amount"], row["amount_minor"], row["description"],
         row["quantity"], row["unit_price"], row["tier_breakdown"])
        for row in rows
    ] == [
        (line.line_ref, line.rate_id, line.amount, line.amount_minor, line.description,
         line.quantity, line.unit_price, list(line.tier_breakdown))
        for line in lines
    ]  # fmt: skip
    assert sum(":d" in row["line_ref"] for row in rows) > ACCOUNTS
    assert sum(":o" in row["line_ref"] for row in rows) > 5
    unrated = {
        (account_id, one.charge_code) for account_id, rating in expected for one in rating.unrated
    }
    assert {(account_id, code) for account_id, code, *_ in missed} == unrated
