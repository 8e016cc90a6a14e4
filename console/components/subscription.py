"""Changing a subscription: what is wished, what the next invoice would be, and then the change."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID

import streamlit as st
from pydantic import TypeAdapter, ValidationError

from billing.access.actor import Actor
from billing.commands import Context, Request
from billing.db.unit_of_work import read_only
from billing.errors import BillingError, FieldError, InvalidError
from billing.periods import DEFAULT_ZONE, local_day
from billing.subscriptions import service
from billing.subscriptions.preview import ChangePreview, preview_change
from billing.subscriptions.requests import (
    AddAddOn,
    AnyChoice,
    ChangePlan,
    ChangeSeats,
    EndSubscription,
    PauseSubscription,
    RenewSubscription,
    ResumeSubscription,
)
from billing.subscriptions.tables import Proration, Subscription
from console import actions
from console.components.boundary import say
from console.components.forms import attempt, form_key
from console.components.next_invoice import seen_first, show_preview
from console.database import clock, engine
from console.queries import prices

_CHOICE: Final[TypeAdapter[AnyChoice]] = TypeAdapter(AnyChoice)
_WHEN: Final = {"At the end of the period": "period_end", "At the coming midnight": "now"}
_ON_A_DAY: Final = "On a day"
PRORATION: Final = {
    Proration.PRORATE: "By days",
    Proration.FULL: "The whole period",
    Proration.NONE: "Nothing until the next period",
}


@dataclass(frozen=True, slots=True)
class _Action:
    label: str
    command: Callable[[Context, Any], Subscription]
    request: type[Request]
    done: str


_ACTIONS: Final = {
    "change": _Action("Change plan", service.change_plan, ChangePlan, "The plan is changed."),
    "seats": _Action(
        "Change quantity", service.change_seats, ChangeSeats, "The quantity is changed."
    ),
    "add_on": _Action("Add an add-on", service.add_add_on, AddAddOn, "The add-on is agreed."),
    "pause": _Action("Pause", service.pause_subscription, PauseSubscription, "It is paused."),
    "resume": _Action("Resume", service.resume_subscription, ResumeSubscription, "It is resumed."),
    "end": _Action("End", service.end_subscription, EndSubscription, "Its end is agreed."),
    "renew": _Action("Renew", service.renew_subscription, RenewSubscription, "It is renewed."),
}


def offered(state: str, ends_on: date | None) -> list[str]:
    """What can be asked of a subscription in that state."""
    found = {
        "active": ["change", "seats", "add_on", "pause", "end"],
        "trial": ["change", "seats", "add_on", "end"],
        "paused": ["resume", "end"],
        "coming": ["change", "seats", "add_on", "end"],
    }.get(state, [])
    return [*found, "renew"] if ends_on is not None else found


def change_subscription(
    actor: Actor, subscription_id: UUID, actions_: list[str], add_ons: Mapping[UUID, str]
) -> None:
    """Choose a change, see the next invoice with it, and only then make it.

    Args:
        add_ons: those that it has, which can have another quantity or end by themselves.
    """
    st.subheader("Change it", anchor=False)
    chosen = st.segmented_control(
        "What", actions_, default=actions_[0], required=True, key=f"change_{subscription_id}",
        format_func=lambda one: _ACTIONS[one].label, label_visibility="collapsed",
    )  # fmt: skip
    try:
        wish = _wish(actor, str(chosen), subscription_id, add_ons)
    except BillingError as error:
        say(error)
        return
    slot = f"previewed_{subscription_id}"
    preview = seen_first(
        slot, wish, f"see_{chosen}", lambda: _preview(actor, subscription_id, wish)
    )
    if preview is not None:
        with st.container(border=True):
            show_preview(preview)
            _confirm(actor, subscription_id, wish, slot)


def _confirm(actor: Actor, subscription_id: UUID, wish: AnyChoice, slot: str) -> None:
    action = _ACTIONS[wish.action]
    name = f"subscription:{subscription_id}:{wish.model_dump_json()}"
    if st.button(action.label, type="primary", key=f"do_{form_key(name)}"):
        fields = {"subscription_id": subscription_id, **wish.model_dump()}
        attempt(
            name,
            lambda key: actions.run(actor, key, action.command, action.request, **fields),
            action.done,
            closes=slot,
        )


def _preview(actor: Actor, subscription_id: UUID, wish: AnyChoice) -> ChangePreview:
    with read_only(engine()) as session:
        return preview_change(session, actor, clock(), subscription_id, wish)


def _wish(
    actor: Actor, action: str, subscription_id: UUID, add_ons: Mapping[UUID, str]
) -> AnyChoice:
    """The inputs of an action, as the request they make."""
    at = f"{action}_{subscription_id}"
    fields: dict[str, Any] = {"action": action}
    with st.grid(3, min_column_width=190):
        if action in {"change", "add_on"}:
            fields["plan_code"] = _plan(actor, at, add_ons=action == "add_on")
        if action in {"seats", "end"} and add_ons:
            whole = "The plan" if action == "seats" else "The subscription and all of it"
            fields["add_on_id"] = st.selectbox(
                "Of what", [None, *add_ons], key=f"of_{at}",
                format_func=lambda one: add_ons[one] if one else whole,
            )  # fmt: skip
        if action in {"change", "seats", "add_on"}:
            fields["quantity"] = typed_quantity(st.text_input("Quantity", "1", key=f"seats_{at}"))
        if action == "renew":
            fields["ends_on"] = st.date_input(
                "New end, none for no end", None, format="DD/MM/YYYY", key=f"until_{at}"
            )
        else:
            fields["ends_on" if action == "end" else "from_day"] = _when(at)
            if action == "add_on":
                last = st.date_input(
                    "Last day, none for as long as the plan", None, format="DD/MM/YYYY",
                    key=f"last_{at}",
                )  # fmt: skip
                fields["ends_on"] = last and last + timedelta(days=1)
            if action == "pause":
                fields["resume_on"] = st.date_input(
                    "Resume on, if known", None, format="DD/MM/YYYY", key=f"resume_{at}"
                )
            fields["proration"] = st.selectbox(
                "Recurring charges of that period bill", list(PRORATION),
                format_func=PRORATION.__getitem__, key=f"proration_{at}",
            )  # fmt: skip
    try:
        return _CHOICE.validate_python(fields)
    except ValidationError as error:
        wrong = [FieldError(str(one["loc"][-1]), one["msg"]) for one in error.errors()]
        raise InvalidError("Please correct what you entered.", fields=wrong) from error


def _plan(actor: Actor, at: str, *, add_ons: bool) -> str:
    name = "add-on" if add_ons else "plan"
    plans = {plan.code: plan.name for plan in prices.on_sale(actor, add_ons=add_ons)}
    if not plans:
        raise InvalidError(f"No {name} is on sale: publish a version of one first.")
    chosen: str = st.selectbox(
        name.capitalize(), list(plans), format_func=plans.__getitem__, key=f"plan_{at}"
    )
    return chosen


def _when(at: str) -> object:
    chosen = st.selectbox("When", [*_WHEN, _ON_A_DAY], key=f"when_{at}")
    if chosen != _ON_A_DAY:
        return _WHEN[str(chosen)]
    tomorrow = local_day(clock().now(), DEFAULT_ZONE) + timedelta(days=1)
    return st.date_input("First day of it", tomorrow, format="DD/MM/YYYY", key=f"day_{at}")


def typed_quantity(text: str) -> Decimal:
    """A quantity that was typed.

    Raises:
        InvalidError: if it is no number.
    """
    try:
        return Decimal(text.replace(",", "").strip())
    except InvalidOperation as error:
        raise InvalidError("Enter the quantity in digits, such as 5.") from error
