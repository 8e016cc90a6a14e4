"""The inbox: messages of gateways are kept once, then applied.

Keeping and applying are one transaction each, so that a message that cannot be applied now is not
lost, and one that arrives twice is applied once.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Text, cast, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session

from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.errors import not_found
from billing.payments.effects import bring_up_to_date
from billing.payments.facts import Notice
from billing.payments.repository import find_payment
from billing.payments.tables import EventOutcome, GatewayEvent, Payment, ProviderPayment


class ApplyEvent(Request):
    """A kept message to apply."""

    gateway: str
    event_id: str


def keep(session: Session, ctx: Context, gateway: str, notice: Notice, body: bytes) -> bool:
    """Keep a message; False if it was kept before.

    Args:
        body: as it came, byte for byte.
    """
    kept = session.execute(
        insert(GatewayEvent)
        .values(
            gateway=gateway,
            event_id=notice.event_id,
            kind=notice.kind,
            reference=notice.reference,
            provider_order_id=notice.provider_order_id,
            provider_payment_ids=sorted(notice.provider_payment_ids),
            facts=[fact.to_dict() for fact in notice.facts],
            body=body,
            outcome=EventOutcome.RECEIVED,
            received_at=ctx.clock.now(),
        )
        .on_conflict_do_nothing()
        .returning(GatewayEvent.event_id)
    )
    return kept.scalar_one_or_none() is not None


@command("payment.apply_event", Permission.PAYMENTS_WRITE)
def apply_event(ctx: Context, request: ApplyEvent) -> GatewayEvent:
    """Apply a kept message to the payment it speaks of; nothing happens if that was done.

    A message of an unknown payment stays `unmatched`, and is applied as soon as the payment learns
    one of its names.
    """
    session = ctx.session
    event = session.get(GatewayEvent, (request.gateway, request.event_id), with_for_update=True)
    if event is None:
        raise not_found("gateway event", request.event_id)
    if event.outcome in {EventOutcome.APPLIED, EventOutcome.IGNORED}:
        return event
    if not event.facts:
        event.outcome, event.reason = EventOutcome.IGNORED, "It says nothing about money."
        event.processed_at = ctx.clock.now()
        return event
    found = find_payment(
        session,
        event.gateway,
        reference=event.reference,
        order_id=event.provider_order_id,
        provider_ids=event.provider_payment_ids,
    )
    if found is None:
        event.outcome = EventOutcome.UNMATCHED
        event.reason = "No payment of ours has one of its names."
        event.processed_at = ctx.clock.now()
        return event
    apply_to(ctx, lock_payment(session, found), [event])
    return event


def apply_to(ctx: Context, payment: Payment, events: Sequence[GatewayEvent]) -> None:
    """Apply messages to a locked payment, and those that wait for a name it learns from them."""
    session = ctx.session
    while events:
        for event in events:
            event.payment_id, event.outcome, event.reason = payment.id, EventOutcome.APPLIED, None
            event.processed_at = ctx.clock.now()
            _learn_names(session, payment, event)
        session.flush()
        events = _waiting_for(session, payment)
    bring_up_to_date(session, payment, ctx.clock.now(), ctx.actor.name)


def lock_payment(session: Session, payment_id: UUID) -> Payment:
    """A payment as it is now, held until the transaction ends.

    Raises:
        NotFoundError: if there is none.
    """
    payment = session.scalars(
        select(Payment)
        .where(Payment.id == payment_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if payment is None:
        raise not_found("payment", payment_id)
    return payment


def _learn_names(session: Session, payment: Payment, event: GatewayEvent) -> None:
    for name in event.provider_payment_ids:
        session.execute(
            insert(ProviderPayment)
            .values(gateway=payment.gateway, provider_payment_id=name, payment_id=payment.id)
            .on_conflict_do_nothing()
        )
    if payment.provider_order_id is None:
        payment.provider_order_id = event.provider_order_id


def _waiting_for(session: Session, payment: Payment) -> Sequence[GatewayEvent]:
    """Messages that came before the payment had the name by which they speak of it."""
    own = session.scalars(
        select(ProviderPayment.provider_payment_id).filter_by(payment_id=payment.id)
    ).all()
    names: list[ColumnElement[bool]] = [
        GatewayEvent.reference == str(payment.id),
        GatewayEvent.provider_payment_ids.has_any(cast(own, ARRAY(Text))),
    ]
    if payment.provider_order_id is not None:
        names.append(GatewayEvent.provider_order_id == payment.provider_order_id)
    return session.scalars(
        select(GatewayEvent)
        .where(
            GatewayEvent.gateway == payment.gateway,
            GatewayEvent.outcome == EventOutcome.UNMATCHED,
            or_(*names),
        )
        .with_for_update(skip_locked=True)
    ).all()
