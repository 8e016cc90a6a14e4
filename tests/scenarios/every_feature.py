"""One account with everything a plan can say, over three months: what is agreed and what is sent.

Its days are New York's, where clocks go back on 1 November. Requests only: nothing here rates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from tests.support.api import Api
from tests.support.bodies import PLATFORM_ITEM, open_account, rate, tax_profile
from tests.support.factories.parties import gstin

NOTHING: Mapping[str, str] = MappingProxyType({})
ZONE = ZoneInfo("America/New_York")
OCTOBER, NOVEMBER, DECEMBER = (date(2026, month, 1) for month in (10, 11, 12))
SENT = {"status": "sent"}
BANK = {
    "account_name": "Passline", "account_number": "0044", "bank_name": "Garden",
    "ifsc": "GCBL0000042",
}  # fmt: skip
OK, UNAVAILABLE, PATIENCE = 200, 503, 10
INDIA = {"country": "IN", "operator": "40410"}
BY_JIO = {"country": "IN", "operator": "40445"}

AUTUMN = """currency,country,operator,channel,traffic_type,unit_price
INR,IN,404-45,sms,otp,0.1150
INR,IN,*,sms,otp,0.13
INR,*,*,*,*,4.5
"""
WINTER = AUTUMN.replace("0.1150", "0.12").replace("0.13\n", "0.14\n")

ITEMS = (
    "sms", "voice", "email", "push", "lookup", "payment", "carrier", "whatsapp", "rcs", "api-call",
    "inbound",
)  # fmt: skip


def local(month: int, day: int, *time: int, year: int = 2026) -> datetime:
    """An instant by the account's own calendar; noon if no time is said."""
    return datetime(year, month, day, *(time or (12,)), tzinfo=ZONE)


def tiers(*found: str) -> list[dict[str, Any]]:
    """Tiers of one rate, each written as `up_to: field=value field=value`."""
    made = []
    for tier in found:
        up_to, _, rest = tier.partition(":")
        fields: dict[str, Any] = dict(pair.split("=") for pair in rest.split())
        made.append(fields if up_to == "*" else {"up_to": up_to, **fields})
    return [{"currency": "INR", "tiers": made}]


def charge(code: str, model: str, rates: Any = (), **other: Any) -> dict[str, Any]:
    """A charge for the item of the same name."""
    body = {"code": code, "name": code.title(), "item_code": code, "price_model": model}
    return {**body, "rates": list(rates), **other}


def recurring(platform: str, seat: str, commitment: str, support: str) -> list[dict[str, Any]]:
    """What a plan bills whether anything is sent or not; support is billed a month ahead."""
    return [
        charge("platform", "flat", tiers(f"*:flat_amount={platform}"), prorated=True),
        charge(
            "support", "flat", tiers(f"*:flat_amount={support}"), prorated=True, timing="advance"
        ),
        charge("seats", "licence", tiers(f"*:flat_amount={seat}")),
        charge("setup", "one_time", tiers("*:flat_amount=100")),
        charge(
            "commitment", "commitment", tiers(f"*:flat_amount={commitment}"),
            item_code="platform", prorated=True,
        ),
    ]  # fmt: skip


def chat(code: str, *rates: dict[str, Any], **other: Any) -> dict[str, Any]:
    """Messages at a price by country."""
    return charge(code, "per_unit", rates, match_dimensions=["country"], **other)


SMS = charge("sms", "per_unit", rate_deck="world")
API = charge(
    "api-call", "graduated", tiers("5:unit_price=1", "*:unit_price=0.5"),
    unit_divisor="1000", unit_rounding="up",
)  # fmt: skip

EVERYTHING = [
    *recurring("620", "310", "7000", "62"),
    SMS,
    charge(
        "voice", "graduated",
        tiers("1000:unit_price=9 package_size=100", "*:unit_price=80 package_size=1000"),
    ),
    charge(
        "email", "volume",
        tiers("1000:unit_price=0.20", "5000:unit_price=0.15", "*:unit_price=0.10"),
        discount_percent="10",
        limits=[{"currency": "INR", "minimum": "300", "maximum": "400"}],
    ),
    charge(
        "push", "stairstep",
        tiers("100:flat_amount=50", "500:flat_amount=200", "*:flat_amount=400"),
        bills_zero=True,
    ),
    charge("lookup", "package", tiers("*:unit_price=8"), package_size="100", free_units="20"),
    charge(
        "payment", "percentage",
        tiers("*:unit_price=0.013 flat_amount=2 event_minimum=3 event_maximum=12"),
        free_units="250", free_events=3,
    ),
    charge("carrier", "dynamic", tiers("*:unit_price=1.15"), discount_percent="12.5"),
    chat(
        "whatsapp", rate("0.55", country="IN"), rate("1.25"), free_pool="chat", free_units="1000"
    ),
    chat("rcs", rate("0.40"), free_pool="chat", free_units="1000"),
    API | {"dearest_of": "lookups"},
    charge("users", "per_unit", tiers("*:unit_price=1.5"), dearest_of="lookups"),
]  # fmt: skip


