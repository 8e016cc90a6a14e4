"""What a wish makes of a subscription: the rules, shared by commands and previews."""

from collections.abc import Collection
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from billing.catalog.repository import active_version, is_priced_in, load_version
from billing.catalog.rules import count_the_same, refused_prepaid
from billing.catalog.tables import Anchor, Charge, PlanVersion, PriceModel, PricePlan
from billing.clock import Clock
from billing.customers.tables import Account, BillingMode
from billing.errors import FieldError, InvalidError, PreconditionError
from billing.periods import Cycle, Interval, Period, local_day
from billing.subscriptions.history import Planned, timeline_of
from billing.subscriptions.requests import (
    AddOnChoice,
    AnyChoice,
    Effective,
    EndChoice,
    PauseChoice,
    PlanChoice,
    RenewChoice,
    ResumeChoice,
    SeatChoice,
    Subscribe,
)
from billing.subscriptions.tables import ChangeKind, Proration, Subscription, SubscriptionStatus
from billing.subscriptions.timeline import Timeline, begin
from billing.subsets.offers import refuse_not_offered


def plan_start(session: Session, account: Account, wish: Subscribe) -> Planned:
    """A new subscription of an account.

    Raises:
        InvalidError: if its days or its anchor make no sense.
        PreconditionError: if the plan cannot be sold to the account.
    """
    if wish.ends_on is not None and wish.ends_on <= wish.starts_on:
        raise InvalidError(
            "A subscription ends after it starts.",
            fields=[FieldError("ends_on", "use a later day")],
        )
    version = _offered(session, account, wish.plan_code)
    trial = version.trial_days if wish.trial_days is None else wish.trial_days
    timeline = begin(
        _cycle(version, wish),
        (wish.starts_on, wish.ends_on),
        plan_version_id=version.id,
        quantity=wish.quantity,
        proration=wish.proration,
        trial_ends_on=wish.starts_on + timedelta(days=trial),
    )
    return Planned(ChangeKind.START, wish.starts_on, wish.proration, timeline)


def plan_change(
    session: Session, clock: Clock, subscription: Subscription, account: Account, wish: AnyChoice
) -> Planned:
    """What a wish would make of a subscription.

    Raises:
        PreconditionError: if its state or its prices do not allow it.
    """
    timeline = timeline_of(session, subscription)
    if isinstance(wish, RenewChoice):
        day = timeline.ends_on or timeline.starts_on
        return Planned(ChangeKind.RENEW, day, None, timeline.renewed(wish.ends_on))
    wanted = wish.ends_on if isinstance(wish, EndChoice) else wish.from_day
    day = effective_day(wanted, timeline, local_day(clock.now(), account.zone))
    how = wish.proration
    match wish:
        case PlanChoice():
            version = _offered(session, account, wish.plan_code)
            return plan_switch(
                session, timeline, day, wish, version=version, currency=account.currency
            )
        case AddOnChoice():
            kind, after = ChangeKind.ADD_ON, _with_add_on(session, timeline, day, wish, account)
        case SeatChoice():
            kind, after = ChangeKind.SEATS, _other_quantity(timeline, day, wish)
        case PauseChoice():
            kind = ChangeKind.PAUSE
            after = timeline.paused(day, how, resume_on=wish.resume_on)
        case ResumeChoice():
            kind, after = ChangeKind.RESUME, timeline.resumed(day, how)
        case EndChoice(add_on_id=UUID() as add_on_id):
            kind = ChangeKind.REMOVE_ADD_ON
            after = timeline.with_track(timeline.track(add_on_id).ended(day, how))
        case EndChoice():
            ended = SubscriptionStatus.ENDED
            return Planned(ChangeKind.END, day, how, timeline.ended(day, how), ended)
    return Planned(kind, day, how, after)


def _offered(
    session: Session, account: Account, plan_code: str, *, add_on: bool = False
) -> PlanVersion:
    """The version of a plan that the account gets, if it is offered the plan."""
    version = active_version(session, plan_code)
    refuse_not_offered(session, account.customer_id, version.plan_id)
    require_sellable(session, account, version, plan_code, add_on=add_on)
    return version


def plan_switch(
    session: Session,
    timeline: Timeline,
    day: date,
    wish: PlanChoice,
    *,
    version: PlanVersion,
    currency: str,
) -> Planned:
    """Another plan version from a day on; its tier or its fees say whether that is more."""
    require_beside(session, version, timeline.tracks(), day)
    after, cuts = switched_to(timeline, version, day, wish.proration, wish.quantity)
    part = timeline.at(day) or timeline.parts[-1]
    old = load_version(session, part.plan_version_id)
    before, now = (session.get_one(PricePlan, one.plan_id) for one in (old, version))
    more = _fee(version, currency) * wish.quantity - _fee(old, currency) * part.quantity
    if now.family == before.family and now.tier and before.tier and now.tier != before.tier:
        more = Decimal(now.tier - before.tier)
    kind = ChangeKind.CHANGE
    if more:
        kind = ChangeKind.UPGRADE if more > 0 else ChangeKind.DOWNGRADE
    return Planned(kind, day, wish.proration, after, cuts=cuts)


def _other_quantity(timeline: Timeline, day: date, wish: SeatChoice) -> Timeline:
    track = timeline if wish.add_on_id is None else timeline.track(wish.add_on_id)
    part = track.at(day) or track.parts[-1]
    after = track.switched(
        day, wish.proration, plan_version_id=part.plan_version_id, quantity=wish.quantity
    )
    return after if wish.add_on_id is None else timeline.with_track(after)


