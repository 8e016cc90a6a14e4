"""Saved methods: wallets that fill themselves, debts that are charged; once, and not for ever."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
import stripe
from sqlalchemy import select

from billing.access.actor import SYSTEM
from billing.commands import Context
from billing.db.unit_of_work import read_only, unit_of_work
from billing.errors import PreconditionError, UnavailableError
from billing.invoices.tables import Invoice, InvoiceStatus
from billing.outbox.tables import OutboxEntry
from billing.payments.charging import begin_auto_top_ups, charge_invoice
from billing.payments.facts import FactKind, PaymentStatus
from billing.payments.method_tables import AutoTopUp, MethodState, PaymentMethod
from billing.payments.methods import (
    BeginMethod,
    ChangeMethod,
    SetAutoTopUp,
    remove_method,
    set_auto_top_up,
)
from billing.payments.tables import GatewayCall, Payment
from billing.wallets.tables import Wallet
from invoicing.charges import charge_waiting, fill_and_charge, look_up_method, save_method
from invoicing.gateways.protocol import ChargeRequest, RefusedError
from invoicing.gateways.settings import GatewaySettings
from invoicing.gateways.stripe import StripeGateway
from tests.invoicing.gateways.conftest import Till, order_of
from tests.support.gateways.localstripe import WEBHOOK_SECRET, running_localstripe

BOTH = pytest.mark.parametrize("gateway", ["stripe", "razorpay"])


def saved(till: Till, account_id: UUID, gateway: str) -> PaymentMethod:
    """A method that a customer saved on the gateway's page."""
    request = BeginMethod(account_id=account_id, gateway=gateway)
    method_id = save_method(till.collector, SYSTEM, request)
    with read_only(till.engine) as session:
        method = session.get_one(PaymentMethod, method_id)
    assert method.state is MethodState.PENDING
    look_up_method(till.collector, method_id)
    if gateway == "stripe":
        till.stripe.save(method.provider_setup_id or "")
    else:
        till.razorpay.save(method.provider_customer_id or "")
    look_up_method(till.collector, method_id)
    with read_only(till.engine) as session:
        return session.get_one(PaymentMethod, method_id)


def decline(till: Till, method: PaymentMethod) -> None:
    fake = till.stripe if method.gateway == "stripe" else till.razorpay
    fake.declined.add(method.provider_method_id or "")


def filling(till: Till, gateway: str, **rule: int) -> tuple[UUID, PaymentMethod]:
    """An empty wallet that fills itself with Rs 1,000 from a saved method."""
    wallet_id = till.wallet()
    with read_only(till.engine) as session:
        account_id = session.get_one(Wallet, wallet_id).account_id
    method = saved(till, account_id, gateway)
    amounts = {"threshold_minor": 50_000, "credits_minor": 100_000, "monthly_cap_minor": 300_000}
    with unit_of_work(till.engine) as session:
        asked = SetAutoTopUp(
            wallet_id=wallet_id, payment_method_id=method.id, **{**amounts, **rule}
        )
        set_auto_top_up(till.context(session), asked)
    return wallet_id, method


def payments(till: Till, wallet_id: UUID) -> list[Payment]:
    with read_only(till.engine) as session:
        return list(
            session.scalars(select(Payment).filter_by(wallet_id=wallet_id).order_by(Payment.id))
        )


def rule_of(till: Till, wallet_id: UUID) -> AutoTopUp:
    with read_only(till.engine) as session:
        return session.get_one(AutoTopUp, wallet_id)


@BOTH
def test_a_wallet_that_runs_low_fills_itself_once_with_tax_and_a_voucher(
    till: Till, gateway: str
) -> None:
    wallet_id, method = filling(till, gateway)
    assert "••••" in (method.label or "")
    assert method.is_default

    for _ in range(3):
        assert fill_and_charge(till.collector)[1] == 0
    for webhook in [*till.stripe.outbox, *till.razorpay.outbox]:
        till.deliver(webhook)

    (payment,) = payments(till, wallet_id)
    assert (payment.status, payment.captured_minor) == (PaymentStatus.CAPTURED, 118_000)
    assert till.balance(wallet_id) == 1_000_000_000


@BOTH
def test_a_charge_without_an_answer_is_made_once(till: Till, gateway: str) -> None:
    wallet_id, _ = filling(till, gateway)
    fake = till.stripe if gateway == "stripe" else till.razorpay
    begin_auto_top_ups(till.engine, till.clock)
    # Razorpay is asked for an order first; each call in turn is done and not answered
    for calls in range(2 if gateway == "razorpay" else 1):
        fake.hang_after_effect = 1
        assert charge_waiting(till.collector) == (0, 1), calls
        begin_auto_top_ups(till.engine, till.clock)
    assert charge_waiting(till.collector)[1] == 0

    (payment,) = payments(till, wallet_id)
    assert payment.status is PaymentStatus.CAPTURED
    taken = till.stripe.intents if gateway == "stripe" else till.razorpay.payments
    assert len(taken) == 1
    with read_only(till.engine) as session:
        assert len(session.scalars(select(GatewayCall)).all()) == 1


