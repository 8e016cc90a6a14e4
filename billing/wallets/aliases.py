"""Which account an alias named when."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.customers.tables import AccountAlias


@dataclass(frozen=True, slots=True)
class AliasRange:
    """The local days on which an alias names an account."""

    account_id: UUID
    valid_from: date
    valid_to: date | None


def load_aliases(session: Session, alias: str) -> tuple[AliasRange, ...]:
    """Which accounts an alias named when, the latest first."""
    rows = session.execute(
        select(AccountAlias.account_id, AccountAlias.valid_from, AccountAlias.valid_to)
        .where(AccountAlias.alias == alias)
        .order_by(AccountAlias.valid_from.desc())
    )
    return tuple(AliasRange(*row) for row in rows)
