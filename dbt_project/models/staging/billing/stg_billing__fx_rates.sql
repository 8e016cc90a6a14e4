select
    currency,
    rate_date,
    inr_per_unit
from {{ source('billing', 'fx_rates') }}
