"""One plan: its versions with their prices in words, what they change, and what can be done."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final
from uuid import UUID

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.diff import diff_versions
from billing.catalog.lifecycle import (
    archive_plan,
    discard_version,
    publish_version,
    restore_plan,
)
from billing.catalog.repository import get_version
from billing.catalog.requests import (
    ArchivePlan,
    CopyVersion,
    DiscardVersion,
    PublishVersion,
    RestorePlan,
)
from billing.catalog.service import copy_version
from billing.catalog.tables import Anchor, PlanVersion
from billing.db.unit_of_work import read_only
from billing.formatting import format_date
from billing.periods import add_months
from billing.simulations.compare import Candidate, ComparePrices, Comparison, compare_prices
from console import actions
from console.components.comparison import show_comparison
from console.components.filters import open_one
from console.components.forms import attempt, confirm, form_key
from console.components.migration import show_migration, show_migrations
from console.components.money import count
from console.components.plan_editor import show_editor
from console.components.prices import PERIODS, change_rows, charge_rows
from console.components.status import plan_status, version_status
from console.components.tables import Cell, Column, empty, fact_list, table
from console.components.text import heading, note
from console.database import engine
from console.queries import catalogue, invoices
from console.queries.catalogue import PlanRow, VersionRow

_CHANGES: Final = "What it changes"
_USAGE: Final = "On past usage"
_MOVE: Final = "Move subscribers"
_EDIT: Final = "Change it"
_DO: Final = "Publish or copy"
_MOST: Final = 10_000
"""Accounts that can be named; of more, all are rated."""


def show_plan(actor: Actor, plan: PlanRow, today: date) -> None:
    """The plan, and the version of it that is chosen."""
    heading(plan.title)
    fact_list([
        ("State", plan_status(plan.state)),
        ("Sold", "Beside another plan" if plan.is_add_on else "By itself"),
        ("Family", f"{plan.family}, tier {plan.tier}" if plan.family else None),
        ("Subscriptions today", count(plan.subscriptions)),
    ])  # fmt: skip
    if actor.may(Permission.CATALOG_WRITE):
        _archive(actor, plan)
    versions = catalogue.versions(actor, plan.id, today)
    if not versions:
        empty("No prices yet", "A plan is sold once a version of it is published.")
        return
    by_id = {one.id: one for one in versions}
    titles = {one.id: one.title for one in versions}
    chosen = by_id[open_one("Version", titles, key=f"version_of_{plan.id}")]
    with read_only(engine()) as session:
        version = get_version(session, actor, chosen.id)
        terms, prices = _terms(version, chosen), charge_rows(version)
    fact_list(terms)
    table(
        "Charges and their prices",
        [Column("Charge", strong=True, nowrap=False), Column("For", nowrap=False),
         Column("Currency"), Column("Price", nowrap=False), Column("And", nowrap=False)],
        prices,
    )  # fmt: skip
    _more(actor, plan, chosen, by_id)


def _terms(version: PlanVersion, row: VersionRow) -> list[tuple[str, Cell]]:
    begins = "By calendar" if version.anchor is Anchor.FIXED else "As it starts"
    return [
        ("State", version_status("template" if row.template else row.status)),
        ("On it today", count(row.subscriptions)),
        ("Billed every", PERIODS[version.interval].capitalize()),
        ("Periods begin", begins),
        ("Trial", f"{version.trial_days} days" if version.trial_days else None),
        ("Late events wait", f"{version.grace_days} days"),
        ("Published", format_date(row.published_on) if row.published_on else None),
    ]


def _more(
    actor: Actor, plan: PlanRow, chosen: VersionRow, versions: Mapping[UUID, VersionRow]
) -> None:
    views = [_CHANGES, _USAGE]
    if not chosen.is_open:
        views.append(_MOVE)
    elif actor.may(Permission.CATALOG_WRITE):
        views.append(_EDIT)
    if actor.may(Permission.CATALOG_WRITE):
        views.append(_DO)
    view = st.segmented_control(
        "More about this version", views, default=views[0], required=True,
        label_visibility="collapsed", key=f"more_{chosen.id}",
    )  # fmt: skip
    if view == _CHANGES:
        _changes(actor, chosen, versions)
    elif view == _USAGE:
        _past_usage(actor, plan, chosen, versions)
    elif view == _MOVE:
        show_migration(actor, chosen.id, f"version {chosen.version} of {plan.name}")
        show_migrations(actor, chosen.id)
    elif view == _EDIT:
        show_editor(actor, chosen.id)
    else:
        _do(actor, plan, chosen)


def _changes(actor: Actor, chosen: VersionRow, versions: Mapping[UUID, VersionRow]) -> None:
    others = {one.id: one.title for one in versions.values() if one.id != chosen.id}
    if not others:
        note("It is the plan's only version.")
        return
    against = st.selectbox(
        "Against", list(others), index=list(others).index(_usual(chosen, versions)),
        format_func=others.__getitem__, key=f"against_{chosen.id}",
    )  # fmt: skip
    with read_only(engine()) as session:
        older = get_version(session, actor, against)
        rows = change_rows(diff_versions(older, get_version(session, actor, chosen.id)))
    if not rows:
        note("Nothing: both say the same.")
        return
    table(
        "What the version changes",
        [Column("Of", strong=True, nowrap=False), Column("What", nowrap=False),
         Column(f"Version {versions[against].version}", "right"),
         Column(f"Version {chosen.version}", "right")],
        rows,
    )  # fmt: skip


def _usual(chosen: VersionRow, versions: Mapping[UUID, VersionRow]) -> UUID:
    """What a version is first compared with: for prices that are not in force those that are, or
    else the version before."""
    others = [one for one in versions.values() if one.id != chosen.id]
    active = [one.id for one in others if one.status == "active"]
    before = [one.id for one in others if one.version < chosen.version and not one.is_open]
    return (active if chosen.is_open and active else [*before, *(one.id for one in others)])[0]


def _past_usage(
    actor: Actor, plan: PlanRow, chosen: VersionRow, versions: Mapping[UUID, VersionRow]
) -> None:
    months = sorted(invoices.months(actor))
    if not months:
        empty("Nothing was billed yet", "Prices are tried on months that have been closed.")
        return
    titles = {one.id: one.title for one in versions.values()}
    with st.grid(2, min_column_width=260):
        wanted = st.multiselect(
            "Versions to compare", list(titles), default=[chosen.id], max_selections=4,
            format_func=titles.__getitem__, key=f"compared_{chosen.id}",
        )  # fmt: skip
        first, last = months[-1], months[-1]
        if len(months) > 1:
            first, last = st.select_slider(
                "Months", months, value=(months[-1], months[-1]),
                format_func=lambda month: f"{month:%b %Y}", key=f"compared_months_{chosen.id}",
            )  # fmt: skip
    slot = f"comparison_{chosen.id}"
    asked = st.button("Rate the usage again", icon=":material/science:", key=f"rate_{chosen.id}")
    wish = (tuple(wanted), first, last)
    if asked and wanted:
        with st.spinner("Rating the months again…"):
            st.session_state[slot] = (wish, _compared(actor, plan, wanted, versions, (first, last)))
    found = st.session_state.get(slot)
    if found and found[0] == wish:
        show_comparison(found[1])
    else:
        note(
            "What everybody who had this plan would have been billed by each version, for what was "
            "really used. Nothing is stored."
        )


def _compared(
    actor: Actor,
    plan: PlanRow,
    wanted: Sequence[UUID],
    versions: Mapping[UUID, VersionRow],
    months: tuple[date, date],
) -> Comparison:
    names = {one: versions[one].template or f"Version {versions[one].version}" for one in wanted}
    # the period of a year that is invoiced in a month may have begun a year before
    days = add_months(months[0], -12), add_months(months[1], 1)
    accounts = catalogue.accounts_with(actor, plan.id, *days)
    request = ComparePrices(
        account_ids=tuple(accounts) if len(accounts) <= _MOST else None,
        first_month=months[0],
        last_month=months[1],
        candidates=tuple(Candidate(name=names[one], version_ids=(one,)) for one in wanted),
    )
    with read_only(engine()) as session:
        return compare_prices(session, actor, request)


def _do(actor: Actor, plan: PlanRow, chosen: VersionRow) -> None:
    if chosen.is_open and not chosen.template and plan.state != "archived":
        stay = (
            f" {count(plan.subscriptions)} subscriptions stay on the version they have until they "
            "are moved."
            if plan.subscriptions
            else ""
        )
        confirm(
            "publish", chosen.id,
            f"New subscriptions get these prices, and they never change.{stay}",
            f"Publish version {chosen.version}",
            lambda key: actions.run(
                actor, key, publish_version, PublishVersion, plan_version_id=chosen.id
            ),
            f"Version {chosen.version} is published.", primary=True,
        )  # fmt: skip
    if chosen.template:
        note("A template is never published: copy it to a draft, and publish that.")
    _copy(actor, chosen)
    if chosen.is_open:
        confirm(
            "discard", chosen.id, "It is given up, and nothing can be made of it any more.",
            f"Discard version {chosen.version}",
            lambda key: actions.run(
                actor, key, discard_version, DiscardVersion, plan_version_id=chosen.id
            ),
            f"Version {chosen.version} is discarded.",
        )  # fmt: skip


def _copy(actor: Actor, chosen: VersionRow) -> None:
    name = f"copy:{chosen.id}"
    key = form_key(name)
    with st.form(f"copy_{key}", border=False):
        template = st.text_input(
            "Name of the template, if it is only to be compared with", key=f"copy_name_{key}",
            placeholder="A draft to be published", max_chars=63,
            help="Small letters, digits, - and _. Without a name the copy is a draft.",
        )  # fmt: skip
        asked = st.form_submit_button(
            f"Copy version {chosen.version}", icon=":material/content_copy:",
            key=f"copy_submit_{key}",
        )  # fmt: skip
    if asked:
        attempt(
            name,
            lambda key: actions.run(
                actor, key, copy_version, CopyVersion, plan_version_id=chosen.id,
                template=template.strip() or None,
            ),
            lambda made: f"Version {made.version} is there, with the same prices.",
        )  # fmt: skip


def _archive(actor: Actor, plan: PlanRow) -> None:
    with st.expander(
        "Sell it again" if plan.state == "archived" else "Withdraw the plan",
        icon=":material/inventory_2:", key=f"archive_{plan.id}",
    ):  # fmt: skip
        if plan.state == "archived":
            confirm(
                "restore", plan.id, "New subscriptions can get it again.", "Restore it",
                lambda key: actions.run(actor, key, restore_plan, RestorePlan, plan_id=plan.id),
                f"The plan {plan.name} is on sale again.",
            )  # fmt: skip
            return
        confirm(
            "archive", plan.id,
            f"Nobody new gets it. {count(plan.subscriptions)} subscriptions keep it, billed "
            "as before.",
            "Archive it",
            lambda key: actions.run(actor, key, archive_plan, ArchivePlan, plan_id=plan.id),
            f"The plan {plan.name} is archived.",
        )  # fmt: skip
