-- Step 6 of rating, for lines there are: the discount, then the maximum of the charge, which its
-- earliest lines use up first; then what is left out because another charge of its group bills more.
-- All stand among the line's tiers, so that they add up to it.
with charges as (
    select
        billing_period_id,
        charge_id,
        charge_name,
        charge_ordinal,
        dearest_of,
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
        charge_name,
        charge_ordinal,
        dearest_of,
        discount_percent,
        is_prorated,
        full_days,
        currency,
        minor_exponent
),

discounted as (
    select
        lines.*,
        charges.charge_name,
        charges.charge_ordinal,
        charges.dearest_of,
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
),

-- Of equal ones the first of the plan.
dearest as (
    select distinct on (billing_period_id, plan_version_id, dearest_of)
        billing_period_id,
        plan_version_id,
        dearest_of,
        charge_id,
        charge_name
    from capped
    where dearest_of is not null
    group by
        billing_period_id,
        plan_version_id,
        dearest_of,
        charge_id,
        charge_name,
        charge_ordinal
    order by
        billing_period_id,
        plan_version_id,
        dearest_of,
        sum({{ to_minor("capped_amount", "minor_exponent") }}) desc,
        charge_ordinal
),

chosen as (
    select
        capped.*,
        dearest.charge_name as dearest_name,
        case when dearest.charge_id <> capped.charge_id then 0 else capped_amount end
            as billed_amount
    from capped
    left join dearest
        on dearest.billing_period_id = capped.billing_period_id
        and dearest.plan_version_id = capped.plan_version_id
        and dearest.dearest_of = capped.dearest_of
)

select
    {{ line_columns() }},
    case when billed_amount = amount then unit_price end as unit_price,
    currency,
    minor_exponent,
    billed_amount as amount,
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
    ) end
    || case when billed_amount = capped_amount then '[]'::jsonb else jsonb_build_array(
        jsonb_build_object(
            'kind', 'dearest', 'charge', dearest_name, 'amount', {{ plain("-capped_amount") }}
        )
    ) end as tier_breakdown
from chosen
