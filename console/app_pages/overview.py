"""The first page: how business goes, what waits, what happened."""

from zoneinfo import ZoneInfo

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.periods import DEFAULT_ZONE
from console.access import PageName
from console.components import charts
from console.components.filters import period_of
from console.components.money import change, compact_money, count, money, percent, wallet_money
from console.components.page import show_page
from console.components.status import stage, wallet_status, words
from console.components.tables import Column, empty, table
from console.components.text import actor_name, plain
from console.queries import invoices, overview, revenue, usage, wallets
from console.queries.reading import built

_RECENT = 8


def _render(actor: Actor) -> None:
    if actor.customer_id is None:
        _staff_numbers(actor)
    else:
        _customer_numbers(actor)
    _charts(actor)
    if actor.may(Permission.AUDIT_READ):
        _activity(actor)
    else:
        _recent_invoices(actor)


def _staff_numbers(actor: Actor) -> None:
    with st.grid(3, min_column_width=150):
        _revenue_card(actor)
        _usage_card(actor)
        customers = overview.active_customers(actor)
        st.metric(
            "Active customers", count(customers.active), border=True, height="stretch",
            delta=f"of {count(customers.total)} customers", delta_color="off", delta_arrow="off",
            help="Customers with a subscription that still bills.",
        )  # fmt: skip
        _sums_card("Drafts to review", overview.pending_drafts(actor), "Nothing to review")
        _sums_card("Unpaid invoices", overview.unpaid(actor), "Everything is paid")
        alerts = overview.wallet_alerts(actor)
        st.metric(
            "Wallet alerts", count(alerts.low + alerts.suspended), border=True, height="stretch",
            delta=f"▲ {alerts.low} low · ■ {alerts.suspended} suspended",
            delta_color="off", delta_arrow="off",
        )  # fmt: skip


def _revenue_card(actor: Actor) -> None:
    months = built(lambda: revenue.months(actor))
    if not months:
        st.metric("Revenue", "–", "No month rated yet", delta_color="off", delta_arrow="off",
                  border=True, height="stretch")  # fmt: skip
        return
    latest = months[-1]
    before = months[-2] if len(months) > 1 else None
    moved = change(latest.total_minor, before.total_minor) if before else None
    st.metric(
        f"Revenue {latest.month:%b %Y}",
        compact_money(latest.total_minor, "INR"),
        f"{moved} vs {before.month:%b}" if before and moved else None,
        border=True,
        height="stretch",
        help=f"Recurring and usage revenue before tax: {money(latest.total_minor, 'INR')}.",
    )


def _usage_card(actor: Actor) -> None:
    days = built(lambda: usage.bounds(actor))
    if days is None or days.last_day is None:
        st.metric("Usage, 30 days", "–", "No usage yet", delta_color="off", delta_arrow="off",
                  border=True, height="stretch")  # fmt: skip
        return
    chosen = usage.UsageFilter(*period_of("Last 30 days", days.last_day))
    totals, before = usage.totals(actor, chosen), usage.totals(actor, chosen.before())
    rate = percent(totals.delivered, totals.units)
    moved = change(totals.units, before.units)
    st.metric(
        "Usage, 30 days", count(totals.units), f"{moved} vs before" if moved else None,
        border=True, height="stretch",
        help=f"Units up to {days.last_day:%d %b %Y}, compared with the 30 days before; "
        f"{rate or 'none'} delivered.",
    )  # fmt: skip


def _sums_card(label: str, sums: list[overview.CurrencySum], nothing: str) -> None:
    amounts = " · ".join(compact_money(found.amount_minor, found.currency) for found in sums)
    st.metric(
        label, count(sum(found.invoices for found in sums)), amounts or nothing,
        delta_color="off", delta_arrow="off", border=True, height="stretch",
    )  # fmt: skip


def _customer_numbers(actor: Actor) -> None:
    with st.grid(3, min_column_width=150):
        for wallet in wallets.wallets(actor):
            st.metric(
                plain(f"Wallet {wallet.account}"),
                wallet_money(wallet.balance_units, wallet.currency),
                wallet_status(wallet.status).text, delta_color="off", delta_arrow="off",
                border=True, height="stretch",
            )  # fmt: skip
        _usage_card(actor)
        _sums_card("Invoices to pay", overview.unpaid(actor), "Everything is paid")


