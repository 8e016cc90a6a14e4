-- Step 3 of rating: quantities per period, segment, charge and rate, and the free units each takes.
-- Free units are given once per period and rate; the earliest segment takes them first.
with charge_usage as (select * from {{ ref("int_rating__charge_usage") }}),

matches as (select * from {{ ref("int_rating__rate_matches") }}),

segment_charges as (select * from {{ ref("int_rating__segment_charges") }}),

measured as (
    select
        charge_usage.billing_period_id,
        charge_usage.segment_id,
        charge_usage.charge_id,
        matches.rate_id,
        sum(charge_usage.event_count)::bigint as event_count,
        sum(charge_usage.quantity) as quantity
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

with_earlier_segments as (
    select
        measured.*,
        segment_charges.free_units,
        coalesce(
            sum(measured.quantity) over (
                partition by
                    measured.billing_period_id, measured.charge_id, measured.rate_id
                order by segment_charges.covered_from
                rows between unbounded preceding and 1 preceding
            ),
            0
        ) as used_before
    from measured
    inner join segment_charges
        on segment_charges.billing_period_id = measured.billing_period_id
        and segment_charges.segment_id = measured.segment_id
        and segment_charges.charge_id = measured.charge_id
)

select
    billing_period_id,
    segment_id,
    charge_id,
    rate_id,
    event_count,
    quantity,
    least(greatest(free_units - used_before, 0), quantity) as free_quantity,
    quantity - least(greatest(free_units - used_before, 0), quantity) as billed_quantity
from with_earlier_segments
