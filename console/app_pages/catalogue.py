"""Catalogue: plans and their versions, billable items, agreed prices, parts of the catalogue."""

from datetime import date
from decimal import Decimal
from typing import Final

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.lifecycle import restore_item, retire_item
from billing.catalog.requests import RestoreItem, RetireItem
from billing.formatting import format_date, format_quantity
from billing.periods import DEFAULT_ZONE, Interval, local_day
from console import actions
from console.access import PageName
from console.components.filters import customer_filter, open_one
from console.components.forms import confirm
from console.components.money import count, unit_price
from console.components.page import show_page
from console.components.plan import show_plan
from console.components.prices import PERIODS, matched
from console.components.status import Status, phase_status, plan_status, words
from console.components.tables import Column, empty, table
from console.components.text import last_day, note
from console.database import clock
from console.queries import catalogue
from console.queries.catalogue import AgreementRow, ItemRow, PlanRow

_MOST: Final = 300
_PLANS: Final = "Plans"
_ITEMS: Final = "Billable items"
_AGREED: Final = "Agreed prices"
_SUBSETS: Final = "Who is offered what"


def _render(actor: Actor) -> None:
    today = local_day(clock().now(), DEFAULT_ZONE)
    view = st.segmented_control(
        "Show", [_PLANS, _ITEMS, _AGREED, _SUBSETS], default=_PLANS, required=True,
        label_visibility="collapsed", key="catalogue_view",
    )  # fmt: skip
    if view == _PLANS:
        _plans(actor, today)
    elif view == _ITEMS:
        _items(actor)
    elif view == _AGREED:
        _agreements(actor, today)
    else:
        _subsets(actor)


def _plans(actor: Actor, today: date) -> None:
    found = catalogue.plans(actor, today)
    if not found:
        empty("No plans yet", "A plan is made through the API, with the prices of a first version.")
        return
    table(
        "Plans, those on sale first",
        [Column("Plan", strong=True, nowrap=False), Column("State"), Column("Version", "right"),
         Column("Billed every"), Column("Family"), Column("Drafts", "right"),
         Column("Templates", "right"), Column("Subscriptions today", "right")],
        [_plan_cells(one) for one in found],
    )  # fmt: skip
    by_id = {one.id: one for one in found}
    titles = {one.id: one.title for one in found}
    plan = by_id[open_one("Open plan", titles, key="plan_open")]
    with st.container(border=True):
        show_plan(actor, plan, today)


def _plan_cells(one: PlanRow) -> list[str | Status | None]:
    return [
        f"{one.name}, add-on" if one.is_add_on else one.name,
        plan_status(one.state),
        None if one.active is None else str(one.active),
        PERIODS[Interval(one.interval)].capitalize() if one.interval else None,
        f"{one.family}, {one.tier}" if one.family else None,
        count(one.drafts) if one.drafts else None,
        count(one.templates) if one.templates else None,
        count(one.subscriptions),
    ]


def _items(actor: Actor) -> None:
    found = catalogue.items(actor)
    if not found:
        empty("No billable items yet", "An item says which events count, and how they add up.")
        return
    table(
        "Billable items by name",
        [Column("Item", strong=True, nowrap=False), Column("Code"), Column("State"),
         Column("What counts", nowrap=False), Column("Unit"), Column("SAC"),
         Column("Priced by", nowrap=False)],
        [
            (one.name, one.code,
             Status("Retired", "⊘", "quiet") if one.is_retired else Status("In use", "●", "good")
             if one.plans else Status("Not priced", "○", "info"),
             _counts(one), one.unit, one.sac, "; ".join(one.plans) or None)
            for one in found
        ],
    )  # fmt: skip
    if not actor.may(Permission.CATALOG_WRITE):
        return
    by_id = {one.id: one for one in found}
    titles = {one.id: f"{one.name} ({one.code})" for one in found}
    with st.expander("Retire or restore an item", icon=":material/inventory_2:", key="item_ends"):
        one = by_id[open_one("Item", titles, key="item_open")]
        if one.is_retired:
            confirm(
                "restore_item", one.id, "Plans can price it again.", "Restore it",
                lambda key: actions.run(actor, key, restore_item, RestoreItem, item_id=one.id),
                f"{one.name} can be priced again.",
            )  # fmt: skip
        else:
            confirm(
                "retire_item", one.id, "No new prices are made for it.", "Retire it",
                lambda key: actions.run(actor, key, retire_item, RetireItem, item_id=one.id),
                f"{one.name} is retired.",
            )  # fmt: skip


