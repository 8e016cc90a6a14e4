select
    id as plan_version_id,
    plan_id,
    version
from {{ source('billing', 'price_plan_versions') }}
