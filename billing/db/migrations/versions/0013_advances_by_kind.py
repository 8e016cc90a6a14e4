"""Find the advances that still lack a voucher without reading the postings of usage.

Revision: 0013
Follows: 0012
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE INDEX ix_ledger_transactions_advances ON billing.ledger_transactions (id) "
        "WHERE kind IN ('top_up', 'refund')"
    )
