"""Money that is held between asking and sending, through HTTP."""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

import httpx

from billing.access.roles import Role
from billing.db.unit_of_work import unit_of_work
from tests.ingest_api.intake.conftest import Api
from tests.ingest_api.intake.test_authorizations import pay
from tests.support.factories.usage import Sender, make_sender

Until = Callable[[Callable[[], bool]], None]
_names = count(1)

PATH = "/api/v1/authorizations"


def name() -> str:
    return f"send-{next(_names)}"


def body(sender: Sender, **changes: Any) -> dict[str, Any]:
    return {
        "account_id": str(sender.account.id),
        "event_type": "otp.sms",
        "dimensions": {"country": "IN"},
        **changes,
    }


def hold(api: Api, sender: Sender, **changes: Any) -> dict[str, Any]:
    """The whole answer's data."""
    response = api.client.post(PATH, json=body(sender, **changes))
    assert response.status_code == 200, response.text
    data: dict[str, Any] = response.json()["data"]
    return data


def funded(api: Api, until: Until, rupees: int) -> Sender:
    sender = api.sender()
    pay(api, sender, rupees, f"hold-{next(_names)}")
    until(lambda: api.ask(sender)["authorised"])
    return sender


def available(api: Api, sender: Sender) -> str:
    return str(api.ask(sender)["available"])


def test_a_yes_holds_its_price_until_it_is_released(api: Api, until: Until) -> None:
    sender = funded(api, until, 1)

    given = hold(api, sender)
    assert given["attributes"]["authorised"]
    assert given["attributes"]["state"] == "open"
    assert given["attributes"]["available"] == "0.88"
    assert given["attributes"]["balance"] == "1"
    assert available(api, sender) == "0.88"

    shown = api.client.get(f"{PATH}/{given['id']}").json()["data"]
    assert (shown["attributes"]["state"], shown["attributes"]["price"]) == ("open", "0.12")

    for _ in range(2):  # it is let go once, and saying so again changes nothing
        released = api.client.post(f"{PATH}/{given['id']}/release")
        assert released.json()["data"]["attributes"]["state"] == "released"
        assert available(api, sender) == "1"


def test_of_200_at_once_with_funds_for_100_exactly_100_are_authorised(
    api: Api, until: Until
) -> None:
    sender = funded(api, until, 12)
    key = api.client.headers["Authorization"]

    async def ask_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(
            base_url=str(api.client.base_url),
            headers={"Authorization": key},
            timeout=30,
            limits=httpx.Limits(max_connections=50),
        ) as client:
            return await asyncio.gather(*(client.post(PATH, json=body(sender)) for _ in range(200)))

    reasons = [one.json()["data"]["attributes"]["reason"] for one in asyncio.run(ask_all())]
    assert reasons.count("ok") == 100
    assert reasons.count("insufficient_balance") == 100


def test_the_same_id_gives_the_same_answer_and_another_body_is_a_conflict(
    api: Api, until: Until
) -> None:
    sender, mine = funded(api, until, 1), name()
    first = hold(api, sender, authorization_id=mine)
    assert hold(api, sender, authorization_id=mine) == first
    assert available(api, sender) == "0.88"
    assert api.client.post(f"{PATH}/{first['id']}/release").status_code == 200
    assert_given_up(hold(api, sender, authorization_id=mine), "released")

    other = api.client.post(PATH, json=body(sender, authorization_id=mine, quantity=2))
    assert (other.status_code, other.json()["error"]["code"]) == (409, "authorization_conflict")

    header = {"Idempotency-Key": f"any text: {mine}"}
    answers = [api.client.post(PATH, json=body(sender), headers=header) for _ in range(2)]
    assert answers[0].json()["data"] == answers[1].json()["data"]
    assert available(api, sender) == "0.88"


def assert_given_up(repeated: dict[str, Any], state: str) -> None:
    """Nothing is held under that id any more, so nothing may be sent for it."""
    said = repeated["attributes"]
    assert (said["authorised"], said["reason"], said["state"]) == (False, "hold_over", state)


def test_a_hold_that_is_not_used_expires(api: Api, until: Until) -> None:
    sender = funded(api, until, 1)
    asked = {"authorization_id": name(), "ttl_seconds": 1}
    given = hold(api, sender, **asked)

    until(lambda: available(api, sender) == "1")
    assert_given_up(hold(api, sender, **asked), "expired")
    shown = api.client.get(f"{PATH}/{given['id']}").json()["data"]["attributes"]
    assert shown["state"] == "expired"
    assert api.client.post(f"{PATH}/{given['id']}/release").json()["data"]["attributes"] == shown


