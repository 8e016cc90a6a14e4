"""Stripe: hosted Checkout, refunds, signed events.

Amounts: Stripe counts rupiah in hundredths, we in whole ones (docs.stripe.com/currencies).
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import stripe

from billing.money import currency
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

_STRIPE_DECIMALS: Final = 2
_TOLERANCE_SECONDS: Final = 300
_INTENT_FACTS: Final = {
    "payment_intent.processing": FactKind.PENDING,
    "payment_intent.requires_action": FactKind.PENDING,
    "payment_intent.payment_failed": FactKind.FAILED,
    "payment_intent.canceled": FactKind.EXPIRED,
    "payment_intent.amount_capturable_updated": FactKind.AUTHORISED,
    "payment_intent.succeeded": FactKind.CAPTURED,
}
_DISPUTE_FACTS: Final = {"won": FactKind.DISPUTE_WON, "lost": FactKind.DISPUTE_LOST}


class StripeGateway:
    """Payments through Stripe.

    Args:
        settings: with `stripe_api_key` and `stripe_webhook_secret`.
    """

    name = "stripe"
    currencies = frozenset({"INR", "USD", "IDR"})

    def __init__(self, settings: GatewaySettings) -> None:
        if settings.stripe_api_key is None or settings.stripe_webhook_secret is None:
            raise ValueError("Stripe needs an API key and a webhook secret")
        self._secret = settings.stripe_webhook_secret
        self._client = stripe.StripeClient(
            settings.stripe_api_key.get_secret_value(),
            base_addresses={"api": settings.stripe_address},
            # a repetition is ours to decide: it must be on record first
            max_network_retries=0,
            http_client=stripe.RequestsClient(timeout=settings.gateway_timeout_seconds),
        )

    def create_checkout(self, request: CheckoutRequest, key: str) -> Checkout:
        """A Checkout session; its payment intent carries our reference."""
        metadata = {"reference": request.reference}
        parameters: dict[str, Any] = {
            "mode": "payment",
            "client_reference_id": request.reference,
            "metadata": metadata,
            "payment_intent_data": {"metadata": metadata, "description": request.description},
            "success_url": request.return_url,
            "cancel_url": request.return_url,
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": request.currency.lower(),
                        "unit_amount": _to_stripe(request.amount_minor, request.currency),
                        "product_data": {"name": request.description},
                    },
                }
            ],
        }
        if request.customer_email:
            parameters["customer_email"] = request.customer_email
        with _told():
            session = self._client.v1.checkout.sessions.create(
                params=parameters,  # type: ignore[arg-type]
                options={"idempotency_key": key},
            )
        if not session.url:
            raise UnknownOutcomeError("Stripe gave no address to pay at")
        return Checkout(session.id, session.url)

    def refund(self, request: RefundRequest, key: str) -> Notice:
        """A refund of a payment intent."""
        with _told():
            refund = self._client.v1.refunds.create(
                params={
                    "payment_intent": request.provider_payment_id,
                    "amount": _to_stripe(request.amount_minor, request.payment.currency),
                    "metadata": {"reference": request.payment.reference},
                },
                options={"idempotency_key": key},
            )
        plain = _plain(refund)
        return Notice(
            f"refund:{refund.id}:{refund.status}",
            "refund",
            tuple(_refund_facts(plain)),
            reference=request.payment.reference,
        )

    def begin_setup(self, request: SetupRequest, key: str) -> Setup:
        """A Checkout session in setup mode, for a customer of its own."""
        customer: Any = {"name": request.customer_name}
        if request.customer_email:
            customer["email"] = request.customer_email
        page: Any = {
            "mode": "setup",
            "currency": request.currency.lower(),
            "metadata": {"reference": request.reference},
            "success_url": request.return_url,
            "cancel_url": request.return_url,
        }
        with _told():
            made = self._client.v1.customers.create(
                params=customer, options={"idempotency_key": f"{key}:customer"}
            )
            page["customer"] = made.id
            session = self._client.v1.checkout.sessions.create(
                params=page, options={"idempotency_key": key}
            )
        if not session.url:
            raise UnknownOutcomeError("Stripe gave no address to save a method at")
        return Setup(made.id, session.id, session.url)

    def saved_method(self, setup: Setup) -> SavedMethod | None:
        """What the setup intent of the session holds."""
        with _told():
            session = _plain(self._client.v1.checkout.sessions.retrieve(setup.provider_setup_id))
            if not session.get("setup_intent"):
                return None
            intent = _plain(self._client.v1.setup_intents.retrieve(session["setup_intent"]))
            if intent["status"] != "succeeded" or not intent.get("payment_method"):
                return None
            method = _plain(self._client.v1.payment_methods.retrieve(intent["payment_method"]))
        return SavedMethod(method["id"], _label(method))

    def charge(self, request: ChargeRequest, key: str) -> Notice:
        """A payment intent, confirmed at once and without the customer."""
        parameters: Any = {
            "amount": _to_stripe(request.amount_minor, request.currency),
            "currency": request.currency.lower(),
            "customer": request.provider_customer_id,
            "payment_method": request.provider_method_id,
            "confirm": True,
            "off_session": True,
            "metadata": {"reference": request.reference},
        }
        with _told():
            made = self._client.v1.payment_intents.create(
                params=parameters, options={"idempotency_key": key}
            )
        intent = _plain(made)
        return Notice(
            f"charge:{intent['id']}:{intent['status']}",
            "charge",
            tuple(_intent_facts(intent)),
            reference=request.reference,
        )

    def notice_of(self, headers: Mapping[str, str], body: bytes) -> Notice:
        """A snapshot event."""
        try:
            stripe.WebhookSignature.verify_header(
                body.decode(),
                headers.get("stripe-signature", ""),
                self._secret.get_secret_value(),
                _TOLERANCE_SECONDS,
            )
            event = json.loads(body)
            return _notice(event)
        except (stripe.SignatureVerificationError, UnicodeDecodeError) as error:
            raise InvalidSignatureError(str(error)) from error
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise RefusedError(f"not an event of Stripe: {error!r}") from error

    def look_up(self, payment: KnownPayment) -> Iterator[Notice]:
        """The session and the payment intents as they are now."""
        with _told():
            intents = set(payment.provider_payment_ids)
            if payment.provider_order_id:
                session = _plain(
                    self._client.v1.checkout.sessions.retrieve(payment.provider_order_id)
                )
                yield looked_up(payment, "session", _session_facts(session))
                if session.get("payment_intent"):
                    intents.add(session["payment_intent"])
            for intent_id in sorted(intents):
                intent = _plain(self._client.v1.payment_intents.retrieve(intent_id))
                yield looked_up(payment, "intent", _intent_facts(intent))
                refunds = self._client.v1.refunds.list(params={"payment_intent": intent_id})
                for refund in refunds.auto_paging_iter():
                    yield looked_up(payment, "refund", _refund_facts(_plain(refund)))

    def movements(self, since: datetime, until: datetime) -> Iterator[Movement]:
        """Succeeded payment intents and refunds."""
        window: Any = {
            "created": {"gte": int(since.timestamp()), "lt": int(until.timestamp())},
            "limit": 100,
        }
        with _told():
            intents = self._client.v1.payment_intents.list(params=window)
            for intent in map(_plain, intents.auto_paging_iter()):
                for fact in _intent_facts(intent):
                    if fact.kind is FactKind.CAPTURED:
                        yield _movement(intent, fact)
            refunds = self._client.v1.refunds.list(params=window)
            for refund in map(_plain, refunds.auto_paging_iter()):
                for fact in _refund_facts(refund):
                    if fact.kind is FactKind.REFUNDED:
                        yield _movement(refund, fact)


def _label(method: Mapping[str, Any]) -> str:
    card = method.get("card")
    return f"{card['brand']} •••• {card['last4']}" if card else str(method.get("type", "saved"))


def _notice(event: Mapping[str, Any]) -> Notice:
    kind, thing = event["type"], event["data"]["object"]
    metadata = thing.get("metadata") or {}
    return Notice(
        event_id=event["id"],
        kind=kind,
        facts=tuple(_facts(kind, thing)),
        reference=thing.get("client_reference_id") or metadata.get("reference"),
        provider_order_id=thing["id"] if thing.get("object") == "checkout.session" else None,
        occurred_at=datetime.fromtimestamp(event["created"], UTC),
    )


def _facts(kind: str, thing: Mapping[str, Any]) -> list[Fact]:
    if kind in _INTENT_FACTS:
        return _intent_facts(thing, _INTENT_FACTS[kind])
    if kind.startswith("checkout.session."):
        return _session_facts(thing)
    if thing.get("object") == "refund":
        return _refund_facts(thing)
    if thing.get("object") == "dispute":
        fact = _DISPUTE_FACTS.get(thing["status"], FactKind.DISPUTED)
        return [Fact(fact, provider_payment_id=thing.get("payment_intent"))]
    return []


def _session_facts(session: Mapping[str, Any]) -> list[Fact]:
    """A session tells that it is over; how much came in, its payment intent tells."""
    intent = session.get("payment_intent")
    if session.get("status") == "expired":
        return [Fact(FactKind.EXPIRED)]
    if session.get("payment_status") == "paid" and intent:
        code = session["currency"].upper()
        amount_minor = _from_stripe(session["amount_total"], code)
        return [Fact(FactKind.CAPTURED, intent, amount_minor, code)]
    return [Fact(FactKind.PENDING, intent)]


def _intent_facts(intent: Mapping[str, Any], kind: FactKind | None = None) -> list[Fact]:
    if kind is None:
        kind = {
            "succeeded": FactKind.CAPTURED,
            "canceled": FactKind.EXPIRED,
            "requires_capture": FactKind.AUTHORISED,
        }.get(intent["status"], FactKind.PENDING)
    code = intent["currency"].upper()
    failure = (intent.get("last_payment_error") or {}).get("message")
    if kind is FactKind.CAPTURED:
        received = intent.get("amount_received", intent["amount"])
        return [Fact(kind, intent["id"], _from_stripe(received, code), code)]
    return [Fact(kind, intent["id"], detail=failure if kind is FactKind.FAILED else None)]


def _refund_facts(refund: Mapping[str, Any]) -> list[Fact]:
    intent, status = refund.get("payment_intent"), refund.get("status")
    if status in {"failed", "canceled"}:
        return [Fact(FactKind.REFUND_FAILED, intent, refund_id=refund["id"])]
    if status == "succeeded":
        code = refund["currency"].upper()
        amount_minor = _from_stripe(refund["amount"], code)
        return [Fact(FactKind.REFUNDED, intent, amount_minor, code, refund["id"])]
    return []


def _movement(thing: Mapping[str, Any], fact: Fact) -> Movement:
    return Movement(
        provider_payment_id=fact.provider_payment_id or "",
        currency=fact.currency or "",
        amount_minor=fact.amount_minor or 0,
        at=datetime.fromtimestamp(thing["created"], UTC),
        refund_id=fact.refund_id,
        reference=(thing.get("metadata") or {}).get("reference"),
    )


@contextmanager
def _told() -> Iterator[None]:
    """Stripe's errors in our words: a 4xx is a no, everything else leaves it open."""
    try:
        yield
    except stripe.IdempotencyError as error:
        raise UnknownOutcomeError(str(error)) from error
    except (
        stripe.InvalidRequestError,
        stripe.CardError,
        stripe.AuthenticationError,
        stripe.PermissionError,
    ) as error:
        raise RefusedError(error.user_message or str(error)) from error
    except stripe.StripeError as error:
        raise UnknownOutcomeError(str(error)) from error


def _plain(thing: stripe.StripeObject) -> dict[str, Any]:
    plain: dict[str, Any] = thing.to_dict()
    return plain


def _to_stripe(amount_minor: int, code: str) -> int:
    return amount_minor * int(10 ** (_STRIPE_DECIMALS - currency(code).minor_exponent))


def _from_stripe(amount: int, code: str) -> int:
    if code not in StripeGateway.currencies:
        return amount
    return amount // int(10 ** (_STRIPE_DECIMALS - currency(code).minor_exponent))
