"""A local Razorpay: the documented calls that we make, and its habits, good and bad.

See razorpay.com/docs/api. What is sent to the webhook is put into `outbox` as signed requests, so
that a test delivers them in any order, twice, late, or not at all.
"""

import base64
import hashlib
import hmac
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.gateways.server import Answer, Call, Webhook, serving

KEY_ID, KEY_SECRET, WEBHOOK_SECRET = "rzp_test_key", "rzp_test_secret", "webhook-secret"


@dataclass
class FakeRazorpay:
    """The state behind the server, and the switches of its moods."""

    address: str = ""
    links: dict[str, dict[str, Any]] = field(default_factory=dict)
    payments: dict[str, dict[str, Any]] = field(default_factory=dict)
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    refund_keys: dict[str, str] = field(default_factory=dict)
    customers: dict[str, dict[str, Any]] = field(default_factory=dict)
    tokens: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By customer."""
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    declined: set[str] = field(default_factory=set)
    """Tokens that are declined when charged."""
    outbox: list[Webhook] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    hang_after_effect: int = 0
    """So many calls do what they are asked and are never answered."""
    fail_next: int = 0
    """So many calls are answered with 502 and do nothing."""
    _count: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def name(self, prefix: str) -> str:
        with self._lock:
            self._count += 1
            return f"{prefix}_{self._count:014d}"

    def pay(
        self,
        link_id: str,
        *,
        amount: int | None = None,
        currency: str | None = None,
        fail_first: bool = False,
    ) -> str:
        """Pay a link as a customer does; queues what Razorpay would send."""
        link = self.links[link_id]
        payment = {
            "id": self.name("pay"),
            "entity": "payment",
            "amount": link["amount"] if amount is None else amount,
            "currency": currency or link["currency"],
            "status": "created",
            "method": "upi",
            "order_id": f"order_{link_id[6:]}",
            "notes": link["notes"],
            "amount_refunded": 0,
            "error_description": None,
            "created_at": int(time.time()),
        }
        self.payments[payment["id"]] = payment
        if fail_first:
            payment |= {"status": "failed", "error_description": "The bank did not answer"}
            self._tell("payment.failed", payment=payment)
        payment |= {"status": "authorized", "error_description": None}
        self._tell("payment.authorized", payment=payment)
        payment |= {"status": "captured"}
        self._tell("payment.captured", payment=payment)
        link |= {"status": "paid", "payments": [{"payment_id": payment["id"]}]}
        self._tell("payment_link.paid", payment_link=link, payment=payment)
        return str(payment["id"])

    def save(self, customer_id: str) -> str:
        """Save a card on a registration link, as a customer does."""
        token = {
            "id": self.name("token"),
            "method": "card",
            "card": {"network": "Visa", "last4": "1111"},
            "recurring_details": {"status": "confirmed"},
            "created_at": int(time.time()),
        }
        self.tokens.setdefault(customer_id, []).append(token)
        return str(token["id"])

    def charge(self, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Charge a token for an order; queues what Razorpay would send."""
        if sent["token"] in self.declined:
            return _refused("Payment was declined by the bank")
        payment = {
            "id": self.name("pay"),
            "entity": "payment",
            "amount": sent["amount"],
            "currency": sent["currency"],
            "status": "captured",
            "method": "card",
            "order_id": sent["order_id"],
            "notes": sent["notes"],
            "amount_refunded": 0,
            "error_description": None,
            "created_at": int(time.time()),
        }
        self.payments[payment["id"]] = payment
        self._tell("payment.captured", payment=payment)
        return 200, {"razorpay_payment_id": payment["id"], "razorpay_order_id": sent["order_id"]}

    def send_back(self, payment_id: str, amount: int, *, status: str = "processed") -> str:
        """Refund, as from the dashboard; queues what Razorpay would send."""
        payment = self.payments[payment_id]
        refund = {
            "id": self.name("rfnd"),
            "entity": "refund",
            "payment_id": payment_id,
            "amount": amount,
            "currency": payment["currency"],
            "status": status,
            "notes": payment["notes"],
            "created_at": int(time.time()),
        }
        self.refunds[refund["id"]] = refund
        payment["amount_refunded"] += amount
        self._tell("refund.processed", refund=refund, payment=payment)
        return str(refund["id"])

    def dispute(self, payment_id: str, status: str) -> None:
        """Open, win or lose a dispute."""
        entity = {"id": self.name("disp"), "payment_id": payment_id, "status": status}
        self._tell(f"payment.dispute.{status}", dispute=entity, payment=self.payments[payment_id])

    def _tell(self, event: str, **entities: dict[str, Any]) -> None:
        body = json.dumps(
            {
                "entity": "event",
                "event": event,
                "contains": list(entities),
                "payload": {name: {"entity": entity} for name, entity in entities.items()},
                "created_at": int(time.time()),
            }
        ).encode()
        self.outbox.append(signed(body, self.name("evt")))


