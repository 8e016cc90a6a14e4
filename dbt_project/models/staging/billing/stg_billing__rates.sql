select
    id as rate_id,
    charge_id,
    ordinal,
    currency,
    match,
    match ->> 'country' as country,
    match ->> 'channel' as channel,
    match ->> 'status' as status,
    match ->> 'operator' as operator,
    match ->> 'route' as route,
    (select count(*) from jsonb_object_keys(match)) as exactness
from {{ source('billing', 'rates') }}
