select
    id as deck_version_id,
    deck_id as rate_deck_id,
    version,
    effective_from
from {{ source('billing', 'rate_deck_versions') }}
where status = 'published'
