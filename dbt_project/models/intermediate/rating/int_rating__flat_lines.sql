-- Step 4 of rating for prices per period. Prorated, each segment bills its days of a full period,
-- each stretch of them at the price in force; otherwise the full price is billed once, by the
-- segment that the period opens with, and a one-time price by the first one of the subscription or of
-- the add-on. A charge without a price in the account's currency comes out
-- without a rate. Where seats have tiers, those are chosen by how many seats there are and priced by
-- their days; what a tier bills once is billed by the first segment that enters it.
with segment_charges as (
    select * from {{ ref("int_rating__segment_charges") }}
    where (price_model = 'one_time' and covered_from = subscribed_on)
        or (
            price_model in ('flat', 'licence')
            and recurring_from < recurring_to
            and (is_prorated or (recurring_from <= rated_start and recurring_to > rated_start))
        )
),

eras as (select * from {{ ref("int_rating__price_eras") }}),

rates as (
    select * from {{ ref("int_rating__rates") }} where exactness = 0
),

stretches as (
    select
        segment_charges.billing_period_id,
        segment_charges.segment_id,
        segment_charges.charge_id,
        segment_charges.currency,
        segment_charges.covered_from,
        segment_charges.tier_mode,
        segment_charges.segment_quantity,
        segment_charges.is_prorated,
        segment_charges.full_days,
        eras.era_from,
        eras.override_account_id,
        least(eras.era_to, segment_charges.recurring_to)
            - greatest(eras.era_from, segment_charges.recurring_from) as days
    from segment_charges
    inner join eras
        on eras.account_id = segment_charges.account_id
        and eras.charge_id = segment_charges.charge_id
        and eras.era_to > case
            when segment_charges.is_prorated then segment_charges.recurring_from
            else segment_charges.covered_from
        end
        and eras.era_from < case
            when segment_charges.is_prorated then segment_charges.recurring_to
            else segment_charges.covered_from + 1
        end
),

in_force as (
    select distinct on (
        stretches.billing_period_id, stretches.segment_id, stretches.charge_id, stretches.era_from
    )
        stretches.*,
        rates.rate_id
    from stretches
    left join rates
        on rates.charge_id = stretches.charge_id
        and rates.currency = stretches.currency
        and rates.valid_from <= stretches.era_from
        and rates.valid_to > stretches.era_from
        and (rates.account_id is null or rates.account_id = stretches.override_account_id)
    order by
        stretches.billing_period_id,
        stretches.segment_id,
        stretches.charge_id,
        stretches.era_from,
        rates.precedence desc nulls last,
        rates.ordinal
),

first_tiers as (
    select distinct on (rate_id) rate_id, flat_amount
    from {{ ref("int_rating__rate_tiers") }}
    order by rate_id, ordinal
),

priced as (
    select
        in_force.billing_period_id,
        in_force.segment_id,
        in_force.charge_id,
        in_force.rate_id,
        in_force.covered_from,
        in_force.tier_mode,
        in_force.segment_quantity,
        first_tiers.flat_amount,
        case when in_force.is_prorated then sum(in_force.days)::integer else 1 end as billed_days,
        case when in_force.is_prorated then in_force.full_days else 1 end as whole_days
    from in_force
    left join first_tiers on first_tiers.rate_id = in_force.rate_id
    group by
        in_force.billing_period_id,
        in_force.segment_id,
        in_force.charge_id,
        in_force.rate_id,
        in_force.covered_from,
        in_force.tier_mode,
        in_force.segment_quantity,
        first_tiers.flat_amount,
        in_force.is_prorated,
        in_force.full_days
),

held as (
    select
        priced.*,
        max(segment_quantity) over at_the_price as most,
        coalesce(
            max(segment_quantity) over (
                at_the_price order by covered_from rows between unbounded preceding and 1 preceding
            ),
            0
        ) as most_before
    from priced
    where tier_mode is not null and rate_id is not null
    window at_the_price as (partition by billing_period_id, charge_id, rate_id)
),

tiers as (
    select
        rate_id,
        ordinal,
        {{ tier_floor() }} as above,
        up_to,
        unit_price,
        flat_amount
    from {{ ref("int_rating__rate_tiers") }}
    where rate_id in (select rate_id from held)
),

entered as (
    select
        held.billing_period_id,
        held.segment_id,
        held.charge_id,
        held.rate_id,
        held.segment_quantity,
        held.billed_days,
        held.whole_days,
        tiers.ordinal,
        tiers.above,
        tiers.up_to,
        tiers.unit_price,
        {{ seats_in_tier("held.segment_quantity", "tiers", "held.tier_mode") }} as units,
        case
            when tiers.above >= held.most_before and tiers.above < held.segment_quantity
                then tiers.flat_amount
            else 0
        end as flat_amount
    from held
    left join tiers
        on tiers.rate_id = held.rate_id
        and {{ prices_seats("held.segment_quantity", "held.most", "tiers", "held.tier_mode") }}
)

select
    billing_period_id,
    segment_id,
    charge_id,
    rate_id,
    segment_quantity as quantity,
    flat_amount as unit_price,
    billed_days,
    whole_days,
    -- 40 decimals keep the quotient on the right side of every half until it is rounded, once.
    round(flat_amount * segment_quantity * billed_days, 40) / whole_days as amount,
    '[]'::jsonb as tier_breakdown
from priced
where tier_mode is null or rate_id is null
union all
select
    billing_period_id,
    segment_id,
    charge_id,
    rate_id,
    segment_quantity as quantity,
    null::numeric as unit_price,
    billed_days,
    whole_days,
    coalesce(
        sum(flat_amount) + round(sum(units * unit_price) * billed_days, 40) / whole_days, 0
    ) as amount,
    coalesce(jsonb_agg(
        jsonb_build_object(
            'from', {{ plain("above") }},
            'to', {{ plain("up_to") }},
            'units', {{ plain("units") }},
            'unit_price', {{ plain("unit_price") }},
            'flat_amount', {{ plain("flat_amount") }},
            'amount', {{
                plain(
                    stored_amount(
                        "flat_amount + round(units * unit_price * billed_days, 40) / whole_days"
                    )
                )
            }},
            'days', billed_days::text,
            'full_days', whole_days::text
        )
        order by ordinal
    ) filter (where ordinal is not null), '[]'::jsonb) as tier_breakdown
from entered
group by
    billing_period_id,
    segment_id,
    charge_id,
    rate_id,
    segment_quantity,
    billed_days,
    whole_days
