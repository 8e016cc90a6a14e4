"""Payments over HTTP: asked for, received, allocated, given back, and by whom."""

from typing import Any
from uuid import uuid4

import pytest

from billing.access.roles import Role
from tests.support.counter import Counter


def transfer(counter: Counter, invoice_id: object, amount_minor: int, **fields: Any) -> Any:
    body = {
        "reference": "NEFT-1",
        "received_on": counter.api.clock.now().date().isoformat(),
        "amount_minor": amount_minor,
        "invoice_id": str(invoice_id),
        **fields,
    }
    return counter.api.post("/payments/receipts", body)


def test_a_customer_asks_for_a_page_to_pay_its_invoice_and_no_other_sees_it(
    counter: Counter,
) -> None:
    debt, stranger = counter.invoice(), counter.invoice()

    payment = counter.ask(invoice_id=str(debt.id), key=debt.key)

    shown = payment["attributes"]
    assert shown["checkout_url"].startswith(counter.razorpay.address)
    assert (shown["status"], shown["amount_minor"], shown["currency"]) == ("pending", 11800, "INR")
    assert counter.api.get(f"/payments/{payment['id']}", key=debt.key) == payment
    assert [one["id"] for one in counter.api.get("/payments", key=debt.key)] == [payment["id"]]
    assert counter.api.get("/payments", key=stranger.key) == []
    counter.api.refused("GET", f"/payments/{payment['id']}", 404, key=stranger.key)
    body = {"invoice_id": str(debt.id)}
    counter.api.refused("POST", "/payments", 404, json=body, key=stranger.key)
    counter.api.refused("POST", f"/payments/{payment['id']}/look-up", 404, key=stranger.key)


def test_a_wallet_is_filled_by_its_customer_with_tax_on_top(counter: Counter) -> None:
    debt, stranger = counter.wallet(), counter.wallet()
    body = {"wallet_id": str(debt.id), "credits_minor": 100_000}
    counter.api.refused("POST", "/payments", 404, json=body, key=stranger.key)

    payment = counter.ask(**body, key=debt.key)
    counter.pay(payment)

    shown = counter.api.get(f"/payments/{payment['id']}", key=debt.key)["attributes"]
    assert (shown["amount_minor"], shown["captured_minor"]) == (118_000, 118_000)
    wallet = counter.api.get(f"/wallets/{debt.id}")["attributes"]
    assert wallet["balance_units"] == 1_000_000_000


