"""The gate: who comes in, and what ends a session."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text
from streamlit.testing.v1 import AppTest

from billing.access.roles import Role
from tests.console.conftest import make_key, open_app, words_on
from tests.console.world import World

SignIn = Callable[..., AppTest]
pytestmark = pytest.mark.usefixtures("furnished_url")


def _try(key: str) -> AppTest:
    app = open_app()
    app.text_input(key="sign_in_key").set_value(key)
    return app.button(key="enter").click().run()


def test_nothing_of_the_company_is_seen_before_signing_in() -> None:
    app = open_app()
    assert app.title[0].value == "Sign in"
    assert not app.metric
    assert "Acme" not in words_on(app)


@pytest.mark.parametrize("key", ["", "nonsense", "otpb_000000000000_guess", "otpb__"])
def test_an_unknown_key_is_refused_with_a_sentence(key: str) -> None:
    app = _try(key)
    assert app.title[0].value == "Sign in"
    assert "not valid" in app.error[0].value
    assert not app.exception


def test_a_key_that_only_sends_events_has_no_pages(engine: Engine, world: World) -> None:
    app = _try(make_key(engine, world, Role.SENDER))
    assert app.title[0].value == "Sign in"
    assert "no pages" in app.error[0].value


def test_a_valid_key_opens_the_overview_and_signing_out_closes_it(sign_in: SignIn) -> None:
    app = sign_in(Role.FINANCE_ADMIN)
    assert app.title[0].value == "Overview"
    app.button(key="sign_out").click().run()
    assert app.title[0].value == "Sign in"
    assert "actor" not in app.session_state


def test_the_key_itself_is_not_kept_in_the_session(sign_in: SignIn) -> None:
    app = sign_in(Role.FINANCE_ADMIN)
    assert "otpb_" not in str(app.session_state)
    assert "sign_in_key" not in app.session_state


def test_revoking_a_key_ends_its_session_at_the_next_click(sign_in: SignIn, engine: Engine) -> None:
    app = sign_in(Role.SUPPORT)
    with engine.begin() as connection:
        connection.execute(text("UPDATE billing.api_keys SET revoked_at = now()"))
    app.run()
    assert app.title[0].value == "Sign in"


def test_a_key_whose_role_was_taken_away_ends_its_session(sign_in: SignIn, engine: Engine) -> None:
    app = sign_in(Role.FINANCE_ADMIN)
    with engine.begin() as connection:
        connection.execute(text("UPDATE billing.api_keys SET role = 'support'"))
    app.run()
    assert app.title[0].value == "Sign in"
