select
    id as segment_id,
    subscription_id,
    plan_version_id,
    quantity,
    starts_on,
    ends_on
from {{ source('billing', 'subscription_segments') }}
