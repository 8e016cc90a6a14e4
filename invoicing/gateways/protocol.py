"""What we need of a payment gateway.

A gateway translates: our requests into calls of the provider's SDK, the provider's messages into
`Notice`s. It holds no state and decides nothing about money; that is done where the notices are
applied (`billing.payments`). A class of your own, named by an entry point of the group
`billing.gateways`, is used like the ones here (see `registry`).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from billing.payments.facts import Fact, Notice


class RefusedError(Exception):
    """The gateway understood and said no: nothing happened there."""


class UnknownOutcomeError(Exception):
    """No answer, or none that can be understood: it may have happened.

    Only the same call under the same key may follow, or a look at what the gateway has.
    """


class InvalidSignatureError(Exception):
    """A message that the gateway did not sign, or signed too long ago."""


@dataclass(frozen=True, slots=True)
class CheckoutRequest:
    """A page on which a customer is to pay.

    Attributes:
        reference: our name of the payment, which the gateway hands back in all its messages.
        amount_minor: in minor units of our currency table (IDR has none of its own).
        return_url: where the customer's browser goes afterwards; it proves nothing.
    """

    reference: str
    amount_minor: int
    currency: str
    description: str
    customer_name: str
    customer_email: str | None
    return_url: str


@dataclass(frozen=True, slots=True)
class Checkout:
    """Such a page."""

    provider_order_id: str
    url: str


@dataclass(frozen=True, slots=True)
class KnownPayment:
    """A payment by the names that we and the gateway have for it."""

    reference: str
    currency: str
    provider_order_id: str | None
    provider_payment_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """Money to send back of one movement."""

    payment: KnownPayment
    provider_payment_id: str
    amount_minor: int
    reason: str


@dataclass(frozen=True, slots=True)
class SetupRequest:
    """A page on which a customer saves a method of payment.

    Attributes:
        reference: our name of the method.
        limit_minor: the most that one charge will take, where a mandate needs to say so.
    """

    reference: str
    currency: str
    customer_name: str
    customer_email: str | None
    return_url: str
    limit_minor: int


@dataclass(frozen=True, slots=True)
class Setup:
    """Such a page, and the gateway's name of the customer."""

    provider_customer_id: str
    provider_setup_id: str
    url: str


@dataclass(frozen=True, slots=True)
class SavedMethod:
    """What the customer saved; the label is what the customer knows it by."""

    provider_method_id: str
    label: str


@dataclass(frozen=True, slots=True)
class ChargeRequest:
    """Money to take from a saved method, while the customer is away."""

    reference: str
    amount_minor: int
    currency: str
    description: str
    provider_customer_id: str
    provider_method_id: str
    customer_email: str | None


@dataclass(frozen=True, slots=True)
class Movement:
    """An entry of the gateway's own list, for reconciliation.

    Attributes:
        refund_id: of money that went back.
        amount_minor: always positive.
    """

    provider_payment_id: str
    currency: str
    amount_minor: int
    at: datetime
    refund_id: str | None = None
    reference: str | None = None
    provider_order_id: str | None = None


class Gateway(Protocol):
    """A payment gateway. Every method but `notice_of` may take seconds and calls the network.

    They raise `RefusedError` and `UnknownOutcomeError`.
    """

    name: str
    currencies: frozenset[str]

    def create_checkout(self, request: CheckoutRequest, key: str) -> Checkout:
        """Make a page on which the customer pays.

        Args:
            key: idempotency key; the same one gives the same page.
        """
        ...

    def refund(self, request: RefundRequest, key: str) -> Notice:
        """Send money back; the notice names the refund."""
        ...

    def notice_of(self, headers: Mapping[str, str], body: bytes) -> Notice:
        """What a webhook says, once its signature is verified over the raw body.

        Args:
            headers: with names in lower case.

        Raises:
            InvalidSignatureError: if it was not signed with our secret.
        """
        ...

    def look_up(self, payment: KnownPayment) -> Iterable[Notice]:
        """What the gateway knows of a payment now."""
        ...

    def movements(self, since: datetime, until: datetime) -> Iterable[Movement]:
        """Everything that was captured or refunded in that time, by the gateway's clock."""
        ...


@runtime_checkable
class SavesMethods(Protocol):
    """What a gateway has besides, if it keeps methods of payment and charges them."""

    def begin_setup(self, request: SetupRequest, key: str) -> Setup:
        """Make a page on which the customer saves a method."""
        ...

    def saved_method(self, setup: Setup) -> SavedMethod | None:
        """What was saved on such a page; None as long as nothing was."""
        ...

    def charge(self, request: ChargeRequest, key: str) -> Notice:
        """Charge a saved method; repeated under the same key, it is the same charge.

        Raises:
            RefusedError: if it was declined; nothing was taken.
        """
        ...


def looked_up(payment: KnownPayment, what: str, facts: Sequence[Fact]) -> Notice:
    """A notice of what was found by looking, named by what it says: found twice, it is one."""
    said = json.dumps([fact.to_dict() for fact in facts], sort_keys=True)
    digest = hashlib.sha256(said.encode()).hexdigest()[:24]
    return Notice(
        f"look-up:{payment.reference}:{digest}",
        f"look-up.{what}",
        tuple(facts),
        reference=payment.reference,
    )
