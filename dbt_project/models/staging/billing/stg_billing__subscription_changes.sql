select
    subscription_id,
    number,
    made_at,
    after -> 'segments' as segments
from {{ source('billing', 'subscription_changes') }}
