"""Coupons and add-ons: what makes subscriptions cheaper, and what is sold beside plans."""

from datetime import date, timedelta
from typing import Any, Final

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.repository import list_plans
from billing.coupons.service import CreateCoupon, WithdrawCoupon, create_coupon, withdraw_coupon
from billing.coupons.tables import Duration
from billing.db.unit_of_work import read_only
from billing.formatting import format_date
from billing.money import CURRENCIES
from billing.periods import DEFAULT_ZONE, local_day
from console import actions
from console.access import PageName
from console.components.coupon import lasts, takes_off
from console.components.filters import open_one
from console.components.forms import attempt, form_key
from console.components.money import asked_minor, count, unit_price
from console.components.page import show_page
from console.components.status import coupon_status, words
from console.components.tables import Column, empty, fact_list, table
from console.components.text import actor_name, heading, last_day, note
from console.database import clock, engine
from console.queries import coupons, prices
from console.queries.coupons import CouponRow
from console.queries.prices import AddOnPrice

_MOST: Final = 200
_PERCENT, _AMOUNT = "A percentage", "An amount"
_DURATIONS: Final = {
    Duration.ONCE: "One period",
    Duration.REPEATING: "Several periods",
    Duration.FOREVER: "Every period",
}


def _render(actor: Actor) -> None:
    today = local_day(clock().now(), DEFAULT_ZONE)
    heading("Coupons")
    found = coupons.coupons(actor, today, _MOST)
    if found:
        _coupons(actor, found)
    else:
        empty("No coupons yet", "A coupon takes something off what a subscription is billed.")
    if actor.may(Permission.CATALOG_WRITE):
        with st.expander("Make a coupon", icon=":material/add:", key="make_coupon"):
            _make(actor, today)
    heading("Add-ons on sale")
    _add_ons(actor, today)


def _coupons(actor: Actor, found: list[CouponRow]) -> None:
    there = [state for state in coupons.STATES if any(one.state == state for one in found)]
    chosen = st.segmented_control(
        "State", ["all", *there], default="all", required=True, key="coupon_state",
        format_func=lambda one: "All" if one == "all" else coupon_status(one).label,
    )  # fmt: skip
    shown = [one for one in found if chosen in {"all", one.state}]
    if not shown:
        empty("No coupon matches", "Set the filter back to “All” to see more.")
        return
    table(
        "Coupons, the newest first",
        [Column("Code", strong=True), Column("Name", nowrap=False), Column("State"),
         Column("Takes off", nowrap=False), Column("For"), Column("Redeemable", nowrap=False),
         Column("Redeemed", "right")],
        [
            (one.code, one.name, coupon_status(one.state), takes_off(one.percent, one.amounts),
             lasts(one.duration, one.periods), _days(one), _redeemed(one))
            for one in shown
        ],
    )  # fmt: skip
    if len(found) == _MOST:
        note(f"The newest {_MOST} are shown.")
    by_id = {one.id: one for one in shown}
    titles = {one.id: one.title for one in shown}
    _coupon(actor, by_id[open_one("Show coupon", titles, key="coupon_open")])


def _days(one: CouponRow) -> str:
    first, last = one.redeem_from, one.last_day
    if first and last:
        return f"{format_date(first)} to {format_date(last)}"
    if first:
        return f"From {format_date(first)}"
    return f"Until {format_date(last)}" if last else "Any day"


def _redeemed(one: CouponRow) -> str:
    most = "" if one.max_redemptions is None else f" of {count(one.max_redemptions)}"
    return f"{count(one.redeemed)}{most}"


def _coupon(actor: Actor, one: CouponRow) -> None:
    with st.container(border=True):
        heading(one.title)
        fact_list([
            ("State", coupon_status(one.state)),
            ("Takes off", takes_off(one.percent, one.amounts)),
            ("For", lasts(one.duration, one.periods)),
            ("Redeemable", _days(one)),
            ("Redeemed", _redeemed(one)),
            ("Lines of", ", ".join(one.plans) or "All plans"),
        ])  # fmt: skip
        rows = coupons.redemptions(actor, one.id, _MOST)
        if rows:
            table(
                "Who has it or had it, the latest first",
                [Column("Subscription of", strong=True, nowrap=False), Column("From"),
                 Column("Until"), Column("Given by", nowrap=False)],
                [
                    (row.owner, format_date(row.starts_on),
                     last_day(row.ends_on),
                     actor_name(row.redeemed_by))
                    for row in rows
                ],
            )  # fmt: skip
        else:
            note("No subscription has it yet. It is given on the page Subscriptions.")
        if one.state != "withdrawn" and actor.may(Permission.CATALOG_WRITE):
            _withdraw(actor, one)


