"""Accounts that stand on the invoice of one above them, and whose line a line is.

Revision: 0029
Follows: 0028
"""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE billing.bill_accounts (
    id uuid CONSTRAINT pk_bill_accounts PRIMARY KEY,
    account_id uuid NOT NULL
        CONSTRAINT fk_bill_accounts_account_id REFERENCES billing.accounts (id),
    bill_account_id uuid
        CONSTRAINT fk_bill_accounts_bill_account_id REFERENCES billing.accounts (id),
    valid_from date NOT NULL,
    set_by text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT uq_bill_accounts_account_id_valid_from UNIQUE (account_id, valid_from),
    CONSTRAINT ck_bill_accounts_another_account CHECK (bill_account_id <> account_id)
);
CREATE INDEX ix_bill_accounts_bill_account_id ON billing.bill_accounts (bill_account_id);
ALTER TABLE billing.invoice_lines ADD COLUMN account_id uuid
    CONSTRAINT fk_invoice_lines_account_id REFERENCES billing.accounts (id);
CREATE INDEX ix_invoice_lines_account_id ON billing.invoice_lines (account_id)
    WHERE account_id IS NOT NULL
"""


def upgrade() -> None:
    """Make the settings and mark lines."""
    op.execute(_TABLES)
