"""Percentages, sizes of tiers, conversions, limits, licences, one-time prices, commitments.

Revision: 0022
Follows: 0021
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_MODELS = (
    "price_model IN ('flat', 'per_unit', 'graduated', 'package', 'volume', 'stairstep', "
    "'percentage', 'dynamic', 'licence', 'one_time', 'commitment')"
)
_KINDS = "kind IN ('usage', 'recurring', 'licence', 'one_time')"
_NUMBER = sa.Numeric(38, 12)

_FROZEN = """
CREATE OR REPLACE FUNCTION billing.refuse_change_of_published() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE version_id uuid;
BEGIN
    version_id := CASE
        WHEN TG_TABLE_NAME = 'charges'
            THEN (to_jsonb(coalesce(NEW, OLD)) ->> 'plan_version_id')::uuid
        WHEN TG_TABLE_NAME IN ('rates', 'charge_limits') THEN (SELECT plan_version_id
            FROM billing.charges WHERE id = (to_jsonb(coalesce(NEW, OLD)) ->> 'charge_id')::uuid)
        ELSE (SELECT c.plan_version_id FROM billing.charges c
            JOIN billing.rates r ON r.charge_id = c.id
            WHERE r.id = (to_jsonb(coalesce(NEW, OLD)) ->> 'rate_id')::uuid)
    END;
    IF EXISTS (SELECT 1 FROM billing.price_plan_versions
               WHERE id = version_id AND status <> 'draft') THEN
        RAISE EXCEPTION 'plan version % is published: its prices never change', version_id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;

CREATE TRIGGER refuse_change_of_published
    BEFORE INSERT OR UPDATE OR DELETE ON billing.charge_limits
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change_of_published()
"""


def _charges() -> None:
    for column in (
        sa.Column("free_pool", sa.Text(), nullable=True),
        sa.Column("free_events", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("unit_divisor", _NUMBER, nullable=True),
        sa.Column("unit_rounding", sa.String(32), nullable=True),
        sa.Column("bills_zero", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("discount_percent", _NUMBER, nullable=False, server_default="0"),
    ):
        op.add_column("charges", column, schema="billing")
    for name, rule in (
        ("free_events_not_negative", "free_events >= 0"),
        ("unit_divisor_positive", "unit_divisor > 0 AND unit_divisor <> 'NaN'"),
        ("unitrounding_known", "unit_rounding IN ('up', 'down', 'half_up')"),
        ("rounding_needs_divisor", "unit_divisor IS NOT NULL OR unit_rounding IS NULL"),
        ("discount_is_percentage", "discount_percent >= 0 AND discount_percent <= 100"),
    ):
        op.create_check_constraint(name, "charges", rule, schema="billing")
    op.drop_constraint("ck_charges_pricemodel_known", "charges", schema="billing")
    op.create_check_constraint("pricemodel_known", "charges", _MODELS, schema="billing")


def _tiers() -> None:
    for name in ("package_size", "event_minimum", "event_maximum"):
        op.add_column("rate_tiers", sa.Column(name, _NUMBER, nullable=True), schema="billing")
    for name, rule in (
        ("package_size_positive", "package_size > 0 AND package_size <> 'NaN'"),
        ("event_minimum_not_negative", "event_minimum >= 0 AND event_minimum <> 'NaN'"),
        (
            "event_bounds_in_order",
            "event_maximum >= coalesce(event_minimum, 0) AND event_maximum <> 'NaN'",
        ),
    ):
        op.create_check_constraint(name, "rate_tiers", rule, schema="billing")


def _limits() -> None:
    op.create_table(
        "charge_limits",
        sa.Column("charge_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("minimum", _NUMBER, nullable=True),
        sa.Column("maximum", _NUMBER, nullable=True),
        sa.CheckConstraint("minimum >= 0 AND minimum <> 'NaN'", name="minimum_not_negative"),
        sa.CheckConstraint(
            "maximum >= coalesce(minimum, 0) AND maximum <> 'NaN'", name="limits_in_order"
        ),
        sa.CheckConstraint("num_nonnulls(minimum, maximum) > 0", name="limits_something"),
        sa.ForeignKeyConstraint(
            ["charge_id"], ["billing.charges.id"], name="fk_charge_limits_charge_id"
        ),
        sa.ForeignKeyConstraint(
            ["currency"], ["billing.currencies.code"], name="fk_charge_limits_currency"
        ),
        sa.PrimaryKeyConstraint("charge_id", "currency", name="pk_charge_limits"),
        schema="billing",
    )


def upgrade() -> None:
    """Add what they need; a line that makes up for a minimum has no rate."""
    _charges()
    _tiers()
    _limits()
    op.execute(_FROZEN)
    op.drop_constraint("ck_billable_items_itemkind_known", "billable_items", schema="billing")
    op.create_check_constraint("itemkind_known", "billable_items", _KINDS, schema="billing")
    op.execute("ALTER TABLE IF EXISTS marts.fct_invoice_lines ALTER COLUMN rate_id DROP NOT NULL")
