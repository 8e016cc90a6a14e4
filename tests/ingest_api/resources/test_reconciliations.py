"""Reconciliations over HTTP: run, listed, and what differed."""

from datetime import UTC, datetime, timedelta

import pytest

from billing.access.roles import Role
from tests.support.counter import Counter


@pytest.fixture(autouse=True)
def _now(counter: Counter) -> None:
    clock = counter.api.clock
    clock.advance(datetime.now(UTC) - clock.now())


def test_a_gateway_is_reconciled_and_what_differs_is_listed(counter: Counter) -> None:
    told, untold = counter.invoice(), counter.invoice()
    counter.pay(counter.ask(invoice_id=str(told.id)))
    silent = counter.ask(invoice_id=str(untold.id))
    name = counter.razorpay.pay(silent["attributes"]["provider_order_id"])
    stray = {**counter.razorpay.payments[name], "id": "pay_stray", "notes": [], "order_id": None}
    counter.razorpay.payments["pay_stray"] = stray
    counter.api.clock.advance(timedelta(minutes=1))

    run = counter.api.post(
        "/reconciliations", {"gateway": "razorpay", "days": 7}, headers={"Idempotency-Key": "today"}
    )

    body = {"gateway": "razorpay", "days": 7}
    assert counter.api.post("/reconciliations", body, headers={"Idempotency-Key": "today"}) == run
    shown = run["attributes"]
    assert (shown["movements"], shown["matched"], shown["caught_up"]) == (3, 2, 1)
    assert (shown["differing"], shown["error"]) == (1, None)
    assert counter.api.get(f"/reconciliations/{run['id']}", role=Role.SUPPORT) == run
    assert counter.api.get("/reconciliations?gateway=razorpay") == [run]
    (difference,) = counter.api.get(f"/reconciliations/{run['id']}/differences")
    assert difference["attributes"]["kind"] == "missing_here"
    assert difference["attributes"]["provider_payment_id"] == "pay_stray"
    assert difference["attributes"]["their_amount_minor"] == 11800
    assert counter.api.get(f"/invoices/{untold.id}")["attributes"]["status"] == "paid"


def test_reconciling_is_for_finance_and_its_outcome_for_staff(counter: Counter) -> None:
    body = {"gateway": "razorpay", "days": 7}
    key = counter.invoice().key

    counter.api.refused("POST", "/reconciliations", 403, json=body, role=Role.SUPPORT)
    counter.api.refused("GET", "/reconciliations", 403, key=key)
    error = counter.api.refused(
        "POST", "/reconciliations", 404, json={"gateway": "manual", "days": 7}
    )

    assert error["code"] == "unknown_gateway"


def test_a_gateway_that_is_away_is_said_so_and_kept(counter: Counter) -> None:
    counter.razorpay.fail_next = 1

    counter.api.refused("POST", "/reconciliations", 503, json={"gateway": "razorpay", "days": 7})

    (run,) = counter.api.get("/reconciliations")
    assert run["attributes"]["error"]
