select
    id as rate_id,
    version_id as deck_version_id,
    ordinal,
    currency,
    country,
    channel,
    operator,
    traffic_type,
    unit_price
from {{ source('billing', 'rate_deck_rows') }}
