select
    coupon_id,
    plan_id
from {{ source('billing', 'coupon_plans') }}
