"""Accounts and their aliases over HTTP."""

from collections.abc import Callable

import pytest

from tests.support.api import Api
from tests.support.bodies import open_account


def test_an_account_is_opened_with_a_stable_shard(
    api: Api, new_customer: Callable[[str], str]
) -> None:
    customer = new_customer("acme")
    account = open_account(api, customer, "acme-main", currency="INR", zone="Asia/Kolkata")
    assert account["attributes"]["status"] == "active"
    assert account["attributes"]["shard"] == 0
    assert account["relationships"]["customer"] == {"id": customer, "type": "customer"}
    assert api.get(f"/accounts/{account['id']}") == account
    assert [row["id"] for row in api.get(f"/accounts?customer_id={customer}")] == [account["id"]]


def test_a_child_account_belongs_to_its_parents_customer(
    api: Api, new_customer: Callable[[str], str]
) -> None:
    acme, other = new_customer("acme"), new_customer("other")
    parent = open_account(api, acme, "acme-main")
    child = open_account(api, acme, "acme-child", parent_account_id=parent["id"])
    assert child["relationships"]["parent"]["id"] == parent["id"]
    body = {
        "customer_id": other,
        "code": "thief",
        "name": "Thief",
        "billing_mode": "prepaid",
        "parent_account_id": parent["id"],
    }
    error = api.refused("POST", "/accounts", 400, json=body)
    assert error["fields"][0]["field"] == "parent_account_id"


@pytest.mark.parametrize(
    ("change", "field"),
    [({"currency": "EUR"}, "currency"), ({"zone": "Asia/Atlantis"}, "zone")],
)
def test_an_account_needs_a_currency_and_a_zone_we_know(
    api: Api, new_customer: Callable[[str], str], change: dict[str, str], field: str
) -> None:
    body = {"customer_id": new_customer("acme"), "code": "a-1", "name": "A"}
    error = api.refused("POST", "/accounts", 400, json=body | {"billing_mode": "prepaid"} | change)
    assert [wrong["field"] for wrong in error["fields"]] == [field]


def test_an_account_is_suspended_reactivated_and_closed_for_good(
    api: Api, new_customer: Callable[[str], str]
) -> None:
    path = f"/accounts/{open_account(api, new_customer('acme'), 'acme-main')['id']}"
    for action, status in (("suspend", "suspended"), ("reactivate", "active"), ("close", "closed")):
        assert api.post(f"{path}/{action}")["attributes"]["status"] == status
    assert api.refused("POST", f"{path}/reactivate", 409)["code"] == "account_closed"
    assert [row["id"] for row in api.get("/accounts?status=closed")] == [path.rpartition("/")[2]]


def test_an_alias_is_held_by_one_account_at_a_time(
    api: Api, new_customer: Callable[[str], str]
) -> None:
    customer = new_customer("acme")
    first = f"/accounts/{open_account(api, customer, 'acme-1')['id']}/aliases"
    second = f"/accounts/{open_account(api, customer, 'acme-2')['id']}/aliases"
    api.post(first, {"alias": "acme:prod", "valid_from": "2026-04-01"})
    taken = {"alias": "acme:prod", "valid_from": "2026-07-01"}
    assert api.refused("POST", second, 409, json=taken)["code"] == "alias_taken"

    ended = api.post(f"{first}/acme:prod/end", {"valid_to": "2026-07-01"})
    assert ended["attributes"]["valid_to"] == "2026-07-01"
    assert api.post(second, taken)["attributes"]["alias"] == "acme:prod"
    before = {"alias": "acme:prod", "valid_from": "2026-06-30"}
    assert api.refused("POST", second, 409, json=before)["code"] == "alias_taken"


def test_an_account_may_be_called_by_its_own_code_but_not_by_anothers(
    api: Api, new_customer: Callable[[str], str]
) -> None:
    customer = new_customer("acme")
    account = open_account(api, customer, "acme-1")
    open_account(api, customer, "acme-2")
    path = f"/accounts/{account['id']}/aliases"
    api.post(path, {"alias": "acme-1", "valid_from": "2026-04-01"})
    error = api.refused("POST", path, 409, json={"alias": "acme-2", "valid_from": "2026-04-01"})
    assert error["code"] == "alias_taken"


def test_of_two_accounts_that_ask_for_a_name_at_once_one_gets_it(
    api: Api, new_customer: Callable[[str], str]
) -> None:
    customer = new_customer("acme")
    body = {"alias": "shared", "valid_from": "2026-04-01"}
    paths = [
        f"/api/v1/accounts/{open_account(api, customer, f'acme-{number}')['id']}/aliases"
        for number in range(4)
    ]
    answers = api.together(*(("POST", path, {"json": body}) for path in paths))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


def test_an_account_says_whether_the_journal_may_answer_for_it(
    api: Api, new_customer: Callable[[str], str]
) -> None:
    account = open_account(api, new_customer("acme"), "acme-main")
    path = f"/accounts/{account['id']}"
    assert account["attributes"]["journal_answers"] is None
    for said in (False, True, None):
        changed = api.call("PATCH", f"/api/v1{path}", json={"journal_answers": said}).json()
        assert changed["data"]["attributes"]["journal_answers"] is said
    renamed = api.call("PATCH", f"/api/v1{path}", json={"name": "Acme"}).json()["data"]
    assert renamed["attributes"]["name"] == "Acme"
    assert api.refused("PATCH", path, 400, json={"journal_answers": "no"})["fields"]
    entries = api.get("/audit?limit=50")
    assert "account.update" in {one["attributes"]["command"] for one in entries}


def test_a_move_to_another_shard_is_asked_for_once(
    api: Api, new_customer: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/accounts/{open_account(api, new_customer('acme'), 'acme-main')['id']}/moves"
    assert api.refused("POST", path, 400, json={"to_shard": 1})["fields"][0]["field"] == "to_shard"
    monkeypatch.setenv("BILLING_SHARD_COUNT", "2")
    assert api.refused("POST", path, 409, json={"to_shard": 0})["code"] == "is_there"
    move = api.post(path, {"to_shard": 1})
    said = move["attributes"]
    assert (said["from_shard"], said["to_shard"], said["is_over"]) == (0, 1, False)
    assert api.refused("POST", path, 409, json={"to_shard": 1})["code"] == "being_moved"
    assert api.get(path) == [move]
