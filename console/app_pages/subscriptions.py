"""Subscriptions: who has which plan, one subscription's life, and changing it."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.db.unit_of_work import read_only
from billing.errors import BillingError
from billing.formatting import format_date, format_quantity
from billing.periods import DEFAULT_ZONE, local_day
from billing.subscriptions.history import list_changes
from billing.subscriptions.preview import preview_start
from billing.subscriptions.requests import Subscribe
from billing.subscriptions.service import subscribe
from console import actions
from console.access import PageName
from console.components.boundary import say
from console.components.coupon import show_coupons
from console.components.exports import export_buttons
from console.components.filters import customer_filter, open_one
from console.components.forms import attempt, form_key
from console.components.money import count
from console.components.next_invoice import show_preview
from console.components.page import show_page
from console.components.status import phase_status, words
from console.components.subscription import change_subscription, offered, typed_quantity
from console.components.tables import Column, empty, fact_list, table
from console.components.text import actor_name, heading, last_day, note
from console.database import clock, engine
from console.queries import prices, subscriptions
from console.queries.subscriptions import (
    STATES,
    SegmentRow,
    SubscriptionFilter,
    SubscriptionRow,
)

_WISH = "subscription_wish"


def _render(actor: Actor) -> None:
    chosen = _filters(actor)
    found = subscriptions.subscriptions(actor, local_day(clock().now(), DEFAULT_ZONE), chosen)
    if found:
        export_buttons(actor, "subscriptions")
        _list(found, limit=chosen.limit)
        _one(actor, found)
    elif chosen == SubscriptionFilter(customer_id=actor.customer_id):
        empty("No subscriptions yet", "An account is billed once it has been put on a plan.")
    else:
        empty("No subscription matches", "Set a filter back to “All” to see more.")
    if actor.may(Permission.SUBSCRIPTIONS_WRITE):
        with st.expander("Start a subscription", icon=":material/add:", key="start"):
            _start(actor)


def _filters(actor: Actor) -> SubscriptionFilter:
    if actor.customer_id is not None:
        return SubscriptionFilter(customer_id=actor.customer_id)
    plans = {plan.code: plan.name for plan in prices.on_sale(actor, archived=True)}
    with st.container(border=True), st.grid(3, min_column_width=160):
        state = st.selectbox(
            "State", [None, *STATES], key="subscriptions_state",
            format_func=lambda one: phase_status(one).text if one else "All",
        )  # fmt: skip
        plan = st.selectbox(
            "Plan today", [None, *plans], key="subscriptions_plan",
            format_func=lambda one: plans[one] if one else "All",
        )  # fmt: skip
        customer_id = customer_filter(actor, key="subscriptions")
    return SubscriptionFilter(state, plan, customer_id)


def _list(found: list[SubscriptionRow], *, limit: int) -> None:
    table(
        "Subscriptions by customer",
        [Column("Customer", strong=True, nowrap=False), Column("Plan", nowrap=False),
         Column("Quantity", "right"), Column("State"), Column("Since"), Column("Next change"),
         Column("Last day")],
        [
            (row.owner, row.plan,
             format_quantity(row.quantity, row.currency) if row.quantity is not None else None,
             phase_status(row.state), format_date(row.starts_on),
             format_date(row.changes_on) if row.changes_on else None,
             format_date(row.last_day) if row.last_day else None)
            for row in found
        ],
    )  # fmt: skip
    more = f" The first {limit} are shown; filter to see others." if len(found) == limit else ""
    note(f"{count(len(found))} subscription{'s' if len(found) > 1 else ''}.{more}")


def _one(actor: Actor, found: list[SubscriptionRow]) -> None:
    by_id = {row.id: row for row in found}
    titles = {row.id: row.title for row in found}
    row = by_id[open_one("Open subscription", titles, key="subscription_open")]
    heading(row.title)
    fact_list([
        ("State", phase_status(row.state)),
        ("Plan", row.plan),
        ("Quantity", format_quantity(row.quantity, row.currency) if row.quantity else None),
        ("Billed by", words(row.interval)),
        ("Since", format_date(row.starts_on)),
        ("Last day", format_date(row.last_day) if row.last_day else "No end agreed"),
    ])  # fmt: skip
    parts = subscriptions.segments(actor, row.id)
    left, right = st.columns(2, gap="large")
    with left:
        _timeline(parts, row)
    with right:
        _history(actor, row.id)
    possible = offered(row.state, row.ends_on)
    if parts and possible and actor.may(Permission.SUBSCRIPTIONS_WRITE):
        change_subscription(actor, row.id, possible, _add_ons_now(parts))
    if parts:
        st.subheader("Coupons", anchor=False)
        show_coupons(actor, row)


def _add_ons_now(parts: Sequence[SegmentRow]) -> dict[UUID, str]:
    """The add-ons that have not ended, by the names that tell them apart."""
    today = local_day(clock().now(), DEFAULT_ZONE)
    return {
        part.add_on_id: f"The add-on {part.plan}, since {format_date(part.starts_on)}"
        for part in reversed(parts)
        if part.add_on_id and (part.ends_on is None or part.ends_on > today)
    }


def _timeline(parts: Sequence[SegmentRow], row: SubscriptionRow) -> None:
    st.subheader("Timeline", anchor=False)
    if not parts:
        empty("No plan", "This subscription has never been on a plan, and bills nothing.")
        return
    _parts("Plan", "The parts of its life in order", [one for one in parts if not one.add_on_id],
           row.currency)  # fmt: skip
    if add_ons := [one for one in parts if one.add_on_id]:
        st.subheader("Add-ons", anchor=False)
        _parts("Add-on", "Its add-ons by their first days", add_ons, row.currency)


def _parts(what: str, caption: str, parts: Sequence[SegmentRow], currency: str) -> None:
    table(
        caption,
        [Column("From"), Column("Until"), Column(what, strong=True, nowrap=False),
         Column("Quantity", "right"), Column("Phase")],
        [
            (format_date(part.starts_on),
             last_day(part.ends_on),
             f"{part.plan}, version {part.version}", format_quantity(part.quantity, currency),
             phase_status(part.phase))
            for part in parts
        ],
    )  # fmt: skip


def _history(actor: Actor, subscription_id: UUID) -> None:
    st.subheader("What was agreed", anchor=False)
    with read_only(engine()) as session:
        changes = list_changes(session, actor, subscription_id)
        rows = [
            (f"{one.made_at.astimezone(ZoneInfo(DEFAULT_ZONE)):%d %b %Y, %H:%M}",
             words(one.kind.value), format_date(one.effective_on), *_who(actor, one.made_by))
            for one in reversed(changes)
        ]  # fmt: skip
    if not rows:
        note("Nothing is on record.")
        return
    table(
        "Changes, the newest first",
        [Column("When (IST)"), Column("What", strong=True), Column("From"),
         *([Column("Who", nowrap=False)] if actor.customer_id is None else [])],
        rows,
    )  # fmt: skip


def _who(actor: Actor, name: str) -> tuple[str, ...]:
    """Who agreed it; a customer need not know the names of our people."""
    return (actor_name(name),) if actor.customer_id is None else ()


def _start(actor: Actor) -> None:
    plans = {plan.code: plan.name for plan in prices.on_sale(actor)}
    accounts = {one.id: one.title for one in subscriptions.accounts(actor)}
    if not plans or not accounts:
        empty("Not yet", "It takes an account, and a plan with a published version.")
        return
    tomorrow = local_day(clock().now(), DEFAULT_ZONE) + timedelta(days=1)
    with st.grid(4, min_column_width=160):
        account_id = st.selectbox(
            "Account", list(accounts), format_func=accounts.__getitem__, key="start_account"
        )
        plan = st.selectbox("Plan", list(plans), format_func=plans.__getitem__, key="start_plan")
        day = st.date_input("From", tomorrow, format="DD/MM/YYYY", key="start_day")
        quantity = st.text_input("Quantity", "1", key="start_quantity")
    try:
        wish = Subscribe(
            account_id=account_id, plan_code=plan, starts_on=day,
            quantity=typed_quantity(quantity),
        )  # fmt: skip
        if st.button("Show its first invoice", icon=":material/visibility:", key="start_see"):
            st.session_state[_WISH] = wish
        if st.session_state.get(_WISH) != wish:
            return
        with read_only(engine()) as session:
            preview = preview_start(session, actor, wish)
    except BillingError as error:
        say(error)
        return
    show_preview(preview)
    key = form_key("start")
    if st.button("Start it", type="primary", key=f"start_{key}"):
        attempt(
            "start",
            lambda key: actions.run(actor, key, subscribe, Subscribe, **wish.model_dump()),
            f"{accounts[account_id]} is on the plan {plans[plan]}.",
        )


show_page(
    PageName.SUBSCRIPTIONS, "Subscriptions",
    "Who has which plan, what was agreed, and what a change would bill.",
    _render,
)  # fmt: skip
