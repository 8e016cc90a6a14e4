"""A clock that stands still."""

from datetime import UTC, datetime

import pytest

from billing.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """Standing at the 15th of July 2026, 10:00 in India, until a test moves it."""
    return ManualClock(datetime(2026, 7, 15, 4, 30, tzinfo=UTC))
