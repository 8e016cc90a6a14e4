"""What may be asked of a subscription."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from billing.commands import Request
from billing.fields import ExactDecimal
from billing.subscriptions.tables import Proration

Seats = Annotated[ExactDecimal, Field(gt=0, max_digits=20, decimal_places=12)]

Day = Annotated[date, Field(ge=date(1970, 1, 1), lt=date(3000, 1, 1))]
"""A local day; periods around it can be worked out."""

Effective = Day | Literal["now", "period_end"]
"""A local day; `now` is the coming midnight, `period_end` that which ends the whole period."""


class Subscribe(Request):
    """Put an account on a plan's active version, from a local day on."""

    account_id: UUID
    plan_code: str
    starts_on: Day
    ends_on: Day | None = None
    anchor_day: int | None = Field(default=None, ge=1, le=31)
    """Day of the month, or of the week from 1 for Monday; without one, what the plan says."""
    anchor_month: int | None = Field(default=None, ge=1, le=12)
    """A month in which a period begins, where periods are longer than a month."""
    trial_days: int | None = Field(default=None, ge=0, le=3660)
    """Days without recurring charges; without a number, what the plan says."""
    quantity: Seats = Decimal(1)
    proration: Proration = Proration.PRORATE


class PlanChoice(Request):
    """Another plan, or another quantity, and the local day it begins."""

    action: Literal["change"] = "change"
    """What previews tell the wishes apart by."""
    plan_code: str
    from_day: Effective
    quantity: Seats = Decimal(1)
    proration: Proration = Proration.PRORATE


class SeatChoice(Request):
    """Another quantity of the plan version in force, and the local day it begins."""

    action: Literal["seats"] = "seats"
    add_on_id: UUID | None = None
    """Of this add-on, rather than of the plan."""
    quantity: Seats
    from_day: Effective
    proration: Proration = Proration.PRORATE


class PauseChoice(Request):
    """The first local day without recurring charges, and the first with them again if known."""

    action: Literal["pause"] = "pause"
    from_day: Effective
    resume_on: Day | None = None
    proration: Proration = Proration.PRORATE


class ResumeChoice(Request):
    """The first local day with recurring charges again."""

    action: Literal["resume"] = "resume"
    from_day: Effective
    proration: Proration = Proration.PRORATE


class EndChoice(Request):
    """The first local day on which the subscription no longer bills, or one of its add-ons."""

    action: Literal["end"] = "end"
    add_on_id: UUID | None = None
    """This add-on alone; with the subscription all of them end."""
    ends_on: Effective
    proration: Proration = Proration.PRORATE


class RenewChoice(Request):
    """A later end than the one agreed, or none."""

    action: Literal["renew"] = "renew"
    ends_on: Day | None = None


class AddOnChoice(Request):
    """An add-on beside the plan, and the local day it begins."""

    action: Literal["add_on"] = "add_on"
    plan_code: str
    from_day: Effective
    ends_on: Day | None = None
    """Without one, it ends with the subscription."""
    quantity: Seats = Decimal(1)
    proration: Proration = Proration.PRORATE


AnyChoice = Annotated[
    PlanChoice | AddOnChoice | SeatChoice | PauseChoice | ResumeChoice | EndChoice | RenewChoice,
    Field(discriminator="action"),
]


class ChangePlan(PlanChoice):
    """Go on with another plan, or another quantity."""

    subscription_id: UUID


class AddAddOn(AddOnChoice):
    """Go on with an add-on beside the plan."""

    subscription_id: UUID


class ChangeSeats(SeatChoice):
    """Go on with another quantity; the plan version stays, even if newer ones are on sale."""

    subscription_id: UUID


class PauseSubscription(PauseChoice):
    """Stop recurring charges; usage that happens all the same is billed."""

    subscription_id: UUID


class ResumeSubscription(ResumeChoice):
    """Bill recurring charges again."""

    subscription_id: UUID


class EndSubscription(EndChoice):
    """End at a local midnight."""

    subscription_id: UUID


class RenewSubscription(RenewChoice):
    """Go on after the end that was agreed."""

    subscription_id: UUID


class UndoChange(Request):
    """Take the latest change back."""

    subscription_id: UUID
    change_id: UUID
