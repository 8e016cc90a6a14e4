"""Credits that a wallet was granted: what is left of each, granting more, and taking one back."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.repository import list_items
from billing.db.unit_of_work import read_only
from billing.periods import DEFAULT_ZONE, local_day
from billing.wallets.grants import (
    Grant,
    GrantCredits,
    GrantState,
    VoidGrant,
    grant_credits,
    list_grants,
    void_grant,
)
from billing.wallets.lots import USUAL_PRIORITY
from billing.wallets.tables import CreditGrant, GrantKind
from console import actions
from console.components.forms import attempt, form_key
from console.components.money import asked_minor, count, wallet_money
from console.components.status import grant_status
from console.components.tables import Column, empty, table
from console.components.text import actor_name, heading, last_day, note
from console.database import clock, engine
from console.queries.wallets import WalletRow

_MOST: Final = 50
_KINDS: Final = {
    GrantKind.PROMOTIONAL: "Given away",
    GrantKind.COMMITMENT: "Lent on a commitment",
    GrantKind.PURCHASED: "Paid for",
}
_MEANING: Final = {
    GrantKind.PROMOTIONAL: "No tax, and no voucher. What is left can be taken back.",
    GrantKind.COMMITMENT: "The plan, or an invoice of its own, bills what the customer committed "
    "to. What is left can be taken back.",
    GrantKind.PURCHASED: "A top-up with its voucher, used in another turn than others. It pays "
    "for everything, does not end, and is refunded rather than taken back.",
}


def show_grants(actor: Actor, wallet: WalletRow) -> None:
    """The grants of one wallet; for who may, forms to grant credits and to take them back."""
    heading("Credit grants")
    names = _item_names(actor)
    with read_only(engine()) as session:
        found = list_grants(session, actor, wallet.id, clock().now())
    if found:
        _list(actor, wallet.currency, found, names)
    else:
        empty("No credit grants", "Welcome credits or credits on a commitment are listed here.")
    if not actor.may(Permission.WALLETS_WRITE):
        return
    with st.expander("Grant credits", icon=":material/redeem:", key="grant"):
        _grant(actor, wallet, names)
    voidable = {
        one.row.id: one
        for one in found
        if one.state is GrantState.OPEN and one.row.kind is not GrantKind.PURCHASED
    }
    if voidable:
        with st.expander("Take a grant back", icon=":material/undo:", key="void"):
            _void(actor, wallet, voidable)


def _item_names(actor: Actor) -> dict[str, str]:
    """Of billable items by code; a customer, who has no catalogue, sees the codes."""
    if not actor.may(Permission.CATALOG_READ):
        return {}
    with read_only(engine()) as session:
        return {item.code: item.name for item in list_items(session, actor)}


def _list(actor: Actor, code: str, found: Sequence[Grant], names: dict[str, str]) -> None:
    in_turn = sorted(found, key=lambda one: one.state is not GrantState.OPEN)
    staff = actor.customer_id is None
    table(
        "Credit grants in the order in which they are used, those that are over last",
        [Column("Credits", strong=True, nowrap=False), Column("State"),
         Column("Priority", "right"), Column("Pays for", nowrap=False), Column("Amount", "right"),
         Column("Left", "right", strong=True), Column("Last day"),
         Column("Reference", nowrap=False), *([Column("Granted by")] if staff else [])],
        [
            (_KINDS[one.row.kind], grant_status(one.state.value), str(one.row.priority),
             ", ".join(names.get(item, item) for item in one.row.item_codes) or "Everything",
             wallet_money(one.row.amount_units, code), wallet_money(one.left_units, code),
             last_day(one.row.expires_on),
             _reference(one.row),
             *([actor_name(one.row.granted_by)] if staff else []))
            for one in in_turn[:_MOST]
        ],
    )  # fmt: skip
    if any(one.row.item_codes and one.state is GrantState.OPEN for one in found):
        note(
            "Credits for some items are not in the balance: an invoice takes of them what the "
            "lines of these items come to."
        )
    if len(found) > _MOST:
        note(f"{count(len(found))} grants; the first {_MOST} are shown.")


def _reference(row: CreditGrant) -> str:
    said = [row.reference, row.note, row.void_reason and f"Taken back: {row.void_reason}"]
    return " · ".join(part for part in said if part)


def _grant(actor: Actor, wallet: WalletRow, names: dict[str, str]) -> None:
    kind = st.segmented_control(
        "Where the credits come from", list(_KINDS), default=GrantKind.PROMOTIONAL, required=True,
        format_func=_KINDS.__getitem__, key=f"grant_kind_{wallet.id}",
    )  # fmt: skip
    note(_MEANING[kind])
    name = f"grant:{wallet.id}"
    key = form_key(name)
    with st.form(f"grant_{key}", border=False):
        amount, tax, fields = _typed(kind, wallet.currency, key, names)
        asked = st.form_submit_button("Grant them", type="primary", key=f"grant_submit_{key}")
    if asked:
        attempt(
            name,
            lambda key: actions.run(
                actor, key, grant_credits, GrantCredits, wallet_id=wallet.id, kind=kind,
                amount_minor=asked_minor("amount", amount, wallet.currency),
                tax_minor=asked_minor("tax", tax, wallet.currency, least=0)
                if tax.strip() else None,
                **fields,
            ),
            lambda made: f"{wallet_money(made.amount_units, wallet.currency)} of credits are "
            f"granted to {wallet.title}.",
        )  # fmt: skip


def _typed(
    kind: GrantKind, code: str, key: str, names: dict[str, str]
) -> tuple[str, str, dict[str, Any]]:
    """Amount and tax as they were typed, and what else the request says."""
    at = f"{kind.value}_{key}"
    tax, fields = "", dict[str, Any]()
    with st.grid(3, min_column_width=180):
        amount = st.text_input(
            f"Credits in {code}, without tax", key=f"grant_amount_{at}", placeholder="500.00"
        )
        fields["priority"] = int(
            st.number_input(
                "Priority", 0, 100, USUAL_PRIORITY, key=f"grant_priority_{at}",
                help="The lowest is used first. Credits that are not granted have 50.",
            )
        )  # fmt: skip
        if kind is GrantKind.PURCHASED:
            tax = st.text_input(
                f"Tax received with them, in {code}", key=f"grant_tax_{at}",
                placeholder="as it is due", help="Left empty, it is worked out.",
            )  # fmt: skip
        else:
            today = local_day(clock().now(), DEFAULT_ZONE)
            last = st.date_input(
                "Last day, none for no end", None, min_value=today, format="DD/MM/YYYY",
                key=f"grant_last_{at}",
            )  # fmt: skip
            fields["expires_on"] = last and last + timedelta(days=1)
        fields["reference"] = st.text_input(
            "Reference", key=f"grant_reference_{at}", placeholder="welcome-acme",
            help="Letters, digits and . _ : / - only. The same one is never granted twice.",
        ).strip()  # fmt: skip
        fields["note"] = st.text_input("Note", key=f"grant_note_{at}", max_chars=500).strip()
    if kind is not GrantKind.PURCHASED and names:
        fields["item_codes"] = tuple(
            st.multiselect(
                "Pays for", list(names), format_func=names.__getitem__, placeholder="Everything",
                key=f"grant_items_{at}",
            )
        )  # fmt: skip
    return amount, tax, fields


def _void(actor: Actor, wallet: WalletRow, open_: dict[UUID, Grant]) -> None:
    key = form_key(f"void:{wallet.id}")
    with st.form(f"void_{key}", border=False):
        chosen = st.selectbox(
            "Grant", list(open_), key=f"void_grant_{key}",
            format_func=lambda one: f"{open_[one].row.reference} · "
            f"{wallet_money(open_[one].left_units, wallet.currency)} left",
        )  # fmt: skip
        reason = st.text_input("Why?", key=f"void_reason_{key}", max_chars=500)
        note("What was used of it stays used; what is left is gone, and cannot be put back.")
        asked = st.form_submit_button("Take it back", key=f"void_submit_{key}")
    if asked:
        attempt(
            f"void:{wallet.id}",
            lambda key: actions.run(
                actor, key, void_grant, VoidGrant, wallet_id=wallet.id, grant_id=chosen,
                reason=reason.strip(),
            ),
            f"What was left of {open_[chosen].row.reference} is taken back.",
        )  # fmt: skip