def _with_add_on(
    session: Session, timeline: Timeline, day: date, wish: AddOnChoice, account: Account
) -> Timeline:
    if wish.ends_on is not None and wish.ends_on <= day:
        raise InvalidError(
            "An add-on ends after it starts.", fields=[FieldError("ends_on", "use a later day")]
        )
    version = _offered(session, account, wish.plan_code, add_on=True)
    interval = timeline.calendar.on(day).interval
    if version.interval is not interval:
        raise PreconditionError(
            f"The add-on bills by {version.interval.value}, the subscription by {interval.value}.",
            code="other_interval",
        )
    require_beside(session, version, (timeline, *timeline.tracks()), day)
    return timeline.added(
        (day, wish.ends_on), wish.proration, plan_version_id=version.id, quantity=wish.quantity
    )


def require_beside(
    session: Session, version: PlanVersion, tracks: Collection[Timeline], day: date
) -> None:
    """Refuse what cannot be billed beside what else the subscription has from a day on.

    Two charges of one code would give their lines one name, and two that count the same events
    would bill them twice.
    """
    parts = [part for one in tracks if one.lasts(day) for part in one.parts]
    lasting = {one.plan_version_id for one in parts if one.ends_on is None or one.ends_on > day}
    others = session.scalars(
        select(Charge)
        .where(Charge.plan_version_id.in_({one.plan_version_id for one in parts}))
        .options(joinedload(Charge.item))
        .order_by(Charge.plan_version_id, Charge.ordinal)
    ).all()
    if clash := {charge.code for charge in version.charges} & {other.code for other in others}:
        raise PreconditionError(
            f"Another plan of the subscription has the charge {min(clash)}; an add-on has charges "
            "with codes of their own.",
            code="charge_code_taken",
        )
    for charge in version.charges:
        for other in others:
            if other.plan_version_id in lasting and count_the_same(charge.item, other.item):
                raise PreconditionError(
                    f"The charges {charge.code} and {other.code} count the same events; one plan "
                    "of a subscription has the price of an event.",
                    code="events_priced_twice",
                )


def effective_day(wanted: Effective, timeline: Timeline, today: date) -> date:
    """The local day that a wish begins on."""
    if isinstance(wanted, date):
        return wanted
    if wanted == "now":
        return today + timedelta(days=1)
    return timeline.calendar.period(max(today, timeline.starts_on)).end


def require_sellable(
    session: Session, account: Account, version: PlanVersion, name: str, *, add_on: bool = False
) -> None:
    """Refuse a version that has no price for the account, or cannot be debited as it is used.

    Args:
        add_on: it is to be sold beside another plan; if not, by itself.
    """
    if session.get_one(PricePlan, version.plan_id).is_add_on is not add_on:
        raise PreconditionError(
            f"The plan {name} is sold {'by itself' if add_on else 'beside another'} only.",
            code="not_an_add_on" if add_on else "is_add_on",
        )
    priced = all(is_priced_in(charge, account.currency) for charge in version.charges)
    if not priced:
        raise PreconditionError(
            f"The plan {name} has no {account.currency} rate for every charge.",
            code="currency_not_priced",
        )
    if account.billing_mode is BillingMode.PREPAID and (
        refused := refused_prepaid(version.charges)
    ):
        raise PreconditionError(
            f"The plan {name} cannot be sold prepaid.", code="not_for_prepaid", fields=refused
        )


def switched_to(
    timeline: Timeline, version: PlanVersion, day: date, proration: Proration, quantity: Decimal
) -> tuple[Timeline, Period | None]:
    """Another version from a day on, and the whole period that its interval cuts short, if one.

    Raises:
        PreconditionError: if the days before or another charge do not allow it.
    """
    running, agreed = (timeline.calendar.on(one) for one in (day - timedelta(days=1), day))
    cycle = None
    if version.interval is not running.interval:
        anew = version.anchor is Anchor.ANNIVERSARY
        cycle = running.followed_by(version.interval, day, anew=anew)
    elif agreed != running:
        cycle = running
    after = timeline.switched(
        day, proration, plan_version_id=version.id, quantity=quantity, cycle=cycle
    )
    whole = running.containing(day)
    if cycle is None or whole.start == day:
        return after, None
    unbilled = [one.code for one in version.charges if _is_unbilled(one)]
    if proration is Proration.NONE and cycle != running and unbilled:
        raise PreconditionError(
            f"The charge {unbilled[0]} does not prorate: with none, the rest of its first period "
            "would not be billed. Use prorate or full, or change at a period's end.",
            code="not_prorated",
        )
    return after, whole


def _is_unbilled(charge: Charge) -> bool:
    """Whether a period that recurring charges begin to bill later on leaves it out."""
    return charge.price_model is PriceModel.FLAT and not charge.prorated


def _cycle(version: PlanVersion, wish: Subscribe) -> Cycle:
    own = Cycle.anniversary(version.interval, wish.starts_on)
    if version.anchor is Anchor.FIXED:
        own = Cycle(version.interval)
    try:
        return Cycle(
            version.interval,
            wish.anchor_day or own.anchor_day,
            wish.anchor_month or own.anchor_month,
        )
    except ValueError as wrong:
        raise InvalidError(
            "The anchor does not fit the plan's interval.",
            fields=[FieldError("anchor_day", str(wrong))],
        ) from wrong


def _fee(version: PlanVersion, currency: str) -> Decimal:
    """What a seat costs for a year without any usage."""
    periods = 52 if version.interval is Interval.WEEK else 12 // version.interval.months
    return periods * sum(
        (
            rate.tiers[0].flat_amount
            for charge in version.charges
            if charge.price_model is PriceModel.FLAT
            for rate in charge.rates
            if rate.currency == currency and not rate.match
        ),
        Decimal(0),
    )
