"""Usage: how much, on which channel, to which country, and how it ended."""

from datetime import date

import streamlit as st

from billing.access.actor import Actor
from billing.formatting import format_quantity
from console.access import PageName
from console.components import charts
from console.components.countries import country_name
from console.components.csv_export import to_csv
from console.components.filters import customer_filter, many, period_filter, period_words
from console.components.money import change, count, percent
from console.components.page import show_page
from console.components.status import words
from console.components.tables import Column, empty, table
from console.components.text import note
from console.queries import usage

_TOP_COUNTRIES = 8
_ROWS = 15


def _render(actor: Actor) -> None:
    days = usage.bounds(actor)
    if days.first_day is None or days.last_day is None:
        empty("No usage yet", "It appears here after the pipeline has read the first events.")
        return
    chosen = _filters(actor, days.first_day, days.last_day)
    totals = usage.totals(actor, chosen)
    if not totals.units:
        empty("No usage matches", "Choose a longer period, or fewer filters.")
        return
    note(f"{period_words(chosen.first_day, chosen.end_day)}, days of the account's zone.")
    _numbers(totals, usage.totals(actor, chosen.before()))
    _trend(actor, chosen)
    left, right = st.columns(2, gap="medium")
    breakdown = usage.by_country_and_status(actor, chosen)
    with left, st.container(border=True, height="stretch"):
        _by_country(breakdown, totals.units)
    with right, st.container(border=True, height="stretch"):
        _by_status(breakdown, totals.units)
    _table(actor, chosen)


def _filters(actor: Actor, first_day: date, last_day: date) -> usage.UsageFilter:
    options = usage.choices(actor)
    with st.container(border=True), st.grid(6, min_column_width=140):
        first, end = period_filter(first_day, last_day, key="usage")
        customer_id = customer_filter(actor, key="usage") if actor.customer_id is None else None
        channel = many("Channel", options["channel"], key="usage_channel", name=words)
        country = many("Country", options["country"], key="usage_country", name=country_name)
        status = many("Status", options["status"], key="usage_status", name=words)
        event_type = many("Event type", options["event_type"], key="usage_event_type")
    return usage.UsageFilter(
        first, end, customer_id,
        event_type=event_type, channel=channel, country=country, status=status,
    )  # fmt: skip


def _numbers(totals: usage.UsageTotals, before: usage.UsageTotals) -> None:
    moved = change(totals.units, before.units)
    with st.grid(4, min_column_width=140):
        st.metric("Units", count(totals.units), f"{moved} vs before" if moved else None,
                  border=True, height="stretch",
                  help=f"What is billed, from {count(totals.events)} events; compared with the "
                  "period of equal length before.")  # fmt: skip
        st.metric("Delivery rate", percent(totals.delivered, totals.units) or "–",
                  f"{count(totals.delivered)} delivered", delta_color="off", delta_arrow="off",
                  border=True, height="stretch",
                  help="Units with the status “delivered”, of all.")  # fmt: skip
        st.metric("Failed", count(totals.failed),
                  f"{percent(totals.failed, totals.units)} of units", delta_color="off",
                  delta_arrow="off", border=True, height="stretch")  # fmt: skip
        st.metric("Countries", count(totals.countries),
                  f"{count(totals.customers)} customers" if totals.customers > 1 else None,
                  delta_color="off", delta_arrow="off", border=True, height="stretch")  # fmt: skip


def _trend(actor: Actor, chosen: usage.UsageFilter) -> None:
    rows = usage.daily_by_channel(actor, chosen)
    order = charts.ordered_channels([row.channel for row in rows])
    by_day: dict[object, int] = {}
    for row in rows:
        by_day[row.usage_day] = by_day.get(row.usage_day, 0) + row.units
    peak = max(by_day, key=lambda day: by_day[day])
    with st.container(border=True):
        st.subheader("Daily trend by channel", anchor=False)
        charts.show(
            charts.stacked_days(
                [(row.usage_day, words(row.channel), row.units) for row in rows],
                [words(name) for name in order],
            ),
            caption=f"Units a day. The busiest day was {peak:%d %b %Y} with {count(by_day[peak])}.",
            key="usage_trend",
            height=340,
        )


