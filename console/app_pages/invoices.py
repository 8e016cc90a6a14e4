"""Invoices: the review queue, one invoice in full with its PDF beside it, and the decisions."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

import pandas as pd
import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from console.access import PageName
from console.components.after_issue import OPEN, show_after_issue, show_differences
from console.components.explanation import show_origin
from console.components.exports import export_buttons
from console.components.filters import customer_filter, open_one
from console.components.invoice import explain_line, show_facts, show_lines, show_taxes
from console.components.money import compact_money, count, money
from console.components.page import show_page
from console.components.review import approve_selected, decide, document_beside
from console.components.status import invoice_status, review_status, stage
from console.components.tables import empty
from console.components.text import heading, note
from console.queries import invoices
from console.queries.invoices import InvoiceRow, QueueFilter

_SEEN = "invoice_rows_seen"
_STATUSES = ("draft", "due", "paid", "void")
_REVIEWS = ("pending", "in_review", "rejected", "parked", "approved")


def _render(actor: Actor) -> None:
    chosen = _filters(actor)
    show_differences(actor)
    rows = invoices.queue(actor, chosen)
    if not rows:
        _nothing(chosen)
        return
    export_buttons(actor, "invoices")
    selected = _list(actor, rows, limit=chosen.limit)
    if actor.may(Permission.INVOICES_APPROVE):
        approve_selected(actor, selected)
    st.divider()
    _detail(actor, rows)


def _filters(actor: Actor) -> QueueFilter:
    months = invoices.months(actor)
    with st.container(border=True), st.grid(4, min_column_width=140):
        status = st.selectbox(
            "Status", [None, *_STATUSES] if actor.customer_id is None else [None, *_STATUSES[1:]],
            format_func=lambda value: invoice_status(value).text if value else "All",
            key="invoices_status",
        )  # fmt: skip
        review = None
        if actor.customer_id is None:
            review = st.selectbox(
                "Review", [None, *_REVIEWS], key="invoices_review",
                format_func=lambda value: review_status(value).text if value else "All",
            )  # fmt: skip
        month = st.selectbox(
            "Month", [None, *months], key="invoices_month",
            format_func=lambda value: f"{value:%B %Y}" if value else "All",
        )  # fmt: skip
        customer_id = customer_filter(actor, key="invoices") if actor.customer_id is None else None
    return QueueFilter(status, review, month, customer_id)


def _nothing(chosen: QueueFilter) -> None:
    if chosen == QueueFilter():
        empty("No invoices yet", "Drafts appear here when a month has been closed and rated.")
    else:
        empty("No invoice matches", "Set a filter back to “All” to see more.")


def _list(actor: Actor, rows: list[InvoiceRow], *, limit: int) -> list[InvoiceRow]:
    """Show the queue; a click on a row opens it, ticks select drafts to approve together."""
    approves = actor.may(Permission.INVOICES_APPROVE)
    # Another list is another table: ticks are positions, and must not slip to other invoices.
    key = f"invoice_queue_{hash(tuple(row.version for row in rows))}"
    event = st.dataframe(
        _styled(rows),
        hide_index=True,
        key=key,
        on_select=partial(_open_newest, key, [row.id for row in rows]),
        selection_mode="multi-row" if approves else "single-row",
        column_config={
            "Total": st.column_config.Column(alignment="right"),
            "Stage": st.column_config.Column(width="small"),
        },
        alt="Invoices. Choose one to open in the list below the table.",
    )
    _sums(rows, limit=limit)
    picked = [index for index in event.selection.rows if index < len(rows)]
    return [rows[index] for index in picked if rows[index].status == "draft"]


def _sums(rows: list[InvoiceRow], *, limit: int) -> None:
    """What the list comes to, each rupee once."""
    totals: dict[str, int] = {}
    for row in rows:
        totals[row.currency] = totals.get(row.currency, 0) + row.asked_minor
    sums = " · ".join(compact_money(amount, code) for code, amount in totals.items())
    parts = [f"{count(len(rows))} invoices, {sums} with tax."]
    if any(row.is_statement for row in rows):
        parts.append("Statements are not in the sum: the invoices of their top-ups are.")
    if any(row.status == "void" for row in rows):
        parts.append("Nor are void ones." if len(parts) > 1 else "Void ones are not in the sum.")
    if len(rows) == limit:
        parts.append(f"The newest {limit} are shown; filter to see others.")
    note(" ".join(parts))


def _styled(rows: list[InvoiceRow]) -> "pd.io.formats.style.Styler":
    """Amounts stay integers, so that sorting by a column sorts by value."""
    frame = pd.DataFrame(
        {
            "Stage": [stage(row.status, row.review_state).text for row in rows],
            "Customer": [row.customer for row in rows],
            "Total": [row.total_minor for row in rows],
            "Month": [f"{row.invoice_month:%b %Y}" for row in rows],
            "Number": [row.number or "–" for row in rows],
            "Account": [row.account for row in rows],
            "Due": [f"{row.due_date:%d %b %Y}" if row.due_date else "–" for row in rows],
        }
    )
    styled = frame.style
    for code in {row.currency for row in rows}:
        mine = [index for index, row in enumerate(rows) if row.currency == code]
        styled = styled.format(
            lambda value, code=code: money(int(value), code),
            subset=pd.IndexSlice[mine, ["Total"]],
        )
    return styled


def _open_newest(key: str, ids: Sequence[UUID]) -> None:
    """Open the row that was ticked last."""
    now = list(st.session_state[key].selection.rows)
    before = st.session_state.get(_SEEN, [])
    added = [index for index in now if index not in before]
    st.session_state[_SEEN] = now
    if added and added[-1] < len(ids):
        st.session_state[OPEN] = ids[added[-1]]


def _detail(actor: Actor, rows: list[InvoiceRow]) -> None:
    titles = {row.id: f"{row.title} · {money(row.total_minor, row.currency)}" for row in rows}
    chosen = open_one("Open invoice", titles, key=OPEN)
    facts = invoices.facts(actor, chosen)
    lines = invoices.lines(actor, chosen)
    left, right = st.columns([11, 9], gap="large")
    with left:
        with st.container(horizontal=True, vertical_alignment="center"):
            heading(facts.customer, width="stretch")
            heading(money(facts.total_minor, facts.currency), width="content")
        show_facts(facts, lines)
        decide(actor, facts)
        st.subheader("Lines", anchor=False)
        show_lines(facts, lines)
        if lines:
            with st.expander("How was this computed?", icon=":material/calculate:"):
                show_origin(actor, facts, explain_line(facts, lines))
            with st.expander("Tax by line", icon=":material/percent:"):
                show_taxes(facts, lines)
        show_after_issue(actor, facts)
    with right:
        document_beside(actor, facts)


show_page(
    PageName.INVOICES, "Invoices",
    "Review what a month came to, approve it, and see the document as the customer will.",
    _render,
)  # fmt: skip