def plus(platform: str, seat: str, support: str, step: str, message: str) -> list[dict[str, Any]]:
    """The bigger plan, in one of its versions."""
    return [
        *recurring(platform, seat, "15000", support),
        SMS,
        charge("email", "volume", tiers("1000:unit_price=0.18", "*:unit_price=0.12")),
        charge("push", "stairstep", tiers(f"100:flat_amount={step}", "*:flat_amount=220")),
        chat("whatsapp", rate(message, country="IN"), rate("1.10"), free_units="100"),
        API,
    ]


PLUS = plus("1240", "372", "124", "55", "0.45")
SEATS_IN_TIERS = charge(
    "seats", "licence",
    tiers("8:unit_price=310 flat_amount=31", "*:unit_price=155 flat_amount=62"),
    tier_mode="graduated",
)  # fmt: skip
PLUS_LATER = [
    SEATS_IN_TIERS if one["code"] == "seats" else one
    for one in plus("1550", "310", "155", "60", "0.40")
]
NUMBERS = [
    charge("number", "flat", tiers("*:flat_amount=62"), prorated=True),
    charge("number-setup", "one_time", tiers("*:flat_amount=40")),
    charge("inbound", "graduated", tiers("10:unit_price=2", "*:unit_price=1.5"), free_units="5"),
]
POCKET = [charge("platform", "flat", tiers("*:flat_amount=50")), SMS]
AUTUMN_OFFER = {
    "code": "AUTUMN", "name": "Autumn offer", "percent": "12.5", "duration": "repeating",
    "periods": 2, "plan_codes": ["everything"],
}  # fmt: skip


@dataclass
class Agreed:
    """What the rest of the story asks for by name."""

    account: str
    subscription: str
    plus: str
    deck: str
    pocket: str
    """A prepaid account of the same customer."""
    wallet: str


def agree(api: Api) -> Agreed:
    """Set up the seller, the catalogue, the account and its subscription."""
    supplier = {
        "gstin": gstin("29"), "legal_name": "Passline Private Limited", "trade_name": "Passline",
        "address_line": "1 Residency Road", "city": "Bengaluru", "postal_code": "560025",
        "invoice_series": "PL", "bank_details": BANK,
    }  # fmt: skip
    api.post("/supplier-registrations", supplier)
    _items(api)
    deck = api.post("/rate-decks", {"code": "world", "name": "World"})["id"]
    publish_deck(api, deck, "2026-10-01", AUTUMN)
    publish(api, _plan(api, "everything"), EVERYTHING, trial_days=10)
    bigger = _plan(api, "plus")
    publish(api, bigger, PLUS)
    customer = api.post("/customers", {"code": "all", "name": "All of it"})["id"]
    api.post(f"/customers/{customer}/tax-profiles", tax_profile(gstin=gstin("29", "AAACM5678K")))
    about = {"billing_mode": "postpaid", "zone": ZONE.key}
    account = open_account(api, customer, "all", **about)["id"]
    wish = {
        "account_id": account, "plan_code": "everything", "starts_on": "2026-10-01",
        "quantity": "5",
    }  # fmt: skip
    subscription = api.post("/subscriptions", wish)["id"]
    override = {
        "account_id": account, "plan_code": "everything", "charge_code": "whatsapp",
        "match": {"country": "IN"}, "tiers": [{"unit_price": "0.50"}],
        "starts_on": "2026-10-21", "reason": "Contract 2026/7",
    }  # fmt: skip
    api.post("/price-overrides", override)
    api.post("/coupons", AUTUMN_OFFER)
    coupon = {"code": "AUTUMN", "from_day": "2026-10-01"}
    api.post(f"/subscriptions/{subscription}/coupon-redemptions", coupon)
    publish(api, _plan(api, "numbers", is_add_on=True), NUMBERS)
    return Agreed(account, subscription, bigger, deck, *_pocket(api, customer))


def _pocket(api: Api, customer: str) -> tuple[str, str]:
    """A prepaid account for October, with money, and credits for everything and for SMS alone."""
    publish(api, _plan(api, "pocket"), POCKET)
    account = open_account(api, customer, "pocket", zone=ZONE.key)["id"]
    wallet = api.post("/wallets", {"account_id": account})["id"]
    paid = {"amount_minor": 100_000, "tax_minor": 18_000, "reference": "NEFT-1"}
    api.post(f"/wallets/{wallet}/top-ups", paid)
    for_all = {"amount_minor": 3_000, "reference": "welcome", "priority": 10}
    for_sms = {"amount_minor": 2_000, "reference": "texts", "item_codes": ["sms"]}
    for given in (for_all, for_sms):
        api.post(f"/wallets/{wallet}/grants", {**given, "expires_on": "2026-12-01"})
    entitle(api, account, "sms", 250, "soft")
    wish = {"account_id": account, "plan_code": "pocket", "starts_on": "2026-10-01"}
    api.post("/subscriptions", {**wish, "ends_on": "2026-11-01"})
    return account, wallet


