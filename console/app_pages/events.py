"""Events: look one up and follow it; settle what was set aside."""

import json
from collections.abc import Sequence
from uuid import UUID

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.errors import BillingError
from billing.usage.lineage import RatedAs
from billing.usage.tables import QuarantinedEntry
from console import actions
from console.access import PageName
from console.components.boundary import say
from console.components.forms import attempt, form_key
from console.components.money import exact_wallet_money, money
from console.components.page import show_page
from console.components.status import words
from console.components.tables import Column, empty, fact_list, table
from console.components.text import note
from console.queries import events


def _render(actor: Actor) -> None:
    with st.container(border=True):
        st.subheader("Look up an event", anchor=False)
        with st.form("event_look_up", border=False):
            left, right = st.columns(2)
            source = left.text_input("Source", key="event_source", placeholder="core")
            event_id = right.text_input("Event id", key="event_id")
            st.form_submit_button("Look up", type="primary", key="event_find")
        if source.strip() and event_id.strip():
            _look_up(actor, source.strip(), event_id.strip())
    if actor.may(Permission.USAGE_QUARANTINE):
        _quarantine(actor)


def _look_up(actor: Actor, source: str, event_id: str) -> None:
    try:
        found = events.look_up(actor, source, event_id)
    except BillingError as error:
        say(error)
        return
    history, latest = found.history, found.history.latest
    fact_list(
        [
            ("Account", history.account.name),
            ("Type", latest.event_type),
            ("Happened", f"{latest.occurred_at:%Y-%m-%d %H:%M:%S} UTC"),
            ("Taken in", f"{history.key.received_at:%Y-%m-%d %H:%M:%S} UTC"),
            ("Counts", "No, it was voided" if latest.voided else "Yes"),
        ]
    )
    _revisions(found)
    _rated(found.lineage.rated)
    if found.lineage.conflicts:
        note(f"Refused as a conflict: {len(found.lineage.conflicts)} other bodies with this id.")


def _revisions(found: events.Found) -> None:
    currency = found.history.account.currency
    rows = []
    for one in found.history.revisions:
        posted = found.lineage.ledger.get(one.accept_seq)
        debit = None if one.amount_units is None else exact_wallet_money(one.amount_units, currency)
        said = ", ".join(f"{name} {value}" for name, value in sorted(one.dimensions.items()))
        rows.append(
            (
                str(one.revision),
                "void" if one.voided else format(one.quantity.normalize(), "f"),
                said,
                debit,
                posted.reference if posted else None,
                f"{one.recorded_at:%Y-%m-%d %H:%M}",
            )
        )
    table(
        "Revisions of the event, oldest first",
        [
            Column("Revision", strong=True),
            Column("Quantity", "right"),
            Column("Dimensions", nowrap=False),
            Column("Debit", "right"),
            Column("Ledger", nowrap=False),
            Column("Recorded"),
        ],
        rows,
    )


def _rated(charges: Sequence[RatedAs]) -> None:
    if not charges:
        note("No charge of the account counts this event.")
        return
    table(
        "Charges that count the event",
        [
            Column("Charge", strong=True),
            Column("Price", nowrap=False),
            Column("Line", nowrap=False),
            Column("Invoice", nowrap=False),
        ],
        [(one.charge_code, _price(one), one.line_ref, _invoices(one)) for one in charges],
    )


def _price(one: RatedAs) -> str:
    if one.rate_id is None:
        return "no rate matches"
    steps = [
        f"{tier['unit_price']} up to {tier['up_to'] or 'any'}"
        if len(one.tiers) > 1
        else f"{tier['unit_price']} {one.currency}"
        for tier in one.tiers
    ]
    return f"{words(one.price_model)}: {'; '.join(steps)}"


def _invoices(one: RatedAs) -> str | None:
    named = [
        f"{line.number or 'Draft'} ({words(line.status.value)}, "
        f"{'adjustment of ' if line.line_ref != one.line_ref else ''}"
        f"{money(line.amount_minor, one.currency)})"
        for line in one.invoice_lines
    ]
    return "; ".join(named) or None


def _quarantine(actor: Actor) -> None:
    with st.container(border=True):
        st.subheader("Set aside", anchor=False)
        waiting = events.set_aside(actor)
        if not waiting:
            empty("Nothing is set aside", "Every event of the journal found its place.")
            return
        chosen = st.selectbox(
            "Entry",
            [entry.id for entry in waiting],
            format_func=lambda entry_id: _name(_by_id(waiting, entry_id)),
            key="quarantine_open",
        )
        _settle(actor, _by_id(waiting, chosen))


def _by_id(waiting: Sequence[QuarantinedEntry], entry_id: UUID) -> QuarantinedEntry:
    return next(entry for entry in waiting if entry.id == entry_id)


def _name(entry: QuarantinedEntry) -> str:
    known = f"{entry.source}/{entry.event_id}" if entry.event_id else "cannot be read"
    return f"{known} · {entry.recorded_at:%Y-%m-%d %H:%M}"


def _settle(actor: Actor, entry: QuarantinedEntry) -> None:
    note(entry.reason)
    key = form_key(f"quarantine:{entry.id}")
    told = json.loads(entry.event, parse_float=str) if entry.event else {}
    with st.form(f"quarantine_{key}", border=False):
        text = st.text_area(
            "The event as it should be",
            json.dumps(told, indent=2),
            height=240,
            key=f"quarantine_event_{key}",
        )
        reason = st.text_input("Reason to discard it", key=f"quarantine_reason_{key}")
        take, drop = st.columns(2)
        replay = take.form_submit_button(
            "Take it in", type="primary", key=f"quarantine_replay_{key}", width="stretch"
        )
        discard = drop.form_submit_button(
            "Discard it", key=f"quarantine_discard_{key}", width="stretch"
        )
    name = f"quarantine:{entry.id}"
    if replay:
        attempt(
            name,
            lambda key: actions.replay_mended(actor, key, entry.id, text),
            "It was taken in.",
        )
    if discard:
        attempt(
            name, lambda key: actions.discard(actor, key, entry.id, reason), "It was discarded."
        )


show_page(PageName.EVENTS, "Events", "One event and what came of it.", _render)
