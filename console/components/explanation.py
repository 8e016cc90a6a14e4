"""Where a line comes from: events, price version, rating run; and whether it comes out again."""

from collections.abc import Mapping

import streamlit as st

from billing.access.actor import Actor
from billing.db.unit_of_work import read_only
from billing.errors import BillingError
from billing.formatting import format_period, format_quantity
from billing.invoices.explanation import Explanation, explain_line
from billing.usage.as_of import EventPlace
from console.components.boundary import say
from console.components.money import count, money
from console.components.status import Status
from console.components.tables import Column, fact_list, table
from console.components.text import note
from console.database import engine
from console.queries.invoices import InvoiceFacts, LineRow

_PAGE = 20


def show_origin(actor: Actor, facts: InvoiceFacts, line: LineRow) -> None:
    """On request, the line worked out again from its events."""
    if not st.toggle("Work it out again from its events", key=f"origin_{line.id}"):
        return
    slot = f"origin_pages_{line.id}"
    places: list[EventPlace | None] = st.session_state.setdefault(slot, [None])
    try:
        with read_only(engine()) as session:
            found = explain_line(
                session, actor, line.line_ref, invoice_id=facts.id, limit=_PAGE, after=places[-1]
            )
            _show(found, facts.currency)
    except BillingError as error:
        say(error)
        return
    with st.container(horizontal=True):
        if len(places) > 1 and st.button("Earlier events", key=f"earlier_{line.id}"):
            places.pop()
            st.rerun()
        if found.next_event is not None and st.button("Later events", key=f"later_{line.id}"):
            places.append(found.next_event)
            st.rerun()


def _show(found: Explanation, code: str) -> None:
    run, price = found.run, found.price
    again = found.recomputed
    verdict = Status("Equal", "✓", "good") if found.is_equal else Status(
        found.verdict.capitalize(), "✕", "bad"
    )  # fmt: skip
    fact_list(
        [
            ("Worked out again", money(again.amount_minor, code) if again else None),
            ("Compared with the bill", verdict),
            ("Events", count(found.event_count)),
            ("Free units", format_quantity(again.free_quantity, code) if again else None),
            ("Price", f"{price.plan_name}, version {price.version}"),
            ("In force", format_period(price.covered_from, price.covered_to)),
            ("Events before", f"{run.event_time_to:%d %b %Y %H:%M} UTC"),
            ("Read up to, by shard", _cutoffs(run.accept_seqs)),
        ]
    )
    started = f"{run.started_at:%d %b %Y %H:%M} UTC"
    note(f"Rating run {run.id} of {started}; what came later is left out.")
    for added in found.adjustments:
        bill = added.number or f"the draft of {added.invoice_month:%B %Y}"
        note(f"What came after issue is billed on {bill}: {money(added.amount_minor, code)} more.")
    if found.events:
        table(
            "Events that the line counts",
            [Column("Occurred (UTC)"), Column("Event", nowrap=False), Column("Quantity", "right"),
             Column("What it was", nowrap=False)],
            [
                (f"{one.place.occurred_at:%d %b %H:%M:%S}", f"{one.source}/{one.event_id}",
                 format_quantity(one.quantity, code),
                 ", ".join(str(value) for _, value in sorted(one.dimensions.items())))
                for one in found.events
            ],
        )  # fmt: skip


def _cutoffs(accept_seqs: Mapping[int, int]) -> str:
    """How far each shard was read; of many shards the sum, which is the number of events."""
    if len(accept_seqs) <= 4:
        return ", ".join(f"{shard}: {count(seq)}" for shard, seq in accept_seqs.items())
    return f"{count(sum(accept_seqs.values()))} events in {len(accept_seqs)} shards"
