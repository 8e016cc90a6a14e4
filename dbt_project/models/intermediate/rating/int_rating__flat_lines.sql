-- Step 4 of rating for prices per period. Prorated, each segment bills its days of a full period;
-- otherwise the full price is billed once, by the segment that the period opens with.
-- A charge without a price in the account's currency comes out without a rate.
with segment_charges as (
    select * from {{ ref("int_rating__segment_charges") }}
    where price_model = 'flat' and (is_prorated or covered_from = period_start)
),

rates as (
    select * from {{ ref("stg_billing__rates") }} where match = '{}'::jsonb
),

first_tiers as (
    select distinct on (rate_id) rate_id, flat_amount
    from {{ ref("stg_billing__rate_tiers") }}
    order by rate_id, ordinal
),

priced as (
    select
        segment_charges.*,
        rates.rate_id,
        first_tiers.flat_amount,
        case when is_prorated then covered_to - covered_from else 1 end as billed_days,
        case when is_prorated then full_days else 1 end as whole_days
    from segment_charges
    left join rates
        on rates.charge_id = segment_charges.charge_id
        and rates.currency = segment_charges.currency
    left join first_tiers on first_tiers.rate_id = rates.rate_id
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
    round(flat_amount * segment_quantity * billed_days, 40) / whole_days as amount
from priced
