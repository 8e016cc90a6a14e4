"""Periods of other lengths than a month; what happened to a subscription, change by change.

Revision: 0023
Follows: 0022
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_INTERVALS = "('week', 'month', 'quarter', 'half_year', 'year')"

_CYCLES = f"""
ALTER TABLE billing.price_plan_versions
    ADD COLUMN interval varchar(32) NOT NULL DEFAULT 'month'
        CONSTRAINT ck_price_plan_versions_interval_known CHECK (interval IN {_INTERVALS}),
    ADD COLUMN anchor varchar(32) NOT NULL DEFAULT 'fixed'
        CONSTRAINT ck_price_plan_versions_anchor_known
        CHECK (anchor IN ('fixed', 'anniversary')),
    ADD COLUMN trial_days integer NOT NULL DEFAULT 0
        CONSTRAINT ck_price_plan_versions_trial_not_negative CHECK (trial_days >= 0);
ALTER TABLE billing.subscriptions
    ADD COLUMN interval varchar(32) NOT NULL DEFAULT 'month'
        CONSTRAINT ck_subscriptions_interval_known CHECK (interval IN {_INTERVALS}),
    ADD COLUMN anchor_month integer NOT NULL DEFAULT 1
        CONSTRAINT ck_subscriptions_anchor_in_year CHECK (anchor_month BETWEEN 1 AND 12),
    ADD CONSTRAINT ck_subscriptions_anchor_in_week
        CHECK (interval <> 'week' OR anchor_day <= 7);
ALTER TABLE billing.subscription_segments
    ADD COLUMN phase varchar(32) NOT NULL DEFAULT 'active'
        CONSTRAINT ck_subscription_segments_phase_known
        CHECK (phase IN ('trial', 'active', 'paused')),
    ADD COLUMN recurring_from date,
    ADD COLUMN recurring_to date,
    ADD CONSTRAINT ck_subscription_segments_recurring_in_order
        CHECK (recurring_to >= recurring_from)
"""

_WHOLE_PERIODS = """
ALTER TABLE billing.billing_periods
    ADD COLUMN full_starts_on date,
    ADD COLUMN full_ends_on date;
CREATE FUNCTION pg_temp.clamped(month date, day integer) RETURNS date LANGUAGE sql IMMUTABLE AS $$
    SELECT least(
        date_trunc('month', month)::date + day - 1,
        (date_trunc('month', month) + interval '1 month' - interval '1 day')::date
    )
$$;
UPDATE billing.billing_periods p
SET full_starts_on = f.starts_on,
    full_ends_on = pg_temp.clamped(
        (date_trunc('month', f.starts_on) + interval '1 month')::date, f.anchor_day
    )
FROM (
    SELECT b.id, s.anchor_day, CASE
            WHEN pg_temp.clamped(b.starts_on, s.anchor_day) <= b.starts_on
                THEN pg_temp.clamped(b.starts_on, s.anchor_day)
            ELSE pg_temp.clamped(
                (date_trunc('month', b.starts_on) - interval '1 month')::date, s.anchor_day
            )
        END AS starts_on
    FROM billing.billing_periods b
    JOIN billing.subscriptions s ON s.id = b.subscription_id
) f
WHERE f.id = p.id;
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE billing.billing_periods
    ALTER COLUMN full_starts_on SET NOT NULL,
    ALTER COLUMN full_ends_on SET NOT NULL,
    ADD CONSTRAINT ck_billing_periods_within_whole
        CHECK (full_starts_on <= starts_on AND full_ends_on >= ends_on)
"""

_HISTORY = """
CREATE TABLE billing.plan_migrations (
    id uuid CONSTRAINT pk_plan_migrations PRIMARY KEY,
    plan_version_id uuid NOT NULL REFERENCES billing.price_plan_versions (id),
    wanted jsonb NOT NULL,
    report jsonb NOT NULL,
    made_by text NOT NULL,
    made_at timestamptz NOT NULL
);
CREATE INDEX ix_plan_migrations_plan_version_id ON billing.plan_migrations (plan_version_id);
CREATE TABLE billing.subscription_changes (
    id uuid CONSTRAINT pk_subscription_changes PRIMARY KEY,
    subscription_id uuid NOT NULL REFERENCES billing.subscriptions (id),
    number integer NOT NULL,
    kind varchar(32) NOT NULL CONSTRAINT ck_subscription_changes_changekind_known CHECK (
        kind IN ('start', 'upgrade', 'downgrade', 'change', 'seats', 'pause', 'resume', 'end',
            'renew', 'migrate', 'undo')
    ),
    effective_on date NOT NULL,
    bills_from date NOT NULL,
    proration varchar(32) CONSTRAINT ck_subscription_changes_proration_known
        CHECK (proration IN ('prorate', 'full', 'none')),
    before jsonb,
    after jsonb NOT NULL,
    undoes_id uuid CONSTRAINT uq_subscription_changes_undoes_id UNIQUE
        REFERENCES billing.subscription_changes (id),
    migration_id uuid REFERENCES billing.plan_migrations (id),
    made_by text NOT NULL,
    made_at timestamptz NOT NULL,
    CONSTRAINT uq_subscription_changes_subscription_id_number UNIQUE (subscription_id, number)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing.subscription_changes
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON billing.subscription_changes
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing.plan_migrations
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON billing.plan_migrations
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change()
"""

_SEGMENTS_MAY_MOVE = """
CREATE OR REPLACE FUNCTION billing.refuse_overlap() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE clashes boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext(TG_TABLE_NAME || NEW.subscription_id::text));
    -- Rows as they stand at commit: what was written in between may have moved or gone again.
    EXECUTE format(
        'SELECT EXISTS (SELECT 1 FROM billing.%1$I own
            JOIN billing.%1$I other ON other.subscription_id = own.subscription_id
                AND other.id <> own.id
                AND daterange(other.starts_on, other.ends_on)
                    && daterange(own.starts_on, own.ends_on)
            WHERE own.id = $1)', TG_TABLE_NAME)
        INTO clashes USING NEW.id;
    IF clashes THEN
        RAISE EXCEPTION '% % to % overlaps another of subscription %', TG_TABLE_NAME,
            NEW.starts_on, NEW.ends_on, NEW.subscription_id USING ERRCODE = 'exclusion_violation';
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    """Let periods have other lengths, and keep what happened to subscriptions."""
    for rule in (_CYCLES, _WHOLE_PERIODS, _HISTORY, _SEGMENTS_MAY_MOVE):
        op.execute(rule)
