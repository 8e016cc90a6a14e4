"""How much an account may use, asked together with its money."""

from collections.abc import Callable
from typing import Any

from billing.wallets.connect import open_any
from tests.ingest_api.intake.conftest import Api
from tests.ingest_api.intake.test_holds import PATH, hold
from tests.support.factories.usage import Sender

Until = Callable[[Callable[[], bool]], None]


def entitle(api: Api, sender: Sender, units: int, enforcement: str) -> str:
    item = api.one(
        "SELECT item_id::text FROM billing.charges WHERE plan_version_id = %s", api.version.id
    )
    body = {
        "account_id": str(sender.account.id),
        "item_id": item,
        "included_units": units,
        "enforcement": enforcement,
    }
    response = api.client.post("/api/v1/entitlements", json=body, headers=api.as_admin)
    assert response.status_code == 201, response.text
    assert api.client.post("/api/v1/entitlements", json=body, headers=api.as_admin).json()["error"][
        "code"
    ] == ("entitlement_exists")
    return str(response.json()["data"]["id"])


def is_counted(api: Api, entitlement: str) -> bool:
    """Whether Redis knows what was used before."""
    with open_any(api.redis_url) as client:
        names = client.scan_iter(f"*:q:{entitlement.replace('-', '')}:*")
        return any(client.hexists(name, "base") for name in names)


def change(api: Api, entitlement: str, method: str, path: str = "", **body: Any) -> int:
    response = api.client.request(
        method, f"/api/v1/entitlements/{entitlement}{path}", json=body, headers=api.as_admin
    )
    return response.status_code


def test_a_hard_quota_says_no_and_a_soft_one_warns(api: Api, until: Until) -> None:
    sender = api.sender(prepaid=False)
    api.send([api.event(sender), api.event(sender, dimensions={"country": "IN"})])
    entitlement = entitle(api, sender, 3, "hard")  # one was used before, the other does not count
    until(lambda: is_counted(api, entitlement))

    first, second = hold(api, sender), hold(api, sender)
    assert (first["attributes"]["reason"], second["attributes"]["reason"]) == ("ok", "ok")
    assert hold(api, sender)["attributes"]["reason"] == "quota_exceeded"

    assert api.send(api.event(sender, authorization_id=first["id"])).status_code == 200
    assert not api.ask(sender)["authorised"]
    api.client.post(f"{PATH}/{second['id']}/release")
    assert api.ask(sender)["reason"] == "ok"
    api.send([api.event(sender), api.event(sender)])
    assert api.ask(sender)["reason"] == "quota_exceeded"

    assert change(api, entitlement, "PATCH", included_units=3, enforcement="soft") == 200
    until(lambda: api.ask(sender)["reason"] == "quota_warning")
    assert api.ask(sender)["authorised"]
    assert change(api, entitlement, "PATCH", included_units=9, enforcement="hard") == 200
    until(lambda: api.ask(sender)["reason"] == "ok")
    assert change(api, entitlement, "POST", "/end") == 200
    assert change(api, entitlement, "POST", "/end") == 409


def test_what_was_used_is_known_again_after_redis_was_emptied(api: Api, until: Until) -> None:
    sender = api.sender(prepaid=False)
    entitlement = entitle(api, sender, 2, "hard")
    until(lambda: is_counted(api, entitlement))
    api.send([api.event(sender), api.event(sender)])
    until(lambda: api.ask(sender)["reason"] == "quota_exceeded")

    with open_any(api.redis_url) as client:
        client.flushall()
    until(lambda: api.ask(sender)["reason"] == "quota_exceeded")
    assert not api.ask(sender)["authorised"]


def test_entitlements_are_seen_only_by_those_who_may(api: Api) -> None:
    sender = api.sender()
    entitlement = entitle(api, sender, 1, "soft")
    shown = api.client.get(f"/api/v1/entitlements/{entitlement}", headers=api.as_admin)
    assert shown.json()["data"]["attributes"]["enforcement"] == "soft"
    listed = api.client.get(
        f"/api/v1/entitlements?account_id={sender.account.id}", headers=api.as_admin
    )
    assert [one["id"] for one in listed.json()["data"]] == [entitlement]
    assert api.client.get(f"/api/v1/entitlements/{entitlement}").status_code == 403
