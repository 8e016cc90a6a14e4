select
    id as charge_id,
    plan_version_id,
    item_id,
    ordinal,
    code as charge_code,
    name as charge_name,
    price_model::text as price_model,
    prorated as is_prorated,
    free_units,
    free_pool,
    free_events,
    unit_divisor,
    unit_rounding::text as unit_rounding,
    bills_zero,
    discount_percent,
    package_size,
    rate_deck_id
from {{ source('billing', 'charges') }}
