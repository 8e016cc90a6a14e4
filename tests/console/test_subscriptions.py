"""The page of subscriptions: the next invoice is seen before a change is made."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine, select
from streamlit.testing.v1 import AppTest

from billing.access.roles import Role
from billing.db.unit_of_work import read_only, unit_of_work
from billing.periods import Interval
from billing.rating.plan import FLAT, Charge, Rate, Tier
from billing.subscriptions.tables import ChangeKind, Subscription, SubscriptionChange
from billing.subscriptions.tables import SubscriptionSegment as Segment
from console.access import PageName
from tests.console.conftest import words_on
from tests.console.pressing import named, press
from tests.console.test_pages import visit
from tests.console.world import World
from tests.support.factories.plans import make_plan

SignIn = Callable[..., AppTest]


def fee(amount: int, code: str = "fee") -> Charge:
    """A monthly price that is billed by days."""
    rate = Rate(1, "INR", (Tier(None, flat_amount=Decimal(amount)),))
    return Charge(
        code=code, name="Platform fee", item_code="fee", sac="998413", unit="month",
        price_model=FLAT, rates=(rate,), prorated=True,
    )  # fmt: skip


@pytest.fixture
def subscribed(engine: Engine, world: World) -> Subscription:
    """Acme on a plan of ₹1,50,000 a month, with one of ₹3,00,000 on sale beside it."""
    with unit_of_work(engine) as session:
        version, _ = make_plan(session, [fee(150_000)])
        make_plan(session, [fee(300_000)])
        found = session.scalars(
            select(Subscription).filter_by(account_id=world.accounts["acme"].id)
        ).one()
        session.add(
            Segment(
                subscription_id=found.id, plan_version_id=version.id, quantity=Decimal(1),
                starts_on=date(2025, 1, 1),
            )
        )  # fmt: skip
        return found


def test_a_change_is_previewed_then_made(
    sign_in: SignIn, engine: Engine, world: World, subscribed: Subscription
) -> None:
    app = visit(sign_in(Role.FINANCE_ADMIN), PageName.SUBSCRIPTIONS)
    app.selectbox(key="subscriptions_customer").set_value(world.accounts["acme"].customer_id).run()
    named(app, "text_input", "seats_change").set_value("2")
    press(app, "see_change")
    assert "₹1,50,000.00" in words_on(app)
    assert "₹3,00,000.00" in words_on(app)
    named(app, "text_input", "seats_change").set_value("3").run()
    assert not [one for one in app.button if str(one.key).startswith("do_")]

    app.segmented_control(key=f"change_{subscribed.id}").set_value("pause").run()
    press(app, "see_pause")
    press(app, "do_")

    assert "It is paused" in words_on(app)
    with read_only(engine) as session:
        kinds = session.scalars(
            select(SubscriptionChange.kind).filter_by(subscription_id=subscribed.id)
        ).all()
    assert list(kinds) == [ChangeKind.PAUSE]


def test_another_interval_shows_the_invoice_of_its_first_period_too(
    sign_in: SignIn, engine: Engine, world: World, subscribed: Subscription
) -> None:
    with unit_of_work(engine) as session:
        session.get_one(Subscription, subscribed.id).interval = Interval.YEAR
    app = visit(sign_in(Role.FINANCE_ADMIN), PageName.SUBSCRIPTIONS)
    app.selectbox(key="subscriptions_customer").set_value(world.accounts["acme"].customer_id).run()
    named(app, "selectbox", "when_change").set_value("On a day").run()
    named(app, "date_input", "day_change").set_value(date(2027, 3, 15))
    press(app, "see_change")
    assert "The first of the new interval for 15" in words_on(app)


def test_an_add_on_is_added_beside_the_plan_and_ends_alone(
    sign_in: SignIn, engine: Engine, world: World, subscribed: Subscription
) -> None:
    with unit_of_work(engine) as session:
        make_plan(session, [fee(6_200, "number")], is_add_on=True)
    app = visit(sign_in(Role.FINANCE_ADMIN), PageName.SUBSCRIPTIONS)
    app.selectbox(key="subscriptions_customer").set_value(world.accounts["acme"].customer_id).run()
    change = app.segmented_control(key=f"change_{subscribed.id}")
    assert len(named(app, "selectbox", "plan_change").options) == 2
    change.set_value("add_on").run()
    named(app, "text_input", "seats_add_on").set_value("2")
    press(app, "see_add_on")
    assert "+₹12,400.00" in words_on(app)
    press(app, "do_")
    assert "The add-on is agreed" in words_on(app).replace("\\", "")

    app.segmented_control(key=f"change_{subscribed.id}").set_value("end").run()
    named(app, "selectbox", "of_end").select_index(1)
    named(app, "selectbox", "when_end").set_value("On a day").run()
    named(app, "date_input", "day_end").set_value(world.today + timedelta(days=70)).run()
    press(app, "see_end")
    press(app, "do_")
    with read_only(engine) as session:
        kinds = session.scalars(
            select(SubscriptionChange.kind)
            .filter_by(subscription_id=subscribed.id)
            .order_by(SubscriptionChange.number)
        ).all()
    assert list(kinds) == [ChangeKind.ADD_ON, ChangeKind.REMOVE_ADD_ON]
    words = words_on(visit(app, PageName.COUPONS))
    assert "₹6,200.00" in words


def test_a_customer_sees_its_plan_and_changes_nothing(
    sign_in: SignIn, subscribed: Subscription
) -> None:
    assert subscribed.id
    words = words_on(visit(sign_in(Role.CUSTOMER), PageName.SUBSCRIPTIONS))
    assert "Timeline" in words
    assert "Change it" not in words
    assert "Zenith" not in words
