"""Stripe: Checkout, signatures, rupiah, bad days, and what a stateful server by others says."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import stripe
from sqlalchemy import select

from billing.access.actor import SYSTEM
from billing.db.unit_of_work import read_only
from billing.errors import PreconditionError, UnavailableError
from billing.invoices.tables import InvoiceStatus
from billing.payments.facts import FactKind, PaymentStatus
from billing.payments.service import RequestRefund
from billing.payments.tables import CallState, GatewayCall, Payment
from invoicing.gateways.protocol import (
    InvalidSignatureError,
    KnownPayment,
    RefundRequest,
    RefusedError,
)
from invoicing.gateways.settings import GatewaySettings
from invoicing.gateways.stripe import StripeGateway
from tests.invoicing.gateways.conftest import Till, ends_of_every_order, order_of
from tests.support.gateways import localstripe
from tests.support.gateways.localstripe import LocalStripe, running_localstripe
from tests.support.gateways.server import Webhook
from tests.support.gateways.stripe import signed


def asked(till: Till, **fields: object) -> Payment:
    return till.asked("stripe", **fields)


def test_a_paid_session_settles_its_invoice(till: Till) -> None:
    invoice_id = till.invoice(11800)
    payment = asked(till, invoice_id=invoice_id)
    assert payment.checkout_url == f"{till.stripe.address}/pay/{payment.provider_order_id}"

    till.stripe.pay(order_of(payment))
    for webhook in till.stripe.outbox:
        assert till.deliver(webhook)
        assert not till.deliver(webhook)

    assert till.payment(payment.id).status is PaymentStatus.CAPTURED
    assert till.invoice_now(invoice_id).status is InvoiceStatus.PAID


def test_every_order_of_events_ends_in_the_same_state(till: Till) -> None:
    invoice_id = till.invoice(11800)
    payment = asked(till, invoice_id=invoice_id)
    paid = till.stripe.pay(order_of(payment), fail_first=True)
    till.stripe.send_back(paid, 1800)
    gateway = till.collector.gateways.get("stripe")
    notices = [(gateway.notice_of(one.headers, one.body), one.body) for one in till.stripe.outbox]
    assert sorted(notice.kind for notice, _ in notices) == [
        "checkout.session.completed",
        "payment_intent.payment_failed",
        "payment_intent.succeeded",
        "refund.updated",
    ]
    ends = ends_of_every_order(till, payment, till.stripe.outbox)

    assert ends == {(PaymentStatus.CAPTURED, 11800, 1800, 10000)}


def test_rupiah_are_hundredths_at_stripe_and_whole_with_us(till: Till) -> None:
    invoice_id = till.invoice(150_000, currency="IDR")
    payment = asked(till, invoice_id=invoice_id)
    assert till.stripe.sessions[order_of(payment)]["amount_total"] == 15_000_000

    till.stripe.pay(order_of(payment))
    for webhook in till.stripe.outbox:
        till.deliver(webhook)
    assert till.payment(payment.id).captured_minor == 150_000
    till.collector.refund(
        SYSTEM, RequestRefund(payment_id=payment.id, amount_minor=50_000, reason="Paid twice")
    )

    assert [one["amount"] for one in till.stripe.refunds.values()] == [5_000_000]
    assert till.payment(payment.id).refunded_minor == 50_000


@pytest.mark.parametrize(
    ("age_seconds", "secret", "tail"),
    [(0, "whsec_another", b""), (301, None, b""), (0, None, b" ")],
    ids=["another secret", "signed too long ago", "another body"],
)
def test_what_stripe_did_not_sign_just_now_is_refused(
    till: Till, age_seconds: int, secret: str | None, tail: bytes
) -> None:
    body = b'{"id":"evt_1","type":"x","created":1,"data":{"object":{"id":"x"}}}'
    at = int(time.time()) - age_seconds
    webhook = signed(body, at, secret) if secret else signed(body, at)

    with pytest.raises(InvalidSignatureError):
        till.deliver(Webhook(webhook.headers, webhook.body + tail))


def test_a_message_without_a_signature_is_refused(till: Till) -> None:
    with pytest.raises(InvalidSignatureError):
        till.collector.gateways.get("stripe").notice_of({}, b"{}")


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"type":"x","data":{"object":null}}', b"no"])
def test_a_signed_message_of_another_shape_is_no_event(till: Till, body: bytes) -> None:
    with pytest.raises(RefusedError):
        till.deliver(signed(body, int(time.time())))


@pytest.mark.parametrize(
    ("status", "kind"), [(402, "card_error"), (400, "invalid_request_error"), (403, "api_error")]
)
def test_a_no_of_stripe_is_a_no(till: Till, status: int, kind: str) -> None:
    till.stripe.refuse_next = [(status, kind)]

    with pytest.raises(PreconditionError, match="stripe refuses"):
        asked(till, invoice_id=till.invoice())

    assert call_states(till) == [CallState.FAILED]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (409, "api_error"),
        (409, "idempotency_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "api_error"),
    ],
)
def test_anything_else_leaves_it_open_and_is_asked_again_under_the_same_key(
    till: Till, status: int, kind: str
) -> None:
    invoice_id = till.invoice()
    till.stripe.refuse_next = [(status, kind)]

    with pytest.raises(UnavailableError):
        asked(till, invoice_id=invoice_id)
    assert call_states(till) == [CallState.UNKNOWN]
    before = len(till.stripe.sessions)
    payment = asked(till, invoice_id=invoice_id)

    assert payment.checkout_url is not None
    assert len(till.stripe.sessions) == before + 1
    assert call_states(till) == [CallState.SUCCEEDED]


def test_a_session_whose_answer_was_lost_is_the_one_that_is_paid(till: Till) -> None:
    invoice_id = till.invoice()
    till.stripe.hang_after_effect = 1
    before = len(till.stripe.sessions)

    with pytest.raises(UnavailableError, match="nothing is done twice"):
        asked(till, invoice_id=invoice_id)
    asked(till, invoice_id=invoice_id)

    assert len(till.stripe.sessions) == before + 1


def test_a_refund_whose_answer_was_lost_is_made_once(till: Till) -> None:
    payment = asked(till, invoice_id=till.invoice(11800))
    till.stripe.pay(order_of(payment))
    till.deliver(till.stripe.outbox[-1])
    till.stripe.hang_after_effect = 1
    request = RequestRefund(payment_id=payment.id, amount_minor=1800, reason="Paid twice")

    with pytest.raises(UnavailableError):
        till.collector.refund(SYSTEM, request, "refund-once")
    till.collector.refund(SYSTEM, request, "refund-once")

    assert len(till.stripe.refunds) == 1
    assert till.payment(payment.id).refunded_minor == 1800


def test_all_that_came_in_and_went_back_is_listed_page_by_page(till: Till) -> None:
    now = datetime.now(UTC)
    for _ in range(4):
        paid = till.stripe.pay(order_of(asked(till, invoice_id=till.invoice(11800))))
        till.stripe.send_back(paid, 800)
    till.stripe.send_back(paid, 100, status="failed")

    listed = list(
        till.collector.gateways.get("stripe").movements(
            now - timedelta(minutes=1), now + timedelta(minutes=1)
        )
    )

    assert sorted((one.amount_minor, one.refund_id is None) for one in listed) == [
        *[(800, False)] * 4,
        *[(11800, True)] * 4,
    ]
    assert {one.currency for one in listed} == {"INR"}


def call_states(till: Till) -> list[CallState]:
    with read_only(till.engine) as session:
        return list(session.scalars(select(GatewayCall.state)))


@pytest.fixture(scope="module")
def other() -> Iterator[LocalStripe]:
    with running_localstripe() as running:
        yield running


@pytest.fixture
def gateway(other: LocalStripe) -> StripeGateway:
    settings = GatewaySettings(
        stripe_api_key="sk_test_12345",  # type: ignore[arg-type]
        stripe_webhook_secret=localstripe.WEBHOOK_SECRET,  # type: ignore[arg-type]
        stripe_address=other.address,
    )
    return StripeGateway(settings)


@pytest.fixture
def sdk(other: LocalStripe) -> stripe.StripeClient:
    return stripe.StripeClient("sk_test_12345", base_addresses={"api": other.address})


def test_an_intent_a_refund_and_their_list_are_read_from_localstripe(
    gateway: StripeGateway, sdk: stripe.StripeClient
) -> None:
    reference = str(uuid4())
    intent = sdk.v1.payment_intents.create(
        {
            "amount": 11800,
            "currency": "inr",
            "payment_method": "pm_card_visa",
            "confirm": True,
            "metadata": {"reference": reference},
        }
    )
    known = KnownPayment(reference, "INR", None, (intent.id,))

    refunded = gateway.refund(RefundRequest(known, intent.id, 1800, "Paid twice"), "key")
    found = {fact.kind: fact for notice in gateway.look_up(known) for fact in notice.facts}

    assert refunded.facts[0].kind is FactKind.REFUNDED
    assert found[FactKind.CAPTURED].amount_minor == 11800
    assert found[FactKind.REFUNDED] == refunded.facts[0]


def test_localstripe_refuses_more_than_we_may_ask(gateway: StripeGateway) -> None:
    unknown = KnownPayment("x", "INR", None, ("pi_unknown",))

    with pytest.raises(RefusedError):
        gateway.refund(RefundRequest(unknown, "pi_unknown", 1800, "Paid twice"), "key")
    with pytest.raises(RefusedError):
        list(gateway.look_up(unknown))


def test_events_that_localstripe_signs_are_understood(
    gateway: StripeGateway, sdk: stripe.StripeClient, other: LocalStripe
) -> None:
    while not other.heard.empty():
        other.heard.get()
    reference = str(uuid4())
    intent = {"amount": 11800, "currency": "inr", "confirm": True}
    metadata = {"reference": reference}
    sdk.v1.payment_intents.create(
        {**intent, "payment_method": "pm_card_visa", "metadata": metadata}  # type: ignore[arg-type]
    )
    with pytest.raises(stripe.CardError):
        sdk.v1.payment_intents.create(
            {  # type: ignore[arg-type]
                **intent,
                "payment_method": "pm_card_chargeCustomerFail",
                "metadata": metadata,
            }
        )

    heard = []
    while {"payment_intent.succeeded", "payment_intent.payment_failed"} - {
        one.kind for one in heard
    }:
        webhook = other.heard.get(timeout=20)
        heard.append(gateway.notice_of(webhook.headers, webhook.body))

    said = {one.kind: one for one in heard if one.reference == reference}
    (captured,) = said["payment_intent.succeeded"].facts
    assert (captured.kind, captured.amount_minor) == (FactKind.CAPTURED, 11800)
    (failed,) = said["payment_intent.payment_failed"].facts
    assert failed.kind is FactKind.FAILED
    assert failed.detail
