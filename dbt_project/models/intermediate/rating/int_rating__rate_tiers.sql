{{ config(materialized="view") }}

-- The tiers of every kind of rate; the row of a deck is one open tier.
select
    rate_id,
    ordinal,
    up_to,
    unit_price,
    flat_amount,
    package_size,
    event_minimum,
    event_maximum
from {{ ref("stg_billing__rate_tiers") }}
union all
select
    rate_id,
    ordinal,
    up_to,
    unit_price,
    flat_amount,
    null::numeric as package_size,
    null::numeric as event_minimum,
    null::numeric as event_maximum
from {{ ref("stg_billing__price_override_tiers") }}
union all
select
    rate_id,
    1 as ordinal,
    null::numeric(38, 12) as up_to,
    unit_price,
    0::numeric(38, 12) as flat_amount,
    null::numeric as package_size,
    null::numeric as event_minimum,
    null::numeric as event_maximum
from {{ ref("stg_billing__rate_deck_rows") }}
