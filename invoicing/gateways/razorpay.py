"""Razorpay: payment links (UPI, cards, net banking), refunds, signed webhooks.

Its signature covers no time, so a message may be replayed for ever; what protects is that its id
is kept for ever. Delivery is at least once and in any order; a failed payment may still become
authorised (razorpay.com/docs/webhooks/best-practices).
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import razorpay
import requests

from billing.payments.facts import Fact, FactKind, Notice
from invoicing.gateways.protocol import (
    ChargeRequest,
    Checkout,
    CheckoutRequest,
    InvalidSignatureError,
    KnownPayment,
    Movement,
    RefundRequest,
    RefusedError,
    SavedMethod,
    Setup,
    SetupRequest,
    UnknownOutcomeError,
    looked_up,
)
from invoicing.gateways.settings import GatewaySettings

_PAGE: Final = 100
_PAYMENT_FACTS: Final = {
    "created": FactKind.PENDING,
    "failed": FactKind.FAILED,
    "authorized": FactKind.AUTHORISED,
    "captured": FactKind.CAPTURED,
    "refunded": FactKind.CAPTURED,  # it was captured before it went back
}
_LINK_FACTS: Final = {
    "created": FactKind.PENDING,
    "cancelled": FactKind.EXPIRED,
    "expired": FactKind.EXPIRED,
}
_DISPUTE_FACTS: Final = {"won": FactKind.DISPUTE_WON, "lost": FactKind.DISPUTE_LOST}


class RazorpayGateway:
    """Payments through Razorpay.

    Args:
        settings: with the two parts of the key and the webhook secret.
    """

    name = "razorpay"
    currencies = frozenset({"INR", "USD"})

    def __init__(self, settings: GatewaySettings) -> None:
        secret, webhook = settings.razorpay_key_secret, settings.razorpay_webhook_secret
        if settings.razorpay_key_id is None or secret is None or webhook is None:
            raise ValueError("Razorpay needs a key id, a key secret and a webhook secret")
        self._secret = webhook
        self._timeout = settings.gateway_timeout_seconds
        self._client: Any = razorpay.Client(
            auth=(settings.razorpay_key_id, secret.get_secret_value()),
            base_url=settings.razorpay_address,
        )

    def create_checkout(self, request: CheckoutRequest, key: str) -> Checkout:
        """A payment link. Its `reference_id` is unique at Razorpay, which makes it the key."""
        body = {
            "amount": request.amount_minor,
            "currency": request.currency,
            "reference_id": request.reference,
            "description": request.description[:2048],
            "customer": {
                "name": request.customer_name,
                **({"email": request.customer_email} if request.customer_email else {}),
            },
            "notify": {"email": False, "sms": False},
            "notes": {"reference": request.reference, "key": key},
            "callback_url": request.return_url,
            "callback_method": "get",
        }
        try:
            link = self._ask(self._client.payment_link.create, body)
        except RefusedError:
            made_before = self._link_of(request.reference)
            if made_before is None:
                raise
            link = made_before
        return Checkout(link["id"], link["short_url"])

    def refund(self, request: RefundRequest, key: str) -> Notice:
        """A refund; the key makes its repetition the same refund."""
        refund = self._ask(
            self._client.payment.refund,
            request.provider_payment_id,
            {
                "amount": request.amount_minor,
                "speed": "normal",
                "notes": {"reference": request.payment.reference},
                "receipt": key,
            },
            headers={"X-Refund-Idempotency": key},
        )
        return Notice(
            f"refund:{refund['id']}:{refund['status']}",
            "refund",
            tuple(_refund_facts(refund)),
            reference=request.payment.reference,
        )

    def begin_setup(self, request: SetupRequest, key: str) -> Setup:
        """A registration link. Asked for twice there are two, which save for the same customer.

        The bank checks a card with one rupee, which Razorpay shows as a payment of its own.
        """
        customer = self._ask(
            self._client.customer.create,
            {
                "name": request.customer_name[:50],
                **({"email": request.customer_email} if request.customer_email else {}),
                "fail_existing": "0",
                "notes": {"reference": request.reference},
            },
        )
        link = self._ask(
            self._client.registration_link.create,
            {
                "customer": {
                    "name": request.customer_name[:50],
                    "email": request.customer_email or "",
                },
                "customer_id": customer["id"],
                "type": "link",
                "amount": 100,
                "currency": request.currency,
                "description": "Save a method of payment",
                "subscription_registration": {
                    "method": "card",
                    "max_amount": request.limit_minor,
                },
                "receipt": key[:40],
                "email_notify": 0,
                "sms_notify": 0,
                "notes": {"reference": request.reference},
            },
        )
        return Setup(customer["id"], link["id"], link["short_url"])

    def saved_method(self, setup: Setup) -> SavedMethod | None:
        """The newest token of the customer that may be charged again."""
        tokens = self._ask(self._client.token.all, setup.provider_customer_id)["items"]
        usable = [
            one
            for one in tokens
            if (one.get("recurring_details") or {}).get("status") == "confirmed"
        ]
        if not usable:
            return None
        token = max(usable, key=lambda one: one["created_at"])
        return SavedMethod(token["id"], _label(token))

    def charge(self, request: ChargeRequest, key: str) -> Notice:
        """An order, then a recurring payment of it.

        Razorpay has no key for either. So an order with this receipt is looked for first, and one
        that has a payment which did not fail is not paid again.
        """
        found = self._ask(self._client.order.all, {"receipt": request.reference})["items"]
        order = found[0] if found else None
        if order is not None:
            payments = self._ask(self._client.order.payments, order["id"])["items"]
            alive = [one for one in payments if one["status"] != "failed"]
            if alive:
                return _charged(request, alive[0])
        else:
            order = self._ask(
                self._client.order.create,
                {
                    "amount": request.amount_minor,
                    "currency": request.currency,
                    "receipt": request.reference,
                    "payment_capture": True,
                    "notes": {"reference": request.reference, "key": key},
                },
            )
        made = self._ask(
            self._client.payment.createRecurring,
            {
                "email": request.customer_email or "",
                "contact": "",
                "amount": request.amount_minor,
                "currency": request.currency,
                "order_id": order["id"],
                "customer_id": request.provider_customer_id,
                "token": request.provider_method_id,
                "recurring": "1",
                "description": request.description[:255],
                "notes": {"reference": request.reference},
            },
        )
        payment = self._ask(self._client.payment.fetch, made["razorpay_payment_id"])
        return _charged(request, payment)

    def notice_of(self, headers: Mapping[str, str], body: bytes) -> Notice:
        """A webhook; `x-razorpay-event-id` names it."""
        try:
            self._client.utility.verify_webhook_signature(
                body.decode(),
                headers.get("x-razorpay-signature", ""),
                self._secret.get_secret_value(),
            )
        except (razorpay.errors.SignatureVerificationError, UnicodeDecodeError) as error:
            raise InvalidSignatureError(str(error)) from error
        try:
            event_id = headers.get("x-razorpay-event-id") or hashlib.sha256(body).hexdigest()
            return _notice(event_id, json.loads(body))
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise RefusedError(f"not an event of Razorpay: {error!r}") from error

    def look_up(self, payment: KnownPayment) -> Iterator[Notice]:
        """The link, its payments and their refunds as they are now."""
        known = set(payment.provider_payment_ids)
        if payment.provider_order_id:
            link = self._ask(self._client.payment_link.fetch, payment.provider_order_id)
            yield looked_up(payment, "link", _link_facts(link))
            known |= {one["payment_id"] for one in link.get("payments") or []}
        for payment_id in sorted(known):
            found = self._ask(self._client.payment.fetch, payment_id)
            yield looked_up(payment, "payment", _payment_facts(found))
            refunds = self._ask(self._client.payment.fetch_multiple_refund, payment_id)
            for refund in refunds["items"]:
                yield looked_up(payment, "refund", _refund_facts(refund))

    def movements(self, since: datetime, until: datetime) -> Iterator[Movement]:
        """Captured payments and processed refunds."""
        for found in self._pages(self._client.payment.all, since, until):
            for fact in _payment_facts(found):
                if fact.kind is FactKind.CAPTURED:
                    yield _movement(found, fact)
        for refund in self._pages(self._client.refund.all, since, until):
            for fact in _refund_facts(refund):
                if fact.kind is FactKind.REFUNDED:
                    yield _movement(refund, fact)

    def _link_of(self, reference: str) -> dict[str, Any] | None:
        found = self._ask(self._client.payment_link.all, {"reference_id": reference})
        links: list[dict[str, Any]] = found.get("payment_links", [])
        return next((link for link in links if link.get("reference_id") == reference), None)

    def _pages(
        self, call: Callable[..., Any], since: datetime, until: datetime
    ) -> Iterator[dict[str, Any]]:
        window = {"from": int(since.timestamp()), "to": int(until.timestamp())}
        skip = 0
        while True:
            page = self._ask(call, {**window, "count": _PAGE, "skip": skip})["items"]
            yield from page
            skip += len(page)
            if len(page) < _PAGE:
                return

    def _ask(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        with _told():
            return call(*arguments, timeout=self._timeout, **options)


def _charged(request: ChargeRequest, payment: Mapping[str, Any]) -> Notice:
    return Notice(
        f"charge:{payment['id']}:{payment['status']}",
        "charge",
        tuple(_payment_facts(payment)),
        reference=request.reference,
    )


def _label(token: Mapping[str, Any]) -> str:
    card = token.get("card")
    if card:
        return f"{card.get('network', 'card')} •••• {card.get('last4', '')}"
    vpa = token.get("vpa")
    return f"{vpa['username']}@{vpa['handle']}" if vpa else str(token.get("method", "saved"))


def _notice(event_id: str, event: Mapping[str, Any]) -> Notice:
    entities = {name: part["entity"] for name, part in event["payload"].items()}
    link, payment = entities.get("payment_link"), entities.get("payment")
    facts: list[Fact] = []
    if link:
        facts += _link_facts(link)
    if payment:
        facts += _payment_facts(payment)
    if "refund" in entities:
        facts += _refund_facts(entities["refund"])
    if "dispute" in entities:
        dispute = entities["dispute"]
        kind = _DISPUTE_FACTS.get(dispute["status"], FactKind.DISPUTED)
        facts.append(Fact(kind, provider_payment_id=dispute["payment_id"]))
    return Notice(
        event_id=event_id,
        kind=event["event"],
        facts=tuple(facts),
        reference=(link or {}).get("reference_id") or _reference(payment or {}),
        provider_order_id=link["id"] if link else None,
        occurred_at=datetime.fromtimestamp(event["created_at"], UTC),
    )


def _link_facts(link: Mapping[str, Any]) -> list[Fact]:
    """A link tells that it is open or over; how much came in, its payments tell."""
    kind = _LINK_FACTS.get(link["status"])
    return [Fact(kind)] if kind else []


def _payment_facts(payment: Mapping[str, Any]) -> list[Fact]:
    kind = _PAYMENT_FACTS.get(payment["status"])
    if kind is None:
        return []
    if kind is FactKind.CAPTURED:
        return [Fact(kind, payment["id"], payment["amount"], payment["currency"])]
    failure = payment.get("error_description") if kind is FactKind.FAILED else None
    return [Fact(kind, payment["id"], detail=failure)]


def _refund_facts(refund: Mapping[str, Any]) -> list[Fact]:
    payment_id, refund_id = refund["payment_id"], refund["id"]
    if refund["status"] == "failed":
        return [Fact(FactKind.REFUND_FAILED, payment_id, refund_id=refund_id)]
    if refund["status"] == "processed":
        amount, code = refund["amount"], refund["currency"]
        return [Fact(FactKind.REFUNDED, payment_id, amount, code, refund_id)]
    return []


def _movement(thing: Mapping[str, Any], fact: Fact) -> Movement:
    return Movement(
        provider_payment_id=fact.provider_payment_id or "",
        currency=fact.currency or "",
        amount_minor=fact.amount_minor or 0,
        at=datetime.fromtimestamp(thing["created_at"], UTC),
        refund_id=fact.refund_id,
        reference=_reference(thing),
    )


def _reference(thing: Mapping[str, Any]) -> str | None:
    notes = thing.get("notes")  # an empty list where there are none
    return notes.get("reference") if isinstance(notes, dict) else None


@contextmanager
def _told() -> Iterator[None]:
    """Razorpay's errors in our words: a bad request is a no, everything else leaves it open."""
    try:
        yield
    except razorpay.errors.BadRequestError as error:
        raise RefusedError(str(error)) from error
    except (
        razorpay.errors.GatewayError,
        razorpay.errors.ServerError,
        requests.exceptions.RequestException,
    ) as error:
        raise UnknownOutcomeError(str(error) or type(error).__name__) from error
