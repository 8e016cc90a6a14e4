select
    coupon_id,
    subscription_id,
    starts_on,
    ends_on
from {{ source('billing', 'coupon_redemptions') }}
