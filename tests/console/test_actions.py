"""The only writer: one effect per key, and nothing a role may not do."""

from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from streamlit.testing.v1 import AppTest

from billing.access.actor import Actor
from billing.access.roles import Role
from billing.db.unit_of_work import unit_of_work
from billing.errors import BillingError, ConflictError, ForbiddenError, InvalidError, NotFoundError
from billing.ids import new_id
from billing.usage.tables import AuthorizationHold, WalletDrift
from billing.wallets.holds import HoldState
from console import actions
from console.access import PageName
from tests.console.conftest import words_on
from tests.console.test_pages import visit
from tests.console.world import World
from tests.support.factories.parties import LONG_AGO

SignIn = Callable[..., AppTest]
FINANCE = Actor("finance", Role.FINANCE_ADMIN)
PAYMENT = actions.Payment(amount_minor=5_000_000, tax_minor=900_000, reference="UTR-1")

pytestmark = pytest.mark.usefixtures("furnished_url")


def _top_ups(engine: Engine) -> int:
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT count(*) FROM billing.wallet_adjustments WHERE reference LIKE '%UTR%'")
        )
        return int(found.scalar_one())


def test_the_same_key_twice_credits_once(engine: Engine, world: World) -> None:
    first = actions.credit(FINANCE, "one-form", world.wallets["lotus"], PAYMENT)
    second = actions.credit(FINANCE, "one-form", world.wallets["lotus"], PAYMENT)
    assert first.balance_units == second.balance_units
    assert _top_ups(engine) == 1


def test_the_same_key_with_other_input_is_a_conflict(world: World) -> None:
    actions.credit(FINANCE, "one-form", world.wallets["lotus"], PAYMENT)
    other = actions.Payment(amount_minor=1, tax_minor=0, reference="UTR-2")
    with pytest.raises(ConflictError, match="used before"):
        actions.credit(FINANCE, "one-form", world.wallets["lotus"], other)


def _total(engine: Engine, draft: UUID) -> int:
    with engine.connect() as connection:
        query = text("SELECT total_minor FROM billing.invoices WHERE id = :id")
        return int(connection.execute(query, {"id": draft}).scalar_one())


def test_the_same_key_twice_issues_one_invoice(engine: Engine, world: World) -> None:
    draft, total = world.drafts["acme"], _total(engine, world.drafts["acme"])
    first = actions.approve(FINANCE, "one-form", draft, total)
    second = actions.approve(FINANCE, "one-form", draft, total)
    assert first.number == second.number
    with engine.connect() as connection:
        counter = connection.execute(text("SELECT last_number FROM billing.document_counters"))
        assert counter.scalar_one() == 1


@pytest.mark.parametrize(
    "role", [Role.SUPPORT, Role.PRODUCT_ANALYST, Role.DATA_ENGINEER, Role.CUSTOMER, Role.SENDER]
)
def test_every_action_refuses_a_role_without_the_permission(role: Role, world: World) -> None:
    actor = Actor("someone", role)
    draft = world.drafts["acme"]
    for attempt in (
        lambda: actions.submit(actor, "k1", draft),
        lambda: actions.reject(actor, "k2", draft, "Because."),
        lambda: actions.approve(actor, "k3", draft, 1),
        lambda: actions.credit(actor, "k4", world.wallets["lotus"], PAYMENT),
    ):
        with pytest.raises(ForbiddenError):
            attempt()
    outcomes = list(actions.approve_each(actor, "k5", {draft: 1}))
    assert isinstance(outcomes[0].error, ForbiddenError)


def test_a_customer_gets_no_document_but_its_own_issued_ones(engine: Engine, world: World) -> None:
    lotus = Actor("lotus", Role.CUSTOMER, world.accounts["lotus"].customer_id)
    for name in ("acme", "lotus"):
        with pytest.raises(NotFoundError):
            actions.document(lotus, world.drafts[name])
    actions.approve(FINANCE, "a", world.drafts["acme"], _total(engine, world.drafts["acme"]))
    with pytest.raises(NotFoundError):
        actions.document(lotus, world.drafts["acme"])
    assert actions.document(FINANCE, world.drafts["acme"]).startswith(b"%PDF")


def test_input_that_makes_no_sense_names_the_field(world: World) -> None:
    with pytest.raises(InvalidError) as refused:
        actions.reject(FINANCE, "k", world.drafts["acme"], " x ")
    assert refused.value.fields[0].field == "reason"


def _click(app: AppTest, prefix: str) -> AppTest:
    (button,) = [found for found in app.button if str(found.key).startswith(prefix)]
    return button.click().run()


def _fill(app: AppTest, **fields: str) -> None:
    for prefix, value in fields.items():
        (box,) = [found for found in app.text_input if str(found.key).startswith(prefix)]
        box.set_value(value)


def test_topping_up_on_the_page_credits_once_even_if_the_form_is_sent_again(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    app = visit(sign_in(Role.FINANCE_ADMIN), PageName.WALLETS)
    app.selectbox(key="wallet_open").set_value(world.wallets["lotus"]).run()
    slot = f"form:top_up:{world.wallets['lotus']}"
    key = app.session_state[slot]
    for _ in range(2):
        _fill(app, top_up_amount="50,000.00", top_up_tax="9000", top_up_reference="UTR-7")
        _click(app, "top_up_submit")
        assert not app.error
        assert app.session_state[slot] != key
        app.session_state[slot] = key
        app.run()
    assert _top_ups(engine) == 1


@pytest.mark.parametrize("amount", ["", "abc", "0", "-5", "1.005", "NaN", "Infinity", "1e99"])
def test_an_amount_that_is_none_is_refused_before_it_is_sent(
    sign_in: SignIn, engine: Engine, amount: str
) -> None:
    app = visit(sign_in(Role.FINANCE_ADMIN), PageName.WALLETS)
    _fill(app, top_up_amount=amount, top_up_reference="UTR-8")
    _click(app, "top_up_submit")
    assert "above zero" in app.error[0].value
    assert _top_ups(engine) == 0


def test_who_may_not_write_wallets_sees_what_is_held_and_no_form(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    wallet_id, account_id = world.wallets["lotus"], world.accounts["lotus"].id
    with unit_of_work(engine) as session:
        session.add(
            AuthorizationHold(
                name="a:b", account_id=account_id, wallet_id=wallet_id, state=HoldState.OPEN,
                amount_units=1_230_000, body_hash="", balance_units=0, available_units=0,
                verdict="ok", quotas=[], created_at=LONG_AGO, expires_at=LONG_AGO,
            )
        )  # fmt: skip
        session.add(
            WalletDrift(
                id=new_id(), wallet_id=wallet_id, shard=0, epoch=1, cursor_ms=0, cursor_seq=0,
                expected_units=1, found_units=2, found_at=LONG_AGO,
            )
        )  # fmt: skip
    app = visit(sign_in(Role.SUPPORT), PageName.WALLETS)
    app.selectbox(key="wallet_open").set_value(wallet_id).run()
    assert "₹1.23" in words_on(app)
    assert "nothing is authorised" in app.warning[0].value
    assert not [box for box in app.text_input if str(box.key).startswith("top_up")]


def test_one_refusal_does_not_stop_the_rest(engine: Engine, world: World) -> None:
    ids = [world.drafts["nusantara"], world.drafts["acme"]]
    totals = {draft: _total(engine, draft) for draft in ids}
    outcomes = list(actions.approve_each(FINANCE, "bulk", totals))
    assert isinstance(outcomes[0].error, BillingError)
    assert outcomes[1].number
