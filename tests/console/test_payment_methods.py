"""The page of payment methods: a saved one, and a wallet that fills itself from it."""

from collections.abc import Callable

from sqlalchemy import Engine
from streamlit.testing.v1 import AppTest

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.unit_of_work import read_only, unit_of_work
from billing.payments.method_tables import AutoTopUp, MethodState, PaymentMethod
from billing.payments.methods import BeginMethod, NoteMethod, begin_method, note_saved
from console.access import PageName
from tests.console.conftest import words_on
from tests.console.pressing import labelled, named, press
from tests.console.test_pages import visit
from tests.console.world import World

SignIn = Callable[..., AppTest]


def test_a_customer_lets_its_wallet_fill_itself_and_stops_it_by_removing_the_card(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    with unit_of_work(engine) as session:
        context = Context(session, SYSTEM, SystemClock())
        account_id = world.accounts["lotus"].id
        method = begin_method(context, BeginMethod(account_id=account_id, gateway="stripe"))
        session.flush()
        note_saved(
            context,
            NoteMethod(method_id=method.id, provider_method_id="pm_1", label="visa •••• 4242"),
        )
    app = visit(sign_in(Role.CUSTOMER, "lotus"), PageName.PAYMENT_METHODS)
    assert "visa •••• 4242" in words_on(app)
    named(app, "text_input", "auto_buy").set_value("many")
    assert "Enter amounts in digits" in words_on(press(app, "auto_submit"))
    named(app, "text_input", "auto_buy").set_value("25,000.00")
    press(app, "auto_submit")
    assert "₹25,000.00" in words_on(app)
    labelled(app, "Remove").click().run()
    assert "Its method of payment was removed" in words_on(app)
    with read_only(engine) as session:
        assert session.get_one(PaymentMethod, method.id).state is MethodState.REMOVED
        assert not session.get_one(AutoTopUp, world.wallets["lotus"]).is_on
