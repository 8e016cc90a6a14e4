"""Quotas in the simulation: each account has one, of as many events as it likes."""

from dataclasses import dataclass, replace
from uuid import UUID

from billing.entitlements.quotas import Quota
from billing.entitlements.tables import QuotaPeriod
from billing.usage.batch import Position
from billing.usage.event import microseconds
from tests.simulation.loop import BEGINNING

UNIT = 1_000_000
LIMIT = 10**6 * UNIT
"""Never reached: what is compared is what was counted."""


def quota_of(account: UUID) -> Quota:
    """An account's quota: its id is the account's."""
    return Quota(
        entitlement_id=account,
        event_type="otp.sms",
        event_filter={},
        counts_events=True,
        limit_micros=LIMIT,
        is_hard=True,
        period=QuotaPeriod.MONTH,
        zone="Asia/Kolkata",
    )


def name_of(account: UUID) -> str:
    """The quota of the month in which all happens."""
    return quota_of(account).name(microseconds(BEGINNING))


@dataclass(frozen=True)
class QuotaCount:
    """What Redis keeps of one."""

    begins: Position | None = None
    base: int | None = None
    used: int = 0

    def with_use(self, quantity: int, position: Position) -> "QuotaCount":
        """An admitted event counts."""
        return replace(self, begins=self.begins or position, used=self.used + quantity)
