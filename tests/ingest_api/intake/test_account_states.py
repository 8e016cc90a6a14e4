"""Grace, suspension and coming back: what wallets do to accounts, and what is told of it."""

from collections.abc import Callable
from typing import Any

from tests.ingest_api.intake.conftest import Api
from tests.ingest_api.intake.test_authorizations import pay
from tests.support.factories.usage import Sender

Until = Callable[[Callable[[], bool]], None]


def account(api: Api, sender: Sender) -> dict[str, Any]:
    response = api.client.get(f"/api/v1/accounts/{sender.account.id}", headers=api.as_admin)
    attributes: dict[str, Any] = response.json()["data"]["attributes"]
    return attributes


def change(api: Api, sender: Sender, what: str, body: Any = None) -> dict[str, Any]:
    path = f"/api/v1/accounts/{sender.account.id}/{what}"
    response = api.client.post(path, json=body, headers=api.as_admin)
    assert response.status_code == 200, response.text
    attributes: dict[str, Any] = response.json()["data"]["attributes"]
    return attributes


def reported(api: Api, sender: Sender) -> list[str]:
    response = api.client.get(
        "/api/v1/outbox", params={"account_id": str(sender.account.id)}, headers=api.as_admin
    )
    return [one["attributes"]["topic"] for one in response.json()["data"]]


def overspent(api: Api, until: Until, sender: Sender) -> Sender:
    """With a balance of -0.08."""
    pay(api, sender, 1, f"first-{sender.account.code}")
    until(lambda: api.ask(sender)["balance"] == "1")
    assert api.send([api.event(sender) for _ in range(9)]).status_code == 200
    return sender


def test_an_account_below_its_credit_line_is_suspended_and_back_after_a_top_up(
    api: Api, until: Until
) -> None:
    sender = overspent(api, until, api.sender())
    until(lambda: account(api, sender)["status"] == "suspended")
    assert account(api, sender)["suspended_for"] == "funds"
    assert api.ask(sender)["reason"] == "insufficient_balance"
    by_hand = api.client.post(
        f"/api/v1/accounts/{sender.account.id}/reactivate", headers=api.as_admin
    )
    assert by_hand.json()["error"]["code"] == "no_funds"

    pay(api, sender, 1, "again")
    until(lambda: account(api, sender)["status"] == "active")
    until(lambda: api.ask(sender)["authorised"])
    topics = ["wallet.active", "wallet.suspended", "account.suspended"]
    until(lambda: reported(api, sender) == [*topics, "wallet.active", "account.reactivated"])
    assert api.one(
        "SELECT array_agg(actor) FROM billing.audit_log WHERE command = 'account.settle' "
        "AND entity_id = %s",
        sender.account.id,
    ) == ["system", "system"]


def test_in_its_grace_period_an_account_sends_on_down_to_a_limit(api: Api, until: Until) -> None:
    sender = api.sender()
    change(api, sender, "grace", {"grace_hours": 24, "grace_limit_minor": 30})
    overspent(api, until, sender)
    until(lambda: account(api, sender)["status"] == "grace")
    assert account(api, sender)["grace_ends_at"] is not None
    # 0.30 below zero, of which 0.08 are used up: one more, not two
    until(lambda: api.ask(sender)["reason"] == "grace")
    assert api.ask(sender)["authorised"]
    api.send(api.event(sender))
    assert api.ask(sender)["reason"] == "insufficient_balance"

    api.connection.execute(
        "UPDATE billing.accounts SET grace_ends_at = now() - interval '1 second' WHERE id = %s",
        [sender.account.id],
    )
    until(lambda: account(api, sender)["status"] == "suspended")
    until(lambda: api.ask(sender)["reason"] == "grace_over")

    pay(api, sender, 1, "after-grace")
    until(lambda: account(api, sender)["status"] == "active")
    until(lambda: api.ask(sender)["reason"] == "ok")


def test_an_account_suspended_by_hand_stays_so_whatever_comes_in(api: Api, until: Until) -> None:
    sender = api.sender()
    assert change(api, sender, "suspend")["suspended_for"] == "hand"
    pay(api, sender, 1, "kept-out")
    until(lambda: api.ask(sender)["reason"] == "account_suspended")
    assert account(api, sender)["status"] == "suspended"
    change(api, sender, "reactivate")
    until(lambda: api.ask(sender)["authorised"])
    change(api, sender, "close")
    until(lambda: api.ask(sender)["reason"] == "account_closed")
