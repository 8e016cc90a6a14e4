"""The live view as a program sees it: a snapshot, then changes, and a way to go on."""

import signal
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import pytest
from websockets.exceptions import ConnectionClosed

from billing.access.roles import Role
from tests.ingest_api.live.conftest import Plant, Talk
from tests.support.processes import wait_for_port


def closed(talk: Talk) -> int:
    """The code the server closes with."""
    end = ending(talk).rcvd
    assert end is not None
    return end.code


def ending(talk: Talk) -> ConnectionClosed:
    """How the connection ends."""
    while True:
        try:
            talk.socket.recv(timeout=20)
        except ConnectionClosed as end:
            return end


def used(events: int) -> Any:
    return lambda one: one["today"]["events"] == events


def test_a_snapshot_comes_first_and_then_what_changes(plant: Plant) -> None:
    sender = plant.sender()
    assert sender.wallet is not None
    with plant.talk(plant.admin) as talk:
        snapshot = talk.subscribe(sender.account.id)
        assert (snapshot["type"], snapshot["resumed"]) == ("snapshot", False)
        [state] = snapshot["accounts"]
        assert state["account_id"] == str(sender.account.id)
        assert state["wallet"]["balance_units"] == 0
        assert state["today"]["events"] == 0
        plant.send(sender)
        [state] = talk.hear_until(used(1))["accounts"]
        assert state["today"]["quantity"] == "1"
        assert state["wallet"]["balance_units"] < 0
        spent = state["wallet"]["balance_units"]
        grant = {"amount_minor": 10_000, "reference": "live-grant", "note": "for the test"}
        plant.post(f"/wallets/{sender.wallet.id}/grants", grant)
        seen = talk.hear_until(lambda one: one["wallet"]["balance_units"] > 0)["accounts"][0]
        assert seen["wallet"]["balance_units"] == spent + 100_000_000


def test_amended_and_voided_events_are_counted_as_what_they_are_now(plant: Plant) -> None:
    sender = plant.sender()
    with plant.talk(plant.admin) as talk:
        talk.subscribe(sender.account.id)
        kept, voided = plant.send(sender), plant.send(sender)
        talk.hear_until(used(2))
        plant.post(f"/events/core/{voided}/revisions", {"void": True})
        talk.hear_until(used(1))
        plant.post(f"/events/core/{kept}/revisions", {"quantity": 5})
        state = talk.hear_until(lambda one: one["today"]["quantity"] == "5")["accounts"][0]
        assert state["today"]["events"] == 1
    with plant.talk(plant.admin) as talk:  # counted anew, it is the same
        [again] = talk.subscribe(sender.account.id)["accounts"]
        assert again["today"] == state["today"]


def test_who_comes_back_is_told_only_what_changed(plant: Plant) -> None:
    still, busy = plant.sender(), plant.sender()
    both = (still.account.id, busy.account.id)
    with plant.talk(plant.admin) as talk:
        first = talk.subscribe(*both)
        assert len(first["accounts"]) == 2
        plant.send(busy)
        last = talk.hear_until(used(1))["id"]
    plant.send(busy)
    with plant.talk(plant.admin) as talk:
        back = talk.subscribe(*both, after=last)
        assert back["resumed"] is True
        told = {one["account_id"] for one in back["accounts"]}
        assert told <= {str(busy.account.id)}
        if not told:  # it had not been read yet
            told = {one["account_id"] for one in talk.hear_until(used(2))["accounts"]}
        assert told == {str(busy.account.id)}
    with plant.talk(plant.admin) as talk:
        other = talk.subscribe(*both, after="another-1")
        assert (other["resumed"], len(other["accounts"])) == (False, 2)


def test_other_accounts_may_be_asked_for_on_the_same_connection(plant: Plant) -> None:
    one, two = plant.sender(), plant.sender()
    with plant.talk(plant.admin) as talk:
        talk.subscribe(one.account.id)
        assert talk.subscribe(two.account.id)["accounts"][0]["account_id"] == str(two.account.id)
        plant.send(one)
        plant.send(two)
        changes = talk.hear_until(used(1))
        assert [state["account_id"] for state in changes["accounts"]] == [str(two.account.id)]


def test_a_heart_beats_when_nothing_happens_and_when_asked(plant: Plant) -> None:
    sender = plant.sender()
    with plant.talk(plant.admin) as talk:
        name = talk.subscribe(sender.account.id)["id"].partition("-")[0]
        assert talk.hear("heartbeat")["id"].startswith(f"{name}-")
        talk.say(type="ping")
        assert talk.hear("heartbeat")["type"] == "heartbeat"


def test_a_key_may_be_the_first_message_and_never_part_of_the_url(plant: Plant) -> None:
    sender = plant.sender()
    with plant.talk() as talk:
        talk.say(type="authenticate", key=plant.admin)
        assert talk.subscribe(sender.account.id)["type"] == "snapshot"
    with plant.talk(path=f"/api/v1/live?key={plant.admin}&authorization={plant.admin}") as talk:
        refused = talk.subscribe(sender.account.id)
        assert refused["error"]["code"] == "unauthenticated"
        assert closed(talk) == 4401


def test_a_customer_sees_its_own_accounts_and_no_other(plant: Plant) -> None:
    own, other = plant.sender(), plant.sender()
    key = plant.key(Role.CUSTOMER, customer_id=own.account.customer_id)
    with plant.talk(key) as talk:
        assert len(talk.subscribe(own.account.id)["accounts"]) == 1
    for account_id in (other.account.id, uuid4()):
        with plant.talk(key) as talk:
            assert talk.subscribe(account_id)["error"]["code"] == "not_found"
            assert closed(talk) == 4404


@pytest.mark.parametrize(
    ("said", "code"),
    [("{", 4400), ("[]", 4400), ('{"type":"dance"}', 4400), ("x" * 20_000, 4400),
     ('{"type":"subscribe","accounts":[]}', 4400), ('{"type":"authenticate","key":"x"}', 4400)],
)  # fmt: skip
def test_nonsense_ends_the_connection_with_a_reason(plant: Plant, said: str, code: int) -> None:
    with plant.talk(plant.admin) as talk:
        talk.socket.send(said)
        assert talk.hear()["type"] == "error"
        assert closed(talk) == code


def test_a_wrong_key_and_one_that_may_not_are_told_so(plant: Plant) -> None:
    with plant.talk("otpb_nobody_nothing") as talk:
        assert closed(talk) == 4401
    with plant.talk(plant.key(Role.SENDER)) as talk:
        assert closed(talk) == 4403


def test_a_key_that_is_revoked_ends_its_connections(plant: Plant) -> None:
    sender = plant.sender()
    key = plant.key(Role.SUPPORT)
    with plant.talk(key) as talk:
        talk.subscribe(sender.account.id)
        plant.revoke(key)
        assert closed(talk) == 4401


def test_more_connections_than_there_is_room_for_are_told_to_come_later(plant: Plant) -> None:
    with ExitStack() as kept:
        for _ in range(3):
            kept.enter_context(plant.talk(plant.admin))
        one_more = kept.enter_context(plant.talk(plant.admin))
        assert one_more.hear()["error"]["code"] == "busy"
        assert closed(one_more) == 1013


def test_a_server_that_stops_says_goodbye(plant: Plant) -> None:
    sender = plant.sender()
    with plant.talk(plant.admin) as talk:
        talk.subscribe(sender.account.id)
        assert plant.api.stop() in {0, -signal.SIGTERM}
        assert closed(talk) == 1012
    plant.api.start()
    wait_for_port(plant.port)
