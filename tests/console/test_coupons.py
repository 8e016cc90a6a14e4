"""Coupons in the console: made, redeemed with the next invoice in view, ended and withdrawn."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Final

import pytest
from sqlalchemy import Engine, select
from streamlit.testing.v1 import AppTest

from billing.access.actor import SYSTEM, Actor
from billing.access.roles import Role
from billing.clock import SystemClock
from billing.commands import Context
from billing.coupons.service import CreateCoupon, create_coupon
from billing.coupons.tables import Coupon, Duration, Redemption
from billing.db.unit_of_work import read_only, unit_of_work
from billing.errors import ForbiddenError
from billing.rating.plan import GRADUATED, Charge, Rate, Tier
from billing.subscriptions.tables import Subscription
from console.access import PageName
from console.queries import coupons
from tests.console.conftest import words_on
from tests.console.pressing import named, press
from tests.console.test_pages import visit
from tests.console.test_subscriptions import fee, subscribed
from tests.console.world import World
from tests.support.factories.plans import make_plan

SignIn = Callable[..., AppTest]
MESSAGES: Final = Charge(
    code="messages", name="Messages", item_code="messages", sac="998413", unit="message",
    price_model=GRADUATED, event_type="otp.sms",
    rates=(Rate(1, "INR", (Tier(Decimal(100), Decimal("0.2")), Tier(None, Decimal("0.1")))),),
)  # fmt: skip

__all__ = ["subscribed"]


def coupon(engine: Engine, code: str, **terms: object) -> None:
    with unit_of_work(engine) as session:
        request = CreateCoupon.model_validate(
            {"code": code, "name": code.title(), "duration": Duration.FOREVER, **terms}
        )
        create_coupon(Context(session, SYSTEM, SystemClock()), request)


def said(app: AppTest) -> str:
    return words_on(app).replace("\\", "")


def test_a_product_manager_makes_a_coupon_and_withdraws_it(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    app = visit(sign_in(Role.PRODUCT_ANALYST), PageName.COUPONS)
    assert "No coupons yet" in words_on(app)
    assert "No add-ons on sale" in words_on(app)
    app.segmented_control(key="coupon_duration").set_value(Duration.REPEATING).run()
    named(app, "text_input", "coupon_code").set_value("MONSOON")
    named(app, "text_input", "coupon_name").set_value("Monsoon offer")
    named(app, "text_input", "coupon_percent").set_value("120")
    assert "percent" in words_on(press(app, "coupon_submit"))
    named(app, "text_input", "coupon_percent").set_value("12.5 %")
    named(app, "date_input", "coupon_last").set_value(world.today)
    press(app, "coupon_submit")
    assert "12.5% off each line" in said(app)
    assert "3 periods" in said(app)
    with read_only(engine) as session:
        made = session.scalars(select(Coupon)).one()
    assert (made.redeem_until, made.periods) == (world.today + timedelta(days=1), 3)

    assert "Tick the box" in words_on(press(app, "withdraw_submit"))
    named(app, "checkbox", "withdraw_sure").check()
    press(app, "withdraw_submit")
    assert "is withdrawn" in words_on(app)
    assert not [one for one in app.button if str(one.key).startswith("withdraw_submit")]


def test_a_coupon_is_redeemed_and_ended_with_the_next_invoice_in_view(
    sign_in: SignIn, engine: Engine, world: World, subscribed: Subscription
) -> None:
    coupon(engine, "TENTH", percent="10")
    coupon(engine, "DOLLARS", amounts={"USD": 500})
    with unit_of_work(engine) as session:
        make_plan(session, [fee(6_200), MESSAGES], is_add_on=True)
    app = visit(sign_in(Role.FINANCE_ADMIN), PageName.SUBSCRIPTIONS)
    app.selectbox(key="subscriptions_customer").set_value(world.accounts["acme"].customer_id).run()
    assert [one[:5] for one in named(app, "selectbox", "coupon_code").options] == ["TENTH"]
    press(app, "see_coupon_wish")
    assert "−₹15,000.00" in words_on(app)
    with read_only(engine) as session:
        assert session.scalars(select(Redemption)).all() == []
    (redeem,) = [one for one in app.button if one.label == "Redeem it"]
    redeem.click().run()
    assert "has TENTH now" in said(app)
    assert not app.error

    app.segmented_control(key=f"coupon_task_{subscribed.id}").set_value("End a coupon").run()
    press(app, "see_coupon_wish")
    assert "+₹15,000.00" in words_on(app)
    (end,) = [one for one in app.button if one.label == "End it"]
    end.click().run()
    with read_only(engine) as session:
        (made,) = session.scalars(select(Redemption)).all()
        coupon_id = made.coupon_id
    assert made.ends_on == made.starts_on
    visit(app, PageName.COUPONS).selectbox(key="coupon_open").set_value(coupon_id).run()
    assert "Acme Payments" in said(app)
    assert "₹6,200.00" in said(app)
    assert said(app).count("By usage, in INR") == 1


def test_a_coupon_says_how_it_stands_and_a_customer_cannot_list_any(
    furnished_url: str, engine: Engine, world: World
) -> None:
    assert furnished_url
    day = timedelta(days=1)
    coupon(engine, "LATER", percent="10", redeem_from=world.today + day)
    coupon(engine, "PAST", percent="10", redeem_until=world.today)
    coupon(engine, "NOW", amounts={"INR": 500}, max_redemptions=1)
    states = {one.code: one.state for one in coupons.coupons(SYSTEM, world.today, 9)}
    assert states == {"LATER": "coming", "PAST": "over", "NOW": "open"}
    confined = Actor("lotus", Role.CUSTOMER, world.accounts["lotus"].customer_id)
    with pytest.raises(ForbiddenError):
        coupons.coupons(confined, world.today, 9)