def _by_country(rows: list[usage.CountryStatus], total: int) -> None:
    st.subheader("By country", anchor=False)
    units: dict[str, int] = {}
    delivered: dict[str, int] = {}
    for row in rows:
        units[row.country] = units.get(row.country, 0) + row.units
        if row.status == "delivered":
            delivered[row.country] = delivered.get(row.country, 0) + row.units
    ranked = sorted(units, key=lambda name: (-units[name], name))
    shown, rest = ranked[:_TOP_COUNTRIES], ranked[_TOP_COUNTRIES:]
    cells = [
        (country_name(name), count(units[name]), percent(units[name], total),
         percent(delivered.get(name, 0), units[name]))
        for name in shown
    ]  # fmt: skip
    if rest:
        others = sum(units[name] for name in rest)
        came = sum(delivered.get(name, 0) for name in rest)
        cells.append((f"{len(rest)} others", count(others), percent(others, total),
                      percent(came, others)))  # fmt: skip
    table(
        "Units by country",
        [Column("Country", strong=True), Column("Units", "right"), Column("Share", "right"),
         Column("Delivered", "right")],
        cells,
    )  # fmt: skip


def _by_status(rows: list[usage.CountryStatus], total: int) -> None:
    st.subheader("By status", anchor=False)
    units: dict[str, int] = {}
    for row in rows:
        units[row.status] = units.get(row.status, 0) + row.units
    ranked = sorted(units.items(), key=lambda item: -item[1])
    charts.show(
        charts.share_bars(
            [f"{words(name)}<br>{count(number)}" for name, number in ranked],
            [number for _, number in ranked],
            [percent(number, total) or "" for _, number in ranked],
        ),
        caption="Units by how they ended, with their share.",
        key="usage_status_chart",
        height=90 + 44 * len(ranked),
    )  # fmt: skip


def _table(actor: Actor, chosen: usage.UsageFilter) -> None:
    rows = usage.breakdown(actor, chosen)
    staff = actor.customer_id is None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.subheader("All usage", anchor=False, width="stretch")
        st.download_button(
            "Export CSV", _csv(rows, staff=staff),
            file_name=f"usage-{chosen.first_day}-{chosen.end_day}.csv", mime="text/csv",
            icon=":material/download:", key="usage_export", on_click="ignore",
        )  # fmt: skip
    bar = st.container(horizontal=True, vertical_alignment="center")
    with bar:
        page = st.pagination(-(-len(rows) // _ROWS), max_visible_pages=5, key="usage_page")
    first = (page - 1) * _ROWS
    shown = rows[first : first + _ROWS]
    columns = [Column("Event type"), Column("Channel"), Column("Country"), Column("Status"),
               Column("Events", "right"), Column("Quantity", "right")]  # fmt: skip
    table(
        "Usage by customer and dimension",
        [Column("Customer", strong=True, nowrap=False), *columns] if staff else columns,
        [(row.customer, *_cells(row)) if staff else _cells(row) for row in shown],
    )
    with bar:
        note(f"Rows {first + 1} to {first + len(shown)} of {count(len(rows))}, largest first.")


def _cells(row: usage.UsageRow) -> tuple[str, ...]:
    return (row.event_type, words(row.channel), country_name(row.country), words(row.status),
            count(row.events), format_quantity(row.quantity, "USD"))  # fmt: skip


def _csv(rows: list[usage.UsageRow], *, staff: bool) -> bytes:
    """What vendors charge us is not for customers."""
    header = list(usage.UsageRow._fields)
    return to_csv(header, rows) if staff else to_csv(header[:-1], [row[:-1] for row in rows])


show_page(PageName.USAGE, "Usage", "What was sent, where to, and how it ended.", _render)
