"""SQL and Python rate generated plans and usage alike, to the last unit.

Many accounts are generated at a time and rated by one dbt run, because a run costs seconds and a
generated account microseconds.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.periods import Period, local_day
from billing.rating.plan import (
    COUNT,
    FLAT,
    GRADUATED,
    PACKAGE,
    PER_UNIT,
    STAIRSTEP,
    SUM,
    VOLUME,
    Charge,
    Rate,
    Segment,
    Tier,
    UsageRow,
)
from billing.rating.rater import Rating, full_period, rate_period
from tests.support.dbt import DbtProjectRunner
from tests.support.factories.events import store_event
from tests.support.factories.parties import make_account
from tests.support.factories.plans import make_billing_period, make_plan, make_subscription
from tests.support.postgres import fresh_database
from tests.support.rating import (
    RATING_MODELS,
    lines_of,
    open_run,
    rating_vars,
    unrated_of,
)

MONTH = date(2026, 5, 1)
EVENT_TYPES = ("otp.sms", "otp.voice")
VALUES = {
    "country": ("IN", "US", "ID"),
    "channel": ("sms", "voice"),
    "status": ("delivered", "failed", "unknown"),
    "operator": ("jio", "airtel"),
    "route": ("direct",),
}


@dataclass(frozen=True)
class Event:
    at: datetime
    event_type: str
    dimensions: dict[str, str]
    quantity: Decimal


@dataclass(frozen=True)
class Plan:
    charges: tuple[Charge, ...]
    quantity: Decimal


@dataclass(frozen=True, repr=False)
class World:
    """One account with its subscription, and what it used. Its repr is short: tests print many."""

    currency: str
    zone: str
    anchor_day: int
    period: Period
    plans: tuple[Plan, ...]
    change_on: date | None
    events: tuple[Event, ...]

    @property
    def spans(self) -> list[tuple[Plan, date, date | None]]:
        """Each plan with the days it is in force."""
        if self.change_on is None:
            return [(self.plans[0], self.period.start, None)]
        return [
            (self.plans[0], self.period.start, self.change_on),
            (self.plans[-1], self.change_on, None),
        ]


def decimals(low: str, high: str, places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(Decimal(low), Decimal(high), places=places, allow_nan=False)


def dimension_sets(names: Sequence[str]) -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries({}, optional={n: st.sampled_from(VALUES[n]) for n in names})


@st.composite
def tiers(draw: st.DrawFn, model: str) -> tuple[Tier, ...]:
    if model == FLAT:
        return (Tier(None, flat_amount=draw(decimals("0", "9999", 4))),)
    if model in {PER_UNIT, PACKAGE}:
        return (Tier(None, unit_price=draw(decimals("0", "9", 12))),)
    bounds = sorted(draw(st.sets(decimals("0.5", "12", 1), max_size=3)))
    return tuple(
        Tier(
            bound,
            Decimal(0) if model == STAIRSTEP else draw(decimals("0", "9", 12)),
            draw(decimals("0", "50", 3)),
        )
        for bound in [*bounds, None]
    )


@st.composite
def charges(draw: st.DrawFn, code: str, currency: str) -> Charge:
    model = draw(st.sampled_from([FLAT, PER_UNIT, GRADUATED, PACKAGE, VOLUME, STAIRSTEP]))
    if model == FLAT:
        matches: list[dict[str, str]] = [{}]
    else:
        matches = draw(
            st.lists(
                dimension_sets(list(VALUES)),
                min_size=1,
                max_size=5,
                unique_by=lambda match: tuple(sorted(match.items())),
            )
        )
    currencies = st.sampled_from([currency] * 9 + ["USD"])
    rates = tuple(
        Rate(ordinal, draw(currencies), draw(tiers(model)), match)
        for ordinal, match in enumerate(matches, 1)
    )
    is_usage = model != FLAT
    statuses = st.sampled_from([{}, {"status": ["delivered"]}, {"country": ["IN", "US"]}])
    return Charge(
        code=code,
        name=f"Charge {code}",
        item_code=code,
        sac="998429",
        unit="message",
        price_model=model,
        rates=rates,
        event_type=draw(st.sampled_from(EVENT_TYPES)) if is_usage else None,
        event_filter=draw(statuses) if is_usage else {},
        aggregation=draw(st.sampled_from([COUNT, SUM])),
        prorated=draw(st.booleans()),
        free_units=draw(st.sampled_from([Decimal(0), Decimal("2.5"), Decimal(7)])),
        package_size=draw(st.sampled_from([Decimal(1), Decimal(3), Decimal("2.5")]))
        if model == PACKAGE
        else None,
    )


@st.composite
def plans(draw: st.DrawFn, currency: str) -> Plan:
    count = draw(st.integers(1, 3))
    made = tuple(draw(charges(f"c{index}", currency)) for index in range(count))
    return Plan(made, draw(st.sampled_from([Decimal(1), Decimal(3), Decimal("2.5")])))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    currency = draw(st.sampled_from(["INR", "USD", "IDR"]))
    zone = draw(st.sampled_from(["Asia/Kolkata", "Asia/Jakarta", "America/New_York"]))
    anchor = draw(st.sampled_from([1, 1, 15, 29, 31]))
    whole = full_period(date(2026, 5, 1) if anchor == 1 else date(2026, 4, 30), anchor)
    if whole.end <= MONTH:
        whole = full_period(whole.end, anchor)
    start = whole.start + timedelta(days=draw(st.sampled_from([0, 0, 3, whole.days - 1])))
    period = Period(start, whole.end)
    change_on = None
    if period.days > 1 and draw(st.booleans()):
        change_on = start + timedelta(days=draw(st.integers(1, period.days - 1)))
    plan = draw(plans(currency))
    later = draw(st.sampled_from([plan, Plan(plan.charges, plan.quantity + 1), None]))
    hours = st.integers(-30, period.days * 24 + 30)
    midnight = datetime.combine(period.start, datetime.min.time(), ZoneInfo(zone))
    events = draw(
        st.lists(
            st.builds(
                lambda hour, kind, dims, quantity: Event(
                    midnight + timedelta(hours=hour), kind, dims, quantity
                ),
                hours,
                st.sampled_from(EVENT_TYPES),
                dimension_sets(list(VALUES)),
                decimals("0", "9", 6),
            ),
            max_size=25,
        )
    )
    return World(
        currency,
        zone,
        anchor,
        period,
        (plan, later or draw(plans(currency))),
        change_on,
        tuple(events),
    )


@pytest.fixture(scope="module")
def engine(postgres_server: str, template_database: str) -> Iterator[Engine]:
    with fresh_database(postgres_server, template_database) as url:
        engine = open_engine(url, application="parity")
        yield engine
        engine.dispose()


def in_python(world: World, subscription_id: UUID, stored: Sequence[Sequence[Charge]]) -> Rating:
    totals: dict[tuple[object, ...], tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal(0)))
    for event in world.events:
        key = (
            local_day(event.at, world.zone),
            event.event_type,
            tuple(sorted(event.dimensions.items())),
        )
        count, quantity = totals[key]
        totals[key] = (count + 1, quantity + event.quantity)
    usage = [
        UsageRow(day, kind, dict(dimensions), count, quantity)  # type: ignore[arg-type,call-overload]
        for (day, kind, dimensions), (count, quantity) in totals.items()
    ]
    segments = [
        Segment(start, end, tuple(charges_of), plan.quantity)
        for (plan, start, end), charges_of in zip(world.spans, stored, strict=True)
    ]
    return rate_period(
        subscription_id,
        world.period,
        segments,
        usage,
        currency=world.currency,
        anchor_day=world.anchor_day,
    )


@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(worlds(), min_size=20, max_size=20))
def test_generated_plans_rate_alike_in_sql_and_python(
    engine: Engine, dbt: DbtProjectRunner, generated: list[World]
) -> None:
    expected: dict[UUID, Rating] = {}
    with unit_of_work(engine) as session:
        for world in generated:
            account = make_account(
                session, currency=world.currency, zone=world.zone, tax_profile=False
            )
            made = {id(plan): make_plan(session, plan.charges) for plan, _, _ in world.spans}
            subscription = make_subscription(
                session,
                account,
                [(made[id(p)][0], p.quantity, start, end) for p, start, end in world.spans],
                anchor_day=world.anchor_day,
            )
            make_billing_period(session, subscription, world.zone, world.period, MONTH)
            for event in world.events:
                store_event(
                    session,
                    account.id,
                    event.at,
                    event_type=event.event_type,
                    quantity=event.quantity,
                    dimensions=event.dimensions,
                )
            stored = [made[id(plan)][1] for plan, _, _ in world.spans]
            expected[account.id] = in_python(world, subscription.id, stored)
        run = open_run(session, MONTH)
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    dbt.build(url, RATING_MODELS, rating_vars(run))

    with unit_of_work(engine) as session:
        actual = lines_of(session, *expected)
        missed = unrated_of(session, *expected)
    rated = {line.line_ref: line for rating in expected.values() for line in rating.lines}
    assert [line["line_ref"] for line in actual] == sorted(rated)
    for row in actual:
        line = rated[row["line_ref"]]
        assert {
            "amount": row["amount"],
            "amount_minor": row["amount_minor"],
            "quantity": row["quantity"],
            "free_quantity": row["free_quantity"],
            "event_count": row["event_count"],
            "unit_price": row["unit_price"],
            "rate_id": row["rate_id"],
            "description": row["description"],
            "period": (row["period_start"], row["period_end"]),
            "covered": (row["covered_from"], row["covered_to"]),
            "is_recurring": row["is_recurring"],
            "tiers": row["tier_breakdown"],
        } == {
            "amount": line.amount,
            "amount_minor": line.amount_minor,
            "quantity": line.quantity,
            "free_quantity": line.free_quantity,
            "event_count": line.event_count,
            "unit_price": line.unit_price,
            "rate_id": line.rate_id,
            "description": line.description,
            "period": (line.period.start, line.period.end),
            "covered": (line.covered.start, line.covered.end),
            "is_recurring": line.is_recurring,
            "tiers": list(line.tier_breakdown),
        }, row["line_ref"]
    unrated: dict[tuple[UUID, str], tuple[int, Decimal]] = {}
    for account_id, rating in expected.items():
        for one in rating.unrated:
            count, quantity = unrated.get((account_id, one.charge_code), (0, Decimal(0)))
            unrated[account_id, one.charge_code] = (
                count + one.event_count,
                quantity + one.quantity,
            )
    assert {(account, code): (n, q) for account, code, n, q in missed} == unrated