def _items(api: Api) -> None:
    for code in ITEMS:
        api.post("/billable-items", _usage_item(code))
    unique = {"aggregation": "unique", "property_name": "user"}
    api.post("/billable-items", _usage_item("users") | unique)
    others = {
        "seats": "licence", "setup": "one_time", "support": "recurring", "number": "recurring",
        "number-setup": "one_time",
    }  # fmt: skip
    for code, kind in others.items():
        api.post("/billable-items", PLATFORM_ITEM | {"code": code, "name": code, "kind": kind})
    api.post("/billable-items", PLATFORM_ITEM)


def _usage_item(code: str) -> dict[str, Any]:
    return {
        "code": code, "name": code, "kind": "usage", "event_type": kind_of(code),
        "event_filter": {"status": ["delivered", "sent"]}, "unit": "unit", "sac": "998429",
    }  # fmt: skip


def kind_of(code: str) -> str:
    """The type of the events that an item counts."""
    return f"otp.{code.replace('-', '_')}"


def entitle(api: Api, account: str, item: str, units: int, enforcement: str) -> None:
    """So many units of an item a month."""
    items = api.get("/billable-items")
    (item_id,) = (one["id"] for one in items if one["attributes"]["code"] == item)
    limit = {"account_id": account, "included_units": units, "enforcement": enforcement}
    api.post("/entitlements", {**limit, "item_id": item_id, "period": "month"})


def _plan(api: Api, code: str, **other: Any) -> str:
    return str(api.post("/price-plans", {"code": code, "name": code.title(), **other})["id"])


def publish(api: Api, plan_id: str, charges: list[dict[str, Any]], **terms: Any) -> str:
    """A version of a plan that is on sale; returns its id."""
    version = api.post(f"/price-plans/{plan_id}/versions", {"charges": charges, **terms})["id"]
    api.post(f"/plan-versions/{version}/publish")
    return str(version)


def publish_deck(api: Api, deck: str, day: str, csv: str) -> None:
    """Prices of a deck from a day on."""
    version = api.post(f"/rate-decks/{deck}/versions", {"effective_from": day, "csv": csv})["id"]
    api.post(f"/rate-deck-versions/{version}/publish")


@dataclass
class Sender:
    """Sends usage of one account, and remembers how many events there were."""

    api: Api
    account: str
    source: str = "core"
    sent: int = 0

    def send(self, *events: tuple[str, datetime, int | str, Mapping[str, str]]) -> None:
        """Item, instant, quantity and dimensions of each; the clock must have got there."""
        self._post("events", [self._event(*event) for event in events])

    def ask(
        self,
        item: str,
        quantity: int,
        dimensions: Mapping[str, str] = NOTHING,
        *,
        hold: bool = True,
    ) -> tuple[str, str]:
        """May so many be sent now? The reason of a yes or a no, and what it is to be named by."""
        event = self._event(item, self.api.clock.now(), quantity, dimensions)
        names = ("account_id", "event_type", "quantity", "dimensions")
        answer = self._post(
            "authorizations", {name: event[name] for name in names} | {"hold": hold}
        )
        found = answer.json()["data"]
        return found["attributes"]["reason"], found["id"]

    def capture(
        self, held: str, item: str, quantity: int, dimensions: Mapping[str, str] = NOTHING
    ) -> None:
        """Send now what an authorisation holds."""
        event = self._event(item, self.api.clock.now(), quantity, dimensions)
        self._post("events", [event | {"authorization_id": held}])

    def _post(self, path: str, body: Any) -> httpx.Response:
        for _ in range(PATIENCE):
            answer = self.api.call("POST", f"/api/v1/{path}", json=body)
            if answer.status_code != UNAVAILABLE:
                break
        assert answer.status_code == OK, answer.text
        return answer

    def _event(
        self, item: str, at: datetime, quantity: int | str, dimensions: Mapping[str, str]
    ) -> dict[str, Any]:
        self.sent += 1
        channel = {"channel": "sms", "traffic_type": "otp"} if item == "sms" else {}
        return {
            "source": self.source, "event_id": f"{item}-{self.sent}", "account_id": self.account,
            "event_type": kind_of(item), "occurred_at": at.astimezone(UTC).isoformat(),
            "quantity": str(quantity), "dimensions": {**SENT, **channel, **dimensions},
        }  # fmt: skip

    def revise(self, number: int, item: str, **change: Any) -> None:
        """Say one of the events anew, or take it back."""
        self.api.post(f"/events/{self.source}/{item}-{number}/revisions", change)
