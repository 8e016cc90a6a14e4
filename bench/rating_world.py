"""A month of raw events, written straight into the tables, and subscriptions that pay for it.

Events are spread over accounts × days × event types, so that a million usage rows come of them
whatever their number; they lie in the table as they would have arrived, day after day.
"""

from datetime import date, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

import psycopg
from sqlalchemy.orm import Session

from bench.world import make_payers
from billing.catalog.tables import (
    Aggregation,
    BillableItem,
    Charge,
    ItemKind,
    PlanVersion,
    PriceModel,
    PricePlan,
    Rate,
    RateTier,
    VersionStatus,
)
from billing.clock import SystemClock
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.subscriptions.periods import make_periods
from billing.usage.storage import partition_statements

MONTH: Final = date(2026, 5, 1)
END: Final = date(2026, 6, 1)
TYPES: Final = ("otp.sms", "otp.whatsapp", "otp.email")
_AT_ONCE: Final = 2_000

_DAY = """
INSERT INTO usage.raw_events (occurred_at, shard, accept_seq, source, event_id, revision,
    account_id, event_type, quantity, dimensions, vendor_cost, voided, received_at, recorded_at)
SELECT at, 0, %(after)s + n, 'bench', (%(after)s + n)::text, 1,
    account_ids[1 + n %% %(accounts)s], (%(types)s::text[])[1 + (n / %(accounts)s) %% %(kinds)s],
    1, jsonb_build_object('country', (ARRAY['IN', 'US'])[1 + n %% 2], 'channel', 'sms',
        'status', 'sent', 'operator', '40445', 'traffic_type', 'otp'), 0.07, false, at, at
FROM (SELECT array_agg(id ORDER BY code) AS account_ids FROM billing.accounts) known,
    generate_series(1, %(events)s) n,
    LATERAL (SELECT %(start)s::timestamptz + n * %(step)s::interval AS at) instant
"""

_PRICES: Final = (
    ("fee", PriceModel.FLAT, None, ((None, "0", "999"),)),
    ("platform", PriceModel.FLAT, None, ((None, "0", "4999"),)),
    ("sms", PriceModel.PER_UNIT, "otp.sms", ((None, "0.1175", "0"),)),
    (
        "whatsapp",
        PriceModel.GRADUATED,
        "otp.whatsapp",
        (("100", "0.35", "0"), ("500", "0.3", "0"), (None, "0.25", "10")),
    ),
    ("email", PriceModel.PACKAGE, "otp.email", ((None, "8", "0"),)),
)


def make_rating_world(database_url: str, accounts: int) -> None:
    """Accounts on a plan of five charges, their periods, and room for the month's events."""
    engine = open_engine(database_url, application="bench")
    try:
        with unit_of_work(engine) as session:
            version_id = _plan(session)
        for start in range(0, accounts, _AT_ONCE):
            with unit_of_work(engine) as session:
                make_payers(session, version_id, range(start, min(start + _AT_ONCE, accounts)), 1)
        with unit_of_work(engine) as session:
            make_periods(session, END)
    finally:
        engine.dispose()
    days = [MONTH + timedelta(days=number) for number in range(-1, 32)]
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in partition_statements(days):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO usage.shard_state (shard, epoch, accept_seq, mode, cursor_ms, cursor_seq) "
            "VALUES (0, 1, 0, 'open', 0, 0) ON CONFLICT DO NOTHING"
        )


def add_events(database_url: str, accounts: int, first: date, days: int, events: int) -> None:
    """Spread events evenly over whole days in India."""
    each = events // days
    for number in range(days):
        midnight = f"{first + timedelta(days=number)} 00:00:00+05:30"
        _insert(database_url, accounts, midnight, each, f"{86_400 / (each + 1):.6f} seconds")


def add_hour(database_url: str, accounts: int, day: date, events: int) -> tuple[int, int]:
    """One more hour, the last of a day in India; the `accept_seq` before it and of its last."""
    return _insert(
        database_url,
        accounts,
        f"{day} 22:59:59+05:30",
        events,
        f"{3_600 / (events + 1):.6f} seconds",
    )


def _insert(
    database_url: str, accounts: int, start: str, events: int, step: str
) -> tuple[int, int]:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT accept_seq FROM usage.shard_state").fetchone()
        after = 0 if row is None else row[0]
        connection.execute(
            _DAY,
            {
                "after": after,
                "accounts": accounts,
                "types": list(TYPES),
                "kinds": len(TYPES),
                "events": events,
                "start": start,
                "step": step,
            },
        )
        connection.execute("UPDATE usage.shard_state SET accept_seq = %s", [after + events])
    return after, after + events


def _plan(session: Session) -> UUID:
    now = SystemClock().now()
    plan = PricePlan(code="bench-rating", name="Bench", created_at=now)
    session.add(plan)
    session.flush()
    version = PlanVersion(plan_id=plan.id, version=1, status=VersionStatus.DRAFT, created_at=now)
    session.add(version)
    session.flush()
    for ordinal, (code, model, event_type, tiers) in enumerate(_PRICES, 1):
        item = BillableItem(
            code=f"bench-{code}",
            name=code,
            kind=ItemKind.RECURRING if event_type is None else ItemKind.USAGE,
            event_type=event_type,
            event_filter={},
            aggregation=Aggregation.COUNT,
            unit="unit",
            sac="998429",
            created_at=now,
        )
        session.add(item)
        session.flush()
        charge = Charge(
            plan_version_id=version.id,
            item_id=item.id,
            ordinal=ordinal,
            code=code,
            name=code,
            price_model=model,
            package_size=Decimal(100) if model is PriceModel.PACKAGE else None,
            match_dimensions=[],
        )
        session.add(charge)
        session.flush()
        rate = Rate(charge_id=charge.id, ordinal=1, currency="INR", match={})
        session.add(rate)
        session.flush()
        session.add_all(
            RateTier(
                rate_id=rate.id,
                ordinal=position,
                up_to=None if up_to is None else Decimal(up_to),
                unit_price=Decimal(unit_price),
                flat_amount=Decimal(flat),
            )
            for position, (up_to, unit_price, flat) in enumerate(tiers, 1)
        )
        session.flush()
    version.status, version.published_at = VersionStatus.ACTIVE, now
    session.flush()
    return version.id
