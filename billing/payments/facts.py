"""What a gateway has told us about a payment, folded into one picture.

Gateways deliver at least once and in any order. So nothing here depends on order or repetition: a
notification is turned into facts, facts are kept, and the picture is computed from all of them. Of
two statements the further one counts, because money moves forward: what was captured stays
captured, whatever arrives late.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class FactKind(StrEnum):
    """What was said."""

    PENDING = "pending"
    FAILED = "failed"
    EXPIRED = "expired"
    AUTHORISED = "authorised"
    CAPTURED = "captured"
    REFUNDED = "refunded"
    REFUND_FAILED = "refund_failed"
    DISPUTED = "disputed"
    DISPUTE_WON = "dispute_won"
    DISPUTE_LOST = "dispute_lost"


class PaymentStatus(StrEnum):
    """How far a payment has come. Declared in the order in which it moves, never back."""

    CREATED = "created"
    """Ours only: the gateway was not asked yet, or has not answered."""
    PENDING = "pending"
    FAILED = "failed"
    """An attempt failed. A later one may succeed: Razorpay lets failed become authorised."""
    EXPIRED = "expired"
    AUTHORISED = "authorised"
    CAPTURED = "captured"


class DisputeState(StrEnum):
    """Where a chargeback stands; a verdict outweighs its opening."""

    NONE = "none"
    OPEN = "open"
    WON = "won"
    LOST = "lost"


_RANK = {status: rank for rank, status in enumerate(PaymentStatus)}
_STATUS_OF = {
    FactKind.PENDING: PaymentStatus.PENDING,
    FactKind.FAILED: PaymentStatus.FAILED,
    FactKind.EXPIRED: PaymentStatus.EXPIRED,
    FactKind.AUTHORISED: PaymentStatus.AUTHORISED,
    FactKind.CAPTURED: PaymentStatus.CAPTURED,
}
_DISPUTES = {
    FactKind.DISPUTED: DisputeState.OPEN,
    FactKind.DISPUTE_WON: DisputeState.WON,
    FactKind.DISPUTE_LOST: DisputeState.LOST,
}
_DISPUTE_RANK = {state: rank for rank, state in enumerate(DisputeState)}


@dataclass(frozen=True, slots=True)
class Fact:
    """One statement about one payment.

    Attributes:
        provider_payment_id: the gateway's name of the movement of money, if there is one yet.
        amount_minor: captured or refunded so far in this movement, in minor units.
        refund_id: the gateway's name of a refund.
        detail: a failure in the gateway's words, or the means of payment.
    """

    kind: FactKind
    provider_payment_id: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    refund_id: str | None = None
    detail: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As it is kept."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Fact":
        """A kept fact."""
        return cls(**{**stored, "kind": FactKind(stored["kind"])})


@dataclass(frozen=True, slots=True)
class Notice:
    """A message of a gateway in our words; `event_id` is its name for ever.

    Attributes:
        reference: our own reference, where the gateway hands it back.
        provider_order_id: the gateway's name of the order, link or session.
    """

    event_id: str
    kind: str
    facts: tuple[Fact, ...]
    reference: str | None = None
    provider_order_id: str | None = None
    occurred_at: datetime | None = None

    @property
    def provider_payment_ids(self) -> set[str]:
        """The movements of money that it speaks of."""
        return {fact.provider_payment_id for fact in self.facts if fact.provider_payment_id}


@dataclass(frozen=True, slots=True)
class Picture:
    """What all facts about a payment come to.

    Attributes:
        captured: captured so far, in minor units, by the gateway's payment id.
        refunds: refunded so far, in minor units, by the gateway's refund id.
        refunded_from: the gateway's payment id that a refund takes back, by its refund id.
        strangers: currencies other than that of the payment in which something was captured.
    """

    status: PaymentStatus = PaymentStatus.CREATED
    captured: Mapping[str, int] = field(default_factory=dict)
    refunds: Mapping[str, int] = field(default_factory=dict)
    refunded_from: Mapping[str, str] = field(default_factory=dict)
    failed_refunds: frozenset[str] = frozenset()
    dispute: DisputeState = DisputeState.NONE
    failure: str | None = None
    strangers: frozenset[str] = frozenset()

    @property
    def captured_minor(self) -> int:
        """All that came in."""
        return sum(self.captured.values())

    @property
    def refunded_minor(self) -> int:
        """All that went back and stayed there; never more than came in.

        A refund may be told before the capture that it takes back. Until then it counts as far as
        there is something to take back.
        """
        return min(sum(self.refunds.values()), self.captured_minor)


def fold(facts: Iterable[Fact], currency: str) -> Picture:
    """The picture that a set of facts gives, whatever their order and number.

    Args:
        currency: in which the payment was asked for; money in another one is not counted.
    """
    status, dispute = PaymentStatus.CREATED, DisputeState.NONE
    captured: dict[str, int] = {}
    refunds: dict[str, int] = {}
    refunded_from: dict[str, str] = {}
    failed: set[str] = set()
    failures: set[str] = set()
    strangers: set[str] = set()
    for fact in facts:
        if fact.currency not in {None, currency}:
            strangers.add(str(fact.currency))
            continue
        if fact.kind in _STATUS_OF:
            status = max(status, _STATUS_OF[fact.kind], key=_RANK.__getitem__)
        if fact.kind in _DISPUTES:
            dispute = max(dispute, _DISPUTES[fact.kind], key=_DISPUTE_RANK.__getitem__)
        if fact.kind is FactKind.FAILED and fact.detail:
            failures.add(fact.detail)
        amount = fact.amount_minor or 0
        if fact.kind is FactKind.CAPTURED:
            key = fact.provider_payment_id or ""
            captured[key] = max(captured.get(key, 0), amount)
        elif fact.kind is FactKind.REFUNDED:
            key = fact.refund_id or ""
            refunds[key] = max(refunds.get(key, 0), amount)
            if fact.provider_payment_id:
                known = refunded_from.get(key, "")
                refunded_from[key] = max(known, fact.provider_payment_id)
        elif fact.kind is FactKind.REFUND_FAILED and fact.refund_id:
            failed.add(fact.refund_id)
    return Picture(
        status=status,
        captured=captured,
        refunds={key: amount for key, amount in refunds.items() if key not in failed},
        refunded_from=refunded_from,
        failed_refunds=frozenset(failed),
        dispute=dispute,
        failure=max(failures, default=None),
        strangers=frozenset(strangers),
    )
