select
    id as rating_run_id,
    invoice_month,
    event_time_to,
    started_at,
    finished_at,
    line_count,
    lines_hash
from {{ source('billing', 'rating_runs') }}
