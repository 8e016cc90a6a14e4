"""Moving the subscribers of a plan to one of its versions: tried, then done, then reported."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final
from uuid import UUID

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.db.unit_of_work import read_only
from billing.errors import BillingError
from billing.formatting import format_date
from billing.periods import DEFAULT_ZONE, local_day
from billing.subscriptions.migration import (
    MigrateSubscribers,
    Migration,
    Overrides,
    list_migrations,
    migrate_subscribers,
    try_migration,
)
from billing.subscriptions.tables import Proration
from console import actions
from console.components.boundary import say
from console.components.forms import confirm
from console.components.money import count, money, signed
from console.components.status import Status
from console.components.subscription import PRORATION
from console.components.tables import Column, empty, table
from console.components.text import actor_name, note
from console.database import clock, engine
from console.queries import subscriptions

_WHEN: Final = {"renewal": "At the end of its period", "now": "At the coming midnight"}
_ON_A_DAY: Final = "On a day"
_OVERRIDES: Final = {
    Overrides.KEEP: "Stay as they are agreed",
    Overrides.DROP: "End on the day of the change",
}
_MOST: Final = 200


def show_migration(actor: Actor, version_id: UUID, title: str) -> None:
    """Who would move to a version and what the next invoices would be; then the move itself."""
    wish = _wish(version_id)
    slot = f"migration_{version_id}"
    if st.button("Try it", icon=":material/visibility:", key=f"try_{version_id}"):
        st.session_state[slot] = wish
    if st.session_state.get(slot) != wish:
        note("Nobody is moved before you have seen what becomes of each.")
        return
    try:
        with st.spinner("Rating the next invoices…"), read_only(engine()) as session:
            found = try_migration(session, actor, clock(), version_id, wish)
    except BillingError as error:
        say(error)
        return
    if not found:
        empty("Nobody to move", "Nobody is on another version of the plan.")
        return
    moved = sum(bool(one["moved"]) for one in found)
    note(f"{count(moved)} would move, {count(len(found) - moved)} would stay.")
    _report(actor, found)
    if moved and actor.may(Permission.SUBSCRIPTIONS_WRITE):
        _move(actor, version_id, wish, moved, title)


def show_migrations(actor: Actor, version_id: UUID) -> None:
    """What was moved to a version before, each with its report."""
    with read_only(engine()) as session:
        done = [
            (row.id, row.made_at, row.made_by, list(row.report))
            for row in list_migrations(session, actor, version_id)
        ]
    for migration_id, made_at, made_by, report in done:
        moved = sum(bool(one["moved"]) for one in report)
        day = format_date(local_day(made_at, DEFAULT_ZONE))
        label = f"{day}: {count(moved)} moved, {count(len(report) - moved)} stayed"
        with st.expander(label, key=f"migration_{migration_id}"):
            note(f"By {actor_name(made_by)}.")
            _report(actor, report)


def _wish(version_id: UUID) -> Migration:
    with st.grid(3, min_column_width=200):
        chosen = st.selectbox(
            "When", [*_WHEN, _ON_A_DAY], format_func=lambda one: _WHEN.get(one, one),
            key=f"migrate_when_{version_id}",
        )  # fmt: skip
        when: Any = chosen
        if chosen == _ON_A_DAY:
            tomorrow = local_day(clock().now(), DEFAULT_ZONE) + timedelta(days=1)
            when = st.date_input(
                "First day of it", tomorrow, format="DD/MM/YYYY", key=f"migrate_day_{version_id}"
            )
        proration = st.selectbox(
            "Recurring charges of that period bill", list(PRORATION),
            format_func=PRORATION.__getitem__, key=f"migrate_proration_{version_id}",
        )  # fmt: skip
        overrides = st.selectbox(
            "Prices agreed with an account", list(_OVERRIDES),
            format_func=_OVERRIDES.__getitem__, key=f"migrate_overrides_{version_id}",
        )  # fmt: skip
    return Migration(when=when, proration=Proration(proration), overrides=Overrides(overrides))


def _move(actor: Actor, version_id: UUID, wish: Migration, moved: int, title: str) -> None:
    confirm(
        "migrate", version_id, f"{count(moved)} subscriptions go on by {title}.", "Move them",
        lambda key: actions.run(
            actor, key, migrate_subscribers, MigrateSubscribers, plan_version_id=version_id,
            **wish.model_dump(),
        ),
        lambda made: f"{count(sum(bool(one['moved']) for one in made.report))} were moved.",
        primary=True, closes=f"migration_{version_id}",
    )  # fmt: skip


def _report(actor: Actor, rows: Sequence[dict[str, Any]]) -> None:
    owners = {one.id: one.title for one in subscriptions.accounts(actor)}
    tried = any("difference_minor" in one for one in rows)
    columns = [Column("Customer", strong=True, nowrap=False), Column("What happens"),
               Column("From"), Column("Why not", nowrap=False),
               Column("Agreed prices ended", "right")]  # fmt: skip
    if tried:
        columns.append(Column("Next invoice", "right"))
    table("What becomes of each subscription", columns, [
        _cells(one, owners, tried=tried) for one in rows[:_MOST]
    ])  # fmt: skip
    if len(rows) > _MOST:
        note(f"The first {_MOST} are shown.")


def _cells(
    one: dict[str, Any], owners: dict[UUID, str], *, tried: bool
) -> list[str | Status | None]:
    day = one["effective_on"]
    cells: list[str | Status | None] = [
        owners.get(UUID(one["account_id"]), "A closed account"),
        Status("Moves", "→", "good") if one["moved"] else Status("Stays", "■", "quiet"),
        format_date(date.fromisoformat(day)) if day else None,
        one["reason"],
        count(len(one["ended_overrides"])) if one["ended_overrides"] else None,
    ]
    if tried:
        more = one["difference_minor"]
        cells.append(signed(money(more, one["currency"])) if more else None)
    return cells
