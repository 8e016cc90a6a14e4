"""Invariants of the books, looked at before anything is rated; a breach stops the close."""

import dagster as dg
from sqlalchemy import text

from billing.access.actor import SYSTEM
from billing.invoices.rerating import list_differences
from orchestration.defs.billing_month import RATING_RUNS
from orchestration.lib.database import Database

_QUERIES = {
    "every_key_has_its_event": (
        "Events that were acknowledged but are not stored, or stored without a key.",
        """
        WITH loose AS (
            SELECT key.shard, (key.occurred_at AT TIME ZONE 'UTC')::date AS day,
                count(*) FILTER (WHERE event.event_id IS NULL) AS missing,
                count(*) FILTER (WHERE key.event_id IS NULL) AS without_key
            FROM usage.event_key key
            FULL JOIN (SELECT * FROM usage.raw_events WHERE revision = 1) event
                ON event.shard = key.shard AND event.accept_seq = key.accept_seq
            WHERE key.event_id IS NULL OR event.event_id IS NULL
            GROUP BY 1, 2
        )
        -- of an archived day exactly those events are missing that are in its files
        SELECT coalesce(sum(coalesce(without_key, 0)
            + abs(coalesce(missing, 0) - coalesce(first_revisions, 0))), 0)
        FROM loose
        FULL JOIN (SELECT * FROM usage.archived_days WHERE dropped) archived USING (shard, day)
        """,
    ),
    "accept_seq_has_no_gap": (
        "Shards whose numbering of events has a hole, or runs ahead of its counter.",
        """
        SELECT count(*) FROM usage.shard_state state
        WHERE state.accept_seq <> (
            SELECT count(*) FROM usage.raw_events event WHERE event.shard = state.shard
        ) + (
            SELECT coalesce(sum(rows), 0) FROM usage.archived_days archived
            WHERE archived.shard = state.shard AND archived.dropped
        )
        """,
    ),
    "wallets_equal_their_ledger": (
        "Wallets whose balance is not the sum of their entries.",
        """
        SELECT count(*) FROM billing.wallets wallet
        WHERE wallet.balance_units <> (
            SELECT coalesce(sum(amount_units), 0) FROM billing.ledger_entries entry
            WHERE entry.wallet_id = wallet.id AND entry.account = 'wallet'
        )
        """,
    ),
    "ledger_balances": (
        "Currencies in which the ledger does not sum to zero.",
        """
        SELECT count(*) FROM (
            SELECT currency FROM billing.ledger_entries GROUP BY currency
            HAVING sum(amount_units) <> 0
        ) unbalanced
        """,
    ),
}


def _check(name: str, description: str, query: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(name=name, asset=RATING_RUNS, description=description, blocking=True)
    def check(database: Database) -> dg.AssetCheckResult:
        with database.reading() as session:
            breaches = int(session.execute(text(query)).scalar_one())
        return dg.AssetCheckResult(passed=breaches == 0, metadata={"breaches": breaches})

    return check


@dg.asset_check(asset=["billing", "invoice_drafts"])
def issued_invoices_agree_with_their_usage(database: Database) -> dg.AssetCheckResult:
    """Issued invoices whose usage came to less since wait for a credit note by a person; what came
    to more and no draft bills yet stands on the next one."""
    with database.reading() as session:
        found = list_differences(session, SYSTEM, limit=10_000)
    to_credit = [one for one in found if one.to_credit_minor]
    return dg.AssetCheckResult(
        passed=not to_credit,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "to credit": ", ".join(sorted(one.lines[0].number for one in to_credit)) or "none",
            "to bill, on no draft yet": sum(1 for one in found if one.to_bill_minor),
        },
    )


CHECKS = [
    *(_check(name, *parts) for name, parts in _QUERIES.items()),
    issued_invoices_agree_with_their_usage,
]
