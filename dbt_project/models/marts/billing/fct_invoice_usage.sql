{{
    config(
        materialized="incremental",
        incremental_strategy="replace_window",
        meta={"window_column": "invoice_month"},
        on_schema_change="fail",
        full_refresh=false,
        indexes=[{"columns": ["invoice_month", "account_id"]}],
    )
}}

-- What the annexure of an invoice lists: the usage that rating read, by channel and country.
with periods as (
    -- two subscriptions of an account may have the same period
    select distinct invoice_month, account_id, period_start, period_end
    from {{ ref("int_rating__segment_charges") }}
),

usage_rows as (select * from {{ ref("int_rating__usage") }})

select
    {{ rating_run_id() }} as rating_run_id,
    periods.invoice_month,
    periods.account_id,
    periods.period_start,
    usage_rows.event_type,
    coalesce(usage_rows.channel, 'unknown') as channel,
    coalesce(usage_rows.country, 'unknown') as country,
    sum(usage_rows.event_count)::bigint as event_count,
    sum(usage_rows.quantity)::numeric(38, 12) as quantity
from periods
inner join usage_rows
    on usage_rows.account_id = periods.account_id
    and usage_rows.usage_day >= periods.period_start
    and usage_rows.usage_day < periods.period_end
group by
    periods.invoice_month,
    periods.account_id,
    periods.period_start,
    usage_rows.event_type,
    coalesce(usage_rows.channel, 'unknown'),
    coalesce(usage_rows.country, 'unknown')