def signed(body: bytes, event_id: str, secret: str = WEBHOOK_SECRET) -> Webhook:
    """A webhook with Razorpay's signature: HMAC-SHA256 of the raw body."""
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "content-type": "application/json",
        "x-razorpay-event-id": event_id,
        "x-razorpay-signature": signature,
    }
    return Webhook(headers, body)


def _refused(message: str) -> tuple[int, dict[str, Any]]:
    return 400, {"error": {"code": "BAD_REQUEST_ERROR", "description": message}}


def _answer(fake: FakeRazorpay, method: str, path: str, query: Any, sent: Any, key: str) -> Any:
    kind, *rest = path.strip("/").split("/")[1:]
    if kind == "payment_links":
        return _links(fake, method, rest, query, sent)
    if kind in {"customers", "subscription_registration", "orders"}:
        return _saved(fake, method, [kind, *rest], query, sent)
    if rest == ["create", "recurring"]:
        return fake.charge(sent)
    if kind == "refunds":
        return 200, _page(list(fake.refunds.values()), query)
    if not rest:
        return 200, _page(list(fake.payments.values()), query)
    return _payments(fake, method, rest, sent, key)


def _saved(fake: FakeRazorpay, method: str, path: list[str], query: Any, sent: Any) -> Any:
    match path:
        case ["customers", customer_id, "tokens"]:
            return 200, {"items": fake.tokens.get(customer_id, [])}
        case ["customers"]:
            customer = {"id": fake.name("cust"), **sent}
            return 200, fake.customers.setdefault(customer["id"], customer)
        case ["subscription_registration", "auth_links"]:
            link_id = fake.name("inv")
            return 200, {"id": link_id, "short_url": f"{fake.address}/r/{link_id}"}
        case ["orders", order_id, "payments"]:
            paid = [one for one in fake.payments.values() if one["order_id"] == order_id]
            return 200, {"items": paid}
        case ["orders"] if method == "GET":
            wanted = query["receipt"][0]
            return 200, {"items": [o for o in fake.orders.values() if o["receipt"] == wanted]}
    order = {"id": fake.name("order"), "status": "created", **sent}
    return 200, fake.orders.setdefault(order["id"], order)


def _links(fake: FakeRazorpay, method: str, rest: list[str], query: Any, sent: Any) -> Any:
    if rest:
        return 200, fake.links[rest[0]]
    wanted = sent["reference_id"] if method == "POST" else query["reference_id"][0]
    found = [link for link in fake.links.values() if link["reference_id"] == wanted]
    if method == "GET":
        return 200, {"payment_links": found}
    if found:
        return _refused(f"payment link with given reference_id ({wanted}) already exists")
    link_id = fake.name("plink")
    address = f"{fake.address}/l/{link_id}"
    link = {**sent, "id": link_id, "status": "created", "payments": [], "short_url": address}
    fake.links[link_id] = link
    return 200, link


def _payments(fake: FakeRazorpay, method: str, rest: list[str], sent: Any, key: str) -> Any:
    payment = fake.payments[rest[0]]
    if rest[1:] == ["refunds"]:
        back = [one for one in fake.refunds.values() if one["payment_id"] == payment["id"]]
        return 200, {"items": back}
    if (method, rest[1:]) != ("POST", ["refund"]):
        return 200, payment
    if key not in fake.refund_keys:
        if payment["amount_refunded"] + sent["amount"] > payment["amount"]:
            return _refused("The total refund amount is greater than the payment amount")
        fake.refund_keys[key] = fake.send_back(payment["id"], sent["amount"])
    return 200, fake.refunds[fake.refund_keys[key]]


def _page(items: list[Any], query: Any) -> dict[str, Any]:
    skip, count = int(query.get("skip", ["0"])[0]), int(query.get("count", ["10"])[0])
    since, until = int(query.get("from", ["0"])[0]), int(query.get("to", [str(2**40)])[0])
    found = [one for one in items if since <= one["created_at"] <= until]
    return {"items": found[skip : skip + count]}


def _handle(fake: FakeRazorpay, call: Call) -> Answer:
    wanted = "Basic " + base64.b64encode(f"{KEY_ID}:{KEY_SECRET}".encode()).decode()
    url = urlsplit(call.path)
    fake.requests.append(f"{call.method} {re.sub(r'_[0-9]{14}', '_*', url.path)}")
    if call.headers.get("authorization") != wanted:
        return 401, {"error": {"code": "BAD_REQUEST_ERROR"}}
    if fake.fail_next:
        fake.fail_next -= 1
        return 502, {"error": {"code": "SERVER_ERROR"}}
    key = call.headers.get("x-refund-idempotency", "")
    sent = json.loads(call.body or b"{}")
    answer: Answer = _answer(fake, call.method, url.path, parse_qs(url.query), sent, key)
    if fake.hang_after_effect and call.method == "POST":
        fake.hang_after_effect -= 1
        return None
    return answer


@contextmanager
def running_razorpay() -> Iterator[FakeRazorpay]:
    """The server on a port of its own."""
    fake = FakeRazorpay()
    with serving(lambda call: _handle(fake, call)) as fake.address:
        yield fake
