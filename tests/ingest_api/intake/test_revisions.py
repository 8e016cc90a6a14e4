"""Amending and voiding events over the API."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from billing.wallets.connect import open_any
from tests.ingest_api.intake.conftest import Api
from tests.support.factories.usage import Sender

IN, US = 120_000, 600_000


def revise(api: Api, event: dict[str, Any], body: dict[str, Any], **headers: str) -> Any:
    return api.client.post(
        f"/api/v1/events/{event['source']}/{event['event_id']}/revisions",
        json=body,
        headers={**api.as_admin, **headers},
    )


def sent(api: Api, sender: Sender) -> dict[str, Any]:
    event = api.event(sender)
    assert api.send(event).status_code == 200
    return event


def in_redis(api: Api, sender: Sender) -> int:
    assert sender.wallet is not None
    with open_any(api.redis_url) as client:
        return int(client.hget(api.keys(sender).wallet(sender.wallet.id), "bal") or 0)


def test_an_amended_event_moves_the_wallet_by_the_difference(
    api: Api, until: Callable[[Callable[[], bool]], None]
) -> None:
    sender = api.sender()
    event = sent(api, sender)
    answer = revise(api, event, {"dimensions": {"country": "US", "status": "delivered"}})

    assert answer.status_code == 200, answer.text
    revisions = answer.json()["data"]["attributes"]["revisions"]
    assert [(one["revision"], one["amount_units"]) for one in revisions] == [(1, IN), (2, US)]
    assert api.balance(sender) == -US
    until(lambda: in_redis(api, sender) == -US)
    assert (
        api.one(
            "SELECT sum(amount_units) FROM billing.ledger_entries WHERE wallet_id = %s "
            "AND account = 'usage_unbilled'",
            sender.wallet.id,  # type: ignore[union-attr]
        )
        == US
    )


def test_a_voided_event_costs_nothing_and_can_be_stated_anew(api: Api) -> None:
    sender = api.sender()
    event = sent(api, sender)
    voided = revise(api, event, {"void": True}).json()["data"]["attributes"]

    assert voided["voided"]
    assert api.balance(sender) == 0
    again = revise(api, event, {"quantity": 1}).json()["data"]["attributes"]
    assert (again["voided"], len(again["revisions"])) == (False, 3)
    assert api.balance(sender) == -IN


def test_saying_what_is_already_so_changes_nothing(api: Api) -> None:
    sender = api.sender()
    event = sent(api, sender)
    revise(api, event, {"void": True})
    before = api.one("SELECT sum(accept_seq) FROM usage.shard_state")
    answer = revise(api, event, {"void": True})

    assert len(answer.json()["data"]["attributes"]["revisions"]) == 2
    assert api.one("SELECT sum(accept_seq) FROM usage.shard_state") == before


def test_a_revision_repeated_with_its_key_is_made_once(api: Api) -> None:
    sender = api.sender()
    event = sent(api, sender)
    first = {"dimensions": {"country": "US", "status": "sent"}}
    headers = {"Idempotency-Key": f"revise-{event['event_id']}"}
    revise(api, event, first, **headers)
    revise(api, event, {"void": True})
    answer = revise(api, event, first, **headers)

    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["attributes"]["voided"]


def test_a_revision_keeps_the_shards_order_without_a_gap(api: Api) -> None:
    sender = api.sender()
    event = sent(api, sender)
    revise(api, event, {"quantity": 2})
    sent(api, sender)

    assert api.one(
        "SELECT max(accept_seq) = count(*) FROM usage.raw_events WHERE shard = %s",
        sender.account.shard,
    )
    replaced, by = api.one(
        "SELECT s.accept_seq, s.superseded_by FROM usage.superseded_events s "
        "JOIN usage.event_key k USING (shard, accept_seq) WHERE k.event_id = %s",
        event["event_id"],
    )
    assert by > replaced


def test_a_wrong_revision_is_refused(api: Api) -> None:
    sender = api.sender()
    event = sent(api, sender)

    for body in (
        {},
        {"void": True, "quantity": 1},
        {"quantity": -1},
        {"quantity": 1.5},
        {"occurred_at": "2026-07-01T00:00:00"},
        {"account_id": "x"},
        {"void": "yes"},
    ):
        assert revise(api, event, body).status_code == 400, body
    assert revise(api, {"source": "core", "event_id": "none"}, {"void": True}).status_code == 404
    assert api.balance(sender) == -IN


def test_the_window_for_revisions_closes_unless_one_may_change_the_past(api: Api) -> None:
    sender = api.sender()
    old = api.event(sender, occurred_at=(datetime.now(UTC) - timedelta(days=36)).isoformat())
    assert api.send(old, headers=api.as_admin).status_code == 200
    path = f"/api/v1/events/core/{old['event_id']}/revisions"
    late = api.client.post(path, json={"void": True})  # with the sender's own key

    assert (late.status_code, late.json()["error"]["code"]) == (400, "too_late")
    assert late.json()["error"]["details"]["window_days"] == 35
    assert api.balance(sender) == -IN
    assert revise(api, old, {"void": True}).status_code == 200
    assert api.balance(sender) == 0


def test_no_revision_moves_an_event_where_it_could_not_have_been_sent(api: Api) -> None:
    event = sent(api, api.sender())
    path = f"/api/v1/events/core/{event['event_id']}/revisions"
    past = (datetime.now(UTC) - timedelta(days=36)).isoformat()
    answer = api.client.post(path, json={"occurred_at": past})

    assert answer.status_code == 400
    assert answer.json()["error"]["fields"][0]["field"] == "occurred_at"


def test_an_event_is_found_by_a_source_that_is_a_uri(api: Api) -> None:
    sender = api.sender()
    for source in ("https://core.example/otp?a=1#b", "/otp/core"):
        event = api.event(sender, source=source)
        assert api.send(event).status_code == 200
        path = f"/api/v1/events/{quote(source, safe='')}/{event['event_id']}"
        answer = api.client.get(path, headers=api.as_admin)
        assert answer.status_code == 200, answer.text
        assert answer.json()["data"]["attributes"]["source"] == source
        revised = api.client.post(f"{path}/revisions", json={"quantity": 2})
        assert revised.status_code == 200, revised.text


def test_an_event_is_followed_to_its_price_its_debits_and_what_was_refused(api: Api) -> None:
    sender = api.sender()
    event = sent(api, sender)
    assert api.send({**event, "quantity": 7}).status_code == 409
    revise(api, event, {"dimensions": {"country": "US", "status": "delivered"}})
    answer = api.client.get(f"/api/v1/events/core/{event['event_id']}", headers=api.as_admin)

    attributes = answer.json()["data"]["attributes"]
    references = [one["ledger_reference"] for one in attributes["revisions"]]
    assert references[0].startswith(f"usage:{sender.account.shard}:")
    assert references[1].startswith(f"amendment:{sender.account.shard}:")
    assert [one["payload"]["quantity"] for one in attributes["conflicts"]] == ["7"]
    booked = api.one(
        "SELECT amount_units FROM billing.ledger_entries WHERE transaction_id = %s AND line_no = 1",
        attributes["revisions"][0]["ledger_transaction_id"],
    )
    assert booked == -IN


def test_an_event_can_be_looked_up(api: Api) -> None:
    sender = api.sender()
    event = sent(api, sender)
    answer = api.client.get(f"/api/v1/events/core/{event['event_id']}", headers=api.as_admin)

    data = answer.json()["data"]
    assert data["relationships"]["wallet"]["id"] == str(sender.wallet.id)  # type: ignore[union-attr]
    assert data["attributes"]["revisions"][0]["dimensions"] == event["dimensions"]
