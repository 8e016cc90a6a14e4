"""Reading subscriptions, within what the actor may see."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import date
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.customers.repository import get_account
from billing.customers.tables import Account
from billing.errors import not_found
from billing.periods import Calendar
from billing.subscriptions.tables import Subscription, SubscriptionSegment


def load_subscription(
    session: Session, subscription_id: UUID, *, lock: bool = False
) -> Subscription:
    """One subscription, whoever asks; for commands.

    Args:
        lock: hold the row until the transaction ends.

    Raises:
        NotFoundError: if there is none.
    """
    found = session.get(Subscription, subscription_id, with_for_update=lock or None)
    if found is None:
        raise not_found("subscription", subscription_id)
    return found


def get_subscription(session: Session, actor: Actor, subscription_id: UUID) -> Subscription:
    """One subscription that the actor may see."""
    actor.require(Permission.SUBSCRIPTIONS_READ)
    found = load_subscription(session, subscription_id)
    get_account(session, actor, found.account_id)
    return found


def list_subscriptions(
    session: Session,
    actor: Actor,
    *,
    account_id: UUID | None = None,
    limit: int = 50,
    after: UUID | None = None,
) -> Sequence[Subscription]:
    """Subscriptions by id, one page at a time."""
    actor.require(Permission.SUBSCRIPTIONS_READ)
    query = select(Subscription).order_by(Subscription.id).limit(limit)
    if actor.customer_id is not None:
        query = query.join(Account, Account.id == Subscription.account_id).where(
            Account.customer_id == actor.customer_id
        )
    if account_id is not None:
        query = query.where(Subscription.account_id == account_id)
    if after is not None:
        query = query.where(Subscription.id > after)
    return session.scalars(query).all()


def segments_of(session: Session, subscription_id: UUID) -> Sequence[SubscriptionSegment]:
    """A subscription's segments in order."""
    return session.scalars(
        select(SubscriptionSegment)
        .filter_by(subscription_id=subscription_id)
        .order_by(SubscriptionSegment.starts_on)
    ).all()


def calendars_of(session: Session, subscriptions: Collection[Subscription]) -> dict[UUID, Calendar]:
    """How the whole periods of subscriptions follow each other, by id."""
    others = session.scalars(
        select(SubscriptionSegment)
        .where(SubscriptionSegment.interval.is_not(None), SubscriptionSegment.add_on_id.is_(None))
        .order_by(SubscriptionSegment.starts_on)
    )
    return calendars(subscriptions, others)


def calendars(
    subscriptions: Iterable[Subscription], segments: Iterable[SubscriptionSegment]
) -> dict[UUID, Calendar]:
    """The same of segments that were read already, in the order of their days."""
    found = {one.id: Calendar(one.cycle) for one in subscriptions}
    for segment in segments:
        known = found.get(segment.subscription_id)
        if known is not None and segment.cycle is not None and segment.add_on_id is None:
            later = (*known.later, (segment.starts_on, segment.cycle))
            found[segment.subscription_id] = replace(known, later=later)
    return found


def overlapping(
    session: Session,
    account_id: UUID,
    starts_on: date,
    ends_on: date | None,
    *,
    apart_from: UUID | None = None,
) -> Subscription | None:
    """A subscription of the account, other than one, that shares a day with that range, if any."""
    query = select(Subscription).where(
        Subscription.account_id == account_id,
        or_(Subscription.ends_on.is_(None), Subscription.ends_on > starts_on),
    )
    if ends_on is not None:
        query = query.where(Subscription.starts_on < ends_on)
    if apart_from is not None:
        query = query.where(Subscription.id != apart_from)
    return session.scalars(query.limit(1)).first()
