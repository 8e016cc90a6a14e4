select
    id as item_id,
    code as item_code,
    name as item_name,
    kind::text as kind,
    event_type,
    event_filter,
    aggregation::text as aggregation,
    property_name,
    conversion::text as conversion,
    unit,
    sac
from {{ source('billing', 'billable_items') }}
