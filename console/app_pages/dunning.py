"""Dunning: who is overdue and what comes next, debts given up, tax deducted, the schedules."""

from datetime import timedelta

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.db.unit_of_work import read_only
from billing.dunning.overdue import Debt, list_debts
from billing.dunning.service import (
    SetAccountDunning,
    list_schedules,
    set_account_dunning,
    steps_of,
)
from billing.dunning.tables import DunningAction
from billing.formatting import format_date
from billing.invoices.repository import get_invoice
from billing.periods import DEFAULT_ZONE, local_day
from console import actions
from console.access import PageName
from console.components.filters import open_one
from console.components.forms import attempt, form_key
from console.components.money import compact_money, count, money
from console.components.page import show_page
from console.components.schedules import show_schedules
from console.components.status import Status, words
from console.components.tables import Column, empty, fact_list, table
from console.components.tds import show_tds
from console.components.text import heading, note
from console.components.write_offs import show_write_offs
from console.database import clock, engine

_STEPS = {
    DunningAction.REMIND: "Reminder",
    DunningAction.CHARGE: "Charge the saved method",
    DunningAction.SUSPEND: "Suspend the account",
}
_OUTCOMES = {
    "done": Status("Done", "✓", "good"),
    "skipped": Status("Passed over", "⊘", "quiet"),
    "not_possible": Status("Not possible", "✕", "warn"),
}
_VIEWS = ("Overdue", "Write-offs", "Tax deducted", "Schedules")


def _render(actor: Actor) -> None:
    with read_only(engine()) as session:
        debts = list_debts(session, actor, clock())
    late = [debt for debt in debts if debt.days_late > 0]
    _numbers(late)
    view = st.segmented_control(
        "Show", _VIEWS, default=_VIEWS[0], required=True, key="dunning_view",
        label_visibility="collapsed",
    )  # fmt: skip
    if view == "Overdue":
        _overdue(actor, debts, late)
    elif view == "Write-offs":
        show_write_offs(actor)
    elif view == "Tax deducted":
        show_tds(actor)
    else:
        show_schedules(actor)


def _numbers(late: list[Debt]) -> None:
    sums: dict[str, int] = {}
    for debt in late:
        sums[debt.currency] = sums.get(debt.currency, 0) + debt.outstanding_minor
    resting = len({debt.account_id for debt in late if debt.paused_until})
    suspended = len({debt.account_id for debt in late if debt.account_status == "suspended"})
    with st.grid(4, min_column_width=140):
        for label, number, said in (
            ("Overdue invoices", len(late),
             " · ".join(compact_money(amount, code) for code, amount in sums.items()) or "none"),
            ("Over 30 days late", sum(debt.days_late > 30 for debt in late), "of these"),
            ("Accounts paused", resting, "nothing is done there"),
            ("Accounts suspended", suspended, "until they have paid"),
        ):  # fmt: skip
            st.metric(label, count(number), said, delta_color="off", delta_arrow="off",
                      border=True, height="stretch")  # fmt: skip


def _overdue(actor: Actor, debts: list[Debt], late: list[Debt]) -> None:
    coming = len(debts) - len(late)
    said = f"Also {count(coming)} not yet due"
    shown = debts if coming and st.toggle(said, key="dunning_coming") else late
    if not shown:
        empty(
            "Nobody is overdue",
            "Invoices appear here on the day after they were due, with what is done about them.",
        )
        return
    if any(debt.schedule is None for debt in shown):
        st.info(
            "No schedule holds for some of these debts, so nothing is sent. Save a default one "
            "under Schedules.",
            icon=":material/event_busy:",
        )
    table(
        "Debts, the longest due first",
        [Column("Customer", strong=True, nowrap=False), Column("Invoice"),
         Column("Open", "right", strong=True), Column("Due"), Column("Days late", "right"),
         Column("Last step", nowrap=False), Column("Next step", nowrap=False)],
        [
            (debt.customer, debt.number, money(debt.outstanding_minor, debt.currency),
             format_date(debt.due_date), count(debt.days_late) if debt.days_late > 0 else None,
             _last(debt), _next(debt))
            for debt in shown
        ],
    )  # fmt: skip
    _one(actor, shown)


def _last(debt: Debt) -> str | None:
    if debt.last_step is None:
        return None
    day = local_day(debt.last_step.taken_at, DEFAULT_ZONE)
    return f"{_STEPS[debt.last_step.action]}, {format_date(day)}"


