"""Reconciliations with gateways, and views in which every invoice and payment must clear.

Revision: 0016
Follows: 0015
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_RUNS = """
CREATE TABLE billing.reconciliation_runs (
    id uuid PRIMARY KEY,
    gateway text NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    movements bigint NOT NULL,
    matched bigint NOT NULL,
    caught_up bigint NOT NULL,
    differing bigint NOT NULL,
    error text,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL
);
CREATE TABLE billing.reconciliation_differences (
    id uuid PRIMARY KEY,
    run_id uuid NOT NULL REFERENCES billing.reconciliation_runs (id),
    kind varchar(32) NOT NULL CONSTRAINT ck_reconciliation_differences_differencekind_known CHECK (
        kind IN ('missing_here', 'missing_there', 'amount_differs', 'currency_differs',
            'refund_missing_here', 'refund_missing_there', 'refund_amount_differs')),
    provider_payment_id text NOT NULL,
    refund_id text,
    payment_id uuid REFERENCES billing.payments (id),
    their_currency text,
    their_amount_minor bigint,
    our_currency text,
    our_amount_minor bigint
);
CREATE INDEX ix_reconciliation_differences_run_id ON billing.reconciliation_differences (run_id)
"""

# total = what settles it + what is open; the remainder is 0 unless a line went astray
_INVOICES = """
CREATE VIEW billing.invoice_clearing AS
SELECT invoice.id AS invoice_id, invoice.customer_id, invoice.number, invoice.currency,
    invoice.total_minor, coalesce(lines.settled_minor, 0) AS settled_minor,
    invoice.total_minor - invoice.settled_minor AS outstanding_minor,
    invoice.settled_minor - coalesce(lines.settled_minor, 0) AS remainder_minor
FROM billing.invoices invoice
LEFT JOIN (
    SELECT invoice_id, sum(amount_minor)::bigint AS settled_minor
    FROM billing.invoice_allocations GROUP BY invoice_id
) lines ON lines.invoice_id = invoice.id
WHERE invoice.status <> 'draft'
"""

# captured = refunded + allocated + credited to a wallet with its tax + left
_PAYMENTS = """
CREATE VIEW billing.payment_clearing AS
WITH allocated AS (
    SELECT payment_id, sum(amount_minor)::bigint AS minor
    FROM billing.invoice_allocations WHERE payment_id IS NOT NULL GROUP BY payment_id
), credited AS (
    SELECT split_part(posting.reference, ':', 2) AS payment_id, sum(entry.amount_units) AS units
    FROM billing.ledger_transactions posting
    JOIN billing.ledger_entries entry ON entry.transaction_id = posting.id
    WHERE posting.kind IN ('top_up', 'refund') AND posting.reference LIKE 'payment:%'
        AND entry.account IN ('wallet', 'tax_on_advances')
    GROUP BY 1
), summed AS (
    SELECT payment.id AS payment_id, payment.customer_id, payment.gateway, payment.purpose,
        payment.currency, payment.captured_minor, payment.refunded_minor,
        coalesce(allocated.minor, 0) AS allocated_minor,
        coalesce(credited.units, 0)
            / power(10::numeric, currency.wallet_exponent - currency.minor_exponent)
            AS credited_minor
    FROM billing.payments payment
    JOIN billing.currencies currency ON currency.code = payment.currency
    LEFT JOIN allocated ON allocated.payment_id = payment.id
    LEFT JOIN credited ON credited.payment_id = payment.id::text
), cleared AS (
    SELECT summed.*, CASE WHEN purpose = 'invoice'
        THEN greatest(captured_minor - refunded_minor - allocated_minor, 0) ELSE 0 END
        AS left_minor
    FROM summed
)
SELECT cleared.*, captured_minor - refunded_minor - allocated_minor - credited_minor - left_minor
    AS remainder_minor
FROM cleared
"""


def upgrade() -> None:
    for change in (_RUNS, _INVOICES, _PAYMENTS):
        op.execute(change)
