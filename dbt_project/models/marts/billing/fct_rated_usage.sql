{{
    config(
        materialized="incremental",
        incremental_strategy="replace_window",
        meta={"window_column": "invoice_month"},
        on_schema_change="fail",
        full_refresh=false,
        indexes=[{"columns": ["invoice_month"]}, {"columns": ["billing_period_id"]}],
    )
}}

-- The usage that a rating run read, whoever was to count it: prices can then be tried on it long
-- afterwards without reading events again. Segments of the plan part it, because each may have other
-- prices; add-ons have none for usage.
with usage_rows as (select * from {{ ref("int_rating__usage") }}),

segments as (
    select distinct
        invoice_month,
        account_id,
        billing_period_id,
        segment_id,
        covered_from,
        covered_to
    from {{ ref("int_rating__segment_charges") }}
    where not is_ahead and added_on is null
)

select
    {{ rating_run_id() }} as rating_run_id,
    segments.invoice_month,
    segments.account_id,
    segments.billing_period_id,
    segments.segment_id,
    usage_rows.event_type,
    {{ dimensions_object("usage_rows") }} as dimensions,
    sum(usage_rows.event_count)::bigint as event_count,
    sum(usage_rows.quantity)::numeric(38, 6) as quantity
from usage_rows
inner join segments
    on segments.account_id = usage_rows.account_id
    and segments.covered_from <= usage_rows.usage_day
    and segments.covered_to > usage_rows.usage_day
group by
    segments.invoice_month,
    segments.account_id,
    segments.billing_period_id,
    segments.segment_id,
    usage_rows.event_type,
    {{ dimensions_object("usage_rows") }}
