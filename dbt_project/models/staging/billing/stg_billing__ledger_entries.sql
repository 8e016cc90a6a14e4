select
    transaction_id,
    line_no,
    account::text as ledger_account,
    wallet_id,
    currency,
    amount_units,
    wallet_seq,
    balance_after_units
from {{ source('billing', 'ledger_entries') }}
