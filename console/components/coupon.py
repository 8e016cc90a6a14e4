"""Coupons in words, and those of a subscription: given and ended with the next invoice in view."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, Generic, TypeVar
from uuid import UUID

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Context
from billing.coupons.service import (
    RedeemCoupon,
    RemoveCoupon,
    list_redemptions,
    redeem_coupon,
    remove_coupon,
)
from billing.coupons.tables import Duration, Redemption
from billing.db.unit_of_work import read_only
from billing.formatting import format_date, format_rate
from billing.money import CURRENCIES
from billing.periods import DEFAULT_ZONE, local_day
from billing.subscriptions.preview import NextInvoice, next_invoice
from console import actions
from console.components.forms import attempt, form_key
from console.components.money import money
from console.components.next_invoice import seen_first, show_invoices
from console.components.status import phase_status
from console.components.tables import Column, table
from console.components.text import actor_name, last_day, note
from console.database import clock, engine
from console.queries import coupons
from console.queries.subscriptions import SubscriptionRow

_MOST: Final = 200
_REDEEM: Final = "Redeem a coupon"
_END: Final = "End a coupon"

Wish = TypeVar("Wish", RedeemCoupon, RemoveCoupon)


@dataclass(frozen=True, slots=True)
class _Step(Generic[Wish]):
    label: str
    command: Callable[[Context, Wish], Redemption]
    done: str


def takes_off(
    percent: Decimal | None, amounts: Mapping[str, int], currency: str | None = None
) -> str:
    """What a coupon takes off, in words; of amounts that in one currency, or all."""
    if percent is not None:
        return f"{format_rate(percent)} off each line"
    codes = [code for code in CURRENCIES if code in amounts and currency in {None, code}]
    said = [money(amounts[code], code) for code in codes]
    return f"{' / '.join(said)} off each invoice"


def lasts(duration: str, periods: int | None) -> str:
    """For how many billing periods, in words."""
    if duration == Duration.REPEATING:
        return f"{periods} period{'' if periods == 1 else 's'}"
    return "1 period" if duration == Duration.ONCE else "Every period"


def show_coupons(actor: Actor, row: SubscriptionRow) -> None:
    """The coupons that a subscription has and had; for who may, forms to give and end one."""
    today = local_day(clock().now(), DEFAULT_ZONE)
    with read_only(engine()) as session:
        found = list_redemptions(session, actor, row.id)
        if found:
            _list(actor, found, row.currency, today)
        else:
            note("It has none, and never had one.")
        going = {one.id: _days(one) for one in found if _lasts_after(one, today)}
    if not actor.may(Permission.SUBSCRIPTIONS_WRITE):
        return
    tasks = [*([] if row.state == "ended" else [_REDEEM]), *([_END] if going else [])]
    if not tasks:
        return
    task = st.segmented_control(
        "Coupon", tasks, default=tasks[0], required=True, key=f"coupon_task_{row.id}",
        label_visibility="collapsed",
    )  # fmt: skip
    if task == _REDEEM:
        _redeem(actor, row, today)
    else:
        _end(actor, row, going, today)


def _list(actor: Actor, found: Sequence[Redemption], currency: str, today: date) -> None:
    staff = actor.customer_id is None
    table(
        "Coupons of the subscription in the order of their days",
        [Column("Coupon", strong=True, nowrap=False), Column("Takes off", nowrap=False),
         Column("From"), Column("Until"), Column("State"),
         *([Column("Given by", nowrap=False)] if staff else [])],
        [
            (one.coupon.code,
             takes_off(one.coupon.percent,
                       {part.currency: part.amount_minor for part in one.coupon.amounts},
                       currency),
             format_date(one.starts_on),
             last_day(one.ends_on),
             phase_status(_state(one, today)),
             *([actor_name(one.redeemed_by)] if staff else []))
            for one in found
        ],
    )  # fmt: skip


def _state(one: Redemption, today: date) -> str:
    if not _lasts_after(one, today):
        return "ended"
    return "coming" if one.starts_on > today else "active"


def _lasts_after(one: Redemption, today: date) -> bool:
    return one.ends_on is None or one.ends_on > max(today, one.starts_on)


def _days(one: Redemption) -> str:
    return f"{one.coupon.code}, from {format_date(one.starts_on)}"


def _redeem(actor: Actor, row: SubscriptionRow, today: date) -> None:
    offered = {
        one.code: one
        for one in coupons.coupons(actor, today, _MOST)
        if one.state == "open" and one.prices(row.currency)
    }
    if not offered:
        note(f"No coupon can be redeemed today that takes something off in {row.currency}.")
        return
    with st.grid(2, min_column_width=190):
        code = st.selectbox(
            "Which", list(offered), key=f"coupon_code_{row.id}",
            format_func=lambda one: f"{offered[one].title}: "
            f"{takes_off(offered[one].percent, offered[one].amounts, row.currency)}",
        )  # fmt: skip
        day = st.date_input(
            "A day of the first period that has it", max(today, row.starts_on),
            format="DD/MM/YYYY", key=f"coupon_from_{row.id}",
        )  # fmt: skip
    wish = RedeemCoupon(subscription_id=row.id, code=code, from_day=day)
    _offer(actor, row, wish, _Step("Redeem it", redeem_coupon, f"{row.owner} has {code} now."))


def _end(actor: Actor, row: SubscriptionRow, going: Mapping[UUID, str], today: date) -> None:
    with st.grid(2, min_column_width=190):
        chosen = st.selectbox(
            "Which", list(going), format_func=going.__getitem__, key=f"coupon_going_{row.id}"
        )
        day = st.date_input(
            "A day of the first period without it", max(today, row.starts_on),
            format="DD/MM/YYYY", key=f"coupon_until_{row.id}",
        )  # fmt: skip
    wish = RemoveCoupon(redemption_id=chosen, from_day=day)
    _offer(actor, row, wish, _Step("End it", remove_coupon, f"{row.owner} no longer has it then."))


def _offer(actor: Actor, row: SubscriptionRow, wish: Wish, step: _Step[Wish]) -> None:
    """Let the next invoice be seen, and only then let it be done."""
    slot = f"coupon_wish_{row.id}"
    found = seen_first(slot, wish, f"see_{slot}", lambda: _invoices(actor, row.id, wish, step))
    if found is None:
        return
    with st.container(border=True):
        show_invoices(*found, row.currency)
        name = f"coupon:{row.id}:{wish.model_dump_json()}"
        if st.button(step.label, type="primary", key=f"coupon_{form_key(name)}"):
            attempt(
                name,
                lambda key: actions.run(
                    actor, key, step.command, type(wish), **wish.model_dump()
                ),
                step.done,
                closes=slot,
            )  # fmt: skip


def _invoices(
    actor: Actor, subscription_id: UUID, wish: Wish, step: _Step[Wish]
) -> tuple[NextInvoice | None, NextInvoice | None]:
    """The invoice of the first period that is billed otherwise, as it is and as it would be."""

    def read(ctx: Context, made: Redemption) -> tuple[date, NextInvoice | None]:
        ends = made.ends_on if isinstance(wish, RemoveCoupon) else None
        day = ends or made.starts_on
        return day, next_invoice(ctx.session, ctx.actor, subscription_id, day)

    day, after = actions.rehearse(actor, step.command, type(wish), read, **wish.model_dump())
    with read_only(engine()) as session:
        return next_invoice(session, actor, subscription_id, day), after
