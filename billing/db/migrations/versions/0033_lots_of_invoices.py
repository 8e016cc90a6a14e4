"""Which lots paid an invoice, and which a refund gave back.

Revision: 0033
Follows: 0032
"""

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

_TABLE = """
CREATE TABLE billing.lot_allocations (
    id uuid CONSTRAINT pk_lot_allocations PRIMARY KEY,
    wallet_id uuid NOT NULL
        CONSTRAINT fk_lot_allocations_wallet_id REFERENCES billing.wallets (id),
    lot_id uuid NOT NULL
        CONSTRAINT fk_lot_allocations_lot_id REFERENCES billing.ledger_transactions (id),
    used_by_id uuid NOT NULL
        CONSTRAINT fk_lot_allocations_used_by_id REFERENCES billing.ledger_transactions (id),
    credit_units bigint NOT NULL,
    tax_units bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT ck_lot_allocations_not_negative CHECK (credit_units >= 0 AND tax_units >= 0),
    CONSTRAINT ck_lot_allocations_something CHECK (credit_units + tax_units > 0)
);
CREATE INDEX ix_lot_allocations_wallet_id ON billing.lot_allocations (wallet_id, id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing.lot_allocations
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON billing.lot_allocations
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change()
"""


def upgrade() -> None:
    """Make the table; what happened before is written down with the next invoice or refund."""
    op.execute(_TABLE)
