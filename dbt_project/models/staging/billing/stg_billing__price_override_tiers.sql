select
    override_id as rate_id,
    ordinal,
    up_to,
    unit_price,
    flat_amount
from {{ source('billing', 'price_override_tiers') }}