def _counts(one: ItemRow) -> str:
    """Which events an item counts and how, or how it comes about without any."""
    if one.event_type is None:
        return {"recurring": "Each period", "one_time": "Once", "licence": "Seats"}.get(
            one.kind, words(one.kind)
        )
    what = one.property_name.replace("_", " ") if one.property_name else "quantity"
    measured = {
        "count": "Number of events",
        "sum": f"Sum of {what}",
        "max": f"Highest {what}",
        "unique": f"Different values of {what}",
        "latest": f"Latest {what}",
    }[one.aggregation]
    if one.conversion == "sms_segments":
        measured = "SMS segments"
    said = f"{measured} of {one.event_type}"
    kept = "; ".join(
        f"{words(name).lower()} {' or '.join(values)}"
        for name, values in sorted(one.event_filter.items())
    )
    return f"{said}, {kept}" if kept else said


def _agreements(actor: Actor, today: date) -> None:
    customer_id = customer_filter(actor, key="agreements")
    found = catalogue.agreements(actor, today, customer_id, _MOST)
    if not found:
        empty("No agreed prices", "What is agreed with an account comes before its plan's prices.")
        return
    table(
        "Prices agreed with accounts",
        [Column("Customer", strong=True, nowrap=False), Column("For", nowrap=False),
         Column("Usage", nowrap=False), Column("Price", "right"), Column("From"),
         Column("Until"), Column("State"), Column("Why", nowrap=False)],
        [
            (one.owner, one.priced, matched(one.match) or "All", _agreed(one),
             format_date(one.starts_on), last_day(one.ends_on),
             phase_status({"current": "active", "over": "ended"}.get(one.state, one.state)),
             one.reason)
            for one in found
        ],
    )  # fmt: skip
    if len(found) == _MOST:
        note(f"The first {_MOST} are shown; choose a customer to see others.")


def _agreed(one: AgreementRow) -> str:
    price = one.unit_price or one.flat_amount or Decimal(0)
    said = unit_price(price, one.currency)
    if one.unit_price and one.flat_amount:
        said = f"{said} + {unit_price(one.flat_amount, one.currency)}"
    bound = "" if one.up_to is None else f" up to {format_quantity(one.up_to, one.currency)}"
    return f"{said}{bound}"


def _subsets(actor: Actor) -> None:
    found = catalogue.subsets(actor)
    if not found:
        empty(
            "Everybody is offered everything",
            "A catalogue subset, made through the API, offers some customers a part of it.",
        )
        return
    table(
        "Parts of the catalogue",
        [Column("Name", strong=True, nowrap=False), Column("Plans", nowrap=False),
         Column("Families", nowrap=False), Column("Offered to", nowrap=False),
         Column("Others may have them")],
        [
            (f"{one.name} ({one.code})", "; ".join(one.plans) or None,
             ", ".join(one.families) or None, _customers(one.customers),
             "No" if one.is_exclusive else "Yes")
            for one in found
        ],
    )  # fmt: skip
    note("Customers of a subset choose among its plans alone. Who has another plan keeps it.")


def _customers(names: list[str]) -> str | None:
    if len(names) > 5:
        return f"{', '.join(names[:4])} and {count(len(names) - 4)} more"
    return ", ".join(names) or None


show_page(
    PageName.CATALOGUE, "Catalogue",
    "What is sold and at which prices: versions, what they change, and who has them.",
    _render,
)  # fmt: skip
