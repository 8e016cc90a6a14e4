{{
    config(
        materialized="incremental",
        incremental_strategy="replace_window",
        meta={"window_column": "usage_day"},
        on_schema_change="fail",
        full_refresh=false,
        pre_hook="{{ note_touched_account_days() }}",
        post_hook="{{ forget_touched_account_days() }}",
        indexes=[{"columns": ["usage_day"]}, {"columns": ["account_id", "usage_day"]}],
    )
}}

-- depends_on: {{ ref("int_usage__accepted") }}
with usage_rows as (
    select * from {{ ref("int_usage__daily") }}
    where {{ is_replaced("account_id", "usage_day") }}
)

select
    account_id,
    customer_id,
    usage_day,
    event_type,
    {% for name in dimensions() -%}
    coalesce({{ name }}, 'unknown') as {{ name }},
    {% endfor -%}
    sum(event_count)::bigint as event_count,
    sum(quantity)::numeric(38, 6) as quantity,
    sum(vendor_cost)::numeric(38, 6) as vendor_cost
from usage_rows
group by
    account_id,
    customer_id,
    usage_day,
    event_type{% for name in dimensions() %},
    coalesce({{ name }}, 'unknown'){% endfor %}
