-- The rate that every set of dimensions falls under: of those that fit, the one that names most
-- dimensions. Found once per distinct set, so that a large rate deck is not compared with each row.
with wanted as (
    select distinct
        charge_id,
        currency,
        dimension_key,
        country,
        channel,
        status,
        operator,
        route
    from {{ ref("int_rating__charge_usage") }}
),

rates as (
    -- A rate that names a dimension nobody knows could never be shown to fit.
    select * from {{ ref("stg_billing__rates") }}
    where match - array[{% for name in dimensions() %}'{{ name }}'{{ ", " if not loop.last }}{% endfor %}] = '{}'::jsonb
)

select distinct on (wanted.charge_id, wanted.currency, wanted.dimension_key)
    wanted.charge_id,
    wanted.currency,
    wanted.dimension_key,
    rates.rate_id,
    rates.ordinal as rate_ordinal
from wanted
inner join rates
    on rates.charge_id = wanted.charge_id
    and rates.currency = wanted.currency
    and {{ rate_fits("rates", "wanted") }}
order by
    wanted.charge_id, wanted.currency, wanted.dimension_key, rates.exactness desc, rates.ordinal
