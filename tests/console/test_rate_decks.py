"""The page of rate decks: what a version changes and costs, and publishing it."""

from collections.abc import Callable
from datetime import date

import pytest
from sqlalchemy import Engine
from streamlit.testing.v1 import AppTest

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.unit_of_work import unit_of_work
from billing.decks.service import (
    CreateDeck,
    DraftDeckVersion,
    PublishDeckVersion,
    create_deck,
    draft_deck_version,
    publish_deck_version,
)
from console.access import PageName
from tests.console.conftest import words_on
from tests.console.test_pages import visit

SignIn = Callable[..., AppTest]

pytestmark = pytest.mark.usefixtures("furnished_url")


def test_a_draft_is_looked_at_and_published(sign_in: SignIn, engine: Engine) -> None:
    with unit_of_work(engine) as session:
        context = Context(session, SYSTEM, SystemClock())
        deck = create_deck(context, CreateDeck(code="world", name="Worldwide"))
        session.flush()
        for day, price in ((date(2026, 1, 1), "0.10"), (date(2999, 1, 1), "0.12")):
            csv = f"currency,country,unit_price\nINR,IN,{price}\n"
            request = DraftDeckVersion(deck_id=deck.id, effective_from=day, csv=csv)
            version = draft_deck_version(context, request)
            session.flush()
            if price == "0.10":
                publish_deck_version(context, PublishDeckVersion(version_id=version.id))
    app = visit(sign_in(Role.PRODUCT_ANALYST), PageName.RATE_DECKS)
    words = words_on(app)
    assert "+20.0 %" in words
    assert "IN / * / * / *" in words
    (publish,) = [one for one in app.button if str(one.key).startswith("publish_submit")]
    publish.click().run()
    assert "Tick the box" in words_on(app)
    app.checkbox[0].check()
    (publish,) = [one for one in app.button if str(one.key).startswith("publish_submit")]
    publish.click().run()
    assert "Version 2 is published" in words_on(app)
    assert not [one for one in app.button if str(one.key).startswith("publish_submit")]
