"""The provisional price of an event."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.catalog.tables import PlanVersion
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.periods import Interval
from billing.rating.plan import GRADUATED, Charge, Rate, Tier
from billing.subscriptions.tables import SubscriptionSegment
from billing.usage.event import microseconds
from billing.wallets.card_loader import load_account
from billing.wallets.rate_card import (
    BillableAccount,
    PriceReason,
    assumed_dimensions,
)
from tests.support.factories.plans import make_plan as make_rated_plan
from tests.support.factories.plans import make_subscription
from tests.support.factories.usage import make_plan, make_sender

JULY = microseconds(datetime(2026, 7, 15, tzinfo=UTC))
SENT = {"country": "IN", "status": "sent"}


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    engine = open_engine(database_url, application="test")
    with unit_of_work(engine) as opened:
        yield opened
    engine.dispose()


@pytest.fixture
def version(session: Session) -> PlanVersion:
    return make_plan(session)


def compiled(session: Session, version: PlanVersion | None) -> BillableAccount:
    account = load_account(session, make_sender(session, version).account.id)
    assert account is not None
    return account


def test_the_rate_that_matches_prices_the_event(session: Session, version: PlanVersion) -> None:
    account = compiled(session, version)
    price = account.price("otp.sms", {**SENT, "operator": "jio"}, JULY)

    assert price.reason is PriceReason.OK
    assert price.rate_id is not None
    assert account.amount_units(price, Decimal(1)) == 120_000


@pytest.mark.parametrize(
    ("event_type", "dimensions", "reason"),
    [
        ("otp.sms", {"country": "FR", "status": "sent"}, PriceReason.NO_RATE),
        ("otp.sms", {"country": "IN", "status": "failed"}, PriceReason.EXCLUDED),
        ("otp.sms", {"country": "IN"}, PriceReason.EXCLUDED),
        ("otp.voice", SENT, PriceReason.NO_CHARGE),
    ],
)
def test_what_has_no_price_says_why_and_costs_nothing(
    session: Session,
    version: PlanVersion,
    event_type: str,
    dimensions: dict[str, str],
    reason: PriceReason,
) -> None:
    account = compiled(session, version)
    price = account.price(event_type, dimensions, JULY)

    assert (price.reason, price.rate_id) == (reason, None)
    assert account.amount_units(price, Decimal(7)) == 0


def test_the_segment_of_the_local_day_decides(session: Session, version: PlanVersion) -> None:
    account = compiled(session, version)
    before = microseconds(datetime(2025, 12, 31, 18, 29, 59, tzinfo=UTC))

    assert account.price("otp.sms", SENT, before).reason is PriceReason.NO_SUBSCRIPTION
    assert account.price("otp.sms", SENT, before + 1_000_000).reason is PriceReason.OK


def test_a_change_of_plan_changes_the_price_at_local_midnight(
    session: Session, version: PlanVersion
) -> None:
    sender = make_sender(session, version)
    session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    session.execute(text("SET CONSTRAINTS ALL DEFERRED"))
    other = make_plan(session)
    session.execute(text("ALTER TABLE billing.rate_tiers DISABLE TRIGGER USER"))
    session.execute(
        text(
            "UPDATE billing.rate_tiers SET unit_price = 0.5 WHERE rate_id IN (SELECT r.id FROM "
            "billing.rates r JOIN billing.charges c ON c.id = r.charge_id "
            "WHERE c.plan_version_id = :version)"
        ),
        {"version": other.id},
    )
    segment = session.query(SubscriptionSegment).one()
    segment.ends_on = date(2026, 7, 15)
    session.add(
        SubscriptionSegment(
            subscription_id=segment.subscription_id,
            plan_version_id=other.id,
            starts_on=date(2026, 7, 15),
        )
    )
    session.flush()
    session.expire_all()
    account = load_account(session, sender.account.id)
    assert account is not None
    midnight = microseconds(datetime(2026, 7, 14, 18, 30, tzinfo=UTC))

    assert account.price("otp.sms", SENT, midnight - 1).one_units == 120_000
    assert account.price("otp.sms", SENT, midnight).one_units == 500_000


def test_summed_quantities_are_rounded_half_up_to_a_wallet_unit(
    session: Session, version: PlanVersion
) -> None:
    session.execute(text("UPDATE billing.billable_items SET aggregation = 'sum'"))
    session.expire_all()
    account = compiled(session, version)
    price = account.price("otp.sms", SENT, JULY)

    assert account.amount_units(price, Decimal("2.5")) == 300_000
    assert account.amount_units(price, Decimal("0.000004")) == 0
    assert account.amount_units(price, Decimal("0.000005")) == 1
    with pytest.raises(OverflowError):
        account.amount_units(price, Decimal(999_999_999_999))


def test_an_authorisation_assumes_the_event_will_count(
    session: Session, version: PlanVersion
) -> None:
    account = compiled(session, version)

    assert assumed_dimensions(account, "otp.sms", {"country": "IN"}, JULY) == {
        "country": "IN",
        "status": "delivered",
    }
    assert assumed_dimensions(compiled(session, None), "otp.sms", {}, JULY) == {}


def test_only_prepaid_accounts_are_debited(session: Session, version: PlanVersion) -> None:
    postpaid = load_account(session, make_sender(session, version, prepaid=False).account.id)

    assert postpaid is not None
    assert postpaid.wallet_id is None


def test_units_are_counted_anew_where_another_interval_cuts_a_period_short(
    session: Session,
) -> None:
    tiers = (Tier(Decimal(10), Decimal(1)), Tier(None, Decimal(2)))
    rates = (Rate(1, "INR", tiers),)
    charge = Charge(
        "sms", "SMS", "sms", "998413", "message", GRADUATED, rates, "otp.sms",
        free_units=Decimal(5),
    )  # fmt: skip
    sold, _ = make_rated_plan(session, [charge])
    sender = make_sender(session)
    days = (date(2026, 7, 1), date(2026, 7, 15), None)
    spans = [(sold, Decimal(1), start, end) for start, end in pairwise(days) if start]
    subscription = make_subscription(session, sender.account, spans)
    later = session.scalars(
        select(SubscriptionSegment).filter_by(
            subscription_id=subscription.id, starts_on=date(2026, 7, 15)
        )
    ).one()
    later.interval, later.anchor_day, later.anchor_month = Interval.YEAR, 15, 7
    session.flush()
    account = load_account(session, sender.account.id)
    assert account is not None
    counted = []
    for day in (14, 15, 31):
        at = microseconds(datetime(2026, 7, day, tzinfo=UTC))
        found = account.count(account.price("otp.sms", SENT, at), Decimal(1), at)
        assert found is not None
        counted.append(found.counted_on.day)
    assert counted == [1, 15, 15]