def _withdraw(actor: Actor, one: CouponRow) -> None:
    name = f"withdraw:{one.id}"
    key = form_key(name)
    with st.form(f"withdraw_{key}", border=False):
        sure = st.checkbox(
            "Nobody gets it any more, and that cannot be undone. Who has it keeps it.",
            key=f"withdraw_sure_{key}",
        )
        asked = st.form_submit_button("Withdraw it", key=f"withdraw_submit_{key}")
    if asked and not sure:
        st.error("Tick the box to confirm.", icon=":material/check_box:")
    elif asked:
        attempt(
            name,
            lambda key: actions.run(
                actor, key, withdraw_coupon, WithdrawCoupon, coupon_id=one.id
            ),
            f"The coupon {one.code} is withdrawn.",
        )  # fmt: skip


def _make(actor: Actor, today: date) -> None:
    with st.grid(2, min_column_width=230):
        kind = st.segmented_control(
            "Takes off", [_PERCENT, _AMOUNT], default=_PERCENT, required=True, key="coupon_kind"
        )
        duration = st.segmented_control(
            "For how long", list(_DURATIONS), default=Duration.ONCE, required=True,
            format_func=_DURATIONS.__getitem__, key="coupon_duration",
        )  # fmt: skip
    key = form_key("coupon")
    with st.form(f"coupon_{key}", border=False):
        with st.grid(3, min_column_width=180):
            fields: dict[str, Any] = {
                "code": st.text_input("Code", key=f"coupon_code_{key}", placeholder="MONSOON20"),
                "name": st.text_input(
                    "Name", key=f"coupon_name_{key}", placeholder="Monsoon offer", max_chars=200
                ),
            }
            percent, amounts = _less(str(kind), key)
            if duration is Duration.REPEATING:
                fields["periods"] = st.number_input(
                    "Periods", 1, 1200, 3, key=f"coupon_periods_{key}"
                )
            fields |= _limits(today, key)
        with read_only(engine()) as session:
            plans = {plan.code: plan.name for plan in list_plans(session, actor)}
        fields["plan_codes"] = tuple(
            st.multiselect(
                "Lines of", list(plans), format_func=plans.__getitem__, placeholder="All plans",
                key=f"coupon_plans_{key}",
            )
        )  # fmt: skip
        asked = st.form_submit_button("Make it", type="primary", key=f"coupon_submit_{key}")
    if asked:
        attempt(
            "coupon",
            lambda key: actions.run(
                actor, key, create_coupon, CreateCoupon, duration=duration, percent=percent,
                amounts={
                    code: asked_minor(f"amount in {code}", typed, code)
                    for code, typed in amounts.items()
                },
                **{name: _stripped(value) for name, value in fields.items()},
            ),
            lambda made: f"The coupon {made.code} can be redeemed on the page Subscriptions.",
        )  # fmt: skip


def _stripped(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def _less(kind: str, key: str) -> tuple[str | None, dict[str, str]]:
    """The percentage, or the amounts by currency, as they were typed."""
    if kind == _PERCENT:
        typed = st.text_input("Percent", key=f"coupon_percent_{key}", placeholder="12.5")
        return typed.strip().removesuffix("%").strip(), {}
    amounts = {
        code: st.text_input(
            f"Amount in {code}", key=f"coupon_{code}_{key}", placeholder="None",
            help="Off each period's invoice, before tax.",
        ).strip()
        for code in CURRENCIES
    }  # fmt: skip
    return None, {code: typed for code, typed in amounts.items() if typed}


def _limits(today: date, key: str) -> dict[str, Any]:
    """On which days, and how often, it can be redeemed."""
    first = st.date_input(
        "Redeemable from, if not today", None, min_value=today, format="DD/MM/YYYY",
        key=f"coupon_first_{key}",
    )  # fmt: skip
    last = st.date_input(
        "Last day to redeem it, if any", None, min_value=today, format="DD/MM/YYYY",
        key=f"coupon_last_{key}",
    )  # fmt: skip
    most = st.number_input(
        "Redemptions at most, if limited", 1, 2**31 - 1, None, key=f"coupon_most_{key}"
    )
    return {
        "redeem_from": first,
        "redeem_until": last and last + timedelta(days=1),
        "max_redemptions": most,
    }


def _add_ons(actor: Actor, today: date) -> None:
    rows = prices.add_on_prices(actor, today)
    if not rows:
        empty("No add-ons on sale", "A plan that is an add-on is sold once a version is published.")
        return
    table(
        "Prices of the add-ons on sale",
        [Column("Add-on", strong=True, nowrap=False), Column("Billed by"),
         Column("Price of", nowrap=False), Column("For one", "right"),
         Column("Subscriptions today", "right")],
        [
            (f"{one.plan} ({one.code})", words(one.interval), one.charge,
             _for_one(one), count(one.subscriptions))
            for one in rows
        ],
    )  # fmt: skip
    note("An add-on is added to a subscription, and ended, on the page Subscriptions.")


def _for_one(one: AddOnPrice) -> str:
    if one.price is None:
        return f"By {'tier' if one.in_tiers else 'usage'}, in {one.currency}"
    return f"{unit_price(one.price, one.currency)}{' once' if one.is_once else ''}"


show_page(
    PageName.COUPONS, "Coupons and add-ons",
    "What makes subscriptions cheaper, and what is sold beside their plans.",
    _render,
)  # fmt: skip
