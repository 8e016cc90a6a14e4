"""A collector on a fresh database, with a local Razorpay, and debts to collect."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from billing.access.actor import SYSTEM, Actor
from billing.clock import ManualClock
from billing.commands import Context
from billing.customers.tables import BillingMode
from billing.db.engine import open_engine
from billing.db.unit_of_work import read_only, unit_of_work
from billing.invoices.tables import Invoice, InvoiceAllocation
from billing.payments.facts import PaymentStatus
from billing.payments.inbox import ApplyEvent, apply_event, keep
from billing.payments.service import RequestPayment
from billing.payments.tables import Payment
from billing.wallets.service import CreateWallet, create_wallet
from billing.wallets.tables import Wallet
from invoicing.collect import Collector
from invoicing.gateways.razorpay import RazorpayGateway
from invoicing.gateways.registry import Gateways
from invoicing.gateways.settings import GatewaySettings
from invoicing.gateways.stripe import StripeGateway
from tests.support.factories.invoices import make_due_invoice
from tests.support.factories.parties import make_account, make_supplier
from tests.support.gateways.razorpay import (
    KEY_ID,
    KEY_SECRET,
    WEBHOOK_SECRET,
    FakeRazorpay,
    running_razorpay,
)
from tests.support.gateways.server import Webhook
from tests.support.gateways.stripe import API_KEY, FakeStripe, running_stripe
from tests.support.gateways.stripe import WEBHOOK_SECRET as STRIPE_SECRET


@dataclass
class Till:
    """Our side of the counter."""

    engine: Engine
    clock: ManualClock
    collector: Collector
    razorpay: FakeRazorpay
    stripe: FakeStripe
    actor: Actor = field(default=SYSTEM)

    def invoice(self, total_minor: int = 11800, **account: Any) -> UUID:
        """An issued invoice of a new customer over that total, nothing paid."""
        with unit_of_work(self.engine) as session:
            owner = make_account(session, **account)
            return make_due_invoice(session, owner, total_minor, self.clock.now()).id

    def wallet(self, **account: Any) -> UUID:
        """An empty wallet of a new prepaid account."""
        with unit_of_work(self.engine) as session:
            owner = make_account(session, billing_mode=BillingMode.PREPAID, **account)
            request = CreateWallet(account_id=owner.id)
            return create_wallet(Context(session, SYSTEM, self.clock), request).id

    def asked(self, gateway: str, **fields: Any) -> Payment:
        """A payment that a gateway was asked to collect."""
        request = RequestPayment(gateway=gateway, **fields)
        return self.payment(self.collector.request(self.actor, request))

    def deliver(self, webhook: Webhook) -> bool:
        """Hand a webhook in, as the route does; whether it was new."""
        name = "stripe" if "stripe-signature" in webhook.headers else "razorpay"
        notice = self.collector.gateways.get(name).notice_of(webhook.headers, webhook.body)
        return self.collector.receive(name, notice, webhook.body)

    def payment(self, payment_id: UUID) -> Payment:
        """A payment as it is now."""
        with read_only(self.engine) as session:
            return session.get_one(Payment, payment_id)

    def invoice_now(self, invoice_id: UUID) -> Invoice:
        """An invoice as it is now."""
        with read_only(self.engine) as session:
            return session.get_one(Invoice, invoice_id)

    def balance(self, wallet_id: UUID) -> int:
        """A wallet's balance in wallet units."""
        with read_only(self.engine) as session:
            return session.get_one(Wallet, wallet_id).balance_units

    def context(self, session: Any) -> Context:
        """What a command runs in."""
        return Context(session, self.actor, self.clock)


def order_of(payment: Payment) -> str:
    """The gateway's name of the page on which a payment is paid."""
    assert payment.provider_order_id is not None
    return payment.provider_order_id


def ends_of_every_order(
    till: Till, payment: Payment, webhooks: Sequence[Webhook]
) -> set[tuple[PaymentStatus, int, int, int | None]]:
    """In what states a payment and its invoice end over all orders of webhooks, some repeated."""
    gateway = till.collector.gateways.get(payment.gateway)
    notices = [(gateway.notice_of(one.headers, one.body), one.body) for one in webhooks]
    ends = set()
    for order in permutations(notices):
        with Session(till.engine) as session:
            context = till.context(session)
            for notice, body in (*order, order[0], order[-1]):
                keep(session, context, gateway.name, notice, body)
                apply_event(context, ApplyEvent(gateway=gateway.name, event_id=notice.event_id))
            found = session.get_one(Payment, payment.id)
            settled = session.scalar(
                select(func.sum(InvoiceAllocation.amount_minor)).filter_by(
                    invoice_id=payment.invoice_id
                )
            )
            ends.add((found.status, found.captured_minor, found.refunded_minor, settled))
            session.rollback()
    return ends


@pytest.fixture(scope="module")
def razorpay_server() -> Iterator[FakeRazorpay]:
    with running_razorpay() as fake:
        yield fake


@pytest.fixture(scope="module")
def stripe_server() -> Iterator[FakeStripe]:
    with running_stripe() as fake:
        yield fake


@pytest.fixture
def till(
    database_url: str, razorpay_server: FakeRazorpay, stripe_server: FakeStripe
) -> Iterator[Till]:
    """A till whose gateways are in a good mood."""
    fake = razorpay_server
    fake.hang_after_effect = fake.fail_next = stripe_server.hang_after_effect = 0
    for forgotten in (fake.outbox, fake.requests, stripe_server.outbox, stripe_server.requests):
        forgotten.clear()
    for things in (fake.payments, fake.refunds, stripe_server.intents, stripe_server.refunds):
        things.clear()
    stripe_server.refuse_next.clear()
    settings = GatewaySettings(
        razorpay_key_id=KEY_ID,
        razorpay_key_secret=KEY_SECRET,  # type: ignore[arg-type]
        razorpay_webhook_secret=WEBHOOK_SECRET,  # type: ignore[arg-type]
        razorpay_address=fake.address,
        stripe_api_key=API_KEY,  # type: ignore[arg-type]
        stripe_webhook_secret=STRIPE_SECRET,  # type: ignore[arg-type]
        stripe_address=stripe_server.address,
        gateway_timeout_seconds=3,
    )
    gateways = Gateways({"razorpay": RazorpayGateway(settings), "stripe": StripeGateway(settings)})
    clock = ManualClock(datetime(2026, 7, 15, 4, 30, tzinfo=UTC))
    engine = open_engine(database_url, application="test-till", pool_size=12)
    with unit_of_work(engine) as session:
        make_supplier(session)
    yield Till(engine, clock, Collector(engine, clock, gateways, settings), fake, stripe_server)
    engine.dispose()
