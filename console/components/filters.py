"""Filters that pages share."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Final
from uuid import UUID

import streamlit as st

from billing.access.actor import Actor
from billing.formatting import format_period
from billing.periods import add_months
from console.queries import customers

PERIODS: Final = ("Last 7 days", "Last 30 days", "Last 90 days", "This month", "Last month")
_CUSTOM: Final = "Custom"
_DAYS: Final = {"Last 7 days": 7, "Last 30 days": 30, "Last 90 days": 90}


def period_of(name: str, last_day: date) -> tuple[date, date]:
    """The half-open period a name stands for, counted back from the last day with data."""
    end = last_day + timedelta(days=1)
    if name in _DAYS:
        return end - timedelta(days=_DAYS[name]), end
    month = last_day.replace(day=1)
    if name == "This month":
        return month, end
    return add_months(month, -1), month


def period_filter(first_day: date, last_day: date, *, key: str) -> tuple[date, date]:
    """Choose a half-open period within the days there is data for."""
    chosen = st.selectbox("Period", [*PERIODS, _CUSTOM], index=1, key=f"{key}_period")
    if chosen != _CUSTOM:
        return period_of(str(chosen), last_day)
    days = st.date_input(
        "Days",
        value=(max(first_day, last_day - timedelta(days=29)), last_day),
        min_value=first_day,
        max_value=last_day,
        format="DD/MM/YYYY",
        key=f"{key}_days",
    )
    if not isinstance(days, tuple) or len(days) != 2:
        st.info("Choose the last day too.")
        st.stop()
    return days[0], days[1] + timedelta(days=1)


def customer_filter(actor: Actor, *, key: str) -> UUID | None:
    """Choose a customer, or all; someone confined to one customer is not asked."""
    if actor.customer_id is not None:
        return actor.customer_id
    names = {choice.id: choice.name for choice in customers.choices(actor)}
    return st.selectbox(
        "Customer",
        [None, *names],
        format_func=lambda chosen: names[chosen] if chosen else "All customers",
        key=f"{key}_customer",
    )


def open_one(label: str, titles: Mapping[UUID, str], *, key: str) -> UUID:
    """Choose which row of a list is opened; the first one if the last choice is no longer in it.

    The choice is said at every run: a browser that keeps its own would show the title of a row that
    was filtered away, or the one that it had before it was changed.
    """
    if st.session_state.get(key) in titles:
        st.session_state[key] = st.session_state[key]
    else:
        st.session_state[key] = next(iter(titles))
    chosen: UUID = st.selectbox(label, list(titles), format_func=titles.__getitem__, key=key)
    return chosen


def many(
    label: str, options: Sequence[str], *, key: str, name: Callable[[str], str] = str
) -> tuple[str, ...]:
    """Choose any of several values, shown by their name; none means all."""
    return tuple(st.multiselect(label, options, format_func=name, placeholder="All", key=key))


def period_words(first_day: date, end_day: date) -> str:
    """A half-open period as people say it."""
    return format_period(first_day, end_day)
