"""Looking an event up on the page, and settling what was set aside."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import Engine
from streamlit.testing.v1 import AppTest

from billing.access.actor import Actor
from billing.access.roles import Role
from billing.db.unit_of_work import unit_of_work
from billing.errors import ForbiddenError, InvalidError
from billing.ids import new_id
from billing.usage.tables import QuarantinedEntry, ShardState
from console import actions
from console.access import PageName
from console.queries import events
from tests.console.conftest import words_on
from tests.console.test_pages import visit
from tests.console.world import World

SignIn = Callable[..., AppTest]
ENGINEER = Actor("engineer", Role.DATA_ENGINEER)

pytestmark = pytest.mark.usefixtures("furnished_url")


@pytest.fixture
def aside(engine: Engine, world: World) -> UUID:
    """An entry that the writer set aside."""
    now = datetime.now(UTC)
    event = {
        "source": "core",
        "event_id": "odd-1",
        "event_type": "otp.sms",
        "occurred_at": now.isoformat(),
        "account_id": str(world.accounts["lotus"].id),
        "quantity": "-1",
    }
    with unit_of_work(engine) as session:
        session.merge(ShardState(shard=0, epoch=1))
        entry = QuarantinedEntry(
            id=new_id(),
            shard=0,
            epoch=1,
            stream_ms=1,
            stream_seq=0,
            position=0,
            reason="a quantity below zero",
            payload=b"?",
            recorded_at=now,
            source="core",
            event_id="odd-1",
            event=json.dumps(event),
        )
        session.add(entry)
        session.flush()
        return entry.id


def _press(app: AppTest, prefix: str) -> AppTest:
    (button,) = [found for found in app.button if str(found.key).startswith(prefix)]
    return button.click().run()


def test_an_event_that_was_set_aside_is_mended_taken_in_and_found_on_one_page(
    sign_in: SignIn, aside: UUID
) -> None:
    app = visit(sign_in(Role.DATA_ENGINEER), PageName.EVENTS)
    assert "a quantity below zero" in words_on(app)
    _press(app, "quarantine_replay")
    assert "quantity" in words_on(app)
    assert app.error

    (box,) = [one for one in app.text_area if str(one.key).startswith("quarantine_event")]
    box.set_value(str(box.value).replace('"-1"', "2"))
    _press(app, "quarantine_replay")
    assert not app.exception
    assert "It was taken in" in words_on(app)
    assert "Nothing is set aside" in words_on(app)

    app.text_input(key="event_source").set_value("core")
    app.text_input(key="event_id").set_value("odd-1")
    app.button(key="event_find").click().run()
    assert not app.exception
    said = words_on(app)
    assert "Revisions of the event" in said
    assert "otp.sms" in said
    assert aside


def test_an_entry_is_discarded_with_a_reason(sign_in: SignIn, engine: Engine, aside: UUID) -> None:
    app = visit(sign_in(Role.DATA_ENGINEER), PageName.EVENTS)
    _press(app, "quarantine_discard")
    assert app.error
    (box,) = [one for one in app.text_input if str(one.key).startswith("quarantine_reason")]
    box.set_value("a test of the merchant")
    _press(app, "quarantine_discard")
    with unit_of_work(engine) as session:
        assert session.get_one(QuarantinedEntry, aside).note == "a test of the merchant"


@pytest.mark.usefixtures("aside")
def test_who_may_not_settle_it_does_not_see_it(sign_in: SignIn) -> None:
    app = visit(sign_in(Role.SUPPORT), PageName.EVENTS)
    assert "Set aside" not in words_on(app)
    support = Actor("support", Role.SUPPORT)
    with pytest.raises(ForbiddenError):
        events.set_aside(support)


def test_the_actions_ask_for_the_permission_and_for_an_event(aside: UUID) -> None:
    support = Actor("support", Role.SUPPORT)
    with pytest.raises(ForbiddenError):
        actions.discard(support, "k", aside, "because")
    with pytest.raises(ForbiddenError):
        actions.replay_mended(support, "k", aside, "{}")
    for text in ("{", "[]", '{"a": 1.5}', "null"):
        with pytest.raises(InvalidError):
            actions.replay_mended(ENGINEER, "k", aside, text)


def test_an_event_that_is_not_there_is_said_so(sign_in: SignIn) -> None:
    app = visit(sign_in(Role.SUPPORT), PageName.EVENTS)
    app.text_input(key="event_source").set_value("core")
    app.text_input(key="event_id").set_value("none")
    app.button(key="event_find").click().run()
    assert "There is no event core/none" in "\n".join(error.value for error in app.error)