def _next(debt: Debt) -> Status | str | None:
    if debt.paused_until is not None:
        return Status(f"Paused until {format_date(debt.paused_until)}", "‖", "warn")
    if debt.next_action is None or debt.next_on is None:
        return None
    return f"{_STEPS[debt.next_action]}, {format_date(debt.next_on)}"


def _one(actor: Actor, shown: list[Debt]) -> None:
    by_id = {debt.invoice_id: debt for debt in shown}
    titles = {debt.invoice_id: f"{debt.number} · {debt.customer}" for debt in shown}
    debt = by_id[open_one("Open debt", titles, key="debt_open")]
    heading(f"{debt.customer}, invoice {debt.number}")
    fact_list([
        ("Open", money(debt.outstanding_minor, debt.currency)),
        ("Due", format_date(debt.due_date)),
        ("Account", words(debt.account_status)),
        ("Schedule", debt.schedule or "None"),
        ("Next step", _next(debt)),
        *([("Paused because", debt.pause_reason)] if debt.pause_reason else []),
    ])  # fmt: skip
    left, right = st.columns([3, 2], gap="large")
    with left:
        _steps(actor, debt)
    with right:
        if actor.may(Permission.CUSTOMERS_WRITE):
            _setting(actor, debt)


def _steps(actor: Actor, debt: Debt) -> None:
    st.subheader("What was done", anchor=False)
    with read_only(engine()) as session:
        get_invoice(session, actor, debt.invoice_id)
        rows = [
            (format_date(local_day(step.taken_at, DEFAULT_ZONE)), _STEPS[step.action],
             _OUTCOMES[step.outcome.value], money(step.outstanding_minor, debt.currency))
            for step in steps_of(session, debt.invoice_id)
        ]  # fmt: skip
    if rows:
        table(
            "Steps taken for this debt, in order",
            [Column("Day"), Column("Step", strong=True, nowrap=False), Column("Outcome"),
             Column("Open then", "right")],
            rows,
        )  # fmt: skip
    else:
        empty("Nothing yet", "Steps are taken every morning at 09:30 (IST), as the schedule says.")


def _setting(actor: Actor, debt: Debt) -> None:
    st.subheader("Pause", anchor=False)
    name = f"dunning:{debt.account_id}"
    key = form_key(name)
    with st.form(f"pause_{key}"):
        note("For the whole account, whatever its invoice.")
        if debt.paused_until is not None:
            asked = st.form_submit_button("Resume now", type="primary", key=f"resume_{key}")
            if asked:
                _save(actor, name, debt, f"Dunning of {debt.customer} goes on.")
            return
        week = local_day(clock().now(), DEFAULT_ZONE) + timedelta(days=7)
        until = st.date_input("Until", week, format="DD/MM/YYYY", key=f"pause_until_{key}")
        reason = st.text_input("Why", key=f"pause_reason_{key}", placeholder="They dispute a line")
        codes = _codes(actor)
        own = st.selectbox(
            "Schedule", [None, *codes], key=f"pause_schedule_{key}_{debt.account_id}",
            index=0 if debt.schedule_code is None else 1 + list(codes).index(debt.schedule_code),
            format_func=lambda one: codes[one] if one else "The default one",
        )  # fmt: skip
        with st.container(horizontal=True):
            pause = st.form_submit_button("Pause", type="primary", key=f"pause_submit_{key}")
            change = st.form_submit_button("Only set the schedule", key=f"schedule_submit_{key}")
    if pause:
        _save(actor, name, debt, f"Dunning of {debt.customer} rests until {format_date(until)}.",
              schedule_code=own, paused_until=until, pause_reason=reason.strip())  # fmt: skip
    if change:
        _save(actor, name, debt, "The schedule is set.", schedule_code=own)


def _save(actor: Actor, name: str, debt: Debt, done: str, **fields: object) -> None:
    wanted = {"schedule_code": debt.schedule_code, **fields}
    attempt(
        name,
        lambda key: actions.run(
            actor, key, set_account_dunning, SetAccountDunning, account_id=debt.account_id, **wanted
        ),
        done,
    )


def _codes(actor: Actor) -> dict[str, str]:
    with read_only(engine()) as session:
        return {one.code: one.name for one in list_schedules(session, actor)}


show_page(
    PageName.DUNNING, "Dunning",
    "Who is overdue, what is done about it, and what is given up or deducted.",
    _render,
)  # fmt: skip
