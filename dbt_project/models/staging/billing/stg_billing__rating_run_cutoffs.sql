select
    rating_run_id,
    shard,
    accept_seq
from {{ source('billing', 'rating_run_cutoffs') }}
