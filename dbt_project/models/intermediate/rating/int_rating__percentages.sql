-- Step 5 of rating for percentages: each event by itself, in the order in which they occurred. What is
-- free is used up by the first events of the period, whatever segment they fall into.
with segment_charges as (
    select * from {{ ref("int_rating__segment_charges") }} where price_model = 'percentage'
),

accounts as (select * from {{ ref("stg_billing__accounts") }}),

periods as (
    select * from {{ ref("stg_billing__billing_periods") }}
    where {{ in_invoice_month("invoice_month") }}
),

events as (
    {{
        latest_events(
            "events.account_id in (select account_id from segment_charges)"
            " and events.occurred_at >= (select min(starts_at) from periods)"
            " and events.occurred_at < (select max(ends_at) from periods)",
            as_of_run=var("rating_run_id"),
        )
    }}
),

counted as (
    select
        segment_charges.billing_period_id,
        segment_charges.segment_id,
        segment_charges.charge_id,
        segment_charges.free_units,
        segment_charges.free_events,
        matches.rate_id,
        events.quantity,
        sum(events.quantity) over in_order as seen_amount,
        count(*) over in_order as seen_events
    {{ from_charged_events() }}
    inner join {{ ref("int_rating__rate_matches") }} as matches
        on matches.charge_id = segment_charges.charge_id
        and matches.currency = segment_charges.currency
        and matches.dimension_key = jsonb_build_array(
            {{ dimension_columns("events") }}, eras.era_from, eras.override_account_id
        )::text
    where {{ filter_counts("segment_charges.event_filter", "events") }}
    window in_order as (
        partition by
            segment_charges.billing_period_id, segment_charges.charge_id, matches.rate_id
        order by events.occurred_at, events.source collate "C", events.event_id collate "C"
        rows unbounded preceding
    )
),

freed as (
    select
        counted.*,
        case
            when free_events > 0 and seen_events > free_events then 0
            when free_units = 0 and free_events = 0 then 0
            when free_units = 0 then quantity
            else least(greatest(free_units - (seen_amount - quantity), 0), quantity)
        end as free_quantity,
        (free_units > 0 or free_events > 0)
        and (free_events = 0 or seen_events <= free_events)
        and (free_units = 0 or seen_amount <= free_units) as is_free
    from counted
),

priced as (
    select
        freed.*,
        tiers.unit_price,
        tiers.flat_amount,
        tiers.event_minimum,
        tiers.event_maximum,
        (freed.quantity - freed.free_quantity) * tiers.unit_price + tiers.flat_amount as plain_amount
    from freed
    inner join {{ ref("int_rating__rate_tiers") }} as tiers
        on tiers.rate_id = freed.rate_id and tiers.ordinal = 1
),

totals as (
    select
        billing_period_id,
        segment_id,
        charge_id,
        rate_id,
        unit_price,
        flat_amount,
        sum(free_quantity) as free_quantity,
        sum(quantity - free_quantity) as charged_quantity,
        count(*) filter (where not is_free) as charged_events,
        coalesce(sum(plain_amount) filter (where not is_free), 0) as plain_amount,
        coalesce(
            sum(least(greatest(plain_amount, event_minimum), event_maximum))
                filter (where not is_free),
            0
        ) as amount
    from priced
    group by billing_period_id, segment_id, charge_id, rate_id, unit_price, flat_amount
)

select
    billing_period_id,
    segment_id,
    charge_id,
    rate_id,
    free_quantity,
    amount,
    case when charged_events = 0 then '[]'::jsonb else jsonb_build_array(
        jsonb_build_object(
            'from', '0',
            'to', null,
            'units', {{ plain("charged_quantity") }},
            'unit_price', {{ plain("unit_price") }},
            'flat_amount', {{ plain("flat_amount * charged_events") }},
            'amount', {{ plain("plain_amount") }},
            'events', charged_events::text
        )
    ) end
    || case when amount = plain_amount then '[]'::jsonb else jsonb_build_array(
        jsonb_build_object('kind', 'event_bounds', 'amount', {{ plain("amount - plain_amount") }})
    ) end as tier_breakdown
from totals
