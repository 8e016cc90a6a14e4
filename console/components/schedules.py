"""Dunning schedules: days after the due date and what is done on them, edited as rows."""

from typing import Any

import pandas as pd
import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.db.unit_of_work import read_only
from billing.dunning.service import SaveSchedule, list_schedules, save_schedule
from billing.dunning.tables import DunningAction, DunningSchedule
from console import actions
from console.components.forms import attempt, form_key
from console.components.status import Status, words
from console.components.tables import Column, empty, table
from console.components.text import heading, note
from console.database import engine

_COLUMNS = ("day", "action", "subject", "body")
_FIRST = [
    {"day": -3, "action": "remind"}, {"day": 1, "action": "remind"},
    {"day": 14, "action": "remind"}, {"day": 30, "action": "suspend"},
]  # fmt: skip
_NAMES = "{number}, {due_date}, {customer}, {currency}, {outstanding}, {are_due}, {days_late}"


def show_schedules(actor: Actor) -> None:
    """Every schedule, and an editor for those who may decide on them."""
    with read_only(engine()) as session:
        found = list(list_schedules(session, actor))
    for schedule in found:
        _show(schedule)
    if not found:
        empty("No schedule yet", "Until a default one is saved, no reminder is sent to anybody.")
    if actor.may(Permission.INVOICES_APPROVE):
        with st.expander("Edit a schedule", icon=":material/edit:", expanded=not found):
            _edit(actor, {one.code: one for one in found})


def _show(schedule: DunningSchedule) -> None:
    heading(f"{schedule.name} ({schedule.code})")
    if schedule.is_default:
        note("Holds for every account without a schedule of its own.")
    table(
        f"Steps of {schedule.name}",
        [Column("When", strong=True), Column("What"), Column("Subject", nowrap=False)],
        [
            (_when(int(step["day"])), _action(step["action"]), step.get("subject"))
            for step in sorted(schedule.steps, key=lambda one: int(one["day"]))
        ],
    )  # fmt: skip


def _when(day: int) -> str:
    days = f"{abs(day)} day{'' if abs(day) == 1 else 's'}"
    return f"{days} before" if day < 0 else (f"{days} after" if day else "On the due date")


def _action(value: str) -> Status:
    icons = {"remind": ("✉", "info"), "charge": ("↻", "info"), "suspend": ("■", "bad")}
    icon, tone = icons[value]
    return Status(words(value), icon, tone)  # type: ignore[arg-type]


def _edit(actor: Actor, found: dict[str, DunningSchedule]) -> None:
    chosen = st.selectbox(
        "Schedule", [*found, None], key="schedule_edit",
        format_func=lambda one: found[one].name if one else "A new one",
    )  # fmt: skip
    kept = found[chosen] if chosen else None
    name = f"schedule:{chosen}"
    key = form_key(name)
    with st.form(f"schedule_{key}", border=False):
        with st.grid(3, min_column_width=150):
            code = st.text_input("Code", kept.code if kept else "standard", key=f"code_{key}",
                                 disabled=kept is not None)  # fmt: skip
            title = st.text_input("Name", kept.name if kept else "Standard", key=f"name_{key}")
            least = st.number_input(
                "Leave alone up to, in paise or cents", 0, 10**9,
                kept.ignore_below_minor if kept else 100, key=f"least_{key}",
            )  # fmt: skip
        rows = st.data_editor(
            _frame(kept.steps if kept else _FIRST),
            hide_index=True, num_rows="dynamic", key=f"steps_{key}",
            column_config={
                "day": st.column_config.NumberColumn(
                    "Days after due", step=1, required=True, help="Negative is before."
                ),
                "action": st.column_config.SelectboxColumn(
                    "What", options=[one.value for one in DunningAction], required=True,
                    format_func=lambda one: words(str(one)),
                ),
                "subject": st.column_config.TextColumn("Subject of the letter", width="medium"),
                "body": st.column_config.TextColumn("Its words", width="large"),
            },
        )  # fmt: skip
        note(f"Without a subject and words, plain ones are sent. They may name {_NAMES}.")
        default = st.checkbox(
            "Holds for accounts without one of their own", kept.is_default if kept else True,
            key=f"default_{key}",
        )  # fmt: skip
        asked = st.form_submit_button("Save it", type="primary", key=f"schedule_submit_{key}")
    if asked:
        attempt(
            name,
            lambda key: actions.run(
                actor, key, save_schedule, SaveSchedule, code=code.strip(), name=title.strip(),
                steps=_steps(rows), ignore_below_minor=int(least), is_default=default,
            ),
            f"The schedule {title.strip()} is saved; steps that were taken stay taken.",
        )  # fmt: skip


def _frame(steps: list[dict[str, Any]]) -> pd.DataFrame:
    """The steps as rows; a field that is left out is an empty text."""
    rows = [{"subject": "", "body": "", **step} for step in steps]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _steps(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as steps; an empty cell is a field that is left out."""
    return [
        {name: value for name, value in row.items() if not pd.isna(value) and value != ""}
        for row in rows.to_dict("records")
    ]
