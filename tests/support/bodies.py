"""Request bodies with boring values, as clients of the API would send them."""

from typing import Any

from tests.support.api import Api
from tests.support.factories.parties import gstin

SMS_ITEM = {
    "code": "otp-sms",
    "name": "One-time passwords by SMS",
    "kind": "usage",
    "event_type": "otp.sms",
    "event_filter": {"status": ["delivered", "sent"]},
    "unit": "message",
    "sac": "998429",
}
PLATFORM_ITEM = {
    "code": "platform",
    "name": "Platform fee",
    "kind": "recurring",
    "unit": "month",
    "sac": "998315",
}


def rate(price: str, currency: str = "INR", **match: str) -> dict[str, Any]:
    """A per-unit rate."""
    return {"currency": currency, "match": match, "tiers": [{"unit_price": price}]}


def sms_charge(*rates: dict[str, Any], **other: Any) -> dict[str, Any]:
    """A per-unit charge for messages, by country."""
    return {
        "code": "sms",
        "name": "SMS",
        "item_code": "otp-sms",
        "price_model": "per_unit",
        "match_dimensions": ["country"],
        "rates": list(rates) or [rate("0.22", country="IN"), rate("3.90")],
        **other,
    }


def platform_charge(amount: str = "999", currency: str = "INR") -> dict[str, Any]:
    """A prorated monthly fee."""
    return {
        "code": "platform",
        "name": "Platform fee",
        "item_code": "platform",
        "price_model": "flat",
        "prorated": True,
        "rates": [{"currency": currency, "tiers": [{"flat_amount": amount}]}],
    }


def tax_profile(**other: Any) -> dict[str, Any]:
    """A registered customer's profile in Karnataka."""
    return {
        "valid_from": "2026-04-01",
        "tax_kind": "registered",
        "legal_name": "Acme Retail Private Limited",
        "gstin": gstin("29"),
        "address_line": "27 Residency Road",
        "city": "Bengaluru",
        "postal_code": "560025",
        "state_code": "29",
        **other,
    }


def create_items(api: Api) -> None:
    """The two billable items."""
    api.post("/billable-items", SMS_ITEM)
    api.post("/billable-items", PLATFORM_ITEM)


def draft(api: Api, plan_id: str, *charges: dict[str, Any], **terms: Any) -> Any:
    """A draft version of a plan."""
    body = {"charges": list(charges) or [platform_charge(), sms_charge()], **terms}
    return api.post(f"/price-plans/{plan_id}/versions", body)


def create_plan(api: Api, code: str = "starter", *charges: dict[str, Any], **terms: Any) -> str:
    """A plan with a published version; returns the version's id. The items exist already."""
    plan = api.post("/price-plans", {"code": code, "name": code.title()})
    version = draft(api, plan["id"], *charges, **terms)
    return str(api.post(f"/plan-versions/{version['id']}/publish")["id"])


def open_account(api: Api, customer_id: str, code: str, **other: Any) -> Any:
    """An account of a customer, prepaid in rupees unless told otherwise."""
    body = {
        "customer_id": customer_id,
        "code": code,
        "name": f"Account {code}",
        "billing_mode": "prepaid",
        **other,
    }
    return api.post("/accounts", body)
