"""A month of three accounts rated by dbt and drafted: what can be explained and tried again."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy.orm import Session

from billing.clock import ManualClock
from billing.customers.tables import Account
from billing.invoices.consolidation import BillAccount
from billing.periods import Period
from billing.rating.plan import FLAT, GRADUATED, PACKAGE, PER_UNIT, SUM, Charge, Rate, Tier
from tests.support.factories.events import StoredEvent, store_event
from tests.support.factories.parties import make_account, make_supplier
from tests.support.factories.plans import make_billing_period, make_plan, make_subscription

JUNE = date(2026, 6, 1)
JULY = date(2026, 7, 1)
CHANGE = date(2026, 6, 16)
CLOCK = ManualClock(datetime(2026, 7, 4, tzinfo=UTC))


@dataclass
class RatedWorld:
    """What tests ask for by name."""

    inr: Account
    branch: Account
    """Below `inr`, on whose invoice its charges stand."""
    usd: Account
    versions: dict[str, UUID]
    events: list[StoredEvent]


def _usage(code: str, model: str, *rates: Rate, **more: object) -> Charge:
    return Charge(
        code=code,
        name=code.upper(),
        item_code=code,
        sac="998413",
        unit="message",
        price_model=model,
        rates=rates,
        event_type=f"otp.{code}",
        event_filter={"status": ["delivered"]},
        **more,  # type: ignore[arg-type]
    )


def _plan(sms_price: str) -> list[Charge]:
    fee = Charge(
        code="fee", name="Fee", item_code="fee", sac="998313", unit="month", price_model=FLAT,
        prorated=True,
        rates=(Rate(1, "INR", (Tier(None, flat_amount=Decimal(5000)),)),
               Rate(2, "USD", (Tier(None, flat_amount=Decimal(99)),))),
    )  # fmt: skip
    sms = _usage(
        "sms", GRADUATED,
        Rate(1, "INR", (Tier(Decimal(10), Decimal(sms_price)), Tier(None, Decimal("0.0875"))),
             match={"country": "IN"}),
        Rate(2, "INR", (Tier(None, Decimal("2.5")),)),
        Rate(3, "USD", (Tier(None, Decimal("0.0103")),)),
        aggregation=SUM, free_units=Decimal(3),
    )  # fmt: skip
    voice = _usage(
        "voice", PACKAGE, Rate(1, "INR", (Tier(None, Decimal(7)),)),
        Rate(2, "USD", (Tier(None, Decimal("0.07")),)), package_size=Decimal(4),
    )  # fmt: skip
    mail = _usage(
        "email", PER_UNIT, Rate(1, "INR", (Tier(None, Decimal("0.0333")),)),
        Rate(2, "USD", (Tier(None, Decimal("0.0007")),)),
    )  # fmt: skip
    return [fee, sms, voice, mail]


def build(session: Session) -> RatedWorld:
    """Accounts, plans, subscriptions and the events of June."""
    make_supplier(session)
    inr = make_account(session)
    branch = _below(session, inr)
    usd = make_account(session, currency="USD", zone="America/New_York")
    first, _ = make_plan(session, _plan("0.1225"))
    second, _ = make_plan(session, _plan("0.1150"))
    spans = {
        inr: [(first, Decimal(1), JUNE, CHANGE), (second, Decimal(2), CHANGE, None)],
        branch: [(first, Decimal(1), CHANGE, None)],
        usd: [(first, Decimal(1), JUNE, None)],
    }
    events = []
    for account, segments in spans.items():
        subscription = make_subscription(session, account, segments)
        period = Period(segments[0][2], JULY)
        make_billing_period(session, subscription, account.zone, period, JUNE)
        events += _send(session, account)
    return RatedWorld(inr, branch, usd, {"first": first.id, "second": second.id}, events)


def _below(session: Session, head: Account) -> Account:
    branch = Account(
        customer_id=head.customer_id,
        parent_account_id=head.id,
        code=f"{head.code}-branch",
        name="Branch",
        billing_mode=head.billing_mode,
        currency=head.currency,
        zone=head.zone,
        status=head.status,
        shard=0,
        created_at=head.created_at,
        updated_at=head.updated_at,
    )
    session.add(branch)
    session.flush()
    session.add(
        BillAccount(
            account_id=branch.id,
            bill_account_id=head.id,
            valid_from=JUNE,
            set_by="test",
            created_at=head.created_at,
        )
    )
    return branch


def _send(session: Session, account: Account) -> list[StoredEvent]:
    sent = []
    for number in range(48):
        kind, country = ("sms", "voice", "email")[number % 3], ("IN", "IN", "AE", "US")[number % 4]
        dimensions = {
            "country": country,
            "channel": kind,
            "status": "failed" if number % 11 == 5 else "delivered",
        }
        if number % 5 == 0:
            dimensions["operator"] = "jio"
        at = datetime(2026, 6, 2, 12, tzinfo=UTC) + timedelta(hours=13 * number)
        sent.append(
            store_event(
                session, account.id, at, event_type=f"otp.{kind}",
                quantity=Decimal(number % 7) + Decimal("0.5"), dimensions=dimensions,
            )
        )  # fmt: skip
    return sent
