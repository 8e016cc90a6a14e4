select
    id as subscription_id,
    account_id,
    status::text as status,
    anchor_day,
    starts_on,
    ends_on
from {{ source('billing', 'subscriptions') }}
