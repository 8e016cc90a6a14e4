"""The catalogue in the console: prices in words, versions published and copied, plans withdrawn."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import Engine, select
from streamlit.testing.v1 import AppTest

from billing.access.actor import SYSTEM, Actor
from billing.access.roles import Role
from billing.catalog.diff import Change
from billing.catalog.tables import BillableItem, PlanVersion, PricePlan, VersionStatus
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.unit_of_work import read_only, unit_of_work
from billing.errors import ForbiddenError
from billing.rating.plan import PER_UNIT, Charge, Rate, Tier
from billing.subscriptions.tables import Subscription
from billing.subscriptions.tables import SubscriptionSegment as Segment
from billing.subsets.service import CreateSubset, create_subset
from console.access import PageName
from console.components.prices import change_rows
from console.queries import catalogue
from tests.console.conftest import words_on
from tests.console.pressing import named, press
from tests.console.test_pages import visit
from tests.console.test_subscriptions import fee, subscribed
from tests.console.world import World
from tests.support.factories.plans import make_plan

SignIn = Callable[..., AppTest]
__all__ = ["subscribed"]
TEXTS = Charge(
    code="sms", name="Texts", item_code="texts", sac="998413", unit="message",
    price_model=PER_UNIT, event_type="otp.sms", free_units=Decimal(100),
    rates=(Rate(1, "INR", (Tier(None, Decimal("0.22")),), match={"country": "IN"}),
           Rate(2, "INR", (Tier(None, Decimal("3.9")),))),
)  # fmt: skip


def plan_of(engine: Engine, version_id: object) -> PricePlan:
    with read_only(engine) as session:
        version = session.get_one(PlanVersion, version_id)
        return session.get_one(PricePlan, version.plan_id)


def versions_of(engine: Engine, plan: PricePlan) -> dict[int, tuple[VersionStatus, str | None]]:
    with read_only(engine) as session:
        rows = session.scalars(select(PlanVersion).filter_by(plan_id=plan.id))
        return {row.version: (row.status, row.template) for row in rows}


def seen(app: AppTest) -> str:
    return words_on(app).replace("\\", "")


def choose(app: AppTest, key: str, view: str) -> AppTest:
    changed: AppTest = named(app, "button_group", key).set_value(view).run()
    return changed


def test_a_product_manager_copies_tries_publishes_and_withdraws_a_plan(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    with unit_of_work(engine) as session:
        version, _ = make_plan(session, [fee(2_500), TEXTS])
    plan = plan_of(engine, version.id)
    app = visit(sign_in(Role.PRODUCT_ANALYST), PageName.CATALOGUE)
    app.selectbox(key="plan_open").set_value(plan.id).run()
    text = seen(app)
    for said in ("₹2,500.00 a month", "₹0.22 per message", "India", "₹3.90 per message",
                 "100 messages free"):  # fmt: skip
        assert said in text
    choose(app, "more_", "Publish or copy")
    named(app, "text_input", "copy_name").set_value("summer")
    press(app, "copy_submit")
    press(app, "copy_submit")
    assert versions_of(engine, plan) == {
        1: (VersionStatus.ACTIVE, None),
        2: (VersionStatus.DRAFT, "summer"),
        3: (VersionStatus.DRAFT, None),
    }
    rows = {row.version: row.id for row in catalogue.versions(SYSTEM, plan.id, world.today)}
    version_box = app.selectbox(key=f"version_of_{plan.id}")
    version_box.set_value(rows[2]).run()
    choose(app, "more_", "Publish or copy")
    assert "A template is never published" in seen(app)
    app.selectbox(key=f"version_of_{plan.id}").set_value(rows[3]).run()
    assert "both say the same" in seen(app)
    choose(app, "more_", "Change it")
    prices = [one for one in app.text_input if str(one.key).startswith("price_")]
    assert [(one.label, one.value) for one in prices] == [
        ("Platform fee, INR", "2500"),
        ("Texts, India, INR", "0.22"),
        ("Texts, INR", "3.9"),
    ]
    prices[1].set_value("nothing")
    assert "Enter prices in digits" in seen(press(app, "prices_submit"))
    named(app, "text_input", "price_1_").set_value("0.195")
    press(app, "prices_submit")
    named(app, "number_input", "term_trial").set_value(14)
    press(app, "terms_submit")
    choose(app, "more_", "What it changes")
    assert "₹0.195" in seen(app)
    assert "Trial days" in seen(app)
    choose(app, "more_", "On past usage")
    press(app, "rate_")
    assert "Nothing was billed then" in seen(app)
    choose(app, "more_", "Publish or copy")
    assert "Tick the box" in seen(press(app, "publish_submit"))
    named(app, "checkbox", "publish_sure").check()
    press(app, "publish_submit")
    assert "Version 3 is published" in seen(app)
    assert versions_of(engine, plan)[1] == (VersionStatus.ARCHIVED, None)

    named(app, "checkbox", "archive_sure").check()
    press(app, "archive_submit")
    assert "is archived" in seen(app)
    assert plan_of(engine, version.id).archived_at is not None
    named(app, "checkbox", "restore_sure").check()
    press(app, "restore_submit")
    assert plan_of(engine, version.id).archived_at is None


def test_subscribers_are_moved_after_it_was_seen_what_becomes_of_them(
    sign_in: SignIn, engine: Engine, world: World, subscribed: Subscription
) -> None:
    with read_only(engine) as session:
        segment = session.scalars(select(Segment).filter_by(subscription_id=subscribed.id)).one()
    plan = plan_of(engine, segment.plan_version_id)
    app = visit(sign_in(Role.FINANCE_ADMIN), PageName.CATALOGUE)
    app.selectbox(key="plan_open").set_value(plan.id).run()
    choose(app, "more_", "Publish or copy")
    press(app, "copy_submit")
    rows = {row.version: row for row in catalogue.versions(SYSTEM, plan.id, world.today)}
    assert (rows[1].subscriptions, rows[2].subscriptions) == (1, 0)
    app.selectbox(key=f"version_of_{plan.id}").set_value(rows[2].id).run()
    choose(app, "more_", "Publish or copy")
    named(app, "checkbox", "publish_sure").check()
    press(app, "publish_submit")
    choose(app, "more_", "Move subscribers")
    assert not [one for one in app.button if str(one.key).startswith("migrate_submit")]
    press(app, "try_")
    assert "1 would move, 0 would stay" in seen(app)
    assert "Acme Payments" in seen(app)
    named(app, "checkbox", "migrate_sure").check()
    press(app, "migrate_submit")
    assert "1 were moved" in seen(app)
    with read_only(engine) as session:
        parts = session.scalars(
            select(Segment.plan_version_id)
            .filter_by(subscription_id=subscribed.id)
            .order_by(Segment.starts_on)
        ).all()
    assert parts == [rows[1].id, rows[2].id]


def test_items_agreements_and_subsets_are_shown_and_an_item_is_retired(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    with unit_of_work(engine) as session:
        version, _ = make_plan(session, [TEXTS])
        unused = BillableItem(
            code="unused", name="Unused", kind="usage", event_type="otp.fax", event_filter={},
            aggregation="count", unit="page", sac="998413", created_at=SystemClock().now(),
        )  # fmt: skip
        session.add(unused)
        plan = session.get_one(PricePlan, version.plan_id)
        create_subset(
            Context(session, SYSTEM, SystemClock()),
            CreateSubset(
                code="banks", name="Banks", is_exclusive=True, plan_codes=(plan.code,),
                customer_ids=(world.accounts["acme"].customer_id,),
            ),
        )  # fmt: skip
        session.flush()
        item_id = unused.id
    app = visit(sign_in(Role.PRODUCT_ANALYST), PageName.CATALOGUE)
    choose(app, "catalogue_view", "Billable items")
    assert "Number of events of otp.fax" in seen(app)
    app.selectbox(key="item_open").set_value(item_id).run()
    named(app, "checkbox", "retire_item_sure").check()
    press(app, "retire_item_submit")
    assert "Unused is retired" in seen(app)
    choose(app, "catalogue_view", "Agreed prices")
    assert "No agreed prices" in seen(app)
    choose(app, "catalogue_view", "Who is offered what")
    assert "Acme Payments" in seen(app)
    assert not app.error
    confined = Actor("acme", Role.CUSTOMER, world.accounts["acme"].customer_id)
    with pytest.raises(ForbiddenError):
        catalogue.plans(confined, date(2026, 7, 1))


def test_changes_between_versions_are_told_as_prices_of_places() -> None:
    price = "charges.sms.rates.INR[country=IN].tiers.1.unit_price"
    rows = change_rows(
        [
            Change("trial_days", "changed", "0", "14"),
            Change(price, "changed", "0.22", "0.2"),
            Change("charges.fee.item", "added", None, "platform"),
            Change("charges.fee.name", "added", None, "Fee"),
            Change("charges.sms.limits.INR.minimum", "added", None, "500"),
        ]
    )
    assert rows == [
        ("Terms", "Trial days", "0", "14"),
        ("SMS", "India, INR: unit price", "₹0.22", "₹0.20"),
        ("Fee", "The whole charge", None, "New charge"),
        ("SMS", "INR, minimum", None, "500"),
    ]
