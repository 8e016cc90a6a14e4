"""Webhooks over HTTP: the raw body decides, every message counts once."""

import json

import pytest
from sqlalchemy import select

from billing.db.unit_of_work import read_only
from billing.payments.tables import GatewayEvent
from ingest_api.gateway import MAX_BODY_BYTES
from invoicing.charges import fill_and_charge
from invoicing.collect import Collector
from invoicing.gateways.registry import gateways
from invoicing.gateways.settings import GatewaySettings
from tests.support.counter import Counter
from tests.support.gateways.razorpay import signed
from tests.support.gateways.server import Webhook


def test_a_message_needs_no_key_but_a_signature_over_the_very_bytes(counter: Counter) -> None:
    payment = counter.ask(invoice_id=str(counter.invoice().id))
    counter.razorpay.pay(payment["attributes"]["provider_order_id"])
    good = counter.razorpay.outbox[-1]
    spaced = Webhook(good.headers, json.dumps(json.loads(good.body), indent=1).encode())
    unsigned = Webhook({"content-type": "application/json"}, good.body)

    for forged in (spaced, unsigned, signed(good.body, "evt_x", "another secret")):
        response = counter.send(forged)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_signature"
    assert counter.send(good).status_code == 204

    with read_only(counter.api.engine) as session:
        kept = session.scalars(select(GatewayEvent.body).where(GatewayEvent.body != b"")).all()
    assert kept == [good.body]


def test_a_replay_is_answered_like_the_first_time_and_changes_nothing(counter: Counter) -> None:
    debt = counter.wallet()
    payment = counter.ask(wallet_id=str(debt.id), credits_minor=100_000)
    counter.pay(payment)

    for webhook in counter.razorpay.outbox * 3:
        assert counter.send(webhook).status_code == 204

    assert counter.api.get(f"/wallets/{debt.id}")["attributes"]["balance_units"] == 1_000_000_000


def test_a_message_that_was_answered_and_not_applied_is_applied_by_the_next_run(
    counter: Counter,
) -> None:
    payment = counter.ask(invoice_id=str(counter.invoice().id))
    counter.razorpay.pay(payment["attributes"]["provider_order_id"])
    collector = Collector(counter.api.engine, counter.api.clock, gateways(), GatewaySettings.load())
    for webhook in counter.razorpay.outbox:
        headers = {name.lower(): value for name, value in webhook.headers.items()}
        notice = collector.gateways.get("razorpay").notice_of(headers, webhook.body)
        assert collector.keep("razorpay", notice, webhook.body)
    assert counter.api.get(f"/payments/{payment['id']}")["attributes"]["status"] != "captured"

    fill_and_charge(collector)

    assert counter.api.get(f"/payments/{payment['id']}")["attributes"]["status"] == "captured"


def test_a_gateway_that_is_not_here_is_not_found(counter: Counter) -> None:
    for name in ("paypal", "stripe"):
        response = counter.send(signed(b"{}", "evt_1"), name)
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "unknown_gateway"


def test_a_body_that_is_too_large_is_refused_before_it_is_read(counter: Counter) -> None:
    response = counter.send(signed(b" " * (MAX_BODY_BYTES + 1), "evt_1"))

    assert response.status_code == 413
    assert response.json()["error"]["code"] == "too_large"


@pytest.mark.parametrize("body", [b"{}", b"[]", b"no", b"", b'{"event":"payment.captured"}'])
def test_a_signed_message_of_another_shape_is_refused_in_words(
    counter: Counter, body: bytes
) -> None:
    response = counter.send(signed(body, "evt_1"))

    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"] == "not_a_message"


def test_a_message_about_somebody_elses_money_is_kept_and_answered(counter: Counter) -> None:
    body = json.dumps(
        {
            "entity": "event",
            "event": "payment.captured",
            "payload": {
                "payment": {
                    "entity": {
                        "id": "pay_unknown",
                        "amount": 100,
                        "currency": "INR",
                        "status": "captured",
                        "notes": [],
                    }
                }
            },
            "created_at": 1_780_000_000,
        }
    ).encode()

    assert counter.send(signed(body, "evt_strange")).status_code == 204

    with read_only(counter.api.engine) as session:
        event = session.get_one(GatewayEvent, ("razorpay", "evt_strange"))
    assert event.outcome.value == "unmatched"
    assert event.payment_id is None
