{#- The one rounding rule: halves away from zero, as `billing.money.round_half_up`. -#}
{% macro money_round(amount, exponent) -%}
    round({{ amount }}, {{ exponent }})
{%- endmacro %}

{#- A rated amount as integer minor units, rounded once. -#}
{% macro to_minor(amount, exponent) -%}
    ({{ money_round(amount, exponent) }} * power(10::numeric, {{ exponent }}))::bigint
{%- endmacro %}

{#-
    A rated amount as it is stored. Quantities have 6 decimals and prices 12, so products are exact;
    only a price prorated by days is cut here, far below any minor unit.
-#}
{% macro stored_amount(amount) -%}
    {{ money_round(amount, 18) }}
{%- endmacro %}

{#- Integer minor units as an amount of the currency. -#}
{% macro from_minor(amount_minor, exponent) -%}
    ({{ amount_minor }} * power(10::numeric, -{{ exponent }}))
{%- endmacro %}

{#- A decimal without trailing zeros, as `billing.rating.line.plain` writes it. -#}
{% macro plain(value) -%}
    trim_scale({{ value }})::text
{%- endmacro %}

-- How many packages of a size hold these units: a begun one counts. Exact, unlike ceil of a quotient.
{% macro packages_begun(units, size) -%}
    (div({{ units }}, {{ size }}) + case when mod({{ units }}, {{ size }}) > 0 then 1 else 0 end)
{%- endmacro %}

{#- The entry among a line's tiers that says why minor units were taken off it; none if none were. -#}
{% macro taken_off(kind, minor, exponent, code=none) -%}
    case
        when {{ minor }} = 0 then '[]'::jsonb
        else jsonb_build_array(
            jsonb_build_object(
                'kind', '{{ kind }}',
                {% if code %}'code', {{ code }}, {% endif -%}
                'amount', {{ plain("-" ~ from_minor(minor, exponent)) }}
            )
        )
    end
{%- endmacro %}
