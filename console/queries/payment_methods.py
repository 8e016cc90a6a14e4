"""When the wallets of an account fill themselves."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from billing.access.roles import Permission
from console.queries.reading import fetch, live


class AutoTopUpRow(NamedTuple):
    """A wallet with its rule, if it has one; amounts of the rule in minor units, without tax."""

    wallet_id: UUID
    currency: str
    balance_units: int
    payment_method_id: UUID | None
    method: str | None
    threshold_minor: int | None
    credits_minor: int | None
    monthly_cap_minor: int | None
    most_failures: int | None
    is_on: bool | None
    off_reason: str | None
    updated_at: datetime | None


@live(Permission.PAYMENTS_READ)
def auto_top_ups(confined: UUID | None, account_id: UUID) -> list[AutoTopUpRow]:
    """The wallets of an account."""
    rows = fetch(
        """
        select w.id, w.currency, w.balance_units, t.payment_method_id, m.label, t.threshold_minor,
               t.credits_minor, t.monthly_cap_minor, t.most_failures, t.is_on, t.off_reason,
               t.updated_at
        from billing.wallets w
        join billing.accounts a on a.id = w.account_id
        left join billing.auto_top_ups t on t.wallet_id = w.id
        left join billing.payment_methods m on m.id = t.payment_method_id
        where a.id = :account_id
          and (cast(:confined as uuid) is null or a.customer_id = :confined)
        order by w.currency, w.id
        """,
        {"account_id": account_id, "confined": confined},
    )
    return [AutoTopUpRow(*row) for row in rows]
