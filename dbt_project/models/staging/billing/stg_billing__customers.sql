select
    id as customer_id,
    code as customer_code,
    name as customer_name,
    created_at
from {{ source('billing', 'customers') }}