def test_the_first_gateway_that_takes_the_currency_is_used_if_none_is_named(
    counter: Counter,
) -> None:
    payment = counter.api.post("/payments", {"invoice_id": str(counter.invoice().id)})

    assert payment["attributes"]["gateway"] == "razorpay"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 400, "name either an invoice_id or a wallet_id"),
        ({"invoice_id": str(uuid4()), "wallet_id": str(uuid4())}, 404, "invoice"),
        ({"invoice_id": str(uuid4()), "gateway": "paypal"}, 404, "invoice"),
        ({"invoice_id": "one"}, 400, "UUID"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_words(
    counter: Counter, body: dict[str, Any], status: int, message: str
) -> None:
    body = {"gateway": "razorpay", **body}

    error = counter.api.refused("POST", "/payments", status, json=body)

    assert message in f"{error['message']} {error.get('fields')}"


def test_a_gateway_without_keys_is_named_with_those_that_have_some(counter: Counter) -> None:
    body = {"invoice_id": str(counter.invoice().id), "gateway": "stripe"}

    error = counter.api.refused("POST", "/payments", 404, json=body)

    assert error["code"] == "unknown_gateway"
    assert "Usable: razorpay" in error["message"]


def test_a_gateway_that_is_away_is_said_so_and_asked_once(counter: Counter) -> None:
    debt = counter.invoice()
    counter.razorpay.fail_next = 1
    body = {"invoice_id": str(debt.id), "gateway": "razorpay"}

    error = counter.api.refused("POST", "/payments", 503, json=body)
    again = counter.ask(invoice_id=str(debt.id))

    assert error["code"] == "gateway_away"
    assert again["attributes"]["checkout_url"]
    assert len(counter.razorpay.links) == 1


def test_a_payment_that_no_message_told_is_found_by_looking(counter: Counter) -> None:
    debt = counter.invoice()
    payment = counter.ask(invoice_id=str(debt.id))
    counter.razorpay.pay(payment["attributes"]["provider_order_id"])

    found = counter.api.post(f"/payments/{payment['id']}/look-up", key=debt.key)

    assert found["attributes"]["status"] == "captured"
    assert counter.api.get(f"/invoices/{debt.id}")["attributes"]["status"] == "paid"


def test_a_refund_goes_back_and_is_never_more_than_came_in(counter: Counter) -> None:
    debt = counter.invoice()
    payment = counter.ask(invoice_id=str(debt.id))
    counter.pay(payment)
    path = f"/payments/{payment['id']}/refunds"

    shown = counter.api.post(path, {"amount_minor": 1800, "reason": "Paid twice"})["attributes"]
    too_much = {"amount_minor": 10_001, "reason": "Paid twice"}
    error = counter.api.refused("POST", path, 409, json=too_much)

    assert shown["refunded_minor"] == 1800
    assert [one["state"] for one in shown["refunds"]] == ["processed"]
    assert error["details"] == {"refundable_minor": 10_000}
    assert counter.api.get(f"/invoices/{debt.id}")["attributes"]["settled_minor"] == 10_000
    counter.api.refused("POST", path, 403, json=too_much, key=debt.key)


def test_the_same_refund_sent_twice_goes_back_once(counter: Counter) -> None:
    payment = counter.ask(invoice_id=str(counter.invoice().id))
    counter.pay(payment)
    body = {"amount_minor": 1800, "reason": "Paid twice"}
    path, headers = f"/payments/{payment['id']}/refunds", {"Idempotency-Key": "once"}

    first = counter.api.post(path, body, headers=headers)
    second = counter.api.post(path, body, headers=headers)

    assert first == second
    assert len(counter.razorpay.refunds) == 1


def test_a_transfer_is_recorded_once_and_what_is_left_pays_another_invoice(
    counter: Counter,
) -> None:
    debt = counter.invoice(10_000)
    payment = transfer(counter, debt.id, 12_000)
    assert transfer(counter, debt.id, 12_000)["id"] == payment["id"]
    body = {
        "reference": "NEFT-1",
        "received_on": counter.api.clock.now().date().isoformat(),
        "amount_minor": 1,
        "invoice_id": str(debt.id),
    }
    assert (
        counter.api.refused("POST", "/payments/receipts", 409, json=body)["code"]
        == "reference_reused"
    )

    path = f"/payments/{payment['id']}/allocations"
    stranger = {"invoice_id": str(counter.invoice().id), "amount_minor": 2_000}
    assert counter.api.refused("POST", path, 409, json=stranger)["code"] == "other_party"
    over = {"invoice_id": str(debt.id), "amount_minor": 2_001}
    assert counter.api.refused("POST", path, 409, json=over)["details"] == {"left_minor": 2_000}
    flagged = counter.api.get("/payments?attention=true")
    assert [one["id"] for one in flagged] == [payment["id"]]
    said = "₹100.00 was asked for and ₹120.00 came in."
    assert flagged[0]["attributes"]["attention"] == said


def test_far_too_much_is_taxed_on_the_day_it_came_and_finance_is_told(counter: Counter) -> None:
    paid = transfer(counter, counter.invoice(10_000).id, 110_001)["attributes"]
    assert paid["attention"].endswith(
        "came in. So much more is taxed as of 15 Jul 2026 (s.13(2)): set it against another "
        "invoice of that month, or send it back."
    )


def test_what_came_by_bank_goes_back_by_bank_with_its_papers(counter: Counter) -> None:
    api, debt, wallet = counter.api, counter.invoice(11_800), counter.wallet()
    today = api.clock.now().date().isoformat()
    top_up = {"reference": "NEFT-1", "received_on": today, "amount_minor": 11_800}
    top_up |= {"wallet_id": str(wallet.id), "credits_minor": 10_000}
    filled = api.post("/payments/receipts", top_up)
    paid = transfer(counter, debt.id, 11_800, reference="NEFT-2")
    back = {"reference": "NEFT-3", "sent_on": today, "amount_minor": 5_900, "reason": "Unused"}
    path = f"/payments/{filled['id']}/bank-refunds"

    shown = api.post(path, back)
    assert api.post(path, back) == shown
    other = {"json": back | {"amount_minor": 1}}
    assert api.refused("POST", path, 409, **other)["code"] == "reference_reused"

    (refund,) = shown["attributes"]["refunds"]
    assert (refund["state"], refund["provider_refund_id"]) == ("processed", "NEFT-3")
    assert api.get(f"/wallets/{wallet.id}")["attributes"]["balance_units"] == 50_000_000
    papers = api.get(f"/documents?customer_id={wallet.customer_id}")
    assert [(one["attributes"]["number"], one["attributes"]["total_minor"]) for one in papers] == [
        ("RF-2627-000001", 5_900),
        ("RV-2627-000001", 11_800),
    ]

    whole = back | {"reference": "NEFT-4", "amount_minor": 11_800}
    api.post(f"/payments/{paid['id']}/bank-refunds", whole)
    assert api.get(f"/invoices/{debt.id}")["attributes"]["settled_minor"] == 0
    more = {"json": whole | {"reference": "NEFT-5"}}
    assert api.refused("POST", path, 409, **more)["code"] == "more_than_refundable"
    late = {"json": back | {"reference": "NEFT-6", "sent_on": "2030-01-01"}}
    assert api.refused("POST", path, 400, **late)["fields"][0]["field"] == "sent_on"
    asked = counter.ask(invoice_id=str(debt.id))["id"]
    there = {"json": back | {"reference": "NEFT-7"}}
    assert api.refused("POST", f"/payments/{asked}/bank-refunds", 409, **there)["code"] == (
        "not_by_bank"
    )


def test_money_of_tomorrow_cannot_have_arrived(counter: Counter) -> None:
    body = {
        "reference": "NEFT-9",
        "received_on": "2030-01-01",
        "amount_minor": 1,
        "invoice_id": str(counter.invoice().id),
    }

    error = counter.api.refused("POST", "/payments/receipts", 400, json=body)

    assert error["fields"][0]["field"] == "received_on"


def test_tax_deducted_at_source_settles_and_is_taken_back(counter: Counter) -> None:
    debt = counter.invoice(11_800)
    transfer(counter, debt.id, 11_600)
    path = f"/invoices/{debt.id}/settlement-lines"
    tds = {
        "source": "tds_income_tax",
        "amount_minor": 200,
        "reference": "FY2627-Q2",
        "section": "393(1)",
        "rate": "2",
        "base_minor": 10_000,
    }

    line = counter.api.post(path, tds)
    assert counter.api.get(f"/invoices/{debt.id}")["attributes"]["status"] == "paid"
    assert counter.api.post(path, tds)["id"] == line["id"]
    reversal = {"reference": line["attributes"]["reference"], "reason": "Another's certificate"}
    counter.api.post(f"{path}/reversals", reversal)

    invoice = counter.api.get(f"/invoices/{debt.id}")["attributes"]
    assert (invoice["status"], invoice["settled_minor"]) == ("due", 11_600)
    lines = [one["attributes"]["amount_minor"] for one in counter.api.get(path, key=debt.key)]
    assert lines == [11_600, 200, -200]
    money = {"reference": "payment::1", "reason": "Another's certificate"}
    error = counter.api.refused("POST", f"{path}/reversals", 409, json=money)
    assert error["code"] == "not_reversible"


def test_a_debt_is_given_up_only_by_somebody_who_may_approve(counter: Counter) -> None:
    debt = counter.invoice(11_800)
    path = f"/invoices/{debt.id}/settlement-lines"
    body = {"source": "write_off", "amount_minor": 100, "reference": "WO-1", "note": "Rounding"}

    for role in (Role.SUPPORT, Role.DATA_ENGINEER, Role.CUSTOMER):
        counter.api.refused("POST", path, 403, json=body, role=role)
    counter.api.post(path, body, role=Role.FINANCE_ADMIN)
    over = {**body, "amount_minor": 11_701, "reference": "WO-2"}
    error = counter.api.refused("POST", path, 409, json=over, role=Role.FINANCE_ADMIN)

    assert error["details"] == {"outstanding_minor": 11_700}


def test_a_deduction_is_owed_until_its_certificate_comes(counter: Counter) -> None:
    debt = counter.invoice(1_180_000)
    line = {"source": "tds_income_tax", "section": "393(1)", "rate": "2"}
    lines = [
        counter.api.post(
            f"/invoices/{debt.id}/settlement-lines",
            {**line, "amount_minor": amount, "reference": f"Q{amount}"},
        )["id"]
        for amount in (20_000, 5_000)
    ]
    taken_back = {"reference": "tds_income_tax:Q5000", "reason": "Deducted by mistake"}
    counter.api.post(f"/invoices/{debt.id}/settlement-lines/reversals", taken_back)
    assert [row["id"] for row in counter.api.get("/tds/receivables", key=debt.key)] == lines[:1]

    body = {
        "customer_id": str(debt.customer_id),
        "number": "QVCAXYZ",
        "form": "131",
        "amount_minor": 20_000,
        "issued_on": "2026-07-10",
        "settlement_line_ids": lines[:1],
    }
    path = "/tds/certificates"
    for wrong, code in (
        ({"amount_minor": 20_001}, "amount_differs"),
        ({"settlement_line_ids": lines}, "not_open"),
    ):
        refused = counter.api.call("POST", f"/api/v1{path}", json={**body, **wrong})
        assert refused.json()["error"]["code"] == code
    counter.api.post(path, body)
    assert counter.api.get("/tds/receivables") == []
    again = counter.api.call("POST", f"/api/v1{path}", json=body)
    assert again.json()["error"]["code"] == "certificate_known"
