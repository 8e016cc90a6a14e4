select
    id as rate_id,
    charge_id,
    ordinal,
    currency,
    match
from {{ source('billing', 'rates') }}
