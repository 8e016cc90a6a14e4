select
    id as account_id,
    customer_id,
    parent_account_id,
    code as account_code,
    name as account_name,
    billing_mode::text as billing_mode,
    currency,
    zone,
    status::text as status,
    shard,
    created_at
from {{ source('billing', 'accounts') }}
