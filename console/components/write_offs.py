"""Debts that are given up: proposed by one person, decided by another."""

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.db.unit_of_work import read_only
from billing.dunning.tables import WriteOff, WriteOffState
from billing.dunning.write_offs import (
    DecideWriteOff,
    ProposeWriteOff,
    decide_write_off,
    list_write_offs,
    propose_write_off,
)
from billing.formatting import format_amount
from console import actions
from console.components.forms import attempt, form_key
from console.components.money import asked_minor, money
from console.components.status import write_off_status
from console.components.tables import Column, empty, table
from console.components.text import actor_name, note, plain
from console.database import engine
from console.queries import invoices, payments
from console.queries.payments import DueInvoice


def show_write_offs(actor: Actor) -> None:
    """Proposals, the decision on those that wait, and a form for a new one."""
    with read_only(engine()) as session:
        found = list_write_offs(session, actor)
    names = invoices.titles(actor, [one.invoice_id for one in found])
    waiting = [one for one in found if one.state is WriteOffState.PROPOSED]
    for one in waiting:
        _decide(actor, one, names[one.invoice_id])
    if found:
        table(
            "Debts proposed to be given up, the newest first",
            [Column("Invoice", strong=True, nowrap=False), Column("Amount", "right", strong=True),
             Column("State"), Column("Reason", nowrap=False), Column("Proposed by", nowrap=False),
             Column("Decided by", nowrap=False), Column("Note", nowrap=False)],
            [
                (names[one.invoice_id].title,
                 money(one.amount_minor, names[one.invoice_id].currency),
                 write_off_status(one.state.value), one.reason, actor_name(one.proposed_by),
                 actor_name(one.decided_by) if one.decided_by else None, one.decision_note or None)
                for one in found
            ],
        )  # fmt: skip
    else:
        empty("No debt was ever given up", "Propose one below; another person has to agree.")
    if actor.may(Permission.PAYMENTS_WRITE):
        _propose(actor)


def _decide(actor: Actor, one: WriteOff, invoice: invoices.InvoiceTitle) -> None:
    with st.container(border=True):
        said = f"{invoice.title}: give up {money(one.amount_minor, invoice.currency)}"
        st.markdown(f"**{plain(said)}?**")
        note(f"Proposed by {actor_name(one.proposed_by)}: {one.reason}")
        if not actor.may(Permission.INVOICES_APPROVE):
            note("An approver decides.")
            return
        if one.proposed_by == actor.name:
            note("You proposed it; another person has to decide.")
            return
        name = f"write_off:{one.id}"
        key = form_key(name)
        with st.form(f"decide_{key}", border=False):
            reason = st.text_input("Note", key=f"decide_note_{key}", placeholder="Why, if not")
            with st.container(horizontal=True):
                yes = st.form_submit_button("Give it up", type="primary", key=f"give_up_{key}")
                no = st.form_submit_button("Reject", key=f"keep_{key}")
    if yes or no:
        attempt(
            name,
            lambda key: actions.run(
                actor, key, decide_write_off, DecideWriteOff, write_off_id=one.id, approve=yes,
                note=reason.strip(),
            ),
            f"{said}: {'agreed' if yes else 'rejected'}.",
        )  # fmt: skip


def _propose(actor: Actor) -> None:
    st.subheader("Propose to give up a debt", anchor=False)
    due = {one.id: one for one in payments.due_invoices(actor)}
    if not due:
        empty("Nothing is due", "Only what is open on an issued invoice can be given up.")
        return
    chosen = st.selectbox(
        "Invoice", list(due), key="write_off_invoice", format_func=lambda one: _open(due[one])
    )
    invoice = due[chosen]
    key = form_key("write_off")
    with st.form(f"write_off_{key}"):
        amount = st.text_input(
            f"Amount in {invoice.currency}", key=f"write_off_amount_{key}_{chosen}",
            value=format_amount(invoice.outstanding_minor, invoice.currency),
        )  # fmt: skip
        reason = st.text_area(
            "Why will it not be paid?", key=f"write_off_reason_{key}", max_chars=500
        )
        asked = st.form_submit_button("Propose it", type="primary", key=f"write_off_submit_{key}")
    if asked:
        attempt(
            "write_off",
            lambda key: actions.run(
                actor, key, propose_write_off, ProposeWriteOff, invoice_id=invoice.id,
                amount_minor=asked_minor("amount", amount, invoice.currency),
                reason=reason.strip(),
            ),
            f"Proposed for {invoice.title}; another person decides.",
        )  # fmt: skip


def _open(invoice: DueInvoice) -> str:
    return f"{invoice.title} · {money(invoice.outstanding_minor, invoice.currency)} open"
