-- Step 6 of rating, for lines there are: the discount, then the maximum of the charge, which its
-- earliest lines use up first. Both stand among the line's tiers, so that they add up to it.
with charges as (
    select
        billing_period_id,
        charge_id,
        discount_percent,
        is_prorated,
        full_days,
        currency,
        minor_exponent,
        sum(covered_to - covered_from)::integer as covered_days
    from {{ ref("int_rating__segment_charges") }}
    group by
        billing_period_id,
        charge_id,
        discount_percent,
        is_prorated,
        full_days,
        currency,
        minor_exponent
),

discounted as (
    select
        lines.*,
        charges.discount_percent,
        {{ part_of_period("limits.maximum", "charges") }} as maximum,
        lines.amount * (100 - charges.discount_percent) * 0.01 as discounted_amount
    from {{ ref("int_rating__lines") }} as lines
    inner join charges
        on charges.billing_period_id = lines.billing_period_id
        and charges.charge_id = lines.charge_id
    left join {{ ref("stg_billing__charge_limits") }} as limits
        on limits.charge_id = lines.charge_id and limits.currency = lines.currency
),

capped as (
    select
        discounted.*,
        case
            when maximum is null then discounted_amount
            else {{ used_up_in_order("maximum", "discounted_amount", "billing_period_id, charge_id") }}
        end as capped_amount
    from discounted
)

select
    {{ line_columns() }},
    case when capped_amount = amount then unit_price end as unit_price,
    currency,
    minor_exponent,
    capped_amount as amount,
    is_recurring,
    tier_breakdown
    || case when discounted_amount = amount then '[]'::jsonb else jsonb_build_array(
        jsonb_build_object(
            'kind', 'discount',
            'percent', {{ plain("discount_percent") }},
            'amount', {{ plain("discounted_amount - amount") }}
        )
    ) end
    || case when capped_amount = discounted_amount then '[]'::jsonb else jsonb_build_array(
        jsonb_build_object(
            'kind', 'maximum', 'amount', {{ plain("capped_amount - discounted_amount") }}
        )
    ) end as tier_breakdown
from capped
