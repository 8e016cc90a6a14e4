select
    id as subscription_id,
    account_id,
    status::text as status,
    interval::text as billing_interval,
    anchor_day,
    anchor_month,
    starts_on,
    ends_on
from {{ source('billing', 'subscriptions') }}
