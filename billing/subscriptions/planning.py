"""What a wish makes of a subscription: the rules, shared by commands and previews."""

from datetime import date, timedelta
from decimal import Decimal

from sqlalchemy.orm import Session

from billing.catalog.repository import active_version, is_priced_in, load_version
from billing.catalog.rules import refused_prepaid
from billing.catalog.tables import Anchor, PlanVersion, PriceModel
from billing.clock import Clock
from billing.customers.tables import Account, BillingMode
from billing.errors import FieldError, InvalidError, PreconditionError
from billing.periods import Cycle, Interval, local_day
from billing.subscriptions.history import Planned, timeline_of
from billing.subscriptions.requests import (
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
from billing.subscriptions.tables import ChangeKind, Subscription, SubscriptionStatus
from billing.subscriptions.timeline import Timeline, begin


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
    version = active_version(session, wish.plan_code)
    require_sellable(account, version, wish.plan_code)
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
            version = active_version(session, wish.plan_code)
            require_sellable(account, version, wish.plan_code)
            return plan_switch(
                session, timeline, day, wish, version=version, currency=account.currency
            )
        case SeatChoice():
            part = timeline.at(day)
            after = timeline.switched(
                day,
                how,
                plan_version_id=(part or timeline.parts[-1]).plan_version_id,
                quantity=wish.quantity,
            )
            return Planned(ChangeKind.SEATS, day, how, after)
        case PauseChoice():
            after = timeline.paused(day, how, resume_on=wish.resume_on)
            return Planned(ChangeKind.PAUSE, day, how, after)
        case ResumeChoice():
            return Planned(ChangeKind.RESUME, day, how, timeline.resumed(day, how))
        case EndChoice():
            ended = SubscriptionStatus.ENDED
            return Planned(ChangeKind.END, day, how, timeline.ended(day, how), ended)


def plan_switch(
    session: Session,
    timeline: Timeline,
    day: date,
    wish: PlanChoice,
    *,
    version: PlanVersion,
    currency: str,
) -> Planned:
    """Another plan version from a day on; whether that is more or less is seen by its fees."""
    after = timeline.switched(
        day,
        wish.proration,
        plan_version_id=version.id,
        quantity=wish.quantity,
        cycle=other_cycle(timeline, version, day),
    )
    part = timeline.at(day) or timeline.parts[-1]
    before_fee = _fee(load_version(session, part.plan_version_id), currency) * part.quantity
    after_fee = _fee(version, currency) * wish.quantity
    kind = ChangeKind.CHANGE
    if after_fee != before_fee:
        kind = ChangeKind.UPGRADE if after_fee > before_fee else ChangeKind.DOWNGRADE
    return Planned(kind, day, wish.proration, after)


def effective_day(wanted: Effective, timeline: Timeline, today: date) -> date:
    """The local day that a wish begins on."""
    if isinstance(wanted, date):
        return wanted
    if wanted == "now":
        return today + timedelta(days=1)
    return timeline.calendar.containing(max(today, timeline.starts_on)).end


def require_sellable(account: Account, version: PlanVersion, name: str) -> None:
    """Refuse a version that has no price for the account, or cannot be debited as it is used."""
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


def other_cycle(timeline: Timeline, version: PlanVersion, day: date) -> Cycle | None:
    """The cycle of a version's periods from a day on, if its interval is not the one until then.

    Raises:
        PreconditionError: if no period ends before that day: its charges would be torn apart.
    """
    cycle = timeline.calendar.on(day)
    if version.interval is cycle.interval:
        return None
    whole = cycle.containing(day)
    if whole.start != day:
        raise PreconditionError(
            f"The plan bills by {version.interval.value}, the subscription by "
            f"{cycle.interval.value} up to {whole.end}; change on that day.",
            code="not_period_end",
        )
    return cycle.followed_by(version.interval, day)


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
