select
    rate_id,
    ordinal,
    up_to,
    unit_price,
    flat_amount,
    package_size,
    event_minimum,
    event_maximum
from {{ source('billing', 'rate_tiers') }}
