select
    id as wallet_id,
    account_id,
    currency,
    balance_units,
    status::text as status
from {{ source('billing', 'wallets') }}
