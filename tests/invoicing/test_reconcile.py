"""Reconciliation: every entry of the gateway and every one of ours is matched, or named."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from billing.access.actor import SYSTEM
from billing.db.unit_of_work import read_only, unit_of_work
from billing.errors import NotFoundError, UnavailableError
from billing.payments.inbox import keep
from billing.payments.receipts import RecordReceipt, record_receipt
from billing.payments.reconciliation import (
    DifferenceKind,
    ReconciliationRun,
    differences_of,
    get_run,
    list_runs,
)
from billing.payments.service import RequestPayment
from billing.payments.tables import Payment
from invoicing.reconcile import reconcile as compare_now
from tests.invoicing.gateways.conftest import Till, razorpay_server, stripe_server, till
from tests.support.gateways.razorpay import KEY_ID, KEY_SECRET

__all__ = ["razorpay_server", "stripe_server", "till"]

GATEWAYS = ("razorpay", "stripe")


@pytest.fixture(autouse=True)
def _now(till: Till) -> None:
    till.clock.advance(datetime.now(UTC) - till.clock.now())


def asked(till: Till, gateway: str, amount_minor: int = 11800) -> Payment:
    request = RequestPayment(gateway=gateway, invoice_id=till.invoice(amount_minor))
    return till.payment(till.collector.request(SYSTEM, request))


def paid(till: Till, gateway: str, *, told: bool = True, **how: Any) -> tuple[UUID, str]:
    """A payment that the gateway has; if told, so have we. Our id and the gateway's."""
    payment = asked(till, gateway)
    fake = till.razorpay if gateway == "razorpay" else till.stripe
    fake.outbox.clear()
    name = fake.pay(payment.provider_order_id or "", **how)
    if told:
        for webhook in fake.outbox:
            till.deliver(webhook)
    return payment.id, name


def reconciled(till: Till, gateway: str) -> UUID:
    """Reconcile a minute after all that was told."""
    till.clock.advance(timedelta(minutes=1))
    return compare_now(till.collector, gateway)


def outcome(till: Till, run_id: UUID) -> tuple[ReconciliationRun, list[tuple[Any, ...]]]:
    with read_only(till.engine) as session:
        run = get_run(session, SYSTEM, run_id)
        return run, [
            (one.kind, one.payment_id, one.their_amount_minor, one.our_amount_minor)
            for one in differences_of(session, run)
        ]


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_what_is_the_same_on_both_sides_is_matched(till: Till, gateway: str) -> None:
    _, name = paid(till, gateway)
    paid(till, gateway)
    fake = till.razorpay if gateway == "razorpay" else till.stripe
    fake.outbox.clear()
    fake.send_back(name, 1800)
    till.deliver(fake.outbox[0])

    run, differences = outcome(till, reconciled(till, gateway))

    assert (run.movements, run.matched, run.caught_up, run.differing) == (3, 3, 0, 0)
    assert differences == []
    assert clearing(till) == []


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_what_no_message_told_is_caught_up_with(till: Till, gateway: str) -> None:
    payment_id, name = paid(till, gateway, told=False)
    fake = till.razorpay if gateway == "razorpay" else till.stripe
    fake.send_back(name, 800)

    run, differences = outcome(till, reconciled(till, gateway))

    assert differences == []
    assert (run.movements, run.matched, run.caught_up) == (2, 2, 1)
    found = till.payment(payment_id)
    assert (found.captured_minor, found.refunded_minor) == (11800, 800)


def test_money_that_is_none_of_ours_is_named(till: Till) -> None:
    _, name = paid(till, "razorpay")
    stray = {**till.razorpay.payments[name], "id": "pay_stray", "notes": [], "order_id": None}
    till.razorpay.payments["pay_stray"] = stray

    run, differences = outcome(till, reconciled(till, "razorpay"))

    assert differences == [(DifferenceKind.MISSING_HERE, None, 11800, None)]
    assert (run.movements, run.matched) == (2, 1)


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_money_that_only_we_have_is_named(till: Till, gateway: str) -> None:
    payment_id, name = paid(till, gateway)
    if gateway == "razorpay":
        till.razorpay.payments[name]["status"] = "failed"
    else:
        till.stripe.intents[name]["status"] = "processing"
        till.stripe.sessions[till.payment(payment_id).provider_order_id or ""]["payment_status"] = (
            "unpaid"
        )

    _, differences = outcome(till, reconciled(till, gateway))

    assert differences == [(DifferenceKind.MISSING_THERE, payment_id, None, 11800)]


def test_a_payment_that_the_gateway_says_it_never_had_does_not_stop_the_others(till: Till) -> None:
    lost_id, lost = paid(till, "stripe")
    paid(till, "stripe")
    del till.stripe.intents[lost]
    del till.stripe.sessions[till.payment(lost_id).provider_order_id or ""]

    run, differences = outcome(till, reconciled(till, "stripe"))

    assert differences == [(DifferenceKind.MISSING_THERE, lost_id, None, 11800)]
    assert (run.matched, run.error) == (1, None)


