"""Money through a gateway: once, whole, and whatever the network does."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from billing.access.actor import SYSTEM
from billing.db.unit_of_work import read_only, unit_of_work
from billing.errors import PreconditionError, UnavailableError
from billing.invoices.tables import InvoiceStatus
from billing.payments.facts import PaymentStatus
from billing.payments.receipts import (
    AddSettlementLine,
    AllocatePayment,
    RecordReceipt,
    add_settlement_line,
    allocate_payment,
    record_receipt,
)
from billing.payments.service import RequestPayment, RequestRefund
from billing.payments.tables import CallState, EventOutcome, GatewayCall, GatewayEvent, Payment
from billing.wallets.tables import LedgerAccount, LedgerEntry
from invoicing.gateways.protocol import InvalidSignatureError
from tests.invoicing.gateways.conftest import Till, ends_of_every_order, order_of
from tests.support.gateways.razorpay import signed
from tests.support.gateways.server import Webhook


def asked(till: Till, **fields: object) -> Payment:
    return till.asked("razorpay", **fields)


def test_a_paid_link_settles_its_invoice(till: Till) -> None:
    invoice_id = till.invoice(11800)
    payment = asked(till, invoice_id=invoice_id)
    assert payment.status is PaymentStatus.PENDING
    assert payment.checkout_url in {link["short_url"] for link in till.razorpay.links.values()}

    till.razorpay.pay(order_of(payment))
    for webhook in till.razorpay.outbox:
        till.deliver(webhook)

    assert till.payment(payment.id).status is PaymentStatus.CAPTURED
    invoice = till.invoice_now(invoice_id)
    assert (invoice.status, invoice.settled_minor) == (InvoiceStatus.PAID, 11800)


def test_the_same_debt_is_asked_for_once(till: Till) -> None:
    invoice_id = till.invoice()

    first, second = asked(till, invoice_id=invoice_id), asked(till, invoice_id=invoice_id)

    assert first.id == second.id
    assert till.razorpay.requests.count("POST /v1/payment_links") == 1


def test_every_order_of_webhooks_ends_in_the_same_state(till: Till) -> None:
    invoice_id = till.invoice(11800)
    payment = asked(till, invoice_id=invoice_id)
    paid = till.razorpay.pay(order_of(payment), fail_first=True)
    till.razorpay.send_back(paid, 1800)
    assert len(till.razorpay.outbox) == 5
    ends = ends_of_every_order(till, payment, till.razorpay.outbox)

    assert ends == {(PaymentStatus.CAPTURED, 11800, 1800, 10000)}


def test_a_webhook_delivered_by_many_at_once_counts_once(till: Till) -> None:
    wallet_id = till.wallet()
    payment = asked(till, wallet_id=wallet_id, credits_minor=1_000_000)
    till.razorpay.pay(order_of(payment))

    with ThreadPoolExecutor(10) as pool:
        new = list(pool.map(till.deliver, till.razorpay.outbox * 5))

    assert sum(new) == len(till.razorpay.outbox)
    assert till.balance(wallet_id) == 10_000_000_000


def test_a_top_up_gives_credits_and_puts_the_tax_aside(till: Till) -> None:
    wallet_id = till.wallet()
    payment = asked(till, wallet_id=wallet_id, credits_minor=1_000_000)
    assert payment.amount_minor == 1_180_000

    paid = till.razorpay.pay(order_of(payment))
    for webhook in till.razorpay.outbox:
        till.deliver(webhook)

    assert till.balance(wallet_id) == 10_000_000_000
    assert held(till, LedgerAccount.TAX_ON_ADVANCES) == 1_800_000_000

    till.razorpay.outbox.clear()
    till.razorpay.send_back(paid, 590_000)
    till.deliver(till.razorpay.outbox[0])

    assert till.balance(wallet_id) == 5_000_000_000
    assert held(till, LedgerAccount.TAX_ON_ADVANCES) == 900_000_000
    assert held(till, LedgerAccount.CASH) == -5_900_000_000


def test_no_answer_is_asked_for_again_under_the_same_name(till: Till) -> None:
    invoice_id = till.invoice()
    till.razorpay.hang_after_effect = 1
    request = RequestPayment(gateway="razorpay", invoice_id=invoice_id)

    with pytest.raises(UnavailableError, match="nothing is done twice"):
        till.collector.request(SYSTEM, request, "pay-once")
    links_before = len(till.razorpay.links)
    payment = till.payment(till.collector.request(SYSTEM, request, "pay-once"))

    assert len(till.razorpay.links) == links_before
    assert payment.checkout_url is not None
    with read_only(till.engine) as session:
        assert session.scalars(select(GatewayCall.state)).all() == [CallState.SUCCEEDED]


def test_a_refund_without_an_answer_is_made_once(till: Till) -> None:
    payment = asked(till, invoice_id=till.invoice(11800))
    till.razorpay.pay(order_of(payment))
    till.deliver(till.razorpay.outbox[-1])
    till.razorpay.hang_after_effect = 1
    request = RequestRefund(payment_id=payment.id, amount_minor=1800, reason="Paid twice")

    with pytest.raises(UnavailableError):
        till.collector.refund(SYSTEM, request, "refund-once")
    till.collector.refund(SYSTEM, request, "refund-once")

    found = till.payment(payment.id)
    assert (found.captured_minor, found.refunded_minor) == (11800, 1800)
    assert till.razorpay.requests.count("POST /v1/payments/pay_*/refund") == 2
    with pytest.raises(PreconditionError, match=r"₹100\.00 can still be refunded"):
        till.collector.refund(
            SYSTEM, RequestRefund(payment_id=payment.id, amount_minor=10001, reason="Too much")
        )


def test_a_refund_told_before_its_payment_waits_for_it(till: Till) -> None:
    payment = asked(till, invoice_id=till.invoice(11800))
    paid = till.razorpay.pay(order_of(payment))
    till.razorpay.payments[paid]["notes"] = []
    captured = till.razorpay.outbox[-1]
    till.razorpay.outbox.clear()
    till.razorpay.send_back(paid, 800)
    refund = Webhook(**vars(till.razorpay.outbox[0]))

    till.deliver(refund)
    with read_only(till.engine) as session:
        unmatched = session.scalars(
            select(GatewayEvent.kind).filter_by(outcome=EventOutcome.UNMATCHED)
        ).all()
    assert unmatched == ["refund.processed"]
    till.deliver(captured)

    assert till.payment(payment.id).refunded_minor == 800


@pytest.mark.parametrize(("paid", "left"), [(5000, 6800), (11800, 0), (20000, 0)])
def test_another_amount_than_asked_for_counts_as_what_it_is(
    till: Till, paid: int, left: int
) -> None:
    invoice_id = till.invoice(11800)
    payment = asked(till, invoice_id=invoice_id)
    till.razorpay.pay(order_of(payment), amount=paid)
    till.deliver(till.razorpay.outbox[-1])

    invoice, found = till.invoice_now(invoice_id), till.payment(payment.id)
    assert invoice.total_minor - invoice.settled_minor == left
    assert found.captured_minor == paid
    assert (found.attention is None) == (paid == 11800)


def test_money_in_another_currency_pays_nothing_and_asks_for_a_person(till: Till) -> None:
    invoice_id = till.invoice(11800)
    payment = asked(till, invoice_id=invoice_id)
    till.razorpay.pay(order_of(payment), currency="USD")
    for webhook in till.razorpay.outbox:
        till.deliver(webhook)

    assert till.invoice_now(invoice_id).settled_minor == 0
    assert "USD" in (till.payment(payment.id).attention or "")


def test_a_message_with_another_signature_is_none(till: Till) -> None:
    body = b'{"event":"payment.captured","payload":{},"created_at":1}'
    with pytest.raises(InvalidSignatureError):
        till.deliver(signed(body, "evt_1", "another secret"))
    good = signed(body, "evt_1")
    with pytest.raises(InvalidSignatureError):
        till.deliver(Webhook(good.headers, body + b" "))


def test_what_no_message_told_is_found_by_looking(till: Till) -> None:
    invoice_id = till.invoice(11800)
    payment = asked(till, invoice_id=invoice_id)
    till.razorpay.pay(order_of(payment))
    till.razorpay.outbox.clear()

    till.collector.look_up(payment.id)
    till.collector.look_up(payment.id)

    assert till.invoice_now(invoice_id).status is InvoiceStatus.PAID


def test_a_transfer_and_the_tax_deducted_from_it_pay_an_invoice(till: Till) -> None:
    invoice_id = till.invoice(11800)
    with unit_of_work(till.engine) as session:
        receipt = RecordReceipt(
            reference="NEFT-1",
            received_on=till.clock.now().date(),
            amount_minor=11600,
            invoice_id=invoice_id,
        )
        first = record_receipt(till.context(session), receipt)
        again = record_receipt(till.context(session), receipt)
        assert first.id == again.id
        line = AddSettlementLine(
            invoice_id=invoice_id,
            source="tds_income_tax",
            amount_minor=200,
            reference="Q2",
            section="393(1)",
        )
        add_settlement_line(till.context(session), line)

    assert till.invoice_now(invoice_id).status is InvoiceStatus.PAID


def test_what_is_too_much_for_one_invoice_may_pay_another(till: Till) -> None:
    first_id = till.invoice(1000)
    with unit_of_work(till.engine) as session:
        receipt = RecordReceipt(
            reference="NEFT-2",
            received_on=till.clock.now().date(),
            amount_minor=1500,
            invoice_id=first_id,
        )
        payment = record_receipt(till.context(session), receipt)
        over = AllocatePayment(payment_id=payment.id, invoice_id=first_id, amount_minor=1)
        with pytest.raises(PreconditionError, match="more than what is open"):
            allocate_payment(till.context(session), over)
    other_id = till.invoice(700)
    with unit_of_work(till.engine) as session:
        other = AllocatePayment(payment_id=payment.id, invoice_id=other_id, amount_minor=500)
        with pytest.raises(PreconditionError, match="own customer"):
            allocate_payment(till.context(session), other)


def held(till: Till, account: LedgerAccount) -> int:
    with read_only(till.engine) as session:
        total = session.scalar(
            select(func.sum(LedgerEntry.amount_units)).filter_by(account=account)
        )
        return int(total or 0)
