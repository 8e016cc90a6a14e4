"""The first schema: who, what is sold, who bought what, usage, wallets, invoices.

Revision: 0001
Follows:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from billing.usage.storage import create_event_table

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "audit_log",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("entity_type", sa.Text(), nullable=True),
        sa.Column("entity_id", sa.Uuid(), nullable=True),
        sa.Column("changes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_log"),
        schema="billing",
    )
    op.create_index(
        "ix_audit_log_entity_id", "audit_log", ["entity_id"], unique=False, schema="billing"
    )
    op.create_table(
        "billable_items",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "usage",
                "recurring",
                name="itemkind_known",
                native_enum=False,
                create_constraint=True,
                length=32,
                schema="billing",
            ),
            nullable=False,
        ),
        sa.Column("event_type", sa.Text(), nullable=True),
        sa.Column("event_filter", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "aggregation",
            sa.Enum(
                "count",
                "sum",
                name="aggregation_known",
                native_enum=False,
                create_constraint=True,
                length=32,
                schema="billing",
            ),
            nullable=False,
        ),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("sac", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(kind = 'usage') = (event_type IS NOT NULL)",
            name="ck_billable_items_usage_has_event_type",
        ),
        sa.CheckConstraint("sac ~ '^[0-9]{6}$'", name="ck_billable_items_sac_six_digits"),
        sa.PrimaryKeyConstraint("id", name="pk_billable_items"),
        sa.UniqueConstraint("code", name="uq_billable_items_code"),
        schema="billing",
    )
    currencies = op.create_table(
        "currencies",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("minor_exponent", sa.Integer(), nullable=False),
        sa.Column("wallet_exponent", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("code", name="pk_currencies"),
        schema="billing",
    )
    op.create_table(
        "customers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_customers"),
        sa.UniqueConstraint("code", name="uq_customers_code"),
        schema="billing",
    )
    op.create_table(
        "document_counters",
        sa.Column("gstin", sa.Text(), nullable=False),
        sa.Column("series", sa.Text(), nullable=False),
        sa.Column("financial_year", sa.Text(), nullable=False),
        sa.Column("last_number", sa.BigInteger(), nullable=False),
        sa.Column("last_issue_date", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("gstin", "series", "financial_year", name="pk_document_counters"),
        schema="billing",
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("input_hash", sa.LargeBinary(), nullable=False),
        sa.Column("result_type", sa.Text(), nullable=True),
        sa.Column("result_key", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("actor", "key", name="pk_idempotency_keys"),
        schema="billing",
    )
    op.create_table(
        "price_plans",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_price_plans"),
        sa.UniqueConstraint("code", name="uq_price_plans_code"),
        schema="billing",
    )
    op.create_table(
        "rating_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("invoice_month", sa.Date(), nullable=False),
        sa.Column("event_time_to", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("triggered_by", sa.Text(), nullable=False),
        sa.Column("line_count", sa.Integer(), nullable=True),
        sa.Column("lines_hash", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_rating_runs"),
        schema="billing",
    )
    op.create_index(
        "ix_rating_runs_invoice_month",
        "rating_runs",
        ["invoice_month"],
        unique=False,
        schema="billing",
    )
    op.create_table(
        "supplier_registrations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("gstin", sa.Text(), nullable=False),
        sa.Column("legal_name", sa.Text(), nullable=False),
        sa.Column("trade_name", sa.Text(), nullable=False),
        sa.Column("address_line", sa.Text(), nullable=False),
        sa.Column("city", sa.Text(), nullable=False),
        sa.Column("postal_code", sa.Text(), nullable=False),
        sa.Column("state_code", sa.Text(), nullable=False),
        sa.Column("lut_arn", sa.Text(), nullable=True),
        sa.Column("lut_valid_from", sa.Date(), nullable=True),
        sa.Column("lut_valid_to", sa.Date(), nullable=True),
        sa.Column("invoice_series", sa.Text(), nullable=False),
        sa.Column("bank_details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_supplier_registrations"),
        sa.UniqueConstraint("gstin", name="uq_supplier_registrations_gstin"),
        schema="billing",
    )
    op.create_table(
        "event_conflicts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_event_conflicts"),
        schema="usage",
    )
    op.create_table(
        "event_key",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("accept_seq", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("stream_ms", sa.BigInteger(), nullable=False),
        sa.Column("stream_seq", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", "event_id", name="pk_event_key"),
        sa.UniqueConstraint("shard", "accept_seq", name="uq_event_key_shard_accept_seq"),
        schema="usage",
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("stream_ms", sa.BigInteger(), nullable=False),
        sa.Column("stream_seq", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("wallet_id", sa.Uuid(), nullable=True),
        sa.Column("amount_units", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_quarantine"),
        sa.UniqueConstraint(
            "shard",
            "epoch",
            "stream_ms",
            "stream_seq",
            "position",
            name="uq_quarantine_shard_epoch_stream_ms_stream_seq_position",
        ),
        schema="usage",
    )
    op.create_table(
        "redis_compensations",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stream_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stream_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("wallet_id", sa.Uuid(), nullable=False),
        sa.Column("amount_units", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "shard", "epoch", "stream_ms", "stream_seq", "position", name="pk_redis_compensations"
        ),
        schema="usage",
    )
    op.create_table(
        "shard_state",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("cursor_ms", sa.BigInteger(), nullable=False),
        sa.Column("cursor_seq", sa.BigInteger(), nullable=False),
        sa.Column("accept_seq", sa.BigInteger(), nullable=False),
        sa.Column(
            "mode",
            sa.Enum(
                "open",
                "rebuilding",
                name="shardmode_known",
                native_enum=False,
                create_constraint=True,
                length=32,
                schema="billing",
            ),
            nullable=False,
        ),
        sa.CheckConstraint(
            "epoch >= 1 AND accept_seq >= 0", name="ck_shard_state_counters_positive"
        ),
        sa.PrimaryKeyConstraint("shard", name="pk_shard_state"),
        schema="usage",
    )
    op.create_table(
        "superseded_events",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("accept_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("superseded_by", sa.BigInteger(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("shard", "accept_seq", name="pk_superseded_events"),
        schema="usage",
    )
    op.create_table(
        "usage_debits",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("accept_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("wallet_id", sa.Uuid(), nullable=False),
        sa.Column("amount_units", sa.BigInteger(), nullable=False),
        sa.Column("rate_id", sa.Uuid(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("shard", "accept_seq", name="pk_usage_debits"),
        schema="usage",
    )
    op.create_index(
        "ix_usage_debits_wallet_id",
        "usage_debits",
        ["wallet_id", "occurred_at"],
        unique=False,
        schema="usage",
    )
    op.create_table(
        "accounts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("parent_account_id", sa.Uuid(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "billing_mode",
            sa.Enum(
                "prepaid",
                "postpaid",
                name="billingmode_known",
                native_enum=False,
                create_constraint=True,
                length=32,
                schema="billing",
            ),
            nullable=False,
        ),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "active",
                "suspended",
                "closed",
                name="accountstatus_known",
                native_enum=False,
                create_constraint=True,
                length=32,
                schema="billing",
            ),
            nullable=False,
        ),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("payment_terms_days", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("parent_account_id <> id", name="ck_accounts_not_own_parent"),
        sa.ForeignKeyConstraint(
            ["currency"], ["billing.currencies.code"], name="fk_accounts_currency"
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["billing.customers.id"], name="fk_accounts_customer_id"
        ),
        sa.ForeignKeyConstraint(
            ["parent_account_id"], ["billing.accounts.id"], name="fk_accounts_parent_account_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("code", name="uq_accounts_code"),
        schema="billing",
    )
    op.create_index(
        "ix_accounts_customer_id", "accounts", ["customer_id"], unique=False, schema="billing"
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("secret_hmac", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "role",
            sa.Enum(
                "super_admin",
                "finance_admin",
                "product_analyst",
                "data_engineer",
                "support",
                "customer",
                "sender",
                name="role_known",
                native_enum=False,
                create_constraint=True,
                length=32,
                schema="billing",
            ),
            nullable=False,
        ),
        sa.Column("customer_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["billing.customers.id"], name="fk_api_keys_customer_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("prefix", name="uq_api_keys_prefix"),
        schema="billing",
    )
    op.create_table(
        "fx_rates",
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("rate_date", sa.Date(), nullable=False),
        sa.Column("inr_per_unit", sa.Numeric(precision=38, scale=12), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "inr_per_unit > 0 AND inr_per_unit <> 'NaN'", name="ck_fx_rates_rate_positive"
        ),
        sa.ForeignKeyConstraint(
            ["currency"], ["billing.currencies.code"], name="fk_fx_rates_currency"
        ),
        sa.PrimaryKeyConstraint("currency", "rate_date", name="pk_fx_rates"),
        schema="billing",
    )
    op.create_table(
        "ledger_transactions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "usage",
                "top_up",
                "promotion",
                "amendment",
                "true_up",
                "correction",
                "invoice",
                name="ledgerkind_known",
                native_enum=False,
                create_constraint=True,
                length=32,
                schema="billing",
            ),
            nullable=False,
        ),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["currency"], ["billing.currencies.code"], name="fk_ledger_transactions_currency"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_transactions"),
        sa.UniqueConstraint("reference", name="uq_ledger_transactions_reference"),
        schema="billing",
    )
    op.create_table(
        "price_plan_versions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "draft",
                "active",
                "archived",
                name="versionstatus_known",
                native_enum=False,
                create_constraint=True,
                length=32,
                schema="billing",
            ),
            nullable=False,
        ),
        sa.Column("grace_days", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(status = 'draft') = (published_at IS NULL)",
            name="ck_price_plan_versions_published_unless_draft",
        ),
        sa.ForeignKeyConstraint(
            ["plan_id"], ["billing.price_plans.id"], name="fk_price_plan_versions_plan_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_price_plan_versions"),
        sa.UniqueConstraint("plan_id", "version", name="uq_price_plan_versions_plan_id_version"),
        schema="billing",
    )
    op.create_index(
        "uq_price_plan_versions_active",
        "price_plan_versions",
        ["plan_id"],
        unique=True,
        schema="billing",
        postgresql_where=sa.text("status = 'active'"),
    )
    op.create_table(
        "rating_run_cutoffs",
        sa.Column("rating_run_id", sa.Uuid(), nullable=False),
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("accept_seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["rating_run_id"],
            ["billing.rating_runs.id"],
            name="fk_rating_run_cutoffs_rating_run_id",
        ),
        sa.PrimaryKeyConstraint("rating_run_id", "shard", name="pk_rating_run_cutoffs"),
        schema="billing",
    )
    op.create_table(
        "tax_profiles",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column(
            "tax_kind",
            sa.Enum(
                "registered",
                "composition",
                "sez_unit",
                "sez_developer",
                "uin",
                "tds_deductor",
                "unregistered",
                "overseas",
                name="taxkind_known",
                native_enum=False,
                create_constraint=True,
                length=32,
                schema="billing",
            ),
            nullable=False,
        ),
        sa.Column("legal_name", sa.Text(), nullable=False),
        sa.Column("gstin", sa.Text(), nullable=True),
        sa.Column("address_line", sa.Text(), nullable=False),
        sa.Column("city", sa.Text(), nullable=False),
        sa.Column("postal_code", sa.Text(), nullable=False),
        sa.Column("state_code", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("sez_authorised_operations", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "tax_kind = 'overseas' OR country = 'IN'", name="ck_tax_profiles_abroad_is_overseas"
        ),
        sa.CheckConstraint(
            "tax_kind IN ('unregistered', 'overseas') OR gstin IS NOT NULL",
            name="ck_tax_profiles_gstin_present",
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["billing.customers.id"], name="fk_tax_profiles_customer_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_tax_profiles"),
        sa.UniqueConstraint(
            "customer_id", "valid_from", name="uq_tax_profiles_customer_id_valid_from"
        ),
        schema="billing",
    )
    op.create_table(
        "account_aliases",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.CheckConstraint("valid_to > valid_from", name="ck_account_aliases_some_days"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["billing.accounts.id"], name="fk_account_aliases_account_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_account_aliases"),
        schema="billing",
    )
    op.create_index(
        "ix_account_aliases_account_id",
        "account_aliases",
        ["account_id"],
        unique=False,
        schema="billing",
    )
    op.create_index(
        "ix_account_aliases_alias", "account_aliases", ["alias"], unique=False, schema="billing"
    )
    op.create_index(
        "uq_account_aliases_current",
        "account_aliases",
        ["alias"],
        unique=True,
        schema="billing",
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_table(
        "charges",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("plan_version_id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "price_model",
            sa.Enum(
                "flat",
                "per_unit",
                "graduated",
                name="pricemodel_known",
                native_enum=False,
                create_constraint=True,
                length=32,
                schema="billing",
            ),
            nullable=False,
        ),
        sa.Column("prorated", sa.Boolean(), nullable=False),
        sa.Column("free_units", sa.Numeric(precision=38, scale=12), nullable=False),
        sa.Column("match_dimensions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint(
            "free_units >= 0 AND free_units <> 'NaN'", name="ck_charges_free_units_not_negative"
        ),
        sa.ForeignKeyConstraint(
            ["item_id"], ["billing.billable_items.id"], name="fk_charges_item_id"
        ),
        sa.ForeignKeyConstraint(
            ["plan_version_id"],
            ["billing.price_plan_versions.id"],
            name="fk_charges_plan_version_id",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_charges"),
        sa.UniqueConstraint("plan_version_id", "code", name="uq_charges_plan_version_id_code"),
        schema="billing",
    )
    op.create_table(
        "invoices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("supplier_gstin", sa.Text(), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("period_end", sa.Date(), nullable=False),
        sa.Column("invoice_month", sa.Date(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("rating_run_id", sa.Uuid(), nullable=True),
        sa.Column("lines_hash", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "draft",
                "due",
                "paid",
                "void",
                name="invoicestatus_known",
                native_enum=False,
                create_constraint=True,
                length=32,
                schema="billing",
            ),
            nullable=False,
        ),
        sa.Column(
            "review_state",
            sa.Enum(
                "pending",
                "in_review",
                "approved",
                "rejected",
                "parked",
                name="reviewstate_known",
                native_enum=False,
                create_constraint=True,
                length=32,
                schema="billing",
            ),
            nullable=False,
        ),
        sa.Column("review_note", sa.Text(), nullable=True),
        sa.Column("reviewed_by", sa.Text(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("taxable_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("settled_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_decision", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("number", sa.Text(), nullable=True),
        sa.Column("issue_date", sa.Date(), nullable=True),
        sa.Column("due_date", sa.Date(), nullable=True),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("snapshot", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("snapshot_hash", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(status = 'draft') = (number IS NULL)", name="ck_invoices_number_unless_draft"
        ),
        sa.CheckConstraint(
            "number ~ '^[A-Z1-9][A-Z0-9/-]{0,15}$'", name="ck_invoices_number_allowed_by_rule_46"
        ),
        sa.CheckConstraint(
            "status <> 'paid' OR settled_minor = total_minor", name="ck_invoices_paid_means_settled"
        ),
        sa.CheckConstraint("period_end > period_start", name="ck_invoices_some_days"),
        sa.CheckConstraint(
            "settled_minor BETWEEN 0 AND total_minor", name="ck_invoices_settled_within_total"
        ),
        sa.CheckConstraint(
            "taxable_minor >= 0 AND tax_minor >= 0", name="ck_invoices_amounts_not_negative"
        ),
        sa.CheckConstraint(
            "total_minor = taxable_minor + tax_minor", name="ck_invoices_total_adds_up"
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["billing.accounts.id"], name="fk_invoices_account_id"
        ),
        sa.ForeignKeyConstraint(
            ["currency"], ["billing.currencies.code"], name="fk_invoices_currency"
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["billing.customers.id"], name="fk_invoices_customer_id"
        ),
        sa.ForeignKeyConstraint(
            ["rating_run_id"], ["billing.rating_runs.id"], name="fk_invoices_rating_run_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_invoices"),
        sa.UniqueConstraint(
            "account_id",
            "period_start",
            "period_end",
            "revision",
            name="uq_invoices_account_id_period_start_period_end_revision",
        ),
        sa.UniqueConstraint("supplier_gstin", "number", name="uq_invoices_supplier_gstin_number"),
        schema="billing",
    )
    op.create_index(
        "ix_invoices_customer_id", "invoices", ["customer_id"], unique=False, schema="billing"
    )
    op.create_index(
        "ix_invoices_invoice_month", "invoices", ["invoice_month"], unique=False, schema="billing"
    )
    op.create_index(
        "ix_invoices_status", "invoices", ["status", "review_state"], unique=False, schema="billing"
    )
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "active",
                "ended",
                name="subscriptionstatus_known",
                native_enum=False,
                create_constraint=True,
                length=32,
                schema="billing",
            ),
            nullable=False,
        ),
        sa.Column("anchor_day", sa.Integer(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("anchor_day BETWEEN 1 AND 31", name="ck_subscriptions_anchor_in_month"),
        sa.CheckConstraint("ends_on > starts_on", name="ck_subscriptions_some_days"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["billing.accounts.id"], name="fk_subscriptions_account_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_subscriptions"),
        schema="billing",
    )
    op.create_index(
        "ix_subscriptions_account_id",
        "subscriptions",
        ["account_id"],
        unique=False,
        schema="billing",
    )
    op.create_table(
        "wallets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("balance_units", sa.BigInteger(), nullable=False),
        sa.Column("entry_seq", sa.BigInteger(), nullable=False),
        sa.Column("adjustment_seq", sa.BigInteger(), nullable=False),
        sa.Column("credit_line_units", sa.BigInteger(), nullable=False),
        sa.Column("low_balance_units", sa.BigInteger(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "active",
                "low",
                "suspended",
                name="walletstatus_known",
                native_enum=False,
                create_constraint=True,
                length=32,
                schema="billing",
            ),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "abs(balance_units) < 9007199254740992", name="ck_wallets_balance_below_2_53"
        ),
        sa.CheckConstraint("credit_line_units >= 0", name="ck_wallets_credit_line_not_negative"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["billing.accounts.id"], name="fk_wallets_account_id"
        ),
        sa.ForeignKeyConstraint(
            ["currency"], ["billing.currencies.code"], name="fk_wallets_currency"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_wallets"),
        sa.UniqueConstraint("account_id", "currency", name="uq_wallets_account_id_currency"),
        schema="billing",
    )
    op.create_table(
        "billing_periods",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("invoice_month", sa.Date(), nullable=False),
        sa.CheckConstraint("ends_on > starts_on", name="ck_billing_periods_some_days"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["billing.accounts.id"], name="fk_billing_periods_account_id"
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["billing.subscriptions.id"],
            name="fk_billing_periods_subscription_id",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_billing_periods"),
        sa.UniqueConstraint(
            "subscription_id", "starts_on", name="uq_billing_periods_subscription_id_starts_on"
        ),
        schema="billing",
    )
    op.create_index(
        "ix_billing_periods_invoice_month",
        "billing_periods",
        ["invoice_month"],
        unique=False,
        schema="billing",
    )
    op.create_table(
        "invoice_allocations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name="ck_invoice_allocations_amount_positive"),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["billing.invoices.id"], name="fk_invoice_allocations_invoice_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_invoice_allocations"),
        sa.UniqueConstraint(
            "invoice_id", "reference", name="uq_invoice_allocations_invoice_id_reference"
        ),
        schema="billing",
    )
    op.create_index(
        "ix_invoice_allocations_invoice_id",
        "invoice_allocations",
        ["invoice_id"],
        unique=False,
        schema="billing",
    )
    op.create_table(
        "invoice_documents",
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("rendered_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["billing.invoices.id"], name="fk_invoice_documents_invoice_id"
        ),
        sa.PrimaryKeyConstraint("invoice_id", name="pk_invoice_documents"),
        schema="billing",
    )
    op.create_table(
        "invoice_lines",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("line_ref", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("item_code", sa.Text(), nullable=False),
        sa.Column("sac", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=38, scale=12), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("unit_price", sa.Numeric(precision=38, scale=12), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("period_end", sa.Date(), nullable=False),
        sa.Column("tier_breakdown", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("amount_minor >= 0", name="ck_invoice_lines_amount_not_negative"),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["billing.invoices.id"], name="fk_invoice_lines_invoice_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_invoice_lines"),
        sa.UniqueConstraint("invoice_id", "line_ref", name="uq_invoice_lines_invoice_id_line_ref"),
        schema="billing",
    )
    op.create_table(
        "ledger_entries",
        sa.Column("transaction_id", sa.Uuid(), nullable=False),
        sa.Column("line_no", sa.Integer(), nullable=False),
        sa.Column(
            "account",
            sa.Enum(
                "wallet",
                "usage_unbilled",
                "cash",
                "tax_on_advances",
                "promotion",
                "correction",
                "revenue",
                "output_tax",
                name="ledgeraccount_known",
                native_enum=False,
                create_constraint=True,
                length=32,
                schema="billing",
            ),
            nullable=False,
        ),
        sa.Column("wallet_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_units", sa.BigInteger(), nullable=False),
        sa.Column("wallet_seq", sa.BigInteger(), nullable=True),
        sa.Column("balance_after_units", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(account = 'wallet') = (wallet_seq IS NOT NULL AND balance_after_units IS NOT NULL)",
            name="ck_ledger_entries_wallet_entries_are_numbered",
        ),
        sa.ForeignKeyConstraint(
            ["transaction_id"],
            ["billing.ledger_transactions.id"],
            name="fk_ledger_entries_transaction_id",
        ),
        sa.ForeignKeyConstraint(
            ["wallet_id"], ["billing.wallets.id"], name="fk_ledger_entries_wallet_id"
        ),
        sa.PrimaryKeyConstraint("transaction_id", "line_no", name="pk_ledger_entries"),
        sa.UniqueConstraint(
            "wallet_id", "wallet_seq", name="uq_ledger_entries_wallet_id_wallet_seq"
        ),
        schema="billing",
    )
    op.create_table(
        "rates",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("charge_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("match", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["charge_id"], ["billing.charges.id"], name="fk_rates_charge_id"),
        sa.ForeignKeyConstraint(
            ["currency"], ["billing.currencies.code"], name="fk_rates_currency"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_rates"),
        sa.UniqueConstraint(
            "charge_id", "currency", "match", name="uq_rates_charge_id_currency_match"
        ),
        schema="billing",
    )
    op.create_table(
        "subscription_segments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("plan_version_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=38, scale=12), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.CheckConstraint(
            "quantity > 0 AND quantity <> 'NaN'", name="ck_subscription_segments_quantity_positive"
        ),
        sa.CheckConstraint("ends_on > starts_on", name="ck_subscription_segments_some_days"),
        sa.ForeignKeyConstraint(
            ["plan_version_id"],
            ["billing.price_plan_versions.id"],
            name="fk_subscription_segments_plan_version_id",
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["billing.subscriptions.id"],
            name="fk_subscription_segments_subscription_id",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_subscription_segments"),
        sa.UniqueConstraint(
            "subscription_id",
            "starts_on",
            name="uq_subscription_segments_subscription_id_starts_on",
        ),
        schema="billing",
    )
    op.create_table(
        "wallet_adjustments",
        sa.Column("wallet_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "usage",
                "top_up",
                "promotion",
                "amendment",
                "true_up",
                "correction",
                "invoice",
                name="ledgerkind_known",
                native_enum=False,
                create_constraint=True,
                length=32,
                schema="billing",
            ),
            nullable=False,
        ),
        sa.Column("amount_units", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("ledger_transaction_id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["ledger_transaction_id"],
            ["billing.ledger_transactions.id"],
            name="fk_wallet_adjustments_ledger_transaction_id",
        ),
        sa.ForeignKeyConstraint(
            ["wallet_id"], ["billing.wallets.id"], name="fk_wallet_adjustments_wallet_id"
        ),
        sa.PrimaryKeyConstraint("wallet_id", "seq", name="pk_wallet_adjustments"),
        sa.UniqueConstraint("reference", name="uq_wallet_adjustments_reference"),
        schema="billing",
    )
    op.create_table(
        "rate_tiers",
        sa.Column("rate_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("up_to", sa.Numeric(precision=38, scale=12), nullable=True),
        sa.Column("unit_price", sa.Numeric(precision=38, scale=12), nullable=False),
        sa.Column("flat_amount", sa.Numeric(precision=38, scale=12), nullable=False),
        sa.CheckConstraint(
            "flat_amount >= 0 AND flat_amount <> 'NaN'",
            name="ck_rate_tiers_flat_amount_not_negative",
        ),
        sa.CheckConstraint(
            "unit_price >= 0 AND unit_price <> 'NaN'", name="ck_rate_tiers_unit_price_not_negative"
        ),
        sa.CheckConstraint("up_to > 0 AND up_to <> 'NaN'", name="ck_rate_tiers_up_to_positive"),
        sa.ForeignKeyConstraint(["rate_id"], ["billing.rates.id"], name="fk_rate_tiers_rate_id"),
        sa.PrimaryKeyConstraint("rate_id", "ordinal", name="pk_rate_tiers"),
        schema="billing",
    )
    op.create_table(
        "tax_lines",
        sa.Column("invoice_line_id", sa.Uuid(), nullable=False),
        sa.Column(
            "head",
            sa.Enum(
                "CGST",
                "SGST",
                "UTGST",
                "IGST",
                name="taxhead_known",
                native_enum=False,
                create_constraint=True,
                length=32,
                schema="billing",
            ),
            nullable=False,
        ),
        sa.Column("rate", sa.Numeric(precision=38, scale=12), nullable=False),
        sa.Column("taxable_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("rate >= 0 AND rate <= 100", name="ck_tax_lines_rate_is_percentage"),
        sa.CheckConstraint("tax_minor >= 0", name="ck_tax_lines_tax_not_negative"),
        sa.ForeignKeyConstraint(
            ["invoice_line_id"], ["billing.invoice_lines.id"], name="fk_tax_lines_invoice_line_id"
        ),
        sa.PrimaryKeyConstraint("invoice_line_id", "head", name="pk_tax_lines"),
        schema="billing",
    )

    create_event_table(op.get_bind())
    op.bulk_insert(
        currencies,
        [
            {"code": "INR", "minor_exponent": 2, "wallet_exponent": 6},
            {"code": "USD", "minor_exponent": 2, "wallet_exponent": 6},
            {"code": "IDR", "minor_exponent": 0, "wallet_exponent": 4},
        ],
    )
