"""Wallets and their ledger: balances from the domain's tables, trends from the marts."""

from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from billing.access.roles import Permission
from console.queries.reading import fetch, live, mart


class WalletRow(NamedTuple):
    """One wallet; amounts in wallet units of its currency."""

    id: UUID
    account_id: UUID
    customer: str
    account: str
    currency: str
    balance_units: int
    held_units: int
    """By authorisations that are open."""
    credit_line_units: int
    low_balance_units: int
    status: str
    account_state: str
    updated_at: datetime
    is_frozen: bool
    """Both stores do not agree on what it holds: nothing is authorised."""

    @property
    def spendable_units(self) -> int:
        """What may still be authorised."""
        return max(self.balance_units - self.held_units + self.credit_line_units, 0)

    @property
    def owner(self) -> str:
        """The customer, and the account where that says more."""
        return (
            self.customer if self.account == self.customer else f"{self.customer} · {self.account}"
        )

    @property
    def title(self) -> str:
        """How a list names it."""
        return f"{self.owner} ({self.currency})"


class Movement(NamedTuple):
    """What one kind of posting did to a wallet on one day, in wallet units."""

    movement_day: date
    kind: str
    amount_units: int


class LedgerRow(NamedTuple):
    """One entry of a wallet's ledger; a credit to the wallet is positive.

    What takes away the rest of a grant refers to the grant by its own reference.
    """

    wallet_seq: int
    recorded_at: datetime
    kind: str
    reference: str
    amount_units: int
    balance_after_units: int


class ShardRow(NamedTuple):
    """How the events of a shard get into the books now."""

    shard: int
    mode: str
    epoch: int
    applied_at: datetime | None
    """When Redis took the last entry in that is in the books; None if this epoch has none yet."""
    frozen: int
    """Wallets on which Redis and PostgreSQL do not agree."""


@live(Permission.WALLETS_READ)
def shards(confined: UUID | None) -> list[ShardRow]:
    """All shards; customers are told of none."""
    rows = fetch(
        """
        select s.shard, s.mode, s.epoch,
               case when s.cursor_ms > 0 then to_timestamp(s.cursor_ms / 1000.0) end,
               (select count(*) from usage.wallet_drifts d
                where d.shard = s.shard and d.settled_at is null)
        from usage.shard_state s
        where cast(:confined as uuid) is null
        order by s.shard
        """,
        {"confined": confined},
    )
    return [ShardRow(*row) for row in rows]


@live(Permission.WALLETS_READ)
def wallets(confined: UUID | None) -> list[WalletRow]:
    """All wallets, those that need attention first."""
    rows = fetch(
        """
        select w.id, w.account_id, c.name, a.name, w.currency, w.balance_units,
               coalesce(h.held_units, 0), w.credit_line_units, w.low_balance_units, w.status,
               a.status as account_state, w.updated_at,
               exists (select 1 from usage.wallet_drifts d
                       where d.wallet_id = w.id and d.settled_at is null)
        from billing.wallets w
        join billing.accounts a on a.id = w.account_id
        join billing.customers c on c.id = a.customer_id
        left join (
            select wallet_id, sum(amount_units)::bigint as held_units
            from usage.holds where state = 'open' group by wallet_id
        ) h on h.wallet_id = w.id
        where cast(:confined as uuid) is null or a.customer_id = :confined
        order by array_position(array['suspended', 'low', 'active'], cast(w.status as text)),
                 lower(c.name), lower(a.name), w.currency
        """,
        {"confined": confined},
    )
    return [WalletRow(*row) for row in rows]


@mart(Permission.WALLETS_READ)
def movements(confined: UUID | None, wallet_id: UUID, since: date) -> list[Movement]:
    """What moved a wallet, by day."""
    rows = fetch(
        """
        select movement_day, kind, sum(amount_units)::bigint from marts.fct_wallet_movements
        where wallet_id = :wallet_id and movement_day >= :since
          and (cast(:confined as uuid) is null or customer_id = :confined)
        group by movement_day, kind order by movement_day, kind
        """,
        {"wallet_id": wallet_id, "since": since, "confined": confined},
    )
    return [Movement(*row) for row in rows]


@live(Permission.WALLETS_READ)
def ledger(
    confined: UUID | None, wallet_id: UUID, before_seq: int | None, limit: int
) -> list[LedgerRow]:
    """Entries of a wallet's ledger, newest first.

    Args:
        before_seq: only entries older than this one.
        limit: at most this many.
    """
    rows = fetch(
        """
        select e.wallet_seq, t.recorded_at, t.kind,
               coalesce(t.kind || ':' || g.reference, t.reference), e.amount_units,
               e.balance_after_units
        from billing.ledger_entries e
        join billing.ledger_transactions t on t.id = e.transaction_id
        left join billing.credit_grants g on g.ledger_transaction_id =
            case when t.kind in ('expiry', 'void')
                 then cast(split_part(t.reference, ':', 2) as uuid) end
        join billing.wallets w on w.id = e.wallet_id
        join billing.accounts a on a.id = w.account_id
        where e.wallet_id = :wallet_id and e.wallet_seq is not null
          and (cast(:before_seq as bigint) is null or e.wallet_seq < :before_seq)
          and (cast(:confined as uuid) is null or a.customer_id = :confined)
        order by e.wallet_seq desc limit :limit
        """,
        {"wallet_id": wallet_id, "before_seq": before_seq, "limit": limit, "confined": confined},
    )
    return [LedgerRow(*row) for row in rows]
