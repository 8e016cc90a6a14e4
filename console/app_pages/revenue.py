"""Revenue: where recurring revenue came from and went, its trend, and who brought it."""

import streamlit as st

from billing.access.actor import Actor
from console.access import PageName
from console.components import charts
from console.components.csv_export import to_csv
from console.components.money import (
    change,
    change_text,
    compact_money,
    count,
    money,
    percent,
    signed,
)
from console.components.page import show_page
from console.components.status import words
from console.components.tables import Column, empty, table
from console.components.text import heading, note
from console.queries import revenue
from console.queries.revenue import RevenueMonth


def _render(actor: Actor) -> None:
    months = revenue.months(actor)
    if not months:
        empty("No revenue yet", "It appears here after the first month is rated.")
        return
    names = {f"{month.month:%B %Y}": position for position, month in enumerate(months)}
    chosen = st.selectbox("Month", list(reversed(names)), key="revenue_month", width=240)
    position = names[str(chosen)]
    month = months[position]
    before = months[position - 1] if position else None
    _numbers(month, before)
    with st.container(border=True):
        _bridge(actor, month, before)
    _trends(months[: position + 1][-12:])
    _customers(actor, month)


def _numbers(month: RevenueMonth, before: RevenueMonth | None) -> None:
    def card(label: str, now: int, then: int | None, explanation: str) -> None:
        moved = change(now, then) if then is not None else None
        st.metric(label, compact_money(now, "INR"), f"{moved} vs last month" if moved else None,
                  border=True, height="stretch",
                  help=f"{money(now, 'INR')}. {explanation}")  # fmt: skip

    with st.grid(4, min_column_width=140):
        card("MRR", month.mrr_minor, before and before.mrr_minor,
             "Recurring charges, as of one month, in rupees before tax.")  # fmt: skip
        card("ARR", month.arr_minor, before and before.arr_minor, "Twelve times the MRR.")
        card("Usage revenue", month.usage_minor, before and before.usage_minor,
             "Rated usage of the month; it is not part of the MRR.")  # fmt: skip
        card("Revenue", month.total_minor, before and before.total_minor,
             "Recurring and usage revenue together.")  # fmt: skip


def _bridge(actor: Actor, month: RevenueMonth, before: RevenueMonth | None) -> None:
    st.subheader("MRR bridge", anchor=False)
    steps = revenue.movements(actor, month.month)
    opening = before.mrr_minor if before else 0
    named = [(words(name), amount) for name, amount in steps.items()]
    charts.show(
        charts.bridge(("Opening", opening), named, ("Closing", month.mrr_minor)),
        caption=f"From {money(opening, 'INR')} to {money(month.mrr_minor, 'INR')} in "
        f"{month.month:%B %Y}, {_net(month.mrr_minor - opening)}.",
        key="revenue_bridge",
        height=340,
    )  # fmt: skip
    missing = month.mrr_minor - opening - sum(steps.values())
    if missing:
        st.warning(
            f"The movements do not explain {signed(money(missing, 'INR'))} of the change. "
            "Ask the pipeline's owners to run the MRR checks for this month.",
            icon=":material/warning:",
        )
    with st.expander("The bridge as a table"):
        table(
            "MRR bridge",
            [Column("Step"), Column("Amount", "right")],
            [("Opening MRR", money(opening, "INR")),
             *((words(name), signed(money(amount, "INR")) if amount else None)
               for name, amount in steps.items())],
            totals=[("Closing MRR", money(month.mrr_minor, "INR"))],
        )  # fmt: skip


def _net(amount_minor: int) -> str:
    return f"net {signed(money(amount_minor, 'INR'))}" if amount_minor else "no change"


def _trends(months: list[RevenueMonth]) -> None:
    labels = [f"{month.month:%b %Y}" for month in months]
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True, height="stretch"):
        st.subheader("MRR and usage revenue", anchor=False)
        charts.show(
            charts.money_lines(
                labels,
                [("MRR", [month.mrr_minor for month in months]),
                 ("Usage revenue", [month.usage_minor for month in months])],
                "INR",
            ),
            caption="Recurring and usage revenue by month, in rupees before tax.",
            key="revenue_trend",
        )  # fmt: skip
    with right, st.container(border=True, height="stretch"):
        st.subheader("ARR", anchor=False)
        charts.show(
            charts.money_bars(labels, [("ARR", [month.arr_minor for month in months])], "INR"),
            caption="Twelve times the MRR of each month; now "
            f"{money(months[-1].arr_minor, 'INR')}.",
            key="revenue_arr",
        )


def _customers(actor: Actor, month: RevenueMonth) -> None:
    rows = [row for row in revenue.by_customer(actor, month.month) if any(row[1:])]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        heading(f"By customer, {month.month:%B %Y}", width="stretch")
        st.download_button(
            "Export CSV", to_csv(revenue.CustomerRevenue._fields, rows),
            file_name=f"revenue-{month.month:%Y-%m}.csv", mime="text/csv",
            icon=":material/download:", key="revenue_export", on_click="ignore",
        )  # fmt: skip
    table(
        "Revenue by customer",
        [Column("Customer", strong=True, nowrap=False), Column("MRR", "right"),
         Column("Usage", "right"), Column("Total", "right", strong=True),
         Column("Share", "right"), Column("vs last month", "right")],
        [
            (row.customer, money(row.mrr_minor, "INR"), money(row.usage_minor, "INR"),
             money(row.mrr_minor + row.usage_minor, "INR"),
             percent(row.mrr_minor + row.usage_minor, month.total_minor),
             change_text(row.mrr_minor + row.usage_minor, row.before_minor) or "new")
            for row in rows
        ],
        totals=[(f"{count(len(rows))} customers", money(month.mrr_minor, "INR"),
                 money(month.usage_minor, "INR"), money(month.total_minor, "INR"), "", "")],
    )  # fmt: skip
    note("Rupees before tax; other currencies at the month's rate.")


show_page(
    PageName.REVENUE, "Revenue", "Recurring revenue, how it moved, and usage beside it.", _render
)