@BOTH
def test_a_declined_method_is_tried_later_and_later_and_then_no_more(
    till: Till, gateway: str
) -> None:
    wallet_id, method = filling(till, gateway)
    decline(till, method)

    for wait, tried in ((0, 1), (0, 1), (1, 2), (1, 2), (5, 3), (48, 3), (48, 3)):
        till.clock.advance(timedelta(hours=wait))
        fill_and_charge(till.collector)
        assert len(payments(till, wallet_id)) == tried

    assert {one.status for one in payments(till, wallet_id)} == {PaymentStatus.FAILED}
    rule = rule_of(till, wallet_id)
    assert (rule.is_on, rule.off_reason) == (False, "3 charges in a row failed.")
    with read_only(till.engine) as session:
        topics = session.scalars(select(OutboxEntry.topic)).all()
    assert topics.count("wallet.auto_top_up_off") == 1
    assert till.balance(wallet_id) == 0


def test_the_cap_of_a_month_holds_until_the_next(till: Till) -> None:
    wallet_id, _ = filling(till, "stripe", threshold_minor=10_000_000, monthly_cap_minor=250_000)

    for _ in range(5):
        fill_and_charge(till.collector)
    assert len(payments(till, wallet_id)) == 2

    till.clock.advance(timedelta(days=20))
    fill_and_charge(till.collector)
    assert len(payments(till, wallet_id)) == 3


def test_a_removed_method_is_charged_no_more(till: Till) -> None:
    wallet_id, method = filling(till, "stripe")
    with unit_of_work(till.engine) as session:
        remove_method(till.context(session), ChangeMethod(method_id=method.id))

    fill_and_charge(till.collector)

    assert payments(till, wallet_id) == []
    assert rule_of(till, wallet_id).off_reason == "Its method of payment was removed."


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"monthly_cap_minor": 1}, "cap_too_small"), ({"payment_method_id": None}, "other_party")],
)
def test_a_rule_that_cannot_work_is_refused(
    till: Till, fields: dict[str, object], code: str
) -> None:
    wallet_id, method = filling(till, "stripe")
    if code == "other_party":
        other = till.wallet()
        with read_only(till.engine) as session:
            account_id = session.get_one(Wallet, other).account_id
        fields = {"payment_method_id": saved(till, account_id, "stripe").id}
    asked = {
        "wallet_id": wallet_id,
        "payment_method_id": method.id,
        "threshold_minor": 1,
        "credits_minor": 100,
        "monthly_cap_minor": 100,
        **fields,
    }
    with unit_of_work(till.engine) as session, pytest.raises(PreconditionError) as refused:
        set_auto_top_up(till.context(session), SetAutoTopUp.model_validate(asked))
    assert refused.value.code == code


@BOTH
def test_a_debt_is_charged_to_the_default_method(till: Till, gateway: str) -> None:
    invoice_id = till.invoice(11_800)
    saved(till, till.invoice_now(invoice_id).account_id, gateway)
    for _ in range(2):
        with unit_of_work(till.engine) as session:
            invoice = session.get_one(Invoice, invoice_id, with_for_update=True)
            charge_invoice(Context(session, SYSTEM, till.clock), invoice)

    charge_waiting(till.collector)

    assert till.invoice_now(invoice_id).status is InvoiceStatus.PAID


def test_a_day_of_errors_loses_nothing_and_charges_once(till: Till) -> None:
    wallet_id, _ = filling(till, "razorpay")
    invoice_id = till.invoice(11_800)
    asked = till.asked("razorpay", invoice_id=invoice_id)
    till.razorpay.pay(order_of(asked))
    till.razorpay.outbox.clear()  # no message ever comes

    till.razorpay.fail_next = 10**6
    for _ in range(24):
        till.clock.advance(timedelta(hours=1))
        assert fill_and_charge(till.collector) == (0, 1)
        with pytest.raises(UnavailableError):
            till.collector.look_up(asked.id)
    assert till.invoice_now(invoice_id).status is InvoiceStatus.DUE

    till.razorpay.fail_next = 0
    assert fill_and_charge(till.collector) == (1, 0)
    till.collector.look_up(asked.id)
    assert till.invoice_now(invoice_id).status is InvoiceStatus.PAID
    (payment,) = payments(till, wallet_id)
    assert payment.captured_minor == 118_000
    assert len(till.razorpay.payments) == 2


def test_a_saved_card_is_charged_and_declined_at_localstripe() -> None:
    with running_localstripe() as other:
        settings = GatewaySettings(
            stripe_api_key="sk_test_1",  # type: ignore[arg-type]
            stripe_webhook_secret=WEBHOOK_SECRET,  # type: ignore[arg-type]
            stripe_address=other.address,
        )
        gateway = StripeGateway(settings)
        sdk = stripe.StripeClient("sk_test_1", base_addresses={"api": other.address})
        charge = _charging(gateway, sdk)

        (fact,) = charge("4242424242424242").facts
        assert (fact.kind, fact.amount_minor, fact.currency) == (FactKind.CAPTURED, 11_800, "INR")
        with pytest.raises(RefusedError):
            charge("4000000000000341")


def _charging(gateway: StripeGateway, sdk: stripe.StripeClient) -> Callable[[str], object]:
    def charge(number: str) -> object:
        customer = sdk.v1.customers.create(params={"name": "Acme"})
        card = {"number": number, "exp_month": 12, "exp_year": 2040, "cvc": "123"}
        method = sdk.v1.payment_methods.create(
            params={"type": "card", "card": card}  # type: ignore[arg-type]
        )
        sdk.v1.payment_methods.attach(method.id, params={"customer": customer.id})
        asked = ChargeRequest("ref", 11_800, "INR", "x", customer.id, method.id, None)
        return gateway.charge(asked, f"key-{number}")

    return charge
