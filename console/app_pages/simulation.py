"""Simulation: what other prices would have billed for the usage of past months."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal, InvalidOperation
from uuid import UUID

import streamlit as st

from billing.access.actor import Actor
from billing.db.unit_of_work import read_only
from billing.errors import InvalidError
from billing.rating.simulate import Difference, Simulation
from billing.simulations.service import (
    ChangedPrices,
    ReplacedVersion,
    SimulatePrices,
    simulate_prices,
)
from console.access import PageName
from console.components.charts import difference_bars, show
from console.components.countries import country_name
from console.components.filters import customer_filter
from console.components.money import change_text, count, money, signed
from console.components.page import show_page
from console.components.status import words
from console.components.tables import Column, empty, table
from console.components.text import heading
from console.database import engine
from console.queries import invoices, prices

_FOUND = "simulation_found"
_BARS = 12


def _render(actor: Actor) -> None:
    months = invoices.months(actor)
    if not months:
        empty("Nothing was billed yet", "Prices are tried on months that have been closed.")
        return
    asked = _ask(actor, sorted(months))
    if asked is not None:
        with st.spinner("Rating the months again…"), read_only(engine()) as session:
            st.session_state[_FOUND] = simulate_prices(session, actor, asked)
    found = st.session_state.get(_FOUND)
    if isinstance(found, Simulation):
        _show(found)


def _ask(actor: Actor, months: list[date]) -> SimulatePrices | None:
    versions = prices.versions(actor)
    charges = prices.charge_codes(actor)
    with st.container(border=True):
        with st.grid(3, min_column_width=180):
            first, last = st.select_slider(
                "Months", months, value=(months[max(len(months) - 3, 0)], months[-1]),
                format_func=lambda month: f"{month:%b %Y}", key="simulation_months",
            ) if len(months) > 1 else (months[0], months[0])  # fmt: skip
            customer_id = customer_filter(actor, key="simulation")
            kind = st.selectbox(
                "What changes", ["Prices by percent", "Plan version"], key="simulation_kind"
            )
        with st.grid(3, min_column_width=180):
            if kind == "Prices by percent":
                code = st.selectbox(
                    "Charge", [None, *charges], key="simulation_charge",
                    format_func=lambda one: one or "All charges",
                )  # fmt: skip
                percent = st.text_input(
                    "Percent", "5", key="simulation_percent",
                    help="5 raises prices by a twentieth, -10 lowers them by a tenth.",
                )  # fmt: skip
            else:
                names = {one.id: one.title for one in versions}
                old = st.selectbox("Instead of", [*names], format_func=names.__getitem__, key="old")
                new = st.selectbox("Bill by", [*names], format_func=names.__getitem__, key="new")
        asked = st.button("Simulate", type="primary", key="simulate")
    if not asked:
        return None
    customers = (customer_id,) if customer_id else None
    request = SimulatePrices(first_month=first, last_month=last, customer_ids=customers)
    if kind == "Prices by percent":
        changed = ChangedPrices(percent=_percent(percent), charge_code=code)
        return request.model_copy(update={"prices": (changed,)})
    return request.model_copy(update={"versions": (_replaced(old, new),)})


def _replaced(old: UUID | None, new: UUID | None) -> ReplacedVersion:
    if old is None or new is None:
        raise InvalidError("Choose two plan versions.")
    return ReplacedVersion(version_id=old, by_version_id=new)


def _percent(typed: str) -> Decimal:
    try:
        found = Decimal(typed.strip().removesuffix("%").replace("−", "-"))
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or not -100 <= found <= 10_000:
        raise InvalidError("Enter the percent in digits, such as 5 or -2.5.")
    return found


def _show(found: Simulation) -> None:
    if found.is_exact:
        st.success(f"Checked: {found.verdict}.", icon=":material/verified:")
    else:
        st.error(f"This cannot be relied on: {found.verdict}.", icon=":material/block:")
    if found.unrated_after > found.unrated_before:
        more = count(found.unrated_after - found.unrated_before)
        st.warning(f"No rate would match {more} more events.", icon=":material/warning:")
    with st.grid(3, min_column_width=180):
        for one in found.totals:
            st.metric(
                f"{one.currency}, {count(found.periods)} periods",
                money(one.after_minor, one.currency),
                f"{signed(money(one.difference_minor, one.currency))} to "
                f"{money(one.before_minor, one.currency)}",
                delta_color="off", delta_arrow="off", border=True,
            )  # fmt: skip
    for total in found.totals:
        _chart([one for one in found.customers if one.currency == total.currency], total.currency)
    for title, rows, name in (
        ("By customer", found.customers, str),
        ("By channel", found.channels, words),
        ("By country", found.countries, country_name),
        ("By charge", found.charges, words),
    ):
        heading(title)
        _table(title, [one for one in rows if one.before_minor or one.after_minor][:50], name)


def _chart(customers: list[Difference], code: str) -> None:
    changed = [one for one in customers if one.difference_minor][:_BARS]
    if len(changed) < 2:
        return
    figure = difference_bars(
        [one.name or "–" for one in changed], [one.difference_minor for one in changed], code
    )
    caption = f"What customers would have been billed more or less in {code}, largest first."
    show(figure, caption=caption, key=f"simulation_chart_{code}", height=40 + 28 * len(changed))


def _table(title: str, rows: list[Difference], name: Callable[[str], str]) -> None:
    table(
        title,
        [Column("Name", nowrap=False), Column("Billed", "right"), Column("Simulated", "right"),
         Column("Difference", "right", strong=True), Column("Change", "right")],
        [
            (_name(one, name), money(one.before_minor, one.currency),
             money(one.after_minor, one.currency),
             signed(money(one.difference_minor, one.currency)),
             change_text(one.after_minor, one.before_minor))
            for one in rows
        ],
    )  # fmt: skip


def _name(one: Difference, name: Callable[[str], str]) -> str:
    """What a row is about; a fee has no channel and no country."""
    said = name(one.name) if one.name else "Without usage"
    return said if one.currency == "INR" else f"{said}, {one.currency}"


show_page(
    PageName.SIMULATION, "Simulation",
    "Try other prices on what was really used, and see who would have paid what.",
    _render,
)  # fmt: skip
