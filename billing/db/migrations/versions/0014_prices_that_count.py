"""Prepaid prices that depend on what came before: counters, rate card versions, packages.

Revision: 0014
Follows: 0013
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_MODELS = "price_model IN ('flat', 'per_unit', 'graduated', 'package')"
_SIZES = (
    "CASE WHEN price_model = 'package' THEN coalesce(package_size > 0, false) "
    "AND package_size <> 'NaN' ELSE package_size IS NULL END"
)


def upgrade() -> None:
    """Add columns, a table and a price model."""
    op.create_table(
        "price_counters",
        sa.Column("wallet_id", sa.Uuid(), nullable=False),
        sa.Column("counted_on", sa.Date(), nullable=False),
        sa.Column("rate_id", sa.Uuid(), nullable=False),
        sa.Column("quantity_micros", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "quantity_micros < 9007199254740992", name="ck_price_counters_quantity_below_2_53"
        ),
        sa.ForeignKeyConstraint(
            ["wallet_id"], ["billing.wallets.id"], name="fk_price_counters_wallet_id"
        ),
        sa.PrimaryKeyConstraint("wallet_id", "counted_on", "rate_id", name="pk_price_counters"),
        schema="usage",
    )
    op.create_index(
        "ix_price_counters_updated_at", "price_counters", ["updated_at"], schema="usage"
    )
    op.add_column(
        "usage_debits",
        sa.Column("card_version", sa.Integer(), nullable=False, server_default="0"),
        schema="usage",
    )
    for table in ("usage_debits", "redis_compensations"):
        op.add_column(table, sa.Column("counted_on", sa.Date()), schema="usage")
        op.add_column(table, sa.Column("counted_micros", sa.BigInteger()), schema="usage")
    op.add_column("redis_compensations", sa.Column("rate_id", sa.Uuid()), schema="usage")
    op.add_column("wallet_adjustments", sa.Column("counter_changes", JSONB()), schema="billing")
    op.drop_constraint("ck_charges_pricemodel_known", "charges", schema="billing")
    op.create_check_constraint("pricemodel_known", "charges", _MODELS, schema="billing")
    op.add_column("charges", sa.Column("package_size", sa.Numeric(38, 12)), schema="billing")
    op.create_check_constraint("packages_have_a_size", "charges", _SIZES, schema="billing")
