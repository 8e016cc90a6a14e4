select
    occurred_at,
    source,
    event_id,
    shard,
    accept_seq,
    account_id,
    event_type,
    quantity,
    dimensions ->> 'country' as country,
    dimensions ->> 'channel' as channel,
    dimensions ->> 'status' as status,
    dimensions ->> 'operator' as operator,
    dimensions ->> 'route' as route,
    dimensions ->> 'traffic_type' as traffic_type,
    dimensions,
    vendor_cost,
    voided as is_voided
from {{ source('usage', 'raw_events') }}
