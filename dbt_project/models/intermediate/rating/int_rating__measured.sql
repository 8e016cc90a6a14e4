-- Analysed once it is made: without statistics what joins it is taken for a few rows, and was merged
-- by one of four columns.
{{ config(post_hook="analyze {{ this }}") }}

-- Steps 3 and 4 of rating: quantities per period, segment, charge and rate, in the charge's units,
-- and the free units each takes. They are given once per period and rate, or to all charges of a
-- pool; the earliest segment takes them first. What of a percentage is free is found event by event.
with charge_usage as (select * from {{ ref("int_rating__charge_usage") }}),

matches as (select * from {{ ref("int_rating__rate_matches") }}),

segment_charges as (select * from {{ ref("int_rating__segment_charges") }}),

added_up as (
    select
        charge_usage.billing_period_id,
        charge_usage.segment_id,
        charge_usage.charge_id,
        matches.rate_id,
        sum(charge_usage.event_count)::bigint as event_count,
        sum(charge_usage.quantity) as quantity,
        bool_or(charge_usage.is_opening) as is_opening
    from charge_usage
    inner join matches
        on matches.charge_id = charge_usage.charge_id
        and matches.currency = charge_usage.currency
        and matches.dimension_key = charge_usage.dimension_key
    group by
        charge_usage.billing_period_id,
        charge_usage.segment_id,
        charge_usage.charge_id,
        matches.rate_id
),

read_off as (
    select
        event_values.billing_period_id,
        event_values.segment_id,
        event_values.charge_id,
        matches.rate_id,
        count(*) as event_count,
        {{ measured_together("event_values") }} as quantity,
        false as is_opening
    from {{ ref("int_rating__event_values") }} as event_values
    inner join matches
        on matches.charge_id = event_values.charge_id
        and matches.currency = event_values.currency
        and matches.dimension_key = event_values.dimension_key
    group by
        event_values.billing_period_id,
        event_values.segment_id,
        event_values.charge_id,
        event_values.aggregation,
        matches.rate_id
),

measured as (
    select
        billing_period_id,
        segment_id,
        charge_id,
        rate_id,
        sum(event_count)::bigint as event_count,
        sum(quantity) as quantity,
        bool_or(is_opening) as is_opening
    from (select * from added_up union all select * from read_off) as both_ways
    group by billing_period_id, segment_id, charge_id, rate_id
),

converted as (
    select
        measured.billing_period_id,
        measured.segment_id,
        measured.charge_id,
        measured.rate_id,
        measured.event_count,
        measured.is_opening,
        rates.rate_key,
        segment_charges.plan_version_id,
        segment_charges.covered_from,
        segment_charges.charge_ordinal,
        segment_charges.free_pool,
        case when segment_charges.price_model = 'percentage' then 0 else segment_charges.free_units end
            as free_units,
        {{
            converted_units(
                "measured.quantity", "segment_charges.unit_divisor", "segment_charges.unit_rounding"
            )
        }} as quantity
    from measured
    inner join {{ ref("int_rating__rates") }} as rates
        on rates.rate_id = measured.rate_id and rates.charge_id = measured.charge_id
    inner join segment_charges
        on segment_charges.billing_period_id = measured.billing_period_id
        and segment_charges.segment_id = measured.segment_id
        and segment_charges.charge_id = measured.charge_id
),

with_earlier_ones as (
    select
        converted.*,
        coalesce(
            sum(quantity) over (
                partition by
                    billing_period_id,
                    case when free_pool is null then charge_id end,
                    case when free_pool is null then rate_id end,
                    case when free_pool is not null then plan_version_id end,
                    free_pool
                order by covered_from, charge_ordinal, rate_key collate "C"
                rows between unbounded preceding and 1 preceding
            ),
            0
        ) as used_before
    from converted
),

freed as (
    select
        with_earlier_ones.*,
        least(greatest(free_units - used_before, 0), quantity) as free_quantity
    from with_earlier_ones
)

select
    billing_period_id,
    segment_id,
    charge_id,
    rate_id,
    event_count,
    quantity,
    free_quantity,
    quantity - free_quantity as billed_quantity,
    -- Whether it bills the first tier's flat amount, as its charge has no units in the period.
    is_opening
    and sum(quantity - free_quantity) over (partition by billing_period_id, charge_id) = 0
        as bills_zero
from freed
