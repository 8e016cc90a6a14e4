select
    id as transaction_id,
    kind::text as kind,
    reference,
    currency,
    recorded_at
from {{ source('billing', 'ledger_transactions') }}
