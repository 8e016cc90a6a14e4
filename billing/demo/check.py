"""Does the demo's data agree with itself? Each finding is a sentence; none means all is well."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import redis
from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.commands import verify_audit_chain
from billing.demo.calendar import DemoCalendar
from billing.demo.client import BillingApi
from billing.demo.merchants import MERCHANTS, SUPPLIER
from billing.demo.traffic import SOURCE
from billing.errors import ConflictError
from billing.formatting import format_money
from billing.wallets.keys import ShardKeys


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was compared."""

    what: str
    ok: bool
    detail: str


def check_demo(
    session: Session, cache: redis.Redis, calendar: DemoCalendar, expected_events: int | None
) -> Iterator[Finding]:
    """Compare what was sent, stored, rated, debited and invoiced.

    Args:
        expected_events: how many different events the demo sends, if that is known.
    """
    yield _events(session, expected_events)
    yield _usage(session)
    yield _ledger(session)
    yield _redis(session, cache)
    yield _stories(session)
    for month in calendar.complete_months[:-1]:
        yield _issued(session, month)
    yield _drafts(session, calendar.complete_months[-1])
    yield _papers(session)
    yield _clearing(session)
    yield _audit(session)


def check_returns(api: BillingApi, calendar: DemoCalendar) -> Finding:
    """Whether each month's GSTR-1 adds up to the documents and the ledger, to the paisa."""
    wrong: list[str] = []
    taxable_minor = 0
    for month in [*calendar.complete_months, calendar.anchor]:
        found = api.get(
            "/api/v1/gstr1/reconciliation", gstin=SUPPLIER.gstin, month=f"{month:%Y-%m}"
        )["attributes"]
        wrong += [f"{month:%b}: {row['name']}" for row in found["differences"]]
        taxable_minor += found["totals"]["taxable"]
    supplied = format_money(taxable_minor, "INR")
    detail = f"{supplied} of supplies, {len(wrong)} differences {'; '.join(wrong[:3])}"
    whole = not wrong and taxable_minor > 0
    return Finding("the returns equal the documents", whole, detail.strip())


def _value(session: Session, query: str, **parameters: Any) -> Any:
    return session.execute(text(query), parameters).scalar_one()


def _events(session: Session, expected: int | None) -> Finding:
    stored = _value(
        session, "SELECT count(*) FROM usage.event_key WHERE source = :source", source=SOURCE
    )
    refused = _value(session, "SELECT count(*) FROM usage.event_conflicts") + _value(
        session, "SELECT count(*) FROM usage.quarantine"
    )
    wanted = stored if expected is None else expected
    detail = f"{stored:,} stored, {wanted:,} sent, {refused} conflicting or set aside"
    return Finding("every event is stored once", stored == wanted and refused == 0, detail)


def _usage(session: Session) -> Finding:
    """The last closed months, recounted from the revisions that stand."""
    rows = session.execute(
        text(
            """
            WITH recounted AS (
                SELECT count(*) AS events, sum(raw.quantity) AS quantity
                FROM usage.raw_events raw
                JOIN billing.accounts account ON account.id = raw.account_id
                WHERE NOT raw.voided
                    AND NOT EXISTS (
                        SELECT 1 FROM usage.superseded_events gone
                        WHERE gone.shard = raw.shard AND gone.accept_seq = raw.accept_seq
                    )
                    AND (raw.occurred_at AT TIME ZONE account.zone)::date
                        <= (SELECT max(usage_day) FROM marts.fct_usage_daily)
            )
            SELECT recounted.events, recounted.quantity, mart.events, mart.quantity
            FROM recounted
            CROSS JOIN (
                SELECT sum(event_count) AS events, sum(quantity) AS quantity
                FROM marts.fct_usage_daily
            ) mart
            """
        )
    ).one()
    detail = f"{rows[0]:,} events stand, {rows[2]:,} in the mart"
    return Finding("the usage mart counts them all", rows[0:2] == rows[2:4], detail)


def _ledger(session: Session) -> Finding:
    wrong = _value(
        session,
        """
        SELECT count(*) FROM billing.wallets wallet
        WHERE wallet.balance_units <> (
            SELECT coalesce(sum(entry.amount_units), 0) FROM billing.ledger_entries entry
            WHERE entry.wallet_id = wallet.id AND entry.account = 'wallet'
        )
        """,
    )
    unbalanced = _value(
        session,
        """
        SELECT count(*) FROM (
            SELECT transaction_id FROM billing.ledger_entries
            GROUP BY transaction_id HAVING sum(amount_units) <> 0
        ) unbalanced
        """,
    )
    detail = f"{wrong} wallets differ from their entries, {unbalanced} postings do not balance"
    return Finding("PostgreSQL's wallets equal the ledger", not wrong and not unbalanced, detail)


