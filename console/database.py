"""The console's one engine, and the clock its commands run by."""

import streamlit as st
from sqlalchemy import Engine

from billing.clock import Clock, SystemClock
from billing.db.engine import open_engine
from billing.settings import Settings


@st.cache_resource(show_spinner=False)
def _engine_of(url: str) -> Engine:
    return open_engine(url, application="billing-console")


def engine() -> Engine:
    """The engine of the configured database, shared by all sessions.

    Raises:
        UnavailableError: if no database is configured and no embedded stack runs.
    """
    return _engine_of(Settings.load().require_database_url())


def clock() -> Clock:
    """The clock that commands run by."""
    return SystemClock()
