-- Every rate that may price a charge of the month, with the days on which it is in force: the
-- charge's own rates, the rows of its deck, and what was agreed with the account, which comes before
-- both (`precedence`). `named` says which dimensions a rate names and `match_key` with which values,
-- so that a large deck is looked up and not compared row by row.
with used as (
    select distinct account_id, charge_id, plan_id, charge_code, rate_deck_id, currency
    from {{ ref("int_rating__segment_charges") }}
),

charges as (
    select distinct charge_id, rate_deck_id from used
),

of_charges as (
    select
        rates.rate_id,
        rates.charge_id,
        null::uuid as account_id,
        rates.currency,
        rates.ordinal,
        rates.ordinal::text as rate_key,
        0 as precedence,
        '-infinity'::date as valid_from,
        'infinity'::date as valid_to,
        rates.match
    from {{ ref("stg_billing__rates") }} as rates
    inner join charges on charges.charge_id = rates.charge_id
),

deck_versions as (
    select
        deck_version_id,
        rate_deck_id,
        version,
        effective_from as valid_from,
        coalesce(
            lead(effective_from) over (partition by rate_deck_id order by effective_from),
            'infinity'::date
        ) as valid_to
    from {{ ref("stg_billing__rate_deck_versions") }}
),

of_decks as (
    select
        deck_rows.rate_id,
        charges.charge_id,
        null::uuid as account_id,
        deck_rows.currency,
        deck_rows.ordinal,
        'd' || deck_versions.version || '.' || deck_rows.ordinal as rate_key,
        0 as precedence,
        deck_versions.valid_from,
        deck_versions.valid_to,
        jsonb_strip_nulls(
            jsonb_build_object(
                'country', deck_rows.country,
                'channel', deck_rows.channel,
                'operator', deck_rows.operator,
                'traffic_type', deck_rows.traffic_type
            )
        ) as match
    from charges
    inner join deck_versions on deck_versions.rate_deck_id = charges.rate_deck_id
    inner join {{ ref("stg_billing__rate_deck_rows") }} as deck_rows
        on deck_rows.deck_version_id = deck_versions.deck_version_id
),

of_accounts as (
    select
        overrides.rate_id,
        used.charge_id,
        overrides.account_id,
        overrides.currency,
        overrides.number as ordinal,
        'o' || overrides.number as rate_key,
        1 as precedence,
        overrides.starts_on as valid_from,
        coalesce(overrides.ends_on, 'infinity'::date) as valid_to,
        overrides.match
    from {{ ref("stg_billing__price_overrides") }} as overrides
    inner join used
        on used.account_id = overrides.account_id
        and used.currency = overrides.currency
        and (
            used.rate_deck_id = overrides.rate_deck_id
            or (used.plan_id = overrides.plan_id and used.charge_code = overrides.charge_code)
        )
    where overrides.ends_on is null or overrides.ends_on > overrides.starts_on
),

rates as (
    select * from of_charges
    union all
    select * from of_decks
    union all
    select * from of_accounts
),

by_dimension as (
    select
        rates.*,
        {% for name in dimensions() -%}
        match ->> '{{ name }}' as {{ name }}{{ "," if not loop.last }}
        {% endfor %}
    from rates
    -- A rate that names a dimension nobody knows could never be shown to fit.
    where match - array[{% for name in dimensions() %}'{{ name }}'{{ ", " if not loop.last }}{% endfor %}] = '{}'::jsonb
)

select
    rate_id,
    charge_id,
    account_id,
    currency,
    ordinal,
    rate_key,
    precedence,
    valid_from,
    valid_to,
    {{ dimension_columns("by_dimension") }},
    num_nonnulls({{ dimension_columns("by_dimension") }}) as exactness,
    {% for name in dimensions() -%}
    case when {{ name }} is null then '0' else '1' end{{ " ||" if not loop.last }}
    {% endfor -%} as named,
    jsonb_build_array({{ dimension_columns("by_dimension") }})::text as match_key
from by_dimension
