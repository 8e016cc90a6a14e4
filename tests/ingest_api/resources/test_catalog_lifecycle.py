"""How drafts, plans and items end: nothing is deleted, and who bought keeps what was bought."""

from collections.abc import Callable
from typing import Any

from billing.access.roles import Role
from tests.support.api import Api
from tests.support.bodies import (
    SMS_ITEM,
    create_items,
    create_plan,
    draft,
    open_account,
    platform_charge,
    sms_charge,
)


def test_a_draft_gets_other_terms_or_is_given_up_and_a_published_version_neither(api: Api) -> None:
    create_items(api)
    plan = api.post("/price-plans", {"code": "starter", "name": "Starter"})["id"]
    first, second = draft(api, plan, trial_days=7)["id"], draft(api, plan)["id"]
    path = f"/plan-versions/{first}"
    terms = {"interval": "quarter", "grace_days": 5}
    headers = {"Idempotency-Key": "terms-1"}
    answers = [
        api.call("PATCH", f"/api/v1{path}", json=terms, headers=headers).json()["data"]
        for _ in range(2)
    ]
    assert answers[0] == answers[1] == api.get(path)
    told = answers[0]["attributes"]
    assert (told["interval"], told["grace_days"], told["trial_days"]) == ("quarter", 5, 7)
    wrong = api.refused("PATCH", path, 400, json={"grace_days": 31, "colour": "red"})
    assert {found["field"] for found in wrong["fields"]} == {"grace_days", "colour"}
    changed = api.get("/audit?limit=1")[0]["attributes"]
    assert changed["command"] == "plan_version.change_terms"

    api.post(f"/plan-versions/{second}/discard")
    for method, action in (("POST", "/publish"), ("POST", "/discard"), ("PATCH", "")):
        where = f"/plan-versions/{second}{action}"
        assert api.refused(method, where, 409, json=terms)["code"] == "version_discarded"
    assert draft(api, plan)["attributes"]["version"] == 3
    states = [row["attributes"]["status"] for row in api.get(f"/price-plans/{plan}/versions")]
    assert states == ["draft", "discarded", "draft"]
    refused = api.refused("POST", f"/plan-versions/{second}/migrations", 409, json={})
    assert refused["code"] == "version_not_published"

    api.post(f"{path}/publish")
    for method, action in (("PATCH", ""), ("POST", "/discard")):
        refused = api.refused(method, f"{path}{action}", 409, json=terms)
        assert refused["code"] == "version_published"
    for role in (Role.SUPPORT, Role.CUSTOMER):
        api.refused("POST", f"{path}/discard", 403, role=role)


def test_an_archived_plan_stays_with_who_has_it_and_nobody_new_gets_it(
    api: Api, new_customer: Callable[[str], str]
) -> None:
    create_items(api)
    version = create_plan(api, "old")
    create_plan(api, "other")
    plan = api.get(f"/plan-versions/{version}")["relationships"]["price_plan"]["id"]
    mine, other, late = (
        open_account(api, new_customer(code), code, billing_mode="postpaid")["id"]
        for code in ("mine", "other", "late")
    )
    wish = {"plan_code": "old", "starts_on": "2026-07-01"}
    held = api.post("/subscriptions", wish | {"account_id": mine})["id"]
    elsewhere = wish | {"account_id": other, "plan_code": "other"}
    moving = api.post("/subscriptions", elsewhere)["id"]
    next_version = draft(api, plan, platform_charge("1200"), sms_charge())["id"]
    archived = api.post(f"/price-plans/{plan}/archive")
    assert archived["attributes"]["archived_at"]
    assert api.post(f"/price-plans/{plan}/archive") == archived

    new = wish | {"account_id": late}
    change = {"plan_code": "old", "from_day": "period_end", "proration": "full"}
    refusals: list[tuple[str, Any]] = [
        ("/subscriptions", new),
        ("/subscriptions/preview", new),
        (f"/subscriptions/{moving}/change", change),
        (f"/price-plans/{plan}/versions", {"charges": [sms_charge()]}),
        (f"/plan-versions/{next_version}/publish", None),
    ]
    for path, body in refusals:
        assert api.refused("POST", path, 409, json=body)["code"] == "plan_archived", path
    migration = {"subscription_ids": [moving, held]}
    report = api.post(f"/plan-versions/{version}/migrations", migration)["attributes"]["report"]
    found = {row["subscription_id"]: row["code"] for row in report}
    assert found == {moving: "plan_archived", held: "already_there"}
    seats = {"quantity": "3", "from_day": "period_end", "proration": "full"}
    kept = api.post(f"/subscriptions/{held}/seats", seats)["attributes"]["segments"][-1]
    assert (kept["plan_version_id"], kept["quantity"]) == (version, "3")

    assert api.post(f"/price-plans/{plan}/restore")["attributes"]["archived_at"] is None
    assert api.post("/subscriptions", new)["id"]


