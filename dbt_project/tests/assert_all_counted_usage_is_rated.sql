-- What a charge counts is on a line or without a rate, never nowhere: quantities and events of both
-- together equal the usage of the run, charge by charge. Guards the joins of the rating models.
with counted as (
    select
        segment_charges.billing_period_id,
        segment_charges.segment_id,
        segment_charges.charge_id,
        sum(usage_rows.event_count) as event_count,
        sum(
            case segment_charges.aggregation
                when 'sum' then usage_rows.quantity
                else usage_rows.event_count
            end
        ) as quantity
    from {{ ref("int_rating__segment_charges") }} as segment_charges
    inner join {{ ref("int_rating__usage") }} as usage_rows
        on usage_rows.account_id = segment_charges.account_id
        and usage_rows.event_type = segment_charges.event_type
        and usage_rows.usage_day >= segment_charges.covered_from
        and usage_rows.usage_day < segment_charges.covered_to
    where segment_charges.price_model not in ('flat', 'licence', 'one_time', 'commitment')
        and {{ filter_counts("segment_charges.event_filter", "usage_rows") }}
    group by
        segment_charges.billing_period_id, segment_charges.segment_id, segment_charges.charge_id
),

accounted as (
    select billing_period_id, segment_id, charge_id, event_count, quantity
    from {{ ref("fct_invoice_lines") }}
    where event_count > 0 and {{ in_invoice_month("invoice_month") }}
    union all
    select billing_period_id, segment_id, charge_id, event_count, quantity
    from {{ ref("fct_unrated_usage") }}
    where event_count > 0 and {{ in_invoice_month("invoice_month") }}
),

accounted_sums as (
    select
        billing_period_id,
        segment_id,
        charge_id,
        sum(event_count) as event_count,
        sum(quantity) as quantity
    from accounted
    group by billing_period_id, segment_id, charge_id
)

select *
from counted
full outer join accounted_sums using (billing_period_id, segment_id, charge_id)
where counted.event_count is distinct from accounted_sums.event_count
    or (
        counted.quantity is distinct from accounted_sums.quantity
        -- Lines are in converted units, or in what was read off the events.
        and charge_id not in (
            select charge_id from {{ ref("stg_billing__charges") }} where unit_divisor is not null
            union all
            select charge_id from {{ ref("int_rating__segment_charges") }} where reads_events
        )
    )