def _charts(actor: Actor) -> None:
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True, height="stretch"):
        st.subheader("Usage by channel", anchor=False)
        _usage_chart(actor)
    with right, st.container(border=True, height="stretch"):
        if actor.customer_id is None:
            st.subheader("Revenue by month", anchor=False)
            _revenue_chart(actor)
        else:
            st.subheader("How messages ended", anchor=False)
            _status_chart(actor)


def _last_30_days(actor: Actor) -> usage.UsageFilter | None:
    days = built(lambda: usage.bounds(actor))
    if days is None or days.last_day is None:
        empty("No usage yet", "It appears here after the pipeline has read the first events.")
        return None
    return usage.UsageFilter(*period_of("Last 30 days", days.last_day))


def _usage_chart(actor: Actor) -> None:
    chosen = _last_30_days(actor)
    if chosen is None:
        return
    rows = usage.daily_by_channel(actor, chosen)
    if not rows:
        empty("No usage in the last 30 days", "Choose a longer period on the Usage page.")
        return
    order = charts.ordered_channels([row.channel for row in rows])
    charts.show(
        charts.stacked_days([(row.usage_day, words(row.channel), row.units) for row in rows],
                            [words(name) for name in order]),
        caption="Units a day over the last 30 days, "
        f"{count(sum(row.units for row in rows))} in all.",
        key="overview_usage",
    )  # fmt: skip


def _status_chart(actor: Actor) -> None:
    chosen = _last_30_days(actor)
    if chosen is None:
        return
    by_status: dict[str, int] = {}
    for row in usage.by_country_and_status(actor, chosen):
        by_status[row.status] = by_status.get(row.status, 0) + row.units
    ranked = sorted(by_status.items(), key=lambda item: -item[1])
    total = sum(by_status.values())
    charts.show(
        charts.share_bars(
            [f"{words(name)}<br>{count(number)}" for name, number in ranked],
            [number for _, number in ranked],
            [percent(number, total) or "" for _, number in ranked],
        ),
        caption="Units of the last 30 days by how they ended.",
        key="overview_status",
    )  # fmt: skip


def _revenue_chart(actor: Actor) -> None:
    months = (built(lambda: revenue.months(actor)) or [])[-12:]
    if not months:
        empty("No revenue yet", "It appears here after the first month is rated.")
        return
    charts.show(
        charts.money_bars(
            [f"{month.month:%b %Y}" for month in months],
            [("Usage", [month.usage_minor for month in months]),
             ("Recurring", [month.mrr_minor for month in months])],
            "INR",
        ),
        caption=f"Before tax, in rupees. {months[-1].month:%B %Y}: "
        f"{money(months[-1].total_minor, 'INR')}.",
        key="overview_revenue",
    )  # fmt: skip


def _activity(actor: Actor) -> None:
    st.subheader("Recent activity", anchor=False)
    entries = overview.activity(actor, _RECENT)
    if not entries:
        empty("Nothing happened yet", "Every command leaves an entry here, with who gave it.")
        return
    zone = ZoneInfo(DEFAULT_ZONE)
    table(
        "Recent activity",
        [Column("When (IST)"), Column("What"), Column("Who", nowrap=False)],
        [
            (f"{entry.at.astimezone(zone):%d %b, %H:%M}", _what(entry.command),
             actor_name(entry.actor))
            for entry in entries
        ],
    )  # fmt: skip


def _what(command: str) -> str:
    """`invoice.approve` as `Invoice: approve`."""
    concept, _, verb = command.partition(".")
    return f"{words(concept)}: {verb.replace('_', ' ')}" if verb else words(command)


def _recent_invoices(actor: Actor) -> None:
    st.subheader("Recent invoices", anchor=False)
    rows = invoices.queue(actor, invoices.QueueFilter(limit=_RECENT))
    if not rows:
        empty("No invoices yet", "The first one comes after the month has closed.")
        return
    table(
        "Recent invoices",
        [Column("Number"), Column("Month"), Column("Customer", nowrap=False), Column("Status"),
         Column("Total", "right")],
        [
            (row.number, f"{row.invoice_month:%b %Y}", row.customer,
             stage(row.status, row.review_state), money(row.total_minor, row.currency))
            for row in rows
        ],
    )  # fmt: skip


show_page(PageName.OVERVIEW, "Overview", "How the month goes, and what waits for you.", _render)
