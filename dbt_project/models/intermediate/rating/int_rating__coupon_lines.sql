-- Step 8 of rating: what a coupon takes off the lines that are due, in whole minor units: a part of
-- each, or an amount that the lines use up in their order.
with lines as (
    select
        due.*,
        coupons.coupon_code,
        (coupons.percent * 10000)::bigint as percent_scaled,
        amounts.amount_minor as fixed_minor,
        coalesce(plans.plan_id is not null or not exists (
            select 1 from {{ ref("stg_billing__coupon_plans") }} as any_plan
            where any_plan.coupon_id = coupons.coupon_id
        ), false) as is_discounted
    from {{ ref("int_rating__due_lines") }} as due
    left join {{ ref("stg_billing__coupon_redemptions") }} as redemptions
        on redemptions.subscription_id = due.subscription_id
        and redemptions.starts_on <= due.period_start
        and coalesce(redemptions.ends_on, 'infinity'::date) > due.period_start
    left join {{ ref("stg_billing__coupons") }} as coupons
        on coupons.coupon_id = redemptions.coupon_id
    left join {{ ref("stg_billing__coupon_amounts") }} as amounts
        on amounts.coupon_id = coupons.coupon_id and amounts.currency = due.currency
    left join {{ ref("stg_billing__coupon_plans") }} as plans
        on plans.coupon_id = coupons.coupon_id and plans.plan_id = due.plan_id
)

select
    lines.*,
    case
        when coupon_code is null or not is_discounted then 0
        when percent_scaled is not null
            then div(2 * due_minor::numeric * percent_scaled + 1000000, 2000000)::bigint
        else {{ used_up_in_order(
            "coalesce(fixed_minor, 0)", "due_minor", "invoiced_period_id", those="is_discounted"
        ) }}::bigint
    end as coupon_minor
from lines