def test_another_amount_or_currency_there_is_named(till: Till) -> None:
    less_id, less = paid(till, "razorpay")
    other_id, other = paid(till, "razorpay")
    till.razorpay.payments[less]["amount"] = 9000
    till.razorpay.payments[other]["currency"] = "USD"

    _, differences = outcome(till, reconciled(till, "razorpay"))

    assert sorted(differences) == [
        (DifferenceKind.AMOUNT_DIFFERS, less_id, 9000, 11800),
        (DifferenceKind.CURRENCY_DIFFERS, other_id, 11800, 11800),
    ]


def test_a_refund_that_the_gateway_has_lost_is_named(till: Till) -> None:
    payment_id, name = paid(till, "razorpay")
    till.razorpay.outbox.clear()
    refund_id = till.razorpay.send_back(name, 800)
    till.deliver(till.razorpay.outbox[0])
    del till.razorpay.refunds[refund_id]

    _, differences = outcome(till, reconciled(till, "razorpay"))

    assert differences == [(DifferenceKind.REFUND_MISSING_THERE, payment_id, None, 800)]


def test_an_entry_dated_before_the_window_still_matches(till: Till) -> None:
    _, name = paid(till, "razorpay")
    long_ago = datetime.now(UTC) - timedelta(days=40)
    till.razorpay.payments[name]["created_at"] = int(long_ago.timestamp())

    run, differences = outcome(till, reconciled(till, "razorpay"))

    assert differences == []
    assert (run.movements, run.matched, run.caught_up) == (0, 1, 1)


def test_a_gateway_that_is_away_leaves_a_run_that_says_so(till: Till) -> None:
    till.stripe.refuse_next = [(500, "api_error")]

    with pytest.raises(UnavailableError, match="stripe does not give its list"):
        reconciled(till, "stripe")

    with read_only(till.engine) as session:
        (run,) = list_runs(session, SYSTEM, gateway="stripe")
    assert run.error


def test_bank_transfers_are_nobodys_list(till: Till) -> None:
    with pytest.raises(NotFoundError):
        reconciled(till, "manual")


def test_a_message_that_was_kept_but_not_applied_is_applied_first(till: Till) -> None:
    payment_id, _ = paid(till, "stripe", told=False)
    with unit_of_work(till.engine) as session:
        for webhook in till.stripe.outbox:
            notice = till.collector.gateways.get("stripe").notice_of(webhook.headers, webhook.body)
            keep(session, till.context(session), "stripe", notice, webhook.body)

    run, _ = outcome(till, reconciled(till, "stripe"))

    assert run.caught_up == 0
    assert till.payment(payment_id).captured_minor == 11800


def test_every_payment_and_invoice_clears_to_nothing(till: Till) -> None:
    invoice_id = till.invoice(10_000)
    with unit_of_work(till.engine) as session:
        receipt = RecordReceipt(
            reference="NEFT-1",
            received_on=datetime.now(UTC).date(),
            amount_minor=12_000,
            invoice_id=invoice_id,
        )
        record_receipt(till.context(session), receipt)
    top_up = RequestPayment(gateway="razorpay", wallet_id=till.wallet(), credits_minor=1_000_000)
    payment = till.payment(till.collector.request(SYSTEM, top_up))
    name = till.razorpay.pay(payment.provider_order_id or "", amount=1_180_001)
    till.razorpay.send_back(name, 333_333)
    for webhook in till.razorpay.outbox:
        till.deliver(webhook)
    with read_only(till.engine) as session:
        rows = session.execute(
            text(
                "SELECT captured_minor, refunded_minor, allocated_minor, credited_minor::bigint, "
                "left_minor, remainder_minor::bigint FROM billing.payment_clearing "
                "ORDER BY captured_minor"
            )
        ).all()

    assert [tuple(row) for row in rows] == [
        (12_000, 0, 10_000, 0, 2_000, 0),
        (1_180_001, 333_333, 0, 846_668, 0, 0),
    ]
    assert clearing(till) == []


def clearing(till: Till) -> list[Any]:
    """What does not clear."""
    with read_only(till.engine) as session:
        return list(
            session.execute(
                text(
                    "SELECT payment_id FROM billing.payment_clearing WHERE remainder_minor <> 0 "
                    "UNION ALL "
                    "SELECT invoice_id FROM billing.invoice_clearing WHERE remainder_minor <> 0"
                )
            )
        )


def test_the_command_says_what_came_of_it_and_fails_if_something_differs(
    till: Till, database_url: str
) -> None:
    _, name = paid(till, "razorpay")
    till.razorpay.payments[name]["created_at"] -= 2
    stray = {**till.razorpay.payments[name], "id": "pay_stray", "notes": [], "order_id": None}
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "BILLING_RAZORPAY_KEY_ID": KEY_ID,
        "BILLING_RAZORPAY_KEY_SECRET": KEY_SECRET,
        "BILLING_RAZORPAY_WEBHOOK_SECRET": "webhook-secret",
        "BILLING_RAZORPAY_ADDRESS": till.razorpay.address,
    }
    argv = [str(Path(sys.executable).parent / "billing"), "payments", "reconcile"]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*argv, "--gateway", "razorpay", "--days", "7"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    clean = run()
    till.razorpay.payments["pay_stray"] = stray
    differing = run()

    assert (clean.returncode, differing.returncode) == (0, 1), clean.stderr + differing.stderr
    assert "razorpay: 1 entries, 1 matched, 0 asked about, 0 differ" in clean.stdout
    assert "1 differ" in differing.stdout
