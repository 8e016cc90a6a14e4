-- Step 8 of rating: the lines without what was billed for them in advance. Everything from here on
-- is in whole minor units, after rounding.
with places as (
    select
        billing_period_id,
        segment_id,
        charge_id,
        plan_id,
        invoiced_period_id
    from {{ ref("int_rating__segment_charges") }}
),

lines as (
    select
        billed.*,
        places.plan_id,
        places.invoiced_period_id,
        {{ to_minor("billed.amount", "billed.minor_exponent") }} as rated_minor,
        ahead.amount_minor as ahead_minor,
        ahead.paid_minor,
        -- least() overlooks nulls
        case
            when ahead.amount_minor is null then 0
            else least({{ to_minor("billed.amount", "billed.minor_exponent") }}, ahead.amount_minor)
        end as used_minor
    from {{ ref("int_rating__billed_lines") }} as billed
    inner join places
        on places.billing_period_id = billed.billing_period_id
        and places.segment_id = billed.segment_id
        and places.charge_id = billed.charge_id
    left join {{ ref("int_rating__billed_ahead") }} as ahead
        on ahead.billing_period_id = billed.billing_period_id
        and ahead.line_key = substr(billed.line_ref, 47)
        and not ahead.is_kept
)

select
    lines.*,
    rated_minor - used_minor as due_minor,
    ahead_minor is not null and rated_minor = used_minor as is_billed_already
from lines
