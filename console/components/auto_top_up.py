"""When a wallet fills itself: the rule that holds, and a form to set it."""

from collections.abc import Sequence
from uuid import UUID

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.formatting import format_amount
from billing.payments.method_tables import MethodState, PaymentMethod
from billing.payments.methods import SetAutoTopUp, set_auto_top_up
from console import actions
from console.components.forms import attempt, form_key
from console.components.money import asked_minor, money, wallet_money
from console.components.status import Status
from console.components.tables import fact_list
from console.components.text import heading, note
from console.queries.payment_methods import AutoTopUpRow

_FIRST = {"INR": (5_000_00, 20_000_00, 1_00_000_00), "USD": (100_00, 500_00, 2_000_00)}
"""What the form begins with: below, credits, a month's most; in minor units."""


def show_auto_top_up(actor: Actor, row: AutoTopUpRow, methods: Sequence[PaymentMethod]) -> None:
    """One wallet's rule."""
    heading(f"Automatic top-up, {row.currency}")
    fact_list([("Balance now", wallet_money(row.balance_units, row.currency)), *_rule(row)])
    if row.off_reason:
        note(f"It is off: {row.off_reason}")
    usable = {one.id: one for one in methods if one.state is MethodState.ACTIVE}
    if not actor.may(Permission.PAYMENTS_CREATE):
        return
    if not usable:
        note("It takes a saved method of payment that can be charged.")
        return
    with st.expander("Set it", icon=":material/tune:"):
        _form(actor, row, usable)


def _rule(row: AutoTopUpRow) -> list[tuple[str, str | Status | None]]:
    if row.credits_minor is None or row.threshold_minor is None or row.monthly_cap_minor is None:
        return [("State", Status("Not set up", "○", "quiet"))]
    return [
        ("State", Status("On", "●", "good") if row.is_on else Status("Off", "■", "warn")),
        ("Below", money(row.threshold_minor, row.currency)),
        ("It buys, without tax", money(row.credits_minor, row.currency)),
        ("At most in a month", money(row.monthly_cap_minor, row.currency)),
        ("Charged to", row.method),
        ("Off after", f"{row.most_failures} failures in a row"),
    ]


def _form(actor: Actor, row: AutoTopUpRow, usable: dict[UUID, PaymentMethod]) -> None:
    code = row.currency
    first = _FIRST.get(code, (100_000, 1_000_000, 10_000_000))
    name = f"auto_top_up:{row.wallet_id}"
    key = form_key(name)
    ids = list(usable)
    with st.form(f"auto_{key}", border=False):
        method = st.selectbox(
            "Charge", ids, key=f"auto_method_{key}",
            index=ids.index(row.payment_method_id) if row.payment_method_id in usable else 0,
            format_func=lambda one: usable[one].label or usable[one].gateway,
        )  # fmt: skip
        with st.grid(2, min_column_width=150):
            threshold = st.text_input(
                f"When the balance is below, in {code}", key=f"auto_below_{key}",
                value=format_amount(row.threshold_minor or first[0], code),
            )  # fmt: skip
            bought = st.text_input(
                f"Buy credits, without tax, in {code}", key=f"auto_buy_{key}",
                value=format_amount(row.credits_minor or first[1], code),
            )  # fmt: skip
            cap = st.text_input(
                f"At most in a month, in {code}", key=f"auto_cap_{key}",
                value=format_amount(row.monthly_cap_minor or first[2], code),
            )  # fmt: skip
            failures = st.number_input(
                "Off after failures in a row", 1, 10, row.most_failures or 3, key=f"auto_fail_{key}"
            )
        is_on = st.toggle("On", row.is_on is not False, key=f"auto_on_{key}")
        asked = st.form_submit_button("Save it", type="primary", key=f"auto_submit_{key}")
    if asked:
        attempt(
            name,
            lambda key: actions.run(
                actor, key, set_auto_top_up, SetAutoTopUp, wallet_id=row.wallet_id,
                payment_method_id=method, credits_minor=asked_minor("credits", bought, code),
                threshold_minor=asked_minor("below", threshold, code, least=0),
                monthly_cap_minor=asked_minor("most in a month", cap, code),
                most_failures=int(failures), is_on=is_on,
            ),
            "The wallet fills itself now." if is_on else "The wallet no longer fills itself.",
        )  # fmt: skip
