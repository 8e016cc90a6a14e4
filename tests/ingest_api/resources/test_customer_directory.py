"""Addresses, contacts, parents, search, and customers by the file."""

from collections.abc import Callable
from typing import Any

from billing.access.roles import Role
from tests.support.api import Api
from tests.support.factories.parties import gstin

OFFICE = {
    "kind": "office", "label": "Head office", "address_line": "27 Residency Road",
    "city": "Bengaluru", "postal_code": "560025", "state_code": "29",
}  # fmt: skip
HEADER = (
    "customer_code,customer_name,email,valid_from,tax_kind,legal_name,gstin,address_line,city,"
    "postal_code,state_code,account_code,billing_mode,currency,parent_account_code\n"
)
NUMBER = gstin("29", "AAACM5678K")


def row(code: str, number: str = NUMBER, account: str = "", parent: str = "") -> str:
    profile = f"2026-04-01,registered,{code} Ltd,{number},1 Road,Bengaluru,560025,29"
    return f"{code},Name {code},,{profile},{account},prepaid,INR,{parent}\n"


def sent(api: Api, content: str, **query: Any) -> list[dict[str, Any]]:
    response = api.call(
        "POST", "/api/v1/customers/imports", params=query, content=content.encode(),
        headers={"Content-Type": "text/csv"},
    )  # fmt: skip
    assert response.is_success, response.text
    return [one["attributes"] for one in response.json()["data"]]


def codes(api: Api, **query: Any) -> set[str]:
    found = api.get("/customers", params=query)
    return {one["attributes"]["code"] for one in found} - {"key-holder"}


def test_addresses_and_contacts_end_and_are_kept(
    api: Api, new_customer: Callable[..., str]
) -> None:
    path = f"/customers/{new_customer('acme')}"
    first = api.post(f"{path}/addresses", OFFICE)
    api.post(f"{path}/addresses", OFFICE | {"kind": "shipping", "label": "Warehouse"})
    person = api.post(
        f"{path}/contacts", {"role": "billing", "name": "A. Rao", "phone": "+919812345678"}
    )
    ended = api.post(f"{path}/addresses/{first['id']}/end")
    again = api.post(f"{path}/addresses/{first['id']}/end")
    assert ended["attributes"]["ended_at"] == again["attributes"]["ended_at"] is not None
    assert [one["attributes"]["label"] for one in api.get(f"{path}/addresses")] == [
        "Warehouse",
        "Head office",
    ]
    api.post(f"{path}/contacts/{person['id']}/end")
    assert api.get(f"{path}/contacts")[0]["attributes"]["ended_at"]


def test_places_abroad_have_no_state_and_people_can_be_reached(
    api: Api, new_customer: Callable[..., str]
) -> None:
    path = f"/customers/{new_customer('acme')}"
    for wrong in ({"country": "US"}, {"state_code": "00"}):
        api.refused("POST", f"{path}/addresses", 400, json=OFFICE | wrong)
    api.refused("POST", f"{path}/contacts", 400, json={"role": "legal", "name": "B"})
    api.refused("POST", f"{path}/addresses", 403, json=OFFICE, role=Role.SUPPORT)


def test_a_file_creates_what_is_missing_and_tells_each_wrong_row(api: Api) -> None:
    bad = NUMBER[:-1] + ("A" if NUMBER[-1] != "A" else "B")
    content = HEADER + row("one", account="one-main") + row("two", bad)
    content += row("one", account="one-branch", parent="one-main")
    checked = sent(api, content, dry_run=True)
    assert codes(api) == set()
    told = sent(api, content)
    assert told == checked
    assert [one["created"] for one in told] == [
        ["customer", "tax_profile", "account"],
        [],
        ["account"],
    ]
    assert [one["row"] for one in told if one["errors"]] == [3]
    assert told[1]["errors"][0]["field"] == "gstin"
    assert codes(api) == {"one"}
    mended = sent(api, content.replace(bad, NUMBER))
    assert [one["created"] for one in mended] == [[], ["customer", "tax_profile"], []]


def test_what_is_exported_can_be_imported_and_changes_nothing(api: Api) -> None:
    sent(api, HEADER + row("one", account="one-main") + row("two"))
    response = api.call("GET", "/api/v1/customers/export")
    assert response.headers["content-type"].startswith("text/csv")
    again = sent(api, response.content.decode())
    assert [one["errors"] for one in again] == [[], [], []]  # and the holder of the keys
    assert [one["created"] for one in again] == [[], [], []]


def test_a_file_with_other_columns_is_refused_whole(api: Api) -> None:
    response = api.call(
        "POST", "/api/v1/customers/imports", content=b"name,colour\nA,red\n",
        headers={"Content-Type": "text/csv"},
    )  # fmt: skip
    assert response.status_code == 400
    assert {one["field"] for one in response.json()["error"]["fields"]} == {
        "name", "colour", "customer_code", "customer_name",
    }  # fmt: skip


def test_customers_are_found_by_whatever_names_them(api: Api) -> None:
    other = gstin("27", "AAACZ1111Q")
    content = row("two", other).replace("Bengaluru,560025,29", "Mumbai,400001,27")
    sent(api, HEADER + row("one", account="one-main") + content)
    for text in ("ONE", "name on", NUMBER[2:12].lower(), "one-ma"):
        assert codes(api, search=text) == {"one"}, text
    assert codes(api, state_code="27") == {"two"}
    assert codes(api, tax_kind="registered") == {"one", "two"}
    assert codes(api, currency="INR", billing_mode="prepaid") == {"one"}
    assert codes(api, account_status="closed") == set()


def test_a_parent_is_of_the_same_customer_and_never_below(api: Api) -> None:
    content = row("one", account="top") + row("one", account="below", parent="top")
    sent(api, HEADER + content + row("two", account="other"))
    ids = {one["attributes"]["code"]: one["id"] for one in api.get("/accounts")}
    for parent, status in (("below", 409), ("other", 400)):
        body = {"parent_account_id": ids[parent]}
        api.refused("PATCH", f"/accounts/{ids['top']}", status, json=body)
    changed = api.call(
        "PATCH", f"/api/v1/accounts/{ids['below']}", json={"parent_account_id": None}
    )
    assert changed.json()["data"]["relationships"]["parent"] is None
