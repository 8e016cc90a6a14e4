"""Accounts go from one shard to another.

Revision: 0021
Follows: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_ANNOUNCED = """
CREATE FUNCTION billing.announce_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('billing_moves', NEW.id::text);
    RETURN NULL;
END $$;

CREATE TRIGGER announce_move AFTER INSERT OR UPDATE ON billing.account_moves
    FOR EACH ROW EXECUTE FUNCTION billing.announce_move()
"""


def upgrade() -> None:
    """Make their table, and let writers hear of it."""
    op.create_table(
        "account_moves",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("from_shard", sa.Integer(), nullable=False),
        sa.Column("to_shard", sa.Integer(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True)),
        sa.Column("arrived_at", sa.DateTime(timezone=True)),
        sa.Column("left_at", sa.DateTime(timezone=True)),
        sa.Column("accept_seq", sa.BigInteger()),
        sa.Column("carried", sa.LargeBinary()),
        sa.CheckConstraint("from_shard <> to_shard", name=op.f("ck_account_moves_goes_somewhere")),
        sa.CheckConstraint(
            "moved_at IS NOT NULL OR (arrived_at IS NULL AND left_at IS NULL)",
            name=op.f("ck_account_moves_in_order"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["billing.accounts.id"], name="fk_account_moves_account_id_accounts"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_account_moves"),
        schema="billing",
    )
    op.create_index(
        "uq_account_moves_open",
        "account_moves",
        ["account_id"],
        unique=True,
        schema="billing",
        postgresql_where=sa.text("arrived_at IS NULL OR left_at IS NULL"),
    )
    op.create_index(
        "ix_account_moves_from_shard", "account_moves", ["from_shard"], schema="billing"
    )
    op.execute(_ANNOUNCED)
