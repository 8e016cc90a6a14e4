select
    coupon_id,
    currency,
    amount_minor
from {{ source('billing', 'coupon_amounts') }}
