"""Direct mode of a shard, and what the auditor of wallets found.

Revision: 0006
Follows: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE usage.shard_state DROP CONSTRAINT ck_shard_state_shardmode_known")
    op.create_check_constraint(
        "shardmode_known", "shard_state", "mode IN ('open', 'direct', 'rebuilding')", schema="usage"
    )
    for name in ("undrained_epoch", "undrained_ms", "undrained_seq"):
        op.add_column("shard_state", sa.Column(name, sa.BigInteger()), schema="usage")
    op.create_check_constraint(
        "undrained_in_direct_mode",
        "shard_state",
        "(mode = 'direct') = (undrained_epoch IS NOT NULL) AND "
        "num_nulls(undrained_epoch, undrained_ms, undrained_seq) IN (0, 3)",
        schema="usage",
    )
    op.create_table(
        "wallet_drifts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("wallet_id", sa.Uuid(), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("cursor_ms", sa.BigInteger(), nullable=False),
        sa.Column("cursor_seq", sa.BigInteger(), nullable=False),
        sa.Column("expected_units", sa.BigInteger(), nullable=False),
        sa.Column("found_units", sa.BigInteger(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(
            ["wallet_id"], ["billing.wallets.id"], name="fk_wallet_drifts_wallet_id_wallets"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_wallet_drifts"),
        schema="usage",
    )
    op.create_index(
        "ix_wallet_drifts_open",
        "wallet_drifts",
        ["wallet_id"],
        unique=True,
        schema="usage",
        postgresql_where=sa.text("settled_at IS NULL"),
    )
