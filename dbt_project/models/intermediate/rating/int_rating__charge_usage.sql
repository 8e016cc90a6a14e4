-- Steps 1 and 2 of rating: the usage each charge counts, in the charge's units, by segment and
-- dimensions, and by the stretch of days over which the charge's rates are the same. What is read off
-- events one by one is in int_rating__event_values.
with usage_rows as (select * from {{ ref("int_rating__usage") }}),

eras as (select * from {{ ref("int_rating__price_eras") }}),

segment_charges as (
    select * from {{ ref("int_rating__segment_charges") }}
    where price_model not in ('flat', 'licence', 'one_time', 'commitment')
)

select
    segment_charges.billing_period_id,
    segment_charges.segment_id,
    segment_charges.charge_id,
    segment_charges.currency,
    segment_charges.event_type,
    {{ dimension_columns("usage_rows") }},
    eras.era_from,
    eras.override_account_id,
    jsonb_build_array(
        {{ dimension_columns("usage_rows") }}, eras.era_from, eras.override_account_id
    )::text as dimension_key,
    sum(usage_rows.event_count)::bigint as event_count,
    sum(
        case segment_charges.aggregation
            when 'sum' then usage_rows.quantity
            else usage_rows.event_count
        end
    ) as quantity,
    false as is_opening
from usage_rows
inner join segment_charges
    on segment_charges.account_id = usage_rows.account_id
    and segment_charges.event_type = usage_rows.event_type
    and segment_charges.covered_from <= usage_rows.usage_day
    and segment_charges.covered_to > usage_rows.usage_day
inner join eras
    on eras.account_id = segment_charges.account_id
    and eras.charge_id = segment_charges.charge_id
    and eras.era_from <= usage_rows.usage_day
    and eras.era_to > usage_rows.usage_day
where not segment_charges.reads_events
    and {{ filter_counts("segment_charges.event_filter", "usage_rows") }}
group by
    segment_charges.billing_period_id,
    segment_charges.segment_id,
    segment_charges.charge_id,
    segment_charges.currency,
    segment_charges.event_type,
    eras.era_from,
    eras.override_account_id,
    {{ dimension_columns("usage_rows") }}

union all

-- Nothing, under the rate for everything, where a charge bills a period without units.
select
    segment_charges.billing_period_id,
    segment_charges.segment_id,
    segment_charges.charge_id,
    segment_charges.currency,
    segment_charges.event_type,
    {% for name in dimensions() -%}
    null as {{ name }},
    {% endfor -%}
    eras.era_from,
    eras.override_account_id,
    jsonb_build_array(
        {% for name in dimensions() %}null, {% endfor %}eras.era_from, eras.override_account_id
    )::text as dimension_key,
    0::bigint as event_count,
    0::numeric as quantity,
    true as is_opening
from segment_charges
inner join eras
    on eras.account_id = segment_charges.account_id
    and eras.charge_id = segment_charges.charge_id
    and eras.era_from <= segment_charges.covered_from
    and eras.era_to > segment_charges.covered_from
where segment_charges.bills_zero and segment_charges.covered_from = segment_charges.period_start
