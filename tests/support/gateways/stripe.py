"""A local Stripe for what `localstripe` lacks: Checkout sessions, lists by time, bad days.

See docs.stripe.com/api. What would be sent to the webhook is put into `outbox` as signed requests,
so that a test delivers them in any order, twice, late, or not at all.
"""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.gateways.server import Answer, Call, Webhook, serving

API_KEY, WEBHOOK_SECRET = "sk_test_local", "whsec_local"


@dataclass
class FakeStripe:
    """The state behind the server, and the switches of its moods."""

    address: str = ""
    sessions: dict[str, dict[str, Any]] = field(default_factory=dict)
    intents: dict[str, dict[str, Any]] = field(default_factory=dict)
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    answered: dict[str, Any] = field(default_factory=dict)
    """Answers by idempotency key: the same key gives the same answer."""
    customers: dict[str, dict[str, Any]] = field(default_factory=dict)
    setups: dict[str, dict[str, Any]] = field(default_factory=dict)
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    declined: set[str] = field(default_factory=set)
    """Saved methods that are declined when charged."""
    outbox: list[Webhook] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    refuse_next: list[tuple[int, str]] = field(default_factory=list)
    """Statuses and error types that the next calls are answered with; they do nothing."""
    hang_after_effect: int = 0
    """So many calls do what they are asked and are never answered."""
    _count: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def name(self, prefix: str) -> str:
        """An id that was not given before."""
        with self._lock:
            self._count += 1
            return f"{prefix}_{self._count:014d}"

    def pay(
        self,
        session_id: str,
        *,
        amount: int | None = None,
        currency: str | None = None,
        fail_first: bool = False,
    ) -> str:
        """Pay a session as a customer does, in Stripe's own units; queues what would be sent."""
        session = self.sessions[session_id]
        intent = {
            "id": self.name("pi"),
            "object": "payment_intent",
            "amount": session["amount_total"] if amount is None else amount,
            "amount_received": 0,
            "currency": currency or session["currency"],
            "status": "requires_payment_method",
            "metadata": session["metadata"],
            "last_payment_error": None,
            "created": int(time.time()),
        }
        self.intents[intent["id"]] = intent
        if fail_first:
            intent["last_payment_error"] = {"message": "Your card was declined."}
            self._tell("payment_intent.payment_failed", intent)
        intent |= {
            "status": "succeeded",
            "amount_received": intent["amount"],
            "last_payment_error": None,
        }
        self._tell("payment_intent.succeeded", intent)
        session |= {
            "status": "complete",
            "payment_status": "paid",
            "payment_intent": intent["id"],
            "amount_total": intent["amount"],
            "currency": intent["currency"],
        }
        self._tell("checkout.session.completed", session)
        return str(intent["id"])

    def save(self, session_id: str) -> str:
        """Save a card on a page in setup mode, as a customer does."""
        method = {"id": self.name("pm"), "object": "payment_method", "type": "card"}
        self.methods[method["id"]] = {**method, "card": {"brand": "visa", "last4": "4242"}}
        setup = {"id": self.name("seti"), "object": "setup_intent", "status": "succeeded"}
        self.setups[setup["id"]] = {**setup, "payment_method": method["id"]}
        self.sessions[session_id] |= {"status": "complete", "setup_intent": setup["id"]}
        return method["id"]

    def send_back(self, intent_id: str, amount: int, *, status: str = "succeeded") -> str:
        """Refund, as from the dashboard; queues what would be sent."""
        refund = {
            "id": self.name("re"),
            "object": "refund",
            "payment_intent": intent_id,
            "amount": amount,
            "currency": self.intents[intent_id]["currency"],
            "status": status,
            "metadata": {},
            "created": int(time.time()),
        }
        self.refunds[refund["id"]] = refund
        self._tell("refund.updated", refund)
        return str(refund["id"])

    def _tell(self, event: str, thing: dict[str, Any]) -> None:
        now = int(time.time())
        body = json.dumps(
            {
                "id": self.name("evt"),
                "object": "event",
                "type": event,
                "created": now,
                "data": {"object": thing},
            }
        ).encode()
        self.outbox.append(signed(body, now))


def signed(body: bytes, at: int, secret: str = WEBHOOK_SECRET) -> Webhook:
    """A webhook with Stripe's signature: HMAC-SHA256 of the time and the raw body."""
    signature = hmac.new(secret.encode(), b"%d.%s" % (at, body), hashlib.sha256).hexdigest()
    headers = {"content-type": "application/json", "stripe-signature": f"t={at},v1={signature}"}
    return Webhook(headers, body)


def _error(status: int, kind: str, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"type": kind, "message": message}}


