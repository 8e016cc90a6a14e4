"""Coupons, and the subscriptions that have one.

Revision: 0034
Follows: 0033
"""

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE billing.coupons (
    id uuid CONSTRAINT pk_coupons PRIMARY KEY,
    code text NOT NULL CONSTRAINT uq_coupons_code UNIQUE,
    name text NOT NULL,
    percent numeric CONSTRAINT ck_coupons_percent_is_percentage
        CHECK (percent > 0 AND percent <= 100),
    duration varchar(32) NOT NULL CONSTRAINT ck_coupons_duration_known
        CHECK (duration IN ('once', 'repeating', 'forever')),
    periods integer,
    redeem_from date,
    redeem_until date,
    max_redemptions integer CONSTRAINT ck_coupons_some_redemptions CHECK (max_redemptions > 0),
    created_at timestamptz NOT NULL,
    withdrawn_at timestamptz,
    CONSTRAINT ck_coupons_repeating_so_often
        CHECK ((duration = 'repeating') = (periods IS NOT NULL) AND periods > 0),
    CONSTRAINT ck_coupons_days_in_order CHECK (redeem_until > redeem_from)
);
CREATE TABLE billing.coupon_amounts (
    coupon_id uuid NOT NULL
        CONSTRAINT fk_coupon_amounts_coupon_id REFERENCES billing.coupons (id),
    currency text NOT NULL
        CONSTRAINT fk_coupon_amounts_currency REFERENCES billing.currencies (code),
    amount_minor bigint NOT NULL
        CONSTRAINT ck_coupon_amounts_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT pk_coupon_amounts PRIMARY KEY (coupon_id, currency)
);
CREATE TABLE billing.coupon_plans (
    coupon_id uuid NOT NULL CONSTRAINT fk_coupon_plans_coupon_id REFERENCES billing.coupons (id),
    plan_id uuid NOT NULL CONSTRAINT fk_coupon_plans_plan_id REFERENCES billing.price_plans (id),
    CONSTRAINT pk_coupon_plans PRIMARY KEY (coupon_id, plan_id)
);
CREATE TABLE billing.coupon_redemptions (
    id uuid CONSTRAINT pk_coupon_redemptions PRIMARY KEY,
    coupon_id uuid NOT NULL
        CONSTRAINT fk_coupon_redemptions_coupon_id REFERENCES billing.coupons (id),
    subscription_id uuid NOT NULL
        CONSTRAINT fk_coupon_redemptions_subscription_id REFERENCES billing.subscriptions (id),
    starts_on date NOT NULL,
    ends_on date,
    redeemed_by text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT ck_coupon_redemptions_days_in_order CHECK (ends_on >= starts_on)
);
CREATE INDEX ix_coupon_redemptions_coupon_id ON billing.coupon_redemptions (coupon_id);
CREATE INDEX ix_coupon_redemptions_subscription_id
    ON billing.coupon_redemptions (subscription_id);
CREATE CONSTRAINT TRIGGER coupons_do_not_overlap
    AFTER INSERT OR UPDATE ON billing.coupon_redemptions DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_overlap()
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(_TABLES)
