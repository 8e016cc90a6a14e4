"""The tables that the pipeline would have made, for measurements and tests that do not run it."""

RATED_MARTS = """
CREATE SCHEMA IF NOT EXISTS marts;
CREATE TABLE marts.fct_invoice_lines (
    line_ref text, rating_run_id uuid, invoice_month date, account_id uuid, customer_id uuid,
    subscription_id uuid, billing_period_id uuid, segment_id uuid, plan_version_id uuid,
    charge_id uuid, charge_code text, rate_id uuid, item_code text, sac text, description text,
    period_start date, period_end date, quantity numeric, event_count bigint, unit text,
    unit_price numeric, currency text, amount numeric, amount_minor bigint, is_recurring boolean,
    tier_breakdown jsonb
);
CREATE TABLE marts.fct_invoice_usage (
    rating_run_id uuid, invoice_month date, account_id uuid, period_start date, event_type text,
    channel text, country text, event_count bigint, quantity numeric
);
CREATE TABLE marts.fct_unrated_usage (
    invoice_month date, account_id uuid, event_type text, event_count bigint, quantity numeric,
    charge_id uuid, country text, channel text, status text, operator text, route text,
    traffic_type text
)
"""
