-- Step 6 of rating: what is missing to the minimum of a charge, after its lines are rounded. It is for
-- the last segment of the period that has the charge.
with charges as (
    select
        segment_charges.*,
        sum(covered_to - covered_from) over of_charge as covered_days,
        row_number() over (of_charge order by covered_from desc) as from_the_last
    from {{ ref("int_rating__segment_charges") }} as segment_charges
    window of_charge as (partition by billing_period_id, charge_id)
),

billed as (
    select
        billing_period_id,
        charge_id,
        sum({{ to_minor("amount", "minor_exponent") }}) as billed_minor
    from {{ ref("int_rating__limited_lines") }}
    group by billing_period_id, charge_id
)

select
    charges.billing_period_id,
    charges.segment_id,
    charges.charge_id,
    null::uuid as rate_id,
    'minimum' as kind,
    'minimum' as rate_key,
    charges.charge_name || ', minimum' as name,
    {{ to_minor(part_of_period("limits.minimum", "charges"), "charges.minor_exponent") }} as due_minor,
    coalesce(billed.billed_minor, 0) as billed_minor
from charges
inner join {{ ref("stg_billing__charge_limits") }} as limits
    on limits.charge_id = charges.charge_id
    and limits.currency = charges.currency
    and limits.minimum is not null
left join billed
    on billed.billing_period_id = charges.billing_period_id
    and billed.charge_id = charges.charge_id
where charges.from_the_last = 1
    and charges.price_model not in ('flat', 'licence', 'one_time')
    and {{ to_minor(part_of_period("limits.minimum", "charges"), "charges.minor_exponent") }}
        > coalesce(billed.billed_minor, 0)
