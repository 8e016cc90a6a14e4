"""What an account's state means for sending: pure, so that the intake can ask it in memory."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from billing.customers.tables import Account, AccountStatus, SuspensionCause
from billing.money import minor_to_units


class Refusal(StrEnum):
    """Why an account may not send, whatever its wallet holds."""

    SUSPENDED = "account_suspended"
    CLOSED = "account_closed"
    FROZEN = "wallet_frozen"


@dataclass(frozen=True, slots=True)
class Standing:
    """An account's state, as far as sending goes; the limit in wallet units."""

    status: AccountStatus
    suspended_for: SuspensionCause | None = None
    grace_ends_at: datetime | None = None
    grace_units: int = 0
    grace_hours: int = 0
    is_frozen: bool = False
    """Whether the stores do not agree on its wallet."""
    journal_answers: bool | None = None
    """Whether an answer by the journal is allowed; None: as the process is configured."""

    @property
    def refusal(self) -> Refusal | None:
        """Why nothing is authorised; a lack of funds is the wallet's to tell."""
        if self.status is AccountStatus.CLOSED:
            return Refusal.CLOSED
        if self.status is AccountStatus.SUSPENDED and (
            self.suspended_for is not SuspensionCause.FUNDS
        ):
            return Refusal.SUSPENDED
        return Refusal.FROZEN if self.is_frozen else None

    def grace(self, now: datetime) -> int:
        """How far below the credit line sending may go now."""
        return 0 if not self.grace_hours or self.is_grace_over(now) else self.grace_units

    def is_grace_over(self, now: datetime) -> bool:
        """Whether there was a grace period, and it has been used up."""
        if self.status is AccountStatus.GRACE:
            return self.grace_ends_at is not None and now >= self.grace_ends_at
        return self.status is AccountStatus.SUSPENDED and self.grace_hours > 0


def standing_of(account: Account, *, is_frozen: bool = False) -> Standing:
    """The state of an account as it is recorded."""
    return Standing(
        status=account.status,
        suspended_for=account.suspended_for,
        grace_ends_at=account.grace_ends_at,
        grace_units=minor_to_units(account.grace_limit_minor, account.currency),
        grace_hours=account.grace_hours,
        is_frozen=is_frozen,
        journal_answers=account.journal_answers,
    )
