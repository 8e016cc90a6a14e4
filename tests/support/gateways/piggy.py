"""A gateway as somebody else would write one: coins in a jar, for the test of plug-ins."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime

from billing.payments.facts import Fact, FactKind, Notice
from invoicing.gateways.protocol import (
    Checkout,
    CheckoutRequest,
    InvalidSignatureError,
    KnownPayment,
    Movement,
    RefundRequest,
)
from invoicing.gateways.settings import GatewaySettings


class PiggyBank:
    """Takes rupees; whoever knows the word `oink` speaks for it."""

    name = "piggy"
    currencies = frozenset({"INR"})

    def __init__(self, settings: GatewaySettings) -> None:
        self._page = settings.checkout_return_url

    def create_checkout(self, request: CheckoutRequest, key: str) -> Checkout:
        """The jar of a payment."""
        return Checkout(f"jar-{key}", f"{self._page}jars/{request.reference}")

    def refund(self, request: RefundRequest, key: str) -> Notice:
        """Coins out of the jar."""
        fact = Fact(
            FactKind.REFUNDED,
            request.provider_payment_id,
            request.amount_minor,
            request.payment.currency,
            refund_id=key,
        )
        return Notice(f"refund:{key}:done", "refund", (fact,), reference=request.payment.reference)

    def notice_of(self, headers: Mapping[str, str], body: bytes) -> Notice:
        """What fell in."""
        if headers.get("x-piggy") != "oink":
            raise InvalidSignatureError("no oink")
        said = json.loads(body)
        fact = Fact(FactKind.CAPTURED, said["coin"], said["amount"], "INR")
        return Notice(said["coin"], "coin", (fact,), reference=said["reference"])

    def look_up(self, payment: KnownPayment) -> Iterator[Notice]:
        """It does not remember."""
        yield Notice(f"look-up:{payment.reference}", "nothing", ())

    def movements(self, since: datetime, until: datetime) -> Iterator[Movement]:
        """It does not keep a list."""
        yield from ()
