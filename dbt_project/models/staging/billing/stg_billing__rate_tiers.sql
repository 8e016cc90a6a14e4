select
    rate_id,
    ordinal,
    up_to,
    unit_price,
    flat_amount
from {{ source('billing', 'rate_tiers') }}
