select
    id as billing_period_id,
    subscription_id,
    account_id,
    starts_on as period_start,
    ends_on as period_end,
    full_starts_on,
    full_ends_on,
    starts_at,
    ends_at,
    invoice_month
from {{ source('billing', 'billing_periods') }}
