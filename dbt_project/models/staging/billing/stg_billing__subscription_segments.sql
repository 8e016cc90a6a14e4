select
    id as segment_id,
    subscription_id,
    plan_version_id,
    quantity,
    phase::text as phase,
    starts_on,
    ends_on,
    recurring_from,
    recurring_to,
    interval::text as billing_interval,
    added_on
from {{ source('billing', 'subscription_segments') }}
