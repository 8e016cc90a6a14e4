select
    charge_id,
    currency,
    minimum,
    maximum
from {{ source('billing', 'charge_limits') }}
