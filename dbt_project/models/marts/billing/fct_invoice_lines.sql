{{
    config(
        materialized="incremental",
        incremental_strategy="replace_window",
        meta={"window_column": "invoice_month"},
        on_schema_change="fail",
        full_refresh=false,
        indexes=[
            {"columns": ["line_ref"], "unique": true},
            {"columns": ["invoice_month", "account_id"]},
        ],
    )
}}

select
    line_ref,
    {{ rating_run_id() }} as rating_run_id,
    invoice_month,
    account_id,
    customer_id,
    subscription_id,
    billing_period_id,
    segment_id,
    plan_version_id,
    charge_id,
    charge_code,
    rate_id,
    item_code,
    sac,
    description,
    period_start,
    period_end,
    covered_from,
    covered_to,
    quantity::numeric(38, 12) as quantity,
    free_quantity::numeric(38, 12) as free_quantity,
    event_count,
    unit,
    unit_price::numeric(38, 12) as unit_price,
    currency,
    amount::numeric(38, 18) as amount,
    amount_minor,
    is_recurring,
    tier_breakdown
from {{ ref("int_rating__settled_lines") }}
