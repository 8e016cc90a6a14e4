"""Accounts have a grace period and a cause of suspension; quotas; an outbox of what happened.

Revision: 0011
Follows: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_STATUS = "status IN ('active', 'grace', 'suspended', 'closed')"

_THRESHOLDS = """
CREATE FUNCTION billing.report_wallet() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billing.outbox (topic, entity_type, entity_id, account_id, payload, created_at)
    VALUES ('wallet.' || NEW.status, 'wallet', NEW.id, NEW.account_id, jsonb_build_object(
        'before', OLD.status, 'after', NEW.status, 'currency', NEW.currency,
        'balance_units', NEW.balance_units, 'credit_line_units', NEW.credit_line_units,
        'low_balance_units', NEW.low_balance_units), NEW.updated_at);
    RETURN NULL;
END $$;

CREATE TRIGGER report_threshold AFTER UPDATE OF status ON billing.wallets
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION billing.report_wallet();

CREATE TRIGGER announce_account AFTER INSERT OR UPDATE ON billing.entitlements
    FOR EACH ROW EXECUTE FUNCTION billing.announce_account()
"""


def upgrade() -> None:
    """Change the tables."""
    op.drop_constraint("ck_accounts_accountstatus_known", "accounts", schema="billing")
    op.create_check_constraint("accountstatus_known", "accounts", _STATUS, schema="billing")
    op.add_column("accounts", sa.Column("suspended_for", sa.String(32)), schema="billing")
    op.execute("UPDATE billing.accounts SET suspended_for = 'hand' WHERE status = 'suspended'")
    op.create_check_constraint(
        "suspensioncause_known", "accounts", "suspended_for IN ('hand', 'funds')", schema="billing"
    )
    op.add_column(
        "accounts", sa.Column("grace_ends_at", sa.DateTime(timezone=True)), schema="billing"
    )
    for name, kind in (("grace_hours", sa.Integer()), ("grace_limit_minor", sa.BigInteger())):
        op.add_column(
            "accounts",
            sa.Column(name, kind, nullable=False, server_default="0"),
            schema="billing",
        )
        op.alter_column("accounts", name, server_default=None, schema="billing")
        op.create_check_constraint(
            f"{name}_not_negative", "accounts", f"{name} >= 0", schema="billing"
        )
    op.create_check_constraint(
        "grace_ends",
        "accounts",
        "(status = 'grace') = (grace_ends_at IS NOT NULL)",
        schema="billing",
    )
    op.create_index(
        "ix_accounts_not_active",
        "accounts",
        ["status"],
        schema="billing",
        postgresql_where=sa.text("status IN ('grace', 'suspended')"),
    )
    op.create_index(
        "ix_wallets_suspended",
        "wallets",
        ["account_id"],
        schema="billing",
        postgresql_where=sa.text("status = 'suspended'"),
    )
    _outbox()
    _entitlements()
    op.execute(_THRESHOLDS)


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("seq", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column(
            "transaction_id",
            sa.BigInteger(),
            nullable=False,
            server_default=sa.text("pg_current_xact_id()::text::bigint"),
        ),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("entity_type", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), sa.ForeignKey("billing.accounts.id")),
        sa.Column("payload", sa.dialects.postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        schema="billing",
    )
    op.create_index("ix_outbox_account_id_seq", "outbox", ["account_id", "seq"], schema="billing")


def _entitlements() -> None:
    op.create_table(
        "entitlements",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("account_id", sa.Uuid(), sa.ForeignKey("billing.accounts.id"), nullable=False),
        sa.Column("item_id", sa.Uuid(), sa.ForeignKey("billing.billable_items.id"), nullable=False),
        sa.Column("included_units", sa.BigInteger(), nullable=False),
        sa.Column("enforcement", sa.String(32), nullable=False),
        sa.Column("period", sa.String(32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("included_units BETWEEN 0 AND 1000000000", name="included_units_range"),
        sa.CheckConstraint("enforcement IN ('soft', 'hard')", name="enforcement_known"),
        sa.CheckConstraint("period IN ('day', 'month')", name="quotaperiod_known"),
        schema="billing",
    )
    op.create_index(
        "uq_entitlements_current",
        "entitlements",
        ["account_id", "item_id", "period"],
        unique=True,
        schema="billing",
        postgresql_where=sa.text("ended_at IS NULL"),
    )