def _redis(session: Session, cache: redis.Redis) -> Finding:
    rows = session.execute(
        text(
            """
            SELECT wallet.id, wallet.shard, state.epoch, wallet.balance_units
            FROM billing.wallets wallet JOIN usage.shard_state state ON state.shard = wallet.shard
            """
        )
    ).all()
    wrong = [
        str(row.id)
        for row in rows
        if int(cache.hget(ShardKeys(row.shard, row.epoch).wallet(row.id), "bal") or 0)
        != row.balance_units
    ]
    detail = f"{len(rows)} wallets compared, {len(wrong)} differ {' '.join(wrong)}"
    return Finding("Redis has the same balances", bool(rows) and not wrong, detail.strip())


def _stories(session: Session) -> Finding:
    """The merchant whose wallet runs out, and the one whose wallet is low."""
    rows = session.execute(
        text(
            """
            SELECT customer.code, wallet.status FROM billing.wallets wallet
            JOIN billing.accounts account ON account.id = wallet.account_id
            JOIN billing.customers customer ON customer.id = account.customer_id
            """
        )
    )
    statuses: dict[str, str] = dict(rows.tuples().all())
    expected = {merchant.code: "active" for merchant in MERCHANTS if merchant.wallet}
    expected |= {"peepal-games": "suspended", "saffron-stays": "low"}
    differing = {
        code: statuses.get(code) for code in expected if statuses.get(code) != expected[code]
    }
    detail = f"{len(expected)} wallets, unexpected: {differing or 'none'}"
    return Finding("one wallet is suspended, one low", not differing, detail)


def _issued(session: Session, month: date) -> Finding:
    row = session.execute(
        text(
            """
            SELECT count(*) AS invoices, count(invoice.number) AS numbers, count(document.sha256)
            FROM billing.invoices invoice
            LEFT JOIN billing.invoice_documents document ON document.invoice_id = invoice.id
            WHERE invoice.invoice_month = :month
            """
        ),
        {"month": month},
    ).one()
    detail = f"{row[0]} invoices, {row[1]} numbered, {row[2]} PDFs"
    subscribed = sum(1 for merchant in MERCHANTS if merchant.starts.month == 0)
    whole = row[0] == row[1] == row[2] and row[0] >= subscribed
    return Finding(f"{month:%B %Y} is issued", whole, detail)


def _drafts(session: Session, month: date) -> Finding:
    rows = session.execute(
        text(
            """
            SELECT review_state, count(*) FROM billing.invoices
            WHERE invoice_month = :month AND status = 'draft' GROUP BY review_state
            """
        ),
        {"month": month},
    )
    states: dict[str, int] = dict(rows.tuples().all())
    detail = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    whole = sum(states.values()) == len(MERCHANTS) and states.get("in_review", 0) > 0
    return Finding(f"{month:%B %Y} waits for review", whole, detail or "no drafts")


def _papers(session: Session) -> Finding:
    """At least one of each kind that finance makes of the invoices of the first months."""
    rows = session.execute(
        text(
            """
            SELECT kind::text, count(*) FROM billing.documents GROUP BY kind
            UNION ALL SELECT 'debit_note', count(*) FROM billing.invoices
            WHERE document_type = 'debit_note' AND status <> 'draft'
            UNION ALL SELECT 'tds', count(*) FROM billing.invoice_allocations
            WHERE source = 'tds_income_tax'
            UNION ALL SELECT 'paid', count(*) FROM billing.invoices
            WHERE status = 'paid' AND document_type = 'invoice'
            """
        )
    )
    counts: dict[str, int] = dict(rows.tuples().all())
    wanted = {"credit_note", "debit_note", "receipt_voucher", "refund_voucher", "tds", "paid"}
    missing = sorted(kind for kind in wanted if not counts.get(kind))
    detail = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items())
    return Finding("there are notes, vouchers and payments", not missing, detail)


def _clearing(session: Session) -> Finding:
    """What was asked for is settled or open, and what came is used or left, to the last paisa."""
    row = session.execute(
        text(
            """
            SELECT (SELECT count(*) FROM billing.invoice_clearing),
                (SELECT count(*) FROM billing.payment_clearing),
                (SELECT count(*) FROM billing.invoice_clearing WHERE remainder_minor <> 0)
                    + (SELECT count(*) FROM billing.payment_clearing WHERE remainder_minor <> 0)
            """
        )
    ).one()
    detail = f"{row[0]} invoices and {row[1]} payments, {row[2]} with a remainder"
    return Finding("invoices and payments clear", row[1] > 0 and row[2] == 0, detail)


def _audit(session: Session) -> Finding:
    try:
        entries = verify_audit_chain(session)
    except ConflictError as error:
        return Finding("the audit chain is whole", False, error.message)
    return Finding("the audit chain is whole", entries > 0, f"{entries:,} entries")