def test_an_item_is_retired_when_nothing_on_sale_and_nobody_has_it(
    api: Api, new_customer: Callable[[str], str]
) -> None:
    create_items(api)
    version = create_plan(api, "old")
    plan = api.get(f"/plan-versions/{version}")["relationships"]["price_plan"]["id"]
    account = open_account(api, new_customer("mine"), "mine", billing_mode="postpaid")["id"]
    held = {"account_id": account, "plan_code": "old", "starts_on": "2026-07-01"}
    subscription = api.post("/subscriptions", held)["id"]
    (sms,) = (row for row in api.get("/billable-items") if row["attributes"]["code"] == "otp-sms")
    retire = f"/billable-items/{sms['id']}/retire"
    waiting = draft(api, plan, sms_charge())["id"]

    error = api.refused("POST", retire, 409)
    assert (error["code"], error["details"]) == ("item_in_use", {"plan_codes": ["old"]})
    api.post(f"/price-plans/{plan}/archive")
    assert api.refused("POST", retire, 409)["code"] == "item_in_use"
    end = {"ends_on": api.clock.now().date().isoformat()}
    api.post(f"/subscriptions/{subscription}/end", end)
    api.post(f"/price-plans/{plan}/restore")
    assert api.refused("POST", retire, 409)["code"] == "item_in_use"
    api.post(f"/price-plans/{plan}/archive")
    assert api.post(retire)["attributes"]["retired_at"]

    api.post(f"/price-plans/{plan}/restore")
    assert api.refused("POST", f"/plan-versions/{waiting}/publish", 409)["code"] == "item_retired"
    body = {"charges": [sms_charge()]}
    refused = api.refused("POST", f"/price-plans/{plan}/versions", 400, json=body)
    assert [wrong["field"] for wrong in refused["fields"]] == ["charges.0.item_code"]
    taken = api.refused("POST", "/billable-items", 409, json=SMS_ITEM)
    assert taken["code"] == "code_taken"
    restored = api.post(f"/billable-items/{sms['id']}/restore")
    assert restored["attributes"]["retired_at"] is None
    assert api.post(f"/plan-versions/{waiting}/publish")["attributes"]["status"] == "active"


def test_a_template_is_compared_with_and_only_a_copy_of_it_is_published(api: Api) -> None:
    create_items(api)
    version = create_plan(api, "old")
    path = f"/plan-versions/{version}/copy"
    template = api.post(path, {"template": "summer"})
    assert (template["attributes"]["template"], template["attributes"]["status"]) == (
        "summer",
        "draft",
    )
    publish = f"/plan-versions/{template['id']}/publish"
    assert api.refused("POST", publish, 409)["code"] == "version_is_template"
    assert api.refused("POST", path, 409, json={"template": "summer"})["code"] == "template_taken"
    draft_of_it = api.post(f"/plan-versions/{template['id']}/copy", {})["id"]
    charges = api.post(f"/plan-versions/{draft_of_it}/publish")["attributes"]["charges"]
    assert [one["rates"][0]["tiers"] for one in charges] == [
        one["rates"][0]["tiers"] for one in template["attributes"]["charges"]
    ]
    api.post(f"/plan-versions/{template['id']}/discard")
    assert api.post(path, {"template": "summer"})["attributes"]["version"] == 4


def test_a_customer_of_a_subset_is_offered_its_plans_and_nobody_else_those_of_an_exclusive_one(
    api: Api, new_customer: Callable[[str], str]
) -> None:
    create_items(api)
    for code, place in (
        ("good", {"family": "business", "tier": 1}),
        ("best", {"family": "business", "tier": 2}),
        ("secret", {}),
        ("open", {}),
    ):
        plan = api.post("/price-plans", {"code": code, "name": code.title(), **place})["id"]
        api.post(f"/plan-versions/{draft(api, plan)['id']}/publish")
    bank, shop = new_customer("bank"), new_customer("shop")
    accounts = {
        one: open_account(api, one, f"of-{one}", billing_mode="postpaid")["id"]
        for one in (bank, shop)
    }
    body = {"code": "banks", "name": "Banks", "is_exclusive": True, "plan_codes": ["secret"]}
    error = api.refused("POST", "/catalogue-subsets", 400, json=body | {"plan_codes": ["none"]})
    assert [wrong["field"] for wrong in error["fields"]] == ["plan_codes.0"]
    subset = api.post("/catalogue-subsets", body | {"customer_ids": [bank]})
    path = f"/api/v1/catalogue-subsets/{subset['id']}"
    changed = api.call("PATCH", path, json={"families": ["business"]}).json()["data"]
    assert changed["attributes"]["plan_codes"] == ["secret"]
    assert changed["attributes"]["families"] == ["business"]
    assert api.get("/catalogue-subsets") == [changed]

    def offered(customer: str) -> list[str]:
        found = api.get(f"/price-plans?offered_to={customer}")
        return [plan["attributes"]["code"] for plan in found]

    assert offered(bank) == ["good", "best", "secret"]
    assert offered(shop) == ["open"]
    wish = {"starts_on": "2026-07-01"}
    for customer, wrong in ((bank, "open"), (shop, "good")):
        new = wish | {"account_id": accounts[customer], "plan_code": wrong}
        for where in ("/subscriptions", "/subscriptions/preview"):
            error = api.refused("POST", where, 409, json=new)
            assert error["code"] == "plan_not_offered"
            assert error["details"] == {"subset_codes": ["banks"]}
    held = api.post("/subscriptions", wish | {"account_id": accounts[bank], "plan_code": "good"})
    change = {"plan_code": "open", "from_day": "period_end", "proration": "full"}
    error = api.refused("POST", f"/subscriptions/{held['id']}/change", 409, json=change)
    assert error["code"] == "plan_not_offered"
    api.call("PATCH", path, json={"customer_ids": [], "is_exclusive": False})
    assert offered(bank) == offered(shop) == ["good", "best", "open", "secret"]
    assert api.post(f"/subscriptions/{held['id']}/change", change)["id"]
    api.refused("GET", "/catalogue-subsets", 403, role=Role.CUSTOMER)
