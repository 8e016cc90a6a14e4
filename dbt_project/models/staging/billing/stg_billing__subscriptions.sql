select
    id as subscription_id,
    account_id,
    status::text as status,
    interval::text as billing_interval,
    anchor_day,
    starts_on,
    ends_on
from {{ source('billing', 'subscriptions') }}
