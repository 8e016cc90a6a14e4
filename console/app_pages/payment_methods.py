"""Payment methods: what an account saved with a gateway, and wallets that fill themselves."""

from collections.abc import Sequence
from uuid import UUID

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.db.unit_of_work import read_only
from billing.formatting import format_date
from billing.payments.method_tables import MethodState, PaymentMethod
from billing.payments.methods import ChangeMethod, list_methods, make_default, remove_method
from billing.periods import DEFAULT_ZONE, local_day
from console import actions
from console.access import PageName
from console.components.auto_top_up import show_auto_top_up
from console.components.forms import attempt, form_key
from console.components.page import show_page
from console.components.status import method_status, words
from console.components.tables import Column, empty, table
from console.components.text import heading, note, plain
from console.database import engine
from console.queries import payment_methods, subscriptions

_MOST = 100


def _render(actor: Actor) -> None:
    accounts = {one.id: one for one in subscriptions.accounts(actor)}
    if not accounts:
        empty("No accounts yet", "A method of payment is saved for an account.")
        return
    account_id = st.selectbox(
        "Account",
        list(accounts),
        format_func=lambda one: accounts[one].title,
        key="methods_account",
    )
    with read_only(engine()) as session:
        found = list_methods(session, actor, account_id=account_id, limit=_MOST)
    if found:
        _list(found)
    else:
        empty(
            "No saved method of payment",
            "With one, reminders can charge what is due and wallets can fill themselves.",
        )
    if actor.may(Permission.PAYMENTS_CREATE):
        for method in found:
            if method.state is not MethodState.REMOVED:
                _change(actor, method)
        _save(actor, account_id, accounts[account_id].currency)
    for row in payment_methods.auto_top_ups(actor, account_id):
        with st.container(border=True):
            show_auto_top_up(actor, row, found)


def _title(method: PaymentMethod) -> str:
    return method.label or f"{words(method.gateway)}, not saved yet"


def _list(found: Sequence[PaymentMethod]) -> None:
    table(
        "Saved methods of payment, the newest first",
        [Column("Method", strong=True, nowrap=False), Column("Gateway"), Column("State"),
         Column("Reminders charge it"), Column("Since")],
        [
            (_title(method), words(method.gateway), method_status(method.state.value),
             "Yes" if method.is_default else None,
             format_date(local_day(method.created_at, DEFAULT_ZONE)))
            for method in found
        ],
    )  # fmt: skip


def _change(actor: Actor, method: PaymentMethod) -> None:
    with st.container(horizontal=True, vertical_alignment="center", border=True):
        st.markdown(f"**{plain(_title(method))}**", width="stretch")
        if method.state is MethodState.PENDING:
            _finish(actor, method)
        elif not method.is_default:
            _button(actor, method, "Let reminders charge it", make_default,
                    f"Reminders charge {_title(method)} from now on.")  # fmt: skip
        _button(actor, method, "Remove", remove_method,
                f"{_title(method)} is removed and will not be charged.")  # fmt: skip


def _finish(actor: Actor, method: PaymentMethod) -> None:
    if method.setup_url:
        st.link_button("Open the gateway's page", method.setup_url, icon=":material/open_in_new:")
    if st.button("Was it saved?", key=f"look_up_{method.id}"):
        attempt(
            f"look_up:{method.id}",
            lambda _: actions.look_up_saved(actor, method.id),
            "The gateway was asked; the list says how it stands.",
        )


def _button(actor: Actor, method: PaymentMethod, label: str, command: object, done: str) -> None:
    name = f"{label}:{method.id}"
    key = form_key(name)
    if st.button(label, key=f"method_{key}"):
        attempt(
            name,
            lambda key: actions.run(actor, key, command, ChangeMethod, method_id=method.id),  # type: ignore[arg-type]
            done,
        )


def _save(actor: Actor, account_id: UUID, currency: str) -> None:
    heading("Save another")
    usable = [gateway.name for gateway in actions.gateways_for(currency)]
    if not usable:
        note(f"No gateway that takes {currency} has its keys set; an operator sets them.")
        return
    name = f"method:{account_id}"
    key = form_key(name)
    with st.form(f"method_{key}"):
        gateway = st.selectbox("Gateway", usable, format_func=words, key=f"gateway_{key}")
        note("It makes a page of the gateway on which the customer saves a card or mandate.")
        asked = st.form_submit_button("Make the page", type="primary", key=f"gateway_submit_{key}")
    if not asked:
        return
    with st.spinner("Asking the gateway…"):
        attempt(
            name,
            lambda key: actions.begin_saving(actor, key, account_id, gateway),
            "The page is made: send its address to the customer.",
        )


show_page(
    PageName.PAYMENT_METHODS, "Payment methods",
    "What customers saved to be charged, and wallets that fill themselves.",
    _render,
)  # fmt: skip
