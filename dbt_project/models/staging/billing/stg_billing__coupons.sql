select
    id as coupon_id,
    code as coupon_code,
    percent
from {{ source('billing', 'coupons') }}