def test_of_a_wallet_that_has_not_reached_redis_nothing_is_authorised_without_a_hold(
    api: Api, until: Until
) -> None:
    nowhere = 99  # a shard without a writer: nobody brings the wallet to Redis
    with unit_of_work(api.engine) as session:
        sender = make_sender(session, api.version)
        assert sender.wallet is not None
        sender.wallet.shard = nowhere
    pay(api, sender, 1, f"hold-{next(_names)}")

    assert api.ask(sender)["authorised"]  # a mere question is answered by the books
    refused = api.client.post(PATH, json=body(sender))
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "try_again")
    assert refused.headers["retry-after"]

    api.connection.execute(
        "UPDATE billing.wallets SET shard = %s WHERE id = %s",
        [sender.account.shard, sender.wallet.id],
    )
    pay(api, sender, 1, f"hold-{next(_names)}")
    until(lambda: api.client.post(PATH, json=body(sender)).status_code == 200)
    until(lambda: available(api, sender) == "1.88")


def test_a_hold_of_an_account_without_a_wallet_is_known_too(api: Api) -> None:
    sender = api.sender(prepaid=False)
    given = hold(api, sender)
    assert given["attributes"]["reason"] == "ok"
    released = api.client.post(f"{PATH}/{given['id']}/release")
    assert released.json()["data"]["attributes"]["state"] == "released"


def test_what_is_wrong_with_an_id_or_a_time_is_said(api: Api) -> None:
    sender = api.sender()
    for wrong in ({"authorization_id": "a:b"}, {"ttl_seconds": 0}, {"ttl_seconds": 86_401}):
        refused = api.client.post(PATH, json=body(sender, **wrong))
        assert refused.status_code == 400
        assert refused.json()["error"]["fields"][0]["field"] == next(iter(wrong))
    assert api.client.get(f"{PATH}/{sender.account.id}:none").status_code == 404
    assert api.client.post(f"{PATH}/{sender.account.id}:none/release").status_code == 404


def test_holds_need_the_permission_to_send(api: Api) -> None:
    sender = api.sender()
    support = api.key(Role.SUPPORT)
    path = f"{PATH}/{sender.account.id}:some"
    assert api.client.get(path, headers=support).status_code == 403
    assert api.client.post(f"{path}/release", headers=support).status_code == 403


def test_an_event_that_names_its_authorisation_captures_it_once(api: Api, until: Until) -> None:
    sender = funded(api, until, 1)
    given, mine = hold(api, sender), name()
    hold(api, sender, authorization_id=mine)
    assert available(api, sender) == "0.76"

    event = api.event(sender, authorization_id=given["id"])
    for _ in range(2):  # a repeated event is known, and captures nothing more
        assert api.send(event).status_code == 200
        now = api.ask(sender)
        assert (now["balance"], now["available"]) == ("0.88", "0.76")
    assert api.send(api.event(sender, authorization_id=mine)).status_code == 200
    assert available(api, sender) == "0.76"
    repeated = hold(api, sender, authorization_id=mine)["attributes"]
    assert (repeated["authorised"], repeated["state"]) == (True, "captured")

    path = f"{PATH}/{given['id']}"
    assert api.client.get(path).json()["data"]["attributes"]["state"] == "captured"
    refused = api.client.post(f"{path}/release")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "already_captured")


def test_usage_is_recorded_whatever_became_of_its_authorisation(api: Api, until: Until) -> None:
    sender, other = funded(api, until, 1), funded(api, until, 1)
    gone, theirs = hold(api, sender), hold(api, other)
    api.client.post(f"{PATH}/{gone['id']}/release")

    for authorization in (gone["id"], theirs["id"], "never-asked"):
        answer = api.send(api.event(sender, authorization_id=authorization))
        assert answer.json()["data"]["attributes"]["status"] == "accepted"
    assert api.balance(sender) == 640_000
    assert available(api, sender) == "0.64"
    assert available(api, other) == "0.88"


def test_the_authorisation_is_no_part_of_what_an_event_says(api: Api, until: Until) -> None:
    sender = funded(api, until, 1)
    event = api.event(sender)
    assert api.send(event).status_code == 200
    repeated = api.send({**event, "authorization_id": "said-later"})
    assert repeated.json()["data"]["attributes"]["status"] == "duplicate"


def test_a_cloud_event_captures_by_an_extension_attribute(api: Api, until: Until) -> None:
    sender = funded(api, until, 1)
    given = hold(api, sender)
    event = {
        "specversion": "1.0",
        "id": name(),
        "source": "core",
        "type": "otp.sms",
        "subject": str(sender.account.id),
        "authorizationid": given["id"],
        "data": {"country": "IN", "status": "delivered"},
    }
    headers = {"Content-Type": "application/cloudevents+json"}
    assert api.send(event, headers=headers).status_code == 204
    assert available(api, sender) == "0.88"
    shown = api.client.get(f"{PATH}/{given['id']}").json()["data"]["attributes"]
    assert shown["state"] == "captured"
