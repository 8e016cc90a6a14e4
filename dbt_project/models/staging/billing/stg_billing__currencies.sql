select
    code as currency,
    minor_exponent,
    wallet_exponent
from {{ source('billing', 'currencies') }}
