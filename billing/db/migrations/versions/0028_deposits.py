"""Money that comes into a wallet as a deposit, untaxed until it is used.

Revision: 0028
Follows: 0027
"""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_KINDS = (
    "usage",
    "top_up",
    "deposit",
    "deposit_refund",
    "promotion",
    "amendment",
    "true_up",
    "correction",
    "invoice",
    "refund",
    "credit_note",
)

_POLICY = """
ALTER TABLE billing.wallets ADD COLUMN advance_policy varchar(32) NOT NULL
    DEFAULT 'receipt_voucher' CONSTRAINT ck_wallets_advancepolicy_known
    CHECK (advance_policy IN ('receipt_voucher', 'deposit'))
"""

# as before, with deposits
_CLEARING = """
CREATE OR REPLACE VIEW billing.payment_clearing AS
WITH allocated AS (
    SELECT payment_id, sum(amount_minor)::bigint AS minor
    FROM billing.invoice_allocations WHERE payment_id IS NOT NULL GROUP BY payment_id
), credited AS (
    SELECT split_part(posting.reference, ':', 2) AS payment_id, sum(entry.amount_units) AS units
    FROM billing.ledger_transactions posting
    JOIN billing.ledger_entries entry ON entry.transaction_id = posting.id
    WHERE posting.kind IN ('top_up', 'refund', 'deposit', 'deposit_refund')
        AND posting.reference LIKE 'payment:%'
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
    """Let wallets have a policy, postings be deposits, and payments clear with them."""
    op.execute(_POLICY)
    kinds = ", ".join(f"'{kind}'" for kind in _KINDS)
    for table in ("ledger_transactions", "wallet_adjustments"):
        name = f"ck_{table}_ledgerkind_known"
        op.execute(f"ALTER TABLE billing.{table} DROP CONSTRAINT {name}")
        op.execute(f"ALTER TABLE billing.{table} ADD CONSTRAINT {name} CHECK (kind IN ({kinds}))")
    op.execute(_CLEARING)