def _answer(fake: FakeStripe, method: str, path: str, sent: dict[str, str]) -> Any:
    kind, *rest = path.removeprefix("/v1/").removeprefix("checkout/").split("/")
    kept = {
        "sessions": fake.sessions,
        "payment_intents": fake.intents,
        "refunds": fake.refunds,
        "customers": fake.customers,
        "setup_intents": fake.setups,
        "payment_methods": fake.methods,
    }
    if kind not in kept:
        return _error(404, "invalid_request_error", f"Unrecognized request URL ({path})")
    if rest:
        found = kept[kind].get(rest[0])
        if found is None:
            return _error(404, "invalid_request_error", f"No such object: '{rest[0]}'")
        return 200, found
    if method == "GET":
        return 200, {**_page(list(kept[kind].values()), sent), "url": path}
    makers = {"payment_intents": _new_intent, "customers": _new_customer, "refunds": _new_refund}
    return makers.get(kind, _new_session)(fake, sent)


def _new_customer(fake: FakeStripe, sent: dict[str, str]) -> Any:
    customer = {"id": fake.name("cus"), "object": "customer", "name": sent["name"]}
    return 200, fake.customers.setdefault(customer["id"], customer)


def _new_intent(fake: FakeStripe, sent: dict[str, str]) -> Any:
    """A charge of a saved method, confirmed at once."""
    if sent["payment_method"] in fake.declined:
        return _error(402, "card_error", "Your card was declined.")
    intent = {
        "id": fake.name("pi"),
        "object": "payment_intent",
        "amount": int(sent["amount"]),
        "amount_received": int(sent["amount"]),
        "currency": sent["currency"],
        "status": "succeeded",
        "metadata": {"reference": sent["metadata[reference]"]},
        "last_payment_error": None,
        "created": int(time.time()),
    }
    fake.intents[intent["id"]] = intent
    fake._tell("payment_intent.succeeded", intent)
    return 200, intent


def _new_session(fake: FakeStripe, sent: dict[str, str]) -> Any:
    session_id = fake.name("cs")
    if sent["mode"] == "setup":
        fake.sessions[session_id] = {
            "id": session_id,
            "object": "checkout.session",
            "url": f"{fake.address}/save/{session_id}",
            "status": "open",
            "customer": sent["customer"],
            "setup_intent": None,
        }
        return 200, fake.sessions[session_id]
    fake.sessions[session_id] = {
        "id": session_id,
        "object": "checkout.session",
        "url": f"{fake.address}/pay/{session_id}",
        "status": "open",
        "payment_status": "unpaid",
        "payment_intent": None,
        "client_reference_id": sent["client_reference_id"],
        "metadata": {"reference": sent["payment_intent_data[metadata][reference]"]},
        "amount_total": int(sent["line_items[0][price_data][unit_amount]"]),
        "currency": sent["line_items[0][price_data][currency]"],
    }
    return 200, fake.sessions[session_id]


def _new_refund(fake: FakeStripe, sent: dict[str, str]) -> Any:
    intent_id, amount = sent["payment_intent"], int(sent["amount"])
    back = sum(one["amount"] for one in fake.refunds.values() if one["payment_intent"] == intent_id)
    if back + amount > fake.intents[intent_id]["amount_received"]:
        return _error(400, "invalid_request_error", "Refund amount is greater than what is left")
    return 200, fake.refunds[fake.send_back(intent_id, amount)]


def _page(things: list[dict[str, Any]], sent: dict[str, str]) -> dict[str, Any]:
    since, until = int(sent.get("created[gte]", "0")), int(sent.get("created[lt]", str(2**40)))
    wanted = [
        one
        for one in reversed(things)
        if since <= one["created"] < until
        and sent.get("payment_intent") in {None, one.get("payment_intent")}
    ]
    after = sent.get("starting_after")
    if after is not None:
        wanted = wanted[[one["id"] for one in wanted].index(after) + 1 :]
    limit = min(int(sent.get("limit", "10")), 3)  # small pages, so that paging is needed
    return {
        "object": "list",
        "data": wanted[:limit],
        "has_more": len(wanted) > limit,
    }


def _handle(fake: FakeStripe, call: Call) -> Answer:
    url = urlsplit(call.path)
    query = url.query if call.method == "GET" else call.body.decode()
    sent = {name: values[0] for name, values in parse_qs(query).items()}
    fake.requests.append(f"{call.method} {url.path}")
    if call.headers.get("authorization") != f"Bearer {API_KEY}":
        return _error(401, "invalid_request_error", "Invalid API Key provided")
    if fake.refuse_next:
        return _error(*fake.refuse_next.pop(0), "Not now")
    key = call.headers.get("idempotency-key") if call.method == "POST" else None
    if key is not None and key in fake.answered:
        return 200, fake.answered[key]
    status, answer = _answer(fake, call.method, url.path, sent)
    if key is not None and status == 200:
        fake.answered[key] = answer
    if fake.hang_after_effect and call.method == "POST":
        fake.hang_after_effect -= 1
        return None
    return status, answer


@contextmanager
def running_stripe() -> Iterator[FakeStripe]:
    """The server on a port of its own."""
    fake = FakeStripe()
    with serving(lambda call: _handle(fake, call)) as fake.address:
        yield fake
