{#- A line's stable name, as `billing.rating.line.line_ref`. -#}
{% macro line_ref(charge, rate_key) -%}
    {{ charge }}.subscription_id::text
    || ':' || to_char({{ charge }}.period_start, 'YYYYMMDD')
    || ':' || to_char({{ charge }}.covered_from, 'YYYYMMDD')
    || ':' || {{ charge }}.charge_code
    || ':' || {{ rate_key }}
{%- endmacro %}

{#- Whether an issued invoice has a billing period. -#}
{% macro is_issued(periods) -%}
    exists (
        select 1 from {{ ref("stg_billing__issued_periods") }} as issued
        where issued.account_id = {{ periods }}.account_id
            and issued.invoice_month = {{ periods }}.invoice_month
            and issued.period_start <= {{ periods }}.period_start
            and issued.period_end >= {{ periods }}.period_end
    )
{%- endmacro %}

{#- What units are priced as: themselves, or the packages they begin. -#}
{% macro packages_or_units(units, size) -%}
    case
        when {{ size }} is null then {{ units }}
        else {{ packages_begun("(" ~ units ~ ")", size) }}
    end
{%- endmacro %}

{#- Where a tier begins: where the one before it ends. -#}
{% macro tier_floor() -%}
    coalesce(lag(up_to) over (partition by rate_id order by ordinal), 0)
{%- endmacro %}

{#-
    Whether a tier prices any of so many seats: by `volume`, the one that holds the most of the period
    prices all of them.
-#}
{% macro prices_seats(seats, most, tier, mode) -%}
    case {{ mode }}
        when 'volume'
            then {{ tier }}.above < {{ most }}
                and coalesce({{ tier }}.up_to, 'infinity'::numeric) >= {{ most }}
        else {{ tier }}.above < {{ seats }}
    end
{%- endmacro %}

{#- How many of so many seats a tier prices, as `billing.rating.prices.seats`. -#}
{% macro seats_in_tier(seats, tier, mode) -%}
    case
        when {{ mode }} = 'volume' then {{ seats }}
        else least({{ tier }}.up_to, {{ seats }}) - {{ tier }}.above
    end
{%- endmacro %}

{#-
    Units of so much each, as `billing.rating.adjustments.conversion`: to 6 decimals, or whole ones.
    Whole quotients by `div`, which is exact; a division would be rounded before it is.
-#}
{% macro converted_units(quantity, divisor, rounding) -%}
    case
        when {{ divisor }} is null then {{ quantity }}
        when {{ rounding }} = 'up' then {{ packages_begun(quantity, divisor) }}
        when {{ rounding }} = 'down' then div({{ quantity }}, {{ divisor }})
        when {{ rounding }} = 'half_up' then div(2 * {{ quantity }} + {{ divisor }}, 2 * {{ divisor }})
        else div(2000000 * {{ quantity }} + {{ divisor }}, 2 * {{ divisor }}) * 0.000001
    end
{%- endmacro %}

{#-
    An amount for a full period, for the days a charge covers if it goes by days; a whole number of
    minor units. 40 decimals keep the quotient on the right side of every half.
-#}
{% macro part_of_period(amount, charge) -%}
    round(
        case
            when {{ charge }}.is_prorated
                then round({{ amount }} * {{ charge }}.covered_days, 40) / {{ charge }}.full_days
            else {{ amount }}
        end,
        {{ charge }}.minor_exponent
    )
{%- endmacro %}

{#-
    Each of `events` with the charges that cover its local day, and the era of their prices that it
    falls into. Names the relations `events`, `accounts`, `segment_charges` and `eras`; whether the
    charge's filter counts the event is left to the caller.
-#}
{% macro from_charged_events() -%}
    {%- set local_day = "(events.occurred_at at time zone accounts.zone)::date" -%}
    from events
    inner join accounts on accounts.account_id = events.account_id
    inner join segment_charges
        on segment_charges.account_id = events.account_id
        and segment_charges.event_type = events.event_type
        and segment_charges.covered_from <= {{ local_day }}
        and segment_charges.covered_to > {{ local_day }}
    inner join {{ ref("int_rating__price_eras") }} as eras
        on eras.account_id = segment_charges.account_id
        and eras.charge_id = segment_charges.charge_id
        and eras.era_from <= {{ local_day }}
        and eras.era_to > {{ local_day }}
{%- endmacro %}

{#-
    How much of `available` each line gets of what it wants, in the order of the lines' names: what
    earlier lines of its partition want comes first. `those` says which of them want anything.
-#}
{% macro used_up_in_order(available, wanted, partition, those=none) -%}
    least(
        {{ wanted }},
        greatest(
            {{ available }} - coalesce(
                sum({{ wanted }}) {% if those %}filter (where {{ those }}) {% endif %}over (
                    partition by {{ partition }}
                    order by line_ref collate "C"
                    rows between unbounded preceding and 1 preceding
                ),
                0
            ),
            0
        )
    )
{%- endmacro %}

{#- What a line is of, up to its unit: the columns that no step after pricing changes. -#}
{% macro line_columns(billing_period_id="billing_period_id") -%}
    line_ref,
    invoice_month,
    account_id,
    customer_id,
    subscription_id,
    {{ billing_period_id }},
    segment_id,
    plan_version_id,
    charge_id,
    charge_code,
    rate_id,
    item_code,
    sac,
    description,
    period_start,
    period_end,
    covered_from,
    covered_to,
    quantity,
    free_quantity,
    event_count,
    unit
{%- endmacro %}
