"""The API with a local Razorpay behind it, and debts to collect."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.commands import Context
from billing.customers.tables import BillingMode
from billing.db.unit_of_work import unit_of_work
from billing.wallets.service import CreateWallet, create_wallet
from invoicing.gateways.registry import gateways
from tests.support.api import Api
from tests.support.factories.invoices import make_due_invoice
from tests.support.factories.parties import make_account, make_supplier
from tests.support.gateways.razorpay import (
    KEY_ID,
    KEY_SECRET,
    WEBHOOK_SECRET,
    FakeRazorpay,
)
from tests.support.gateways.server import Webhook


@dataclass
class Debt:
    """An invoice or a wallet, and a key of the customer whose it is."""

    id: UUID
    customer_id: UUID
    key: str


@dataclass
class Counter:
    """Our API on one side, the gateway on the other."""

    api: Api
    razorpay: FakeRazorpay

    def invoice(self, total_minor: int = 11800) -> Debt:
        """A due invoice of a new customer."""
        with unit_of_work(self.api.engine) as session:
            owner = make_account(session)
            made = make_due_invoice(session, owner, total_minor, self.api.clock.now())
            found = made.id, owner.customer_id
        return Debt(*found, self.api.key_for(Role.CUSTOMER, str(found[1])))

    def wallet(self) -> Debt:
        """An empty wallet of a new prepaid customer."""
        with unit_of_work(self.api.engine) as session:
            owner = make_account(session, billing_mode=BillingMode.PREPAID)
            context = Context(session, SYSTEM, self.api.clock)
            made = create_wallet(context, CreateWallet(account_id=owner.id))
            found = made.id, owner.customer_id
        return Debt(*found, self.api.key_for(Role.CUSTOMER, str(found[1])))

    def ask(self, **body: Any) -> Any:
        """A new payment, as the API answers."""
        key = body.pop("key", None)
        return self.api.post("/payments", {"gateway": "razorpay", **body}, key=key)

    def send(self, webhook: Webhook, gateway: str = "razorpay") -> httpx.Response:
        """A webhook as the gateway sends it: without a key, byte for byte."""
        return self.api.call(
            "POST",
            f"/api/v1/webhooks/{gateway}",
            role=None,
            content=webhook.body,
            headers=webhook.headers,
        )

    def pay(self, payment: Any, **how: Any) -> None:
        """Pay at the gateway and let it tell us."""
        self.razorpay.outbox.clear()
        self.razorpay.pay(payment["attributes"]["provider_order_id"], **how)
        for webhook in self.razorpay.outbox:
            assert self.send(webhook).status_code == 204


@contextmanager
def open_counter(
    api: Api, razorpay: FakeRazorpay, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Counter]:
    """The process has the keys of one gateway."""
    for name in ("STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET"):
        monkeypatch.delenv(f"BILLING_{name}", raising=False)
    monkeypatch.setenv("BILLING_RAZORPAY_KEY_ID", KEY_ID)
    monkeypatch.setenv("BILLING_RAZORPAY_KEY_SECRET", KEY_SECRET)
    monkeypatch.setenv("BILLING_RAZORPAY_WEBHOOK_SECRET", WEBHOOK_SECRET)
    monkeypatch.setenv("BILLING_RAZORPAY_ADDRESS", razorpay.address)
    monkeypatch.setenv("BILLING_GATEWAY_TIMEOUT_SECONDS", "3")
    razorpay.hang_after_effect = razorpay.fail_next = 0
    for things in (razorpay.links, razorpay.payments, razorpay.refunds):
        things.clear()
    razorpay.outbox.clear()
    razorpay.requests.clear()
    with unit_of_work(api.engine) as session:
        make_supplier(session)
    gateways.cache_clear()
    try:
        yield Counter(api, razorpay)
    finally:
        gateways.cache_clear()
