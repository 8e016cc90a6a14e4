"""Every page, for every role, and what a customer may see of it."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text
from streamlit.testing.v1 import AppTest

from billing.access.actor import Actor
from billing.access.roles import Role
from billing.errors import ForbiddenError, NotFoundError
from console.access import PAGES, PageName, require_page
from console.navigation import TITLES
from console.queries import invoices, overview, usage, wallets
from tests.console.conftest import words_on
from tests.console.world import MERCHANTS, World

SignIn = Callable[..., AppTest]
OTHERS = [merchant.name for merchant in MERCHANTS if merchant.code != "lotus"]


def visit(app: AppTest, page: PageName) -> AppTest:
    """Follow the link to a page."""
    return app.switch_page(f"app_pages/{page.value}.py").run()


@pytest.mark.parametrize("role", [role for role in Role if PAGES[role]])
def test_each_role_sees_its_pages_and_none_fails(sign_in: SignIn, role: Role) -> None:
    app = sign_in(role)
    for page in PAGES[role]:
        visit(app, page)
        assert not app.exception, page
        assert not app.error, (page, [error.value for error in app.error])
        assert app.title[0].value == TITLES[page][0]


def test_every_role_is_either_listed_with_pages_or_kept_out() -> None:
    assert set(PAGES) == set(Role)
    with pytest.raises(ForbiddenError):
        require_page(Actor("someone", Role.CUSTOMER), PageName.REVENUE)


def test_a_customer_sees_itself_and_nobody_else(sign_in: SignIn) -> None:
    app = sign_in(Role.CUSTOMER, "lotus")
    seen = ""
    for page in PAGES[Role.CUSTOMER]:
        seen += words_on(visit(app, page))
        for box in app.selectbox:
            seen += " ".join(box.options)
        for frame in app.dataframe:
            seen += frame.value.to_string()
    assert "₹2,310.55" in seen
    assert [name for name in OTHERS if name in seen] == []


def test_a_customer_is_not_shown_what_vendors_charge_us_or_drafts(
    sign_in: SignIn, world: World
) -> None:
    app = visit(sign_in(Role.CUSTOMER, "lotus"), PageName.INVOICES)
    assert "No invoices yet" in words_on(app)
    confined = Actor("lotus", Role.CUSTOMER, world.accounts["lotus"].customer_id)
    with pytest.raises(NotFoundError):
        invoices.facts(confined, world.drafts["lotus"])
    assert invoices.lines(confined, world.drafts["lotus"]) == []


def test_queries_confine_a_customer_whatever_filter_it_sends(
    furnished_url: str, world: World
) -> None:
    assert furnished_url
    confined = Actor("lotus", Role.CUSTOMER, world.accounts["lotus"].customer_id)
    staff = Actor("finance", Role.FINANCE_ADMIN)
    foreign = usage.UsageFilter(
        world.month, world.today, customer_id=world.accounts["acme"].customer_id
    )
    assert usage.totals(staff, foreign).units > 0
    assert usage.totals(confined, foreign).units == 0
    assert {row.customer for row in wallets.wallets(confined)} == {"Lotus Health"}
    assert wallets.ledger(confined, world.wallets["kirana"], None, 10) == []
    with pytest.raises(ForbiddenError):
        overview.activity(confined, 5)


def test_numbers_of_staff_never_come_from_a_customers_query(
    furnished_url: str, world: World
) -> None:
    assert furnished_url
    confined = Actor("lotus", Role.CUSTOMER, world.accounts["lotus"].customer_id)
    chosen = usage.UsageFilter(world.month, world.today)
    own = usage.totals(confined, chosen)
    everyone = usage.totals(Actor("finance", Role.FINANCE_ADMIN), chosen)
    assert own.customers == 1
    assert everyone.customers == len(MERCHANTS)
    assert usage.totals(confined, chosen) == own


def test_before_the_first_pipeline_run_pages_say_so(sign_in: SignIn, engine: Engine) -> None:
    app = sign_in(Role.FINANCE_ADMIN)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA marts CASCADE"))
    for page in (PageName.USAGE, PageName.REVENUE):
        app.session_state["nothing"] = page.value
        _clear_cache()
        assert "not built yet" in words_on(visit(app, page))
        assert not app.error
    assert not visit(app, PageName.OVERVIEW).error
    assert not visit(app, PageName.WALLETS).error


def test_a_failure_nobody_expected_shows_a_reference_and_no_traceback(
    sign_in: SignIn, engine: Engine
) -> None:
    app = sign_in(Role.FINANCE_ADMIN)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE billing.wallets RENAME COLUMN currency TO gone"))
    visit(app, PageName.WALLETS)
    assert "report reference" in app.error[0].value
    assert "gone" not in app.error[0].value
    assert "Traceback" not in words_on(app)
    assert not app.exception


def test_wallets_say_which_way_events_go_and_what_is_frozen_but_not_to_customers(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO usage.shard_state (shard, epoch, cursor_ms, cursor_seq, accept_seq,"
                " mode, undrained_epoch, undrained_ms, undrained_seq)"
                " VALUES (0, 2, 1767225600000, 0, 7, 'direct', 1, 1767225600000, 0),"
                " (3, 1, 0, 0, 0, 'rebuilding', NULL, NULL, NULL)"
                " ON CONFLICT (shard) DO UPDATE SET mode = excluded.mode,"
                " cursor_ms = excluded.cursor_ms, undrained_epoch = excluded.undrained_epoch,"
                " undrained_ms = excluded.undrained_ms, undrained_seq = excluded.undrained_seq"
            )
        )
        connection.execute(
            text(
                "INSERT INTO usage.wallet_drifts (id, wallet_id, shard, epoch, cursor_ms,"
                " cursor_seq, expected_units, found_units, found_at)"
                " VALUES (gen_random_uuid(), :wallet, 0, 2, 0, 0, 5, 6, now())"
            ),
            {"wallet": world.wallets["kirana"]},
        )
    page = visit(sign_in(Role.FINANCE_ADMIN), PageName.WALLETS)
    said = words_on(page).replace("\\", "")
    assert "Shard 0: Redis is away" in said
    assert "Shard 3: wallets are written to Redis anew" in said
    assert "1 wallet frozen" in said
    assert "taken in at 05:30:00 on 01 Jan" in said
    own = words_on(visit(sign_in(Role.CUSTOMER, "lotus"), PageName.WALLETS))
    assert [word for word in ("Redis", "frozen", "taken in at") if word in own] == []


def test_usage_filters_change_what_is_counted(sign_in: SignIn) -> None:
    app = visit(sign_in(Role.PRODUCT_ANALYST), PageName.USAGE)
    everything = app.metric[0].value
    app.multiselect(key="usage_channel").set_value(["voice"]).run()
    assert app.metric[0].value != everything
    assert len(app.metric[0].value) < len(everything)
    app.multiselect(key="usage_country").set_value(["IN"])
    app.selectbox(key="usage_period").set_value("Last 7 days").run()
    assert not app.error
    assert "India" in words_on(app)


def test_the_bridge_adds_up_and_says_when_it_does_not(sign_in: SignIn, engine: Engine) -> None:
    app = visit(sign_in(Role.FINANCE_ADMIN), PageName.REVENUE)
    assert not app.warning
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM marts.fct_mrr_movements WHERE movement = 'expansion'"))
    _clear_cache()
    app.run()
    assert "do not explain" in app.warning[0].value


def _clear_cache() -> None:
    import streamlit as st

    st.cache_data.clear()
