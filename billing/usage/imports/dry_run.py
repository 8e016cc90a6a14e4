"""What an import would do, without sending or storing anything."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.db.unit_of_work import read_only
from billing.errors import FieldError
from billing.periods import local_day
from billing.usage.event import UsageEvent
from billing.usage.imports.check import Checked
from billing.usage.imports.error_file import Refusal
from billing.wallets.aliases import AliasRange, load_aliases
from billing.wallets.card_loader import load_account
from billing.wallets.rate_card import BillableAccount, PriceReason

_TOGETHER: Final = 1_000

# `seen` is this session's own and gone with its transaction: a file of any length is compared with
# itself without holding its ids in memory.
_SEEN = text(
    """
    CREATE TEMP TABLE seen (
        source text, event_id text, body_hash bytea, PRIMARY KEY (source, event_id)
    ) ON COMMIT DROP
    """
)
_KNOWN = text(
    """
    WITH sent AS (
        SELECT * FROM unnest(
            CAST(:sources AS text[]), CAST(:ids AS text[]), CAST(:hashes AS bytea[])
        ) WITH ORDINALITY AS sent (source, event_id, body_hash, place)
    ), known AS (
        SELECT sent.*, coalesce(
            (SELECT k.body_hash FROM usage.event_key k
             WHERE k.source = sent.source AND k.event_id = sent.event_id),
            (SELECT s.body_hash FROM pg_temp.seen s
             WHERE s.source = sent.source AND s.event_id = sent.event_id),
            first_value(body_hash) OVER same
        ) AS first_hash, row_number() OVER same > 1 OR EXISTS (
            SELECT 1 FROM usage.event_key k
            WHERE k.source = sent.source AND k.event_id = sent.event_id
            UNION ALL
            SELECT 1 FROM pg_temp.seen s
            WHERE s.source = sent.source AND s.event_id = sent.event_id
        ) AS is_known
        FROM sent WINDOW same AS (PARTITION BY source, event_id ORDER BY place)
    ), noted AS (
        INSERT INTO pg_temp.seen SELECT source, event_id, body_hash FROM sent ORDER BY place
        ON CONFLICT DO NOTHING
    )
    SELECT CASE WHEN NOT is_known THEN 'new' WHEN first_hash = body_hash THEN 'duplicate'
        ELSE 'conflict' END
    FROM known ORDER BY place
    """
)


@dataclass
class Estimate:
    """What the new events of an account would cost."""

    account: str
    currency: str
    events: int = 0
    amount_units: int = 0
    """Provisional price in wallet units of the currency."""
    unpriced: int = 0
    """Events without a price of their own: no rate, or one that depends on those before."""


@dataclass
class DryRun:
    """Rows by what would become of them, and estimates by account."""

    counts: Counter[str] = field(default_factory=Counter)
    estimates: dict[UUID, Estimate] = field(default_factory=dict)

    @property
    def refused(self) -> int:
        """Rows that would not be taken as they are."""
        return self.counts["rejected"] + self.counts["conflict"]


class _Accounts:
    """Accounts and aliases, each read once."""

    def __init__(self, session: Session, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._accounts: dict[str, BillableAccount | None] = {}
        self._aliases: dict[str, tuple[AliasRange, ...]] = {}

    def find(self, event: UsageEvent) -> BillableAccount | None:
        """The account as the intake would find it."""
        account = self._by_alias(event.account, event.occurred_at) if event.by_alias else None
        if not event.by_alias:
            account = self._read(event.account)
        if account is None or self._actor.customer_id not in {None, account.customer_id}:
            return None
        return account

    def _by_alias(self, alias: str, at: datetime) -> BillableAccount | None:
        if alias not in self._aliases:
            self._aliases[alias] = load_aliases(self._session, alias)
        for one in self._aliases[alias]:
            account = self._read(str(one.account_id))
            if account is not None:
                day = local_day(at, account.zone)
                if one.valid_from <= day and (one.valid_to is None or day < one.valid_to):
                    return account
        return None

    def _read(self, account_id: str) -> BillableAccount | None:
        if account_id not in self._accounts:
            try:
                self._accounts[account_id] = load_account(self._session, UUID(account_id))
            except ValueError:
                self._accounts[account_id] = None
        return self._accounts[account_id]


def dry_run(
    engine: Engine,
    actor: Actor,
    rows: Iterable[Checked],
    *,
    refuse: Callable[[Refusal], None],
    progress: Callable[[int], None],
) -> DryRun:
    """Look at every row.

    Args:
        refuse: called with every row that would not be taken.
        progress: called with `Row.position` now and then.
    """
    report = DryRun()
    waiting = iter(rows)
    with engine.connect() as connection, read_only(engine) as session:
        connection.execute(_SEEN)
        accounts = _Accounts(session, actor)
        while chunk := list(islice(waiting, _TOGETHER)):
            _look(connection, accounts, chunk, report, refuse)
            progress(chunk[-1].row.position)
        connection.rollback()
    return report


def _look(
    connection: Connection,
    accounts: _Accounts,
    chunk: Sequence[Checked],
    report: DryRun,
    refuse: Callable[[Refusal], None],
) -> None:
    named: list[tuple[Checked, UsageEvent, BillableAccount]] = []
    for one in chunk:
        account = accounts.find(one.event) if one.event is not None else None
        if one.event is not None and account is not None:
            named.append((one, one.event, account))
            continue
        report.counts["rejected"] += 1
        unknown = FieldError("account_id", "is not known, or did not name an account on that day")
        for problem in one.problems or (unknown,):
            refuse(Refusal(one.row, problem))
    for (one, event, account), verdict in zip(named, _verdicts(connection, named), strict=True):
        report.counts[verdict] += 1
        if verdict == "new":
            _estimate(report, account, event)
        elif verdict == "conflict":
            problem = FieldError("event_id", "was sent before with another body")
            refuse(Refusal(one.row, problem))


def _verdicts(
    connection: Connection, named: Sequence[tuple[Checked, UsageEvent, BillableAccount]]
) -> list[str]:
    events = [event for _, event, _ in named]
    found = connection.scalars(
        _KNOWN,
        {
            "sources": [event.source for event in events],
            "ids": [event.event_id for event in events],
            "hashes": [event.body_hash for event in events],
        },
    )
    return [str(verdict) for verdict in found]


def _estimate(report: DryRun, account: BillableAccount, event: UsageEvent) -> None:
    estimate = report.estimates.setdefault(account.id, Estimate(account.code, account.currency))
    estimate.events += 1
    price = account.price(event.event_type, event.dimensions, event.occurred_us)
    if not price.known or price.reason in {PriceReason.NO_RATE, PriceReason.NO_SUBSCRIPTION}:
        estimate.unpriced += 1
        return
    estimate.amount_units += account.amount_units(price, Decimal(event.quantity))
