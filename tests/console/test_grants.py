"""Credit grants on the page of wallets: given, seen in their turn, and taken back."""

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import Engine, select
from streamlit.testing.v1 import AppTest

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.catalog.tables import Aggregation, BillableItem, ItemKind
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.unit_of_work import read_only, unit_of_work
from billing.wallets.grants import GrantCredits, grant_credits
from billing.wallets.tables import CreditGrant
from console.access import PageName
from tests.console.conftest import words_on
from tests.console.pressing import named, press
from tests.console.test_pages import visit
from tests.console.world import World
from tests.support.factories.parties import LONG_AGO

SignIn = Callable[..., AppTest]


def test_credits_are_granted_and_taken_back_unless_they_were_paid_for(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    with unit_of_work(engine) as session:
        item = BillableItem(
            code="otp-sms", name="SMS OTP", kind=ItemKind.USAGE, event_type="otp.sms",
            event_filter={}, aggregation=Aggregation.COUNT, unit="OTP", sac="998413",
            created_at=LONG_AGO,
        )  # fmt: skip
        session.add(item)
    app = visit(sign_in(Role.FINANCE_ADMIN), PageName.WALLETS)
    app.selectbox(key="wallet_open").set_value(world.wallets["lotus"]).run()
    assert "No credit grants" in words_on(app)
    named(app, "text_input", "grant_reference").set_value("welcome-lotus")
    assert "Enter amounts in digits" in words_on(press(app, "grant_submit"))
    last = world.today + timedelta(days=30)
    named(app, "text_input", "grant_amount").set_value("500.00")
    named(app, "number_input", "grant_priority").set_value(10)
    named(app, "date_input", "grant_last").set_value(last)
    named(app, "multiselect", "grant_items").set_value(["otp-sms"])
    press(app, "grant_submit")

    said = words_on(app)
    assert "are granted to Lotus Health" in said.replace("\\", "")
    assert "SMS OTP" in said
    assert "Credits for some items are not in the balance" in said.replace("\\", "")
    with read_only(engine) as session:
        made = session.scalars(select(CreditGrant)).one()
    assert (made.amount_units, made.priority, made.item_codes) == (500_000_000, 10, ["otp-sms"])
    assert made.expires_on == last + timedelta(days=1)

    assert "at least 3 characters" in words_on(press(app, "void_submit"))
    named(app, "text_input", "void_reason").set_value("Granted twice")
    press(app, "void_submit")
    assert "Taken back: Granted twice" in words_on(app)

    wallet_id = world.wallets["lotus"]
    app.segmented_control(key=f"grant_kind_{wallet_id}").set_value("purchased").run()
    assert not [one for one in app.date_input if str(one.key).startswith("grant_last")]
    named(app, "text_input", "grant_amount").set_value("1,000")
    named(app, "text_input", "grant_tax").set_value("180")
    named(app, "text_input", "grant_reference").set_value("NEFT-77")
    press(app, "grant_submit")
    assert "₹3,310.55" in words_on(app)
    assert not [one for one in app.button if str(one.key).startswith("void_submit")]


def test_a_customer_sees_its_own_grants_and_gives_none(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    with unit_of_work(engine) as session:
        context = Context(session, SYSTEM, SystemClock())
        for code in ("lotus", "kirana"):
            request = GrantCredits(
                wallet_id=world.wallets[code], amount_minor=7_000, reference=f"for-{code}"
            )
            grant_credits(context, request)
    app = visit(sign_in(Role.CUSTOMER, "lotus"), PageName.WALLETS)
    assert "for-lotus" in words_on(app)
    assert "for-kirana" not in words_on(app)
    assert "Granted by" not in words_on(app)
    assert not [one for one in app.button if str(one.key).startswith("grant_submit")]
