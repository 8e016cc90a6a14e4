"""Rate decks, prices agreed with one account, and traffic types beside the other dimensions.

Revision: 0019
Follows: 0018
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_PRICE = sa.Numeric(38, 12)

_FROZEN = """
CREATE FUNCTION billing.refuse_change_of_deck() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE version_id uuid;
BEGIN
    IF TG_TABLE_NAME = 'rate_deck_versions' THEN
        IF OLD.status = 'draft' THEN
            RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
        END IF;
        version_id := OLD.id;
    ELSE
        version_id := (to_jsonb(coalesce(NEW, OLD)) ->> 'version_id')::uuid;
        IF NOT EXISTS (SELECT 1 FROM billing.rate_deck_versions
                       WHERE id = version_id AND status <> 'draft') THEN
            RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
        END IF;
    END IF;
    RAISE EXCEPTION 'rate deck version % is published: its prices never change', version_id
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER refuse_change_of_deck BEFORE UPDATE OR DELETE ON billing.rate_deck_versions
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change_of_deck();
CREATE TRIGGER refuse_change_of_deck BEFORE INSERT OR UPDATE OR DELETE ON billing.rate_deck_rows
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change_of_deck()
"""

_ANNOUNCED = """
CREATE FUNCTION billing.announce_deck() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('billing_accounts', account_id::text) FROM (
        SELECT DISTINCT subscription.account_id
        FROM billing.charges charge
        JOIN billing.subscription_segments segment
            ON segment.plan_version_id = charge.plan_version_id
        JOIN billing.subscriptions subscription ON subscription.id = segment.subscription_id
        WHERE charge.rate_deck_id = NEW.deck_id
    ) concerned;
    RETURN NULL;
END $$;

CREATE TRIGGER announce_deck AFTER UPDATE ON billing.rate_deck_versions
    FOR EACH ROW WHEN (NEW.status = 'published') EXECUTE FUNCTION billing.announce_deck();
CREATE TRIGGER announce_account AFTER INSERT OR UPDATE ON billing.price_overrides
    FOR EACH ROW EXECUTE FUNCTION billing.announce_account()
"""

_MARTS = {
    "intermediate.int_usage__daily": None,
    "marts.fct_usage_daily": "unknown",
    "marts.fct_unrated_usage": "unknown",
}
"""Tables of the pipeline that keep what they have, and what an absent dimension is called there."""


def _decks() -> None:
    op.create_table(
        "rate_decks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rate_decks"),
        sa.UniqueConstraint("code", name="uq_rate_decks_code"),
        schema="billing",
    )
    op.create_table(
        "rate_deck_versions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("deck_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('draft', 'published')", name="deckstatus_known"),
        sa.CheckConstraint(
            "(status = 'draft') = (published_at IS NULL)", name="published_unless_draft"
        ),
        sa.ForeignKeyConstraint(
            ["deck_id"], ["billing.rate_decks.id"], name="fk_rate_deck_versions_deck_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_rate_deck_versions"),
        sa.UniqueConstraint("deck_id", "version", name="uq_rate_deck_versions_deck_id"),
        schema="billing",
    )
    op.create_index(
        "uq_rate_deck_versions_effective_from",
        "rate_deck_versions",
        ["deck_id", "effective_from"],
        unique=True,
        schema="billing",
        postgresql_where=sa.text("status = 'published'"),
    )
    op.create_table(
        "rate_deck_rows",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("operator", sa.Text(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("traffic_type", sa.Text(), nullable=True),
        sa.Column("unit_price", _PRICE, nullable=False),
        sa.CheckConstraint(
            "unit_price >= 0 AND unit_price <> 'NaN'", name="unit_price_not_negative"
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["billing.rate_deck_versions.id"], name="fk_rate_deck_rows_version_id"
        ),
        sa.ForeignKeyConstraint(
            ["currency"], ["billing.currencies.code"], name="fk_rate_deck_rows_currency"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_rate_deck_rows"),
        sa.UniqueConstraint("version_id", "ordinal", name="uq_rate_deck_rows_version_id"),
        schema="billing",
    )
    op.add_column("charges", sa.Column("rate_deck_id", sa.Uuid(), nullable=True), schema="billing")
    op.create_foreign_key(
        "fk_charges_rate_deck_id",
        "charges",
        "rate_decks",
        ["rate_deck_id"],
        ["id"],
        source_schema="billing",
        referent_schema="billing",
    )
    op.create_index("ix_charges_rate_deck_id", "charges", ["rate_deck_id"], schema="billing")


def _overrides() -> None:
    op.create_table(
        "price_overrides",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("plan_id", sa.Uuid(), nullable=True),
        sa.Column("charge_code", sa.Text(), nullable=True),
        sa.Column("deck_id", sa.Uuid(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("match", postgresql.JSONB(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(deck_id IS NULL) = (plan_id IS NOT NULL) "
            "AND (plan_id IS NULL) = (charge_code IS NULL)",
            name="one_target",
        ),
        sa.CheckConstraint("ends_on >= starts_on", name="days_in_order"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["billing.accounts.id"], name="fk_price_overrides_account_id"
        ),
        sa.ForeignKeyConstraint(
            ["plan_id"], ["billing.price_plans.id"], name="fk_price_overrides_plan_id"
        ),
        sa.ForeignKeyConstraint(
            ["deck_id"], ["billing.rate_decks.id"], name="fk_price_overrides_deck_id"
        ),
        sa.ForeignKeyConstraint(
            ["currency"], ["billing.currencies.code"], name="fk_price_overrides_currency"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_price_overrides"),
        sa.UniqueConstraint("account_id", "number", name="uq_price_overrides_account_id"),
        schema="billing",
    )
    op.create_table(
        "price_override_tiers",
        sa.Column("override_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("up_to", _PRICE, nullable=True),
        sa.Column("unit_price", _PRICE, nullable=False),
        sa.Column("flat_amount", _PRICE, nullable=False),
        sa.CheckConstraint("up_to > 0 AND up_to <> 'NaN'", name="up_to_positive"),
        sa.CheckConstraint(
            "unit_price >= 0 AND unit_price <> 'NaN'", name="unit_price_not_negative"
        ),
        sa.CheckConstraint(
            "flat_amount >= 0 AND flat_amount <> 'NaN'", name="flat_amount_not_negative"
        ),
        sa.ForeignKeyConstraint(
            ["override_id"],
            ["billing.price_overrides.id"],
            name="fk_price_override_tiers_override_id",
        ),
        sa.PrimaryKeyConstraint("override_id", "ordinal", name="pk_price_override_tiers"),
        schema="billing",
    )


def upgrade() -> None:
    """Make the tables, freeze what is published, and tell the intake of changes."""
    _decks()
    _overrides()
    op.execute(_FROZEN)
    op.execute(_ANNOUNCED)
    for table, absent in _MARTS.items():
        op.execute(f"ALTER TABLE IF EXISTS {table} ADD COLUMN IF NOT EXISTS traffic_type text")
        if absent is not None:
            op.execute(
                f"DO $$ BEGIN IF to_regclass('{table}') IS NOT NULL THEN "
                f"UPDATE {table} SET traffic_type = '{absent}' WHERE traffic_type IS NULL; "
                "END IF; END $$"
            )
