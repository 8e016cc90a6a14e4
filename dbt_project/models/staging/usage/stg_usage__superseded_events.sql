select
    shard,
    accept_seq,
    superseded_by,
    occurred_at
from {{ source('usage', 'superseded_events') }}
