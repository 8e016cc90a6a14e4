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

with charge_usage as (select * from {{ ref("int_rating__charge_usage") }}),

matches as (select * from {{ ref("int_rating__rate_matches") }}),

segment_charges as (select * from {{ ref("int_rating__segment_charges") }}),

values_without_rate as (
    select
        event_values.billing_period_id,
        event_values.segment_id,
        event_values.charge_id,
        event_values.event_type,
        {% for name in dimensions() -%}
        coalesce(event_values.{{ name }}, 'unknown') as {{ name }},
        {% endfor -%}
        count(*) as event_count,
        case event_values.aggregation
            when 'sum' then coalesce(sum(event_values.value), 0)
            else count(*)
        end as quantity
    from {{ ref("int_rating__event_values") }} as event_values
    left join matches
        on matches.charge_id = event_values.charge_id
        and matches.currency = event_values.currency
        and matches.dimension_key = event_values.dimension_key
    where matches.rate_id is null
    group by
        event_values.billing_period_id,
        event_values.segment_id,
        event_values.charge_id,
        event_values.event_type,
        event_values.aggregation{% for name in dimensions() %},
        coalesce(event_values.{{ name }}, 'unknown'){% endfor %}
),

usage_without_rate as (
    select
        charge_usage.billing_period_id,
        charge_usage.segment_id,
        charge_usage.charge_id,
        charge_usage.event_type,
        {% for name in dimensions() -%}
        coalesce(charge_usage.{{ name }}, 'unknown') as {{ name }},
        {% endfor -%}
        sum(charge_usage.event_count)::bigint as event_count,
        sum(charge_usage.quantity) as quantity
    from charge_usage
    left join matches
        on matches.charge_id = charge_usage.charge_id
        and matches.currency = charge_usage.currency
        and matches.dimension_key = charge_usage.dimension_key
    where matches.rate_id is null and not charge_usage.is_opening
    group by
        charge_usage.billing_period_id,
        charge_usage.segment_id,
        charge_usage.charge_id,
        charge_usage.event_type{% for name in dimensions() %},
        coalesce(charge_usage.{{ name }}, 'unknown'){% endfor %}
),

flat_without_rate as (
    select
        flat_lines.billing_period_id,
        flat_lines.segment_id,
        flat_lines.charge_id,
        segment_charges.charge_code as event_type,
        {% for name in dimensions() -%}
        'unknown' as {{ name }},
        {% endfor -%}
        0::bigint as event_count,
        flat_lines.quantity
    from {{ ref("int_rating__flat_lines") }} as flat_lines
    inner join segment_charges
        on segment_charges.billing_period_id = flat_lines.billing_period_id
        and segment_charges.segment_id = flat_lines.segment_id
        and segment_charges.charge_id = flat_lines.charge_id
    where flat_lines.rate_id is null
    union all
    select
        commitments.billing_period_id,
        commitments.segment_id,
        commitments.charge_id,
        segment_charges.charge_code as event_type,
        {% for name in dimensions() -%}
        'unknown' as {{ name }},
        {% endfor -%}
        0::bigint as event_count,
        1::numeric as quantity
    from {{ ref("int_rating__commitments") }} as commitments
    inner join segment_charges
        on segment_charges.billing_period_id = commitments.billing_period_id
        and segment_charges.segment_id = commitments.segment_id
        and segment_charges.charge_id = commitments.charge_id
    where commitments.rate_id is null
),

without_rate as (
    select * from usage_without_rate
    union all
    select * from values_without_rate
    union all
    select * from flat_without_rate
)

select
    {{ rating_run_id() }} as rating_run_id,
    segment_charges.invoice_month,
    segment_charges.account_id,
    segment_charges.customer_id,
    segment_charges.subscription_id,
    segment_charges.invoiced_period_id as billing_period_id,
    without_rate.segment_id,
    without_rate.charge_id,
    segment_charges.charge_code,
    without_rate.event_type,
    {{ dimension_columns("without_rate") }},
    without_rate.event_count,
    without_rate.quantity::numeric(38, 12) as quantity
from without_rate
inner join segment_charges
    on segment_charges.billing_period_id = without_rate.billing_period_id
    and segment_charges.segment_id = without_rate.segment_id
    and segment_charges.charge_id = without_rate.charge_id
