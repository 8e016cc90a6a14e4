-- The rate that every set of dimensions falls under: of those in force that fit, what was agreed
-- with the account before others, then the one that names most dimensions. A set is looked up once
-- for each combination of dimensions that rates of the charge name, however many rates there are.
with wanted as (
    select
        charge_id,
        currency,
        dimension_key,
        era_from,
        override_account_id,
        {{ dimension_columns("charge_usage") }}
    from {{ ref("int_rating__charge_usage") }} as charge_usage
    union
    select
        charge_id,
        currency,
        dimension_key,
        era_from,
        override_account_id,
        {{ dimension_columns("event_values") }}
    from {{ ref("int_rating__event_values") }} as event_values
    where dimension_key is not null
),

rates as (select * from {{ ref("int_rating__rates") }}),

combinations as (
    select distinct charge_id, currency, named from rates
),

probes as (
    select
        wanted.charge_id,
        wanted.currency,
        wanted.dimension_key,
        wanted.era_from,
        wanted.override_account_id,
        combinations.named,
        jsonb_build_array(
            {% for name in dimensions() -%}
            case when substr(combinations.named, {{ loop.index }}, 1) = '1' then wanted.{{ name }} end
            {{- "," if not loop.last }}
            {% endfor %}
        )::text as match_key
    from wanted
    inner join combinations
        on combinations.charge_id = wanted.charge_id and combinations.currency = wanted.currency
)

select distinct on (probes.charge_id, probes.currency, probes.dimension_key)
    probes.charge_id,
    probes.currency,
    probes.dimension_key,
    rates.rate_id
from probes
inner join rates
    on rates.charge_id = probes.charge_id
    and rates.currency = probes.currency
    and rates.named = probes.named
    and rates.match_key = probes.match_key
    and rates.valid_from <= probes.era_from
    and rates.valid_to > probes.era_from
    and (rates.account_id is null or rates.account_id = probes.override_account_id)
order by
    probes.charge_id,
    probes.currency,
    probes.dimension_key,
    rates.precedence desc,
    rates.exactness desc,
    rates.ordinal
